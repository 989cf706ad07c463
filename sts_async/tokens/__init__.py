"""
Tokens and URLs that are derived from credentials: passwords of databases, bearer tokens, sign-in URLs.

eks           bearer token of a Kubernetes cluster      msk           token of Amazon MSK for Kafka clients
rds           password of RDS and Aurora                bedrock       API key of Amazon Bedrock
dsql          password of Aurora DSQL                   vault         login of HashiCorp Vault
elasticache   password of ElastiCache                   console       URL that opens the AWS console
memorydb      password of MemoryDB                      web_identity  JWT of AWS for services outside AWS

Each has a coroutine, which takes a client, a view or a provider of a fleet:

    token = await rds_token(sts, host="db.abc123.eu-west-1.rds.amazonaws.com", port=5432, user="app")

All but the last two also have a function ``sign_...`` for callbacks that cannot wait. It takes `Credentials` and the
time, and does no I/O. A derived token ends when its credentials end, or earlier.

A token of another service belongs here if it is made from credentials alone. Code that hands tokens to a library does
not belong here.
"""

from typing import TYPE_CHECKING

from .._runtime.lazy_imports import lazily

if TYPE_CHECKING:
    from ._token import Token
    from .bedrock import bedrock_api_key, sign_bedrock_api_key
    from .console import console_url
    from .dsql import dsql_token, sign_dsql_token
    from .eks import eks_token, exec_credential, sign_eks_token
    from .elasticache import elasticache_token, sign_elasticache_token
    from .memorydb import memorydb_token, sign_memorydb_token
    from .msk import msk_token, sign_msk_token
    from .rds import rds_token, sign_rds_token
    from .vault import VaultLogin, sign_vault_login, vault_login
    from .web_identity import web_identity_token

__all__ = [
    "Token",
    "VaultLogin",
    "bedrock_api_key",
    "console_url",
    "dsql_token",
    "eks_token",
    "elasticache_token",
    "exec_credential",
    "memorydb_token",
    "msk_token",
    "rds_token",
    "sign_bedrock_api_key",
    "sign_dsql_token",
    "sign_eks_token",
    "sign_elasticache_token",
    "sign_memorydb_token",
    "sign_msk_token",
    "sign_rds_token",
    "sign_vault_login",
    "vault_login",
    "web_identity_token",
]

if not TYPE_CHECKING:  # otherwise type checkers would accept any misspelled name
    __getattr__, __dir__ = lazily(
        __name__,
        names=__all__,
        homes=(
            "_token",
            "eks",
            "rds",
            "dsql",
            "elasticache",
            "memorydb",
            "msk",
            "bedrock",
            "vault",
            "console",
            "web_identity",
        ),
    )
