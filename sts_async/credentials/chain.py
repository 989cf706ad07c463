"""A chain of sources: the first one that is configured provides the credentials."""

import asyncio
from datetime import UTC
from typing import Literal

import attrs

from .._runtime.at_hand import REPLACEABLE, AtHand, at_hand_of, nothing_at_hand, serves
from .._runtime.defaults import ATTENDED_SECONDS, FETCH_SECONDS
from .._runtime.single_flight import SingleFlight
from .._shape.arguments import not_credentials
from .._shape.secret import Unpicklable, without_data
from ..errors import ConfigurationError, CredentialsError, CredentialsNotFound, InvalidConfigFile, STSError
from ..protocols import CredentialsProvider, ProviderContext, invalidate, is_attended
from ..shapes import Credentials
from ._cache_per_client import depends_on_client
from .source import Source, name_of, provider_of

LOOK_AGAIN = 10.0  # s between two searches if a file could not be read
SEARCH_SECONDS = ATTENDED_SECONDS + FETCH_SECONDS  # s for a search, in which a person and several sources may be asked


@attrs.frozen(kw_only=True)
class Finding:
    """
    The result of asking one source of a chain.

    Attributes:
        source: Name of the source.
        outcome: ``found``; ``not configured``, after which the chain continues; ``failed``, after which it stops.
        detail: If found, the access key id and its expiration; if not configured, the settings that are missing; if
            failed, the error. It contains no secret.
        used: Whether the chain uses this source.
    """

    source: str
    outcome: Literal["found", "not configured", "failed"]
    detail: str
    used: bool = False


class ProviderChain(Unpicklable):
    """
    Provide the credentials of the first source that is configured.

    A source that is not configured is skipped. If a configured source fails, the search ends with its error: the next
    source would silently provide another identity. After the search, the chain asks only the source that it found. It
    searches again when this source is no longer configured. A source may also have been skipped because a default file
    could not be read. Then the chain searches again in the background, at most every 10 s while it is in use.

    Args:
        sources: `Credentials`, providers, or coroutine functions without arguments that return `Credentials`.

    Raises:
        ConfigurationError: *sources* is empty, or contains something else.
    """

    bounds_itself = True

    def __init__(self, *sources: Source) -> None:
        sources = tuple(map(without_data, sources))
        # Set before any error: a traceback with locals calls `__repr__`.
        self.sources: tuple[CredentialsProvider, ...] = ()
        if not sources:
            raise ConfigurationError("a chain needs at least one source")
        self.sources = tuple(provider_of(source, what="a source of a chain") for source in sources)
        self.depends_on_client = any(map(depends_on_client, self.sources))
        self._chosen: CredentialsProvider | None = None
        self._chosen_at_hand: AtHand = nothing_at_hand
        # Whether an earlier source may be configured, because a file could not be read.
        self._doubtful = False
        self._search_again_at = 0.0
        self._searches: SingleFlight[Credentials] = SingleFlight(make_timeout_error=_timeout_error)

    def _choose(self, source: CredentialsProvider | None) -> None:
        """Use *source* for the next calls; None to search again."""
        self._chosen, self._chosen_at_hand = source, at_hand_of(source)

    async def provide_credentials(self, context: ProviderContext) -> Credentials:
        """
        Return the credentials of the first source that is configured.

        Raises:
            CredentialsNotFound: No source is configured. The message says what each source looked for.
            STSError: A configured source failed.
        """
        chosen, key = self._chosen, (context.client, context.credentials_key)
        if chosen is not None:
            if self._doubtful and context.monotonic() >= self._search_again_at:
                self._search_again_at = context.monotonic() + LOOK_AGAIN
                self._searches.join(
                    context.tasks,
                    lambda: self._search_again(context),
                    key=key,
                    seconds=SEARCH_SECONDS,
                )
            try:
                return await chosen.provide_credentials(context)
            except CredentialsNotFound:
                self._choose(None)
        return await self._searches.get(context.tasks, lambda: self._search(context), key=key, seconds=SEARCH_SECONDS)

    @serves(provide_credentials)
    def _at_hand(self, context: ProviderContext) -> Credentials | None:
        """Return the credentials that the source in use has at hand. Return None if an earlier source may have some."""
        return None if self._doubtful or REPLACEABLE in self.__dict__ else self._chosen_at_hand(context)

    async def _search(self, context: ProviderContext) -> Credentials:
        looked_at, doubtful = [], False
        for source in self.sources:
            try:
                credentials = await _provided(source, context)
            except CredentialsNotFound as error:
                looked_at.append(f"{name_of(source)}: {error}")
                doubtful = doubtful or error.doubtful
            else:
                self._choose(source)
                self._doubtful = doubtful
                self._search_again_at = context.monotonic() + LOOK_AGAIN
                return credentials
        raise CredentialsNotFound("no credentials found (`sts-async doctor` explains why); " + "; ".join(looked_at))

    async def _search_again(self, context: ProviderContext) -> Credentials:
        try:
            return await self._search(context)
        except STSError as error:
            if not (isinstance(error, InvalidConfigFile) and error.recoverable):
                # The next caller searches again, and gets the error.
                self._choose(None)
            raise

    def invalidate(self, access_key_id: str) -> None:
        """Tell the source in use that the service refused *access_key_id*. It fetches again if this is its key."""
        invalidate(self._chosen, access_key_id)

    def is_attended(self, context: ProviderContext | None = None) -> bool:
        """Return True if one of the sources asks a person, as far as is known."""
        return any(is_attended(source, context) for source in self.sources)

    async def findings(self, context: ProviderContext) -> tuple[Finding, ...]:
        """Ask every source, including those after the one that is used. Return the result of each, in order."""
        findings: list[Finding] = []
        decided = False
        for source in self.sources:
            finding = await _ask(source, context)
            if finding.outcome != "not configured" and not decided:
                decided = True
                finding = attrs.evolve(finding, used=finding.outcome == "found")
            findings.append(finding)
        return tuple(findings)

    def __repr__(self) -> str:
        return f"ProviderChain({', '.join(map(name_of, self.sources))})"


async def _provided(source: CredentialsProvider, context: ProviderContext) -> Credentials:
    """Return the credentials of a source. The limit is 60 s, unless the source has its own limit."""
    limit = asyncio.timeout(None if getattr(source, "bounds_itself", False) else FETCH_SECONDS)
    try:
        async with limit:
            return await source.provide_credentials(context)
    except TimeoutError:
        if not limit.expired():
            raise
    raise CredentialsError(f"{name_of(source)} did not provide credentials within {FETCH_SECONDS:g} s")


def _timeout_error(seconds: float) -> CredentialsError:
    return CredentialsError(f"the search for credentials did not finish within {seconds:g} s")


async def _ask(source: CredentialsProvider, context: ProviderContext) -> Finding:
    name = name_of(source)
    try:
        credentials = await _provided(source, context)
    except CredentialsNotFound as error:
        return Finding(source=name, outcome="not configured", detail=str(error))
    except STSError as error:
        return Finding(source=name, outcome="failed", detail=f"{type(error).__name__}: {error}")
    except Exception as error:  # noqa: BLE001 - a source of the program may raise anything; its text may hold secrets
        return Finding(source=name, outcome="failed", detail=type(error).__name__)
    if not isinstance(credentials, Credentials):
        return Finding(source=name, outcome="failed", detail=not_credentials(credentials))
    ends = credentials.expiration
    until = "does not expire" if ends is None else f"until {ends.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    account = "" if credentials.account_id is None else f", account {credentials.account_id}"
    return Finding(source=name, outcome="found", detail=f"{credentials.access_key_id}{account}, {until}")
