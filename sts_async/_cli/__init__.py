"""
Parts of the command line. The entry point is `sts_async.cli`.

commands, arguments, members   the parser, the values of options, and the members of requests as options
completion                     completion of a command line in a shell
terminal, streams              prompts, warnings, standard output and standard error
early_signals                  signals before the event loop runs
command_client, role_options   the client of a command, and the role that it signs as
shared_cache, cache_options    the cache of `fleet`, `serve` and `exec`, and `cache-key`
fleet, fleet_*, roles_source   `fleet`: options, roles, lines and the live table
endpoint, endpoint_options     `serve` and `exec`
local_server, env_file         `local-server`
output                         the output of commands that run for long
token_commands, token_options  `eks-token` and `console-url`
export, export_*               `export-credentials`: options, roles, formats, profiles, and the quick path
"""
