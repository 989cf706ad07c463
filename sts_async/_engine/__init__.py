"""
The engine: what every call does, from the request to the response or the error.

`loop` holds the only retry loop, `build` makes an engine from options, and `lifecycle` starts and closes it.
No source of credentials is imported here.
"""
