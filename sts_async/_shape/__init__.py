"""
Tools for values: shapes, their constraints, the accepted forms of members, and secrets.

No code here uses the network, a file or an operation. The shapes of the API are in `sts_async.shapes`.
"""
