"""
The protocol of a cache that processes share: keys, entries, and the lease under which one process fetches.

A caller that needs credentials takes these steps:

1. `CredentialsCache.load`: another process may have stored them.
2. `CredentialsCache.lease`, and `load` again: another process may have fetched them before this one had the lease.
3. Fetch them, and `CredentialsCache.store` them, within the lease.

A caller that holds a lease takes no second one. The credentials that sign the request are therefore obtained before
step 2: two processes that each wait for the lease of the other would lose time.
"""

import hashlib
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any, Protocol

import attrs

from ..._protocol import query
from ..._shape.arguments import other_than
from ..._shape.secret import hiding, without_data
from ...credentials._sts_providers import check
from ...errors import ConfigurationError
from ...events import Event
from ...operations import BY_REQUEST
from ...shapes import Credentials, Request


@hiding(request=without_data)
@attrs.frozen(kw_only=True)
class CacheKey:
    """
    The key of credentials in a cache: the request, who signs it, and where it is sent.

    Attributes:
        request: The request that issues the credentials.
        source: Who signs the request: an access key id, the name of a namespace, or the `digest` of the key of the
            identity whose credentials sign it. Empty if the request is not signed.
        endpoint: The URL of the STS.

    Raises:
        ConfigurationError: An attribute has the wrong type, or *request* is not a request of the API.
        ParamValidationError: *request* lacks members, or has some of the wrong type.
    """

    request: Request[Any]
    source: str
    endpoint: str
    _digest: str | None = attrs.field(default=None, init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if type(self.request) not in BY_REQUEST:
            raise ConfigurationError(
                f"request of CacheKey must be a request of STS, not {other_than('Request', self.request)}"
            )
        for name in ("source", "endpoint"):
            if not isinstance(getattr(self, name), str):
                raise ConfigurationError(f"{name} of CacheKey must be text")
        # No cache has to expect other types in a request.
        check(self.request, bounds=False)

    @property
    def digest(self) -> str:
        """
        The SHA-256 of the whole key, as 64 hexadecimal digits. It depends on every member of the request (T42).

        The request is digested in the form in which it is sent, secrets included. So two requests have the same digest
        if and only if STS receives the same request.

        Raises:
            ParamValidationError: A member cannot be encoded, so the request cannot be sent either.
        """
        if self._digest is None:
            # Once for each key, because a fetch needs it several times: it is a fifth of the time to read an entry.
            object.__setattr__(self, "_digest", self._digested())
        return self._digest  # type: ignore[return-value]

    def _digested(self) -> str:
        body = query.encode(BY_REQUEST[type(self.request)], self.request, validate=False)
        whole = hashlib.sha256()
        for part in (body, *(text.encode("utf-8", "surrogatepass") for text in (self.source, self.endpoint))):
            # The length shows where each part ends, so no two keys have the same bytes.
            whole.update(b"%d:" % len(part))
            whole.update(part)
        return whole.hexdigest()


@hiding(credentials=without_data)
@attrs.frozen(kw_only=True)
class CachedCredentials:
    """
    Credentials from a cache.

    Attributes:
        credentials: The credentials.
        issued: Time at which STS issued them, as an aware datetime. With the expiration it shows their lifetime.
        refresh_after: Time at which the process that fetched them will refresh them, as an aware datetime; None if it
            is not known. Other processes refresh them a little later, so that they find the new ones in the cache.

    Raises:
        ConfigurationError: *credentials* are not `Credentials`, or a time is not an aware datetime.
    """

    credentials: Credentials
    issued: datetime
    refresh_after: datetime | None = None

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.credentials, Credentials):
            raise ConfigurationError("credentials of CachedCredentials must be Credentials")
        for name in ("issued", "refresh_after"):
            value = getattr(self, name)
            if value is None and name == "refresh_after":
                continue
            if not isinstance(value, datetime) or value.tzinfo is None:
                raise ConfigurationError(f"{name} of CachedCredentials must be an aware datetime")

    def seconds_left(self, *, now: datetime) -> float:
        """Return the seconds until the credentials expire; infinite if they do not expire."""
        expiration = self.credentials.expiration
        return float("inf") if expiration is None else (expiration - now.astimezone(UTC)).total_seconds()


class CacheUser(Protocol):
    """
    What a fleet offers to its cache: see `CredentialsCache`.

    Attributes:
        requests_per_second: The limit of requests for each calling account and region, of which this fleet has a share.
    """

    requests_per_second: float

    def demand(self) -> Mapping[str, float]:
        """
        Return how many requests the fleet has sent since the last call, plus those that wait now.

        The keys are the calling accounts and regions, such as ``123456789012/eu-west-1``.
        """
        ...

    def set_shares(self, shares: Mapping[str, float], *, others: float) -> None:
        """
        Set the share of this fleet in the budget of each calling account and region.

        Args:
            shares: Shares, greater than 0 and at most 1, by account and region.
            others: The share for any other account and region.
        """
        ...

    def notify(self, event: Event) -> None:
        """Pass an event to the observers of the fleet."""
        ...


class CredentialsCache(Protocol):
    """
    A cache that processes share.

    A cache makes a program faster, and is never a reason to fail. Its methods raise no error if an entry cannot be
    used, or if the storage is not available. They log a warning, and the program fetches the credentials itself.

    A cache may have two further methods, which must not raise either:

    - the coroutine ``join(user)``: a fleet starts to use the cache. *user* is a `CacheUser`.
    - the coroutine ``leave(user)``: this fleet has ended.
    """

    async def load(self, key: CacheKey) -> CachedCredentials | None:
        """Return credentials that have not expired, or None if the cache has none that can be used."""
        ...

    async def store(self, key: CacheKey, cached: CachedCredentials) -> None:
        """Store credentials, in place of earlier ones. Credentials without an expiration are not stored."""
        ...

    def lease(self, key: CacheKey) -> AbstractAsyncContextManager[bool]:
        """
        Wait until no other process fetches the credentials of *key*, and keep others from it within the block.

        The block receives True if this caller has the lease. It receives False if another process has stored
        credentials in the meantime, or if no lease was available in time. In both cases, the caller loads the
        credentials again, and fetches them if there are still none.
        """
        ...
