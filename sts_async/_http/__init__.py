"""
HTTP: the only room that uses aiohttp's client.

`transport` sends one request and returns the whole response. `connector` guards connections, and `errors` turns
exceptions of aiohttp into those of `sts_async.errors`.
"""
