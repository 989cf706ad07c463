"""
What a value is: shapes, their constraints, the forms in which members can be given, and secrets.

Nothing here knows the network, a file or an operation. The shapes of the API themselves are in `sts_async.shapes`.
"""
