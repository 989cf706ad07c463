"""
Rules of the protocol as pure functions: encoding, decoding, URLs, hosts, headers and clock skew.

No code here waits, reads a clock or a file, or uses randomness. Signing is in `sts_async.sigv4`.
"""
