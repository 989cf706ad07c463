"""
Where settings come from: options, environment variables, and the shared config and credentials files.

The public class is `sts_async.Config`. Everything but `shared_files` and `certificates` is pure.
"""
