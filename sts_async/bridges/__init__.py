"""
Bridges: the credentials of a client or of a fleet in other libraries, in one line each.

    session = bridges.boto3.session(sts.role("arn:aws:iam::123456789012:role/demo"))

Each function takes *credentials*: an `STSClient`, a view of it, or the result of `CredentialsFleet.provider`. The other
library is imported only when a function of its bridge is called, and is no dependency of this package. If it is missing
or too old, the function raises a `ConfigurationError` with the version to install.

boto3        sessions                           aiohttp      a client middleware that signs
botocore     sessions, credentials in its form  httpx        an authentication that signs
aioboto3     sessions                           httpx2       the same for httpx2
aiobotocore  sessions                           s3fs         file systems
obstore      a credential provider              polars       a credential provider
redis        passwords of ElastiCache, MemoryDB kubernetes   bearer tokens of EKS
aiokafka     tokens of MSK                      openai       API keys of Bedrock

_view        CredentialsView: the two primitives that carry all bridges, for bridges of your own
_consumers   finds the other library, and checks its version
_derived     tokens that are signed again when that is needed
_signing     signs requests for named origins

A bridge passes credentials on. It signs nothing that a signer of the other library can sign, and caches nothing that
the client or the fleet already caches. Tokens that are derived from credentials belong in `tokens`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import (
        aioboto3,
        aiobotocore,
        aiohttp,
        aiokafka,
        boto3,
        botocore,
        httpx,
        httpx2,
        kubernetes,
        obstore,
        openai,
        polars,
        redis,
        s3fs,
    )
    from ._view import BridgeCredentials, CredentialsView

__all__ = [
    "BridgeCredentials",
    "CredentialsView",
    "aioboto3",
    "aiobotocore",
    "aiohttp",
    "aiokafka",
    "boto3",
    "botocore",
    "httpx",
    "httpx2",
    "kubernetes",
    "obstore",
    "openai",
    "polars",
    "redis",
    "s3fs",
]
CONSUMERS = frozenset(name for name in __all__ if name.islower())
"""The names of the bridges, which are modules."""

if not TYPE_CHECKING:  # otherwise type checkers would accept any misspelled name

    def __getattr__(name: str) -> Any:
        if name in CONSUMERS:
            return import_module(f".{name}", __name__)
        if name in __all__:
            return globals().setdefault(name, getattr(import_module("._view", __name__), name))
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return [*globals(), *__all__]
