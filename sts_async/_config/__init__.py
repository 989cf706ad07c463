"""
Sources of settings: options, environment variables, and the shared config and credentials files.

The public class is `sts_async.Config`. All modules except `shared_files` and `certificates` are pure.
"""
