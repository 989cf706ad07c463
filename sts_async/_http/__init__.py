"""
HTTP: the only room that uses aiohttp's client.

`transport` sends one request and returns the whole response. `request` spares small signed requests part of aiohttp's
work. `connector` guards connections, `aiohttp_names` checks what that takes from aiohttp, and `errors` turns exceptions
of aiohttp into those of `sts_async.errors`.
"""
