"""
A fleet: the credentials of any number of identities, kept fresh in one event loop or on one host.

fleet        CredentialsFleet: get, peek, add, remove, pause, resume, each, snapshot, failing
identities   requests and providers as identities; chains of them
reports      what a fleet reports about itself
roles_file   files of roles: identities with names, one on each line
caches/      caches that processes share: files of one host, or Redis

_members, _entries          who is in the fleet: checks, lanes, and the two tiers
_queues, _due_times         when each identity is refreshed, and in which order (pure)
_budget, _budgeted_retries  at which rate requests are sent (`_budget` is pure)
_timer, _workers            what runs: one timer, and a bounded number of tasks
_refresher, _chains         one refresh from the queue to the new state; chains of identities
_attempt, _fetch            one attempt of a fetch: from the service, a provider or the cache
_shared_fetches             a fetch that processes share
_cache_user                 what the fleet offers to its cache: demand, shares, observers
_provider, _scan            providers of the fleet's credentials, and `each`
_reporter, _overview        events, log lines, and the counts of a snapshot
_role_lines                 one line of a file of roles (pure)

The refresh of one provider belongs in `credentials`. This room has the rules for many identities together: when each is
refreshed, in which order, and at which rate.
"""

from typing import TYPE_CHECKING

from .._runtime.lazy_imports import lazily

if TYPE_CHECKING:
    from .caches.encryption_keys import EncryptionKeys
    from .caches.file import FileCache
    from .caches.protocol import CachedCredentials, CacheKey, CacheUser, CredentialsCache
    from .caches.redis import RedisCache
    from .fleet import CredentialsFleet
    from .identities import ChainedRequest, Identity
    from .reports import BudgetUse, FailingIdentity, FleetSnapshot, IdentityState

__all__ = [
    "BudgetUse",
    "CacheKey",
    "CacheUser",
    "CachedCredentials",
    "ChainedRequest",
    "CredentialsCache",
    "CredentialsFleet",
    "EncryptionKeys",
    "FailingIdentity",
    "FileCache",
    "FleetSnapshot",
    "Identity",
    "IdentityState",
    "RedisCache",
]

if not TYPE_CHECKING:  # otherwise type checkers would accept any misspelled name
    __getattr__, __dir__ = lazily(
        __name__,
        names=__all__,
        homes=(
            *("identities", "reports", "fleet"),
            *("caches.protocol", "caches.file", "caches.encryption_keys", "caches.redis"),
        ),
    )
