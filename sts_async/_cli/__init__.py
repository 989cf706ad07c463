"""
Parts of the command line: arguments, commands, the terminal, the local server, and the fleet.

The entry point is `sts_async.cli`.
"""
