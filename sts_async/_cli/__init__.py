"""
Parts of the command line: arguments, commands, the terminal, and the local server.

The entry point is `sts_async.cli`.
"""
