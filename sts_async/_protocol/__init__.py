"""
The rules of the wire, as pure functions: requests to bytes, bytes to responses, URLs, hosts, headers and clock skew.

Nothing here waits, reads a clock or a file, or draws a random number. Signing is in `sts_async.sigv4`.
"""
