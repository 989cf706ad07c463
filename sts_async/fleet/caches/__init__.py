"""
Caches of credentials that processes share, so that all processes together make one STS call for each identity.

protocol         CredentialsCache: load, store, lease; CacheKey and CachedCredentials; CacheUser
file             FileCache: files of one host
aws_cli          the keys and files of the AWS CLI, which FileCache can read and write
redis            RedisCache: Redis or Valkey, for many machines
encryption_keys  EncryptionKeys: the keys of a cache whose values are encrypted

Caches belong here, and the formats of their entries. The fleet, one room above, decides when credentials are refreshed.
The caches of single providers, which live in one process, are in `credentials`.

_entries            the format of an entry, and its checks
_encrypted_entries  entries that are encrypted and authenticated
_directory          of a cache of files: paths, modes and owners
_leases             of a cache of files: leases, which are locks between processes
_redis_client       URLs of Redis, and clients of redis-py
_redis_commands     the operations on Redis, each with a time limit
_redis_scripts      the steps of a lease that the server does at once
_redis_access       sends operations while Redis is available, and probes while it is not
_redis_leases       leases on Redis: taken, renewed, awaited and given back
_redis_shares       the script that computes the share of each worker in a budget
_membership         one fleet among the workers: it tells its needs, and gets its shares
_availability       when Redis counts as available (pure)
_shares             the rules of shares, also without answers of Redis (pure)
"""

from typing import TYPE_CHECKING

from ..._runtime.lazy_imports import lazily

if TYPE_CHECKING:
    from .encryption_keys import EncryptionKeys
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
    __getattr__, __dir__ = lazily(__name__, names=__all__, homes=("protocol", "file", "encryption_keys", "redis"))
