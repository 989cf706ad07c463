"""
Caches of credentials that processes share, so that all processes together make one STS call for each identity.

protocol    CredentialsCache: load, store, lease; CacheKey and CachedCredentials; CacheUser
file        FileCache: files of one host
aws_cli     the keys and files of the AWS CLI, which FileCache can read and write
redis       RedisCache: Redis or Valkey, for many machines
encryption  EncryptionKeys: the keys of a cache whose values are encrypted

Caches belong here, and the formats of their entries. The fleet, one room above, decides when credentials are refreshed.
The caches of single providers, which live in one process, are in `credentials`.

_directory       files, modes and owners       _leases          locks between processes
_entries         the format of the library     _sealed_entries  encrypted entries
_redis_client    URLs, and clients of redis-py _redis_commands  operations and scripts
_redis_access    what is asked in an outage    _redis_leases    holders and followers
_redis_members   the scripts of the workers    _membership      the beats of one fleet
_availability    when an outage is over        _shares          the rules of shares in a limit
"""

from typing import TYPE_CHECKING

from ..._runtime.lazy_imports import lazily

if TYPE_CHECKING:
    from .encryption import EncryptionKeys
    from .file import FileCache
    from .protocol import CachedCredentials, CacheKey, CacheUser, CredentialsCache
    from .redis import RedisCache

__all__ = [
    "CacheKey",
    "CacheUser",
    "CachedCredentials",
    "CredentialsCache",
    "EncryptionKeys",
    "FileCache",
    "RedisCache",
]

if not TYPE_CHECKING:  # otherwise type checkers would accept any misspelled name
    __getattr__, __dir__ = lazily(__name__, names=__all__, homes=("protocol", "file", "encryption", "redis"))
