"""Several sources in order, and what each of them says when it is asked."""

import asyncio
from datetime import UTC
from typing import Literal

import attrs

from .._runtime.defaults import ATTENDED_SECONDS, FETCH_SECONDS
from .._runtime.single_flight import SingleFlight
from .._shape.arguments import not_credentials
from .._shape.secret import Unpicklable, without_data
from ..errors import ConfigurationError, CredentialsError, CredentialsNotFound, InvalidConfigFile, STSError
from ..protocols import CredentialsProvider, ProviderContext
from ..shapes import Credentials
from ._cache_per_client import depends_on_client
from .source import Source, name_of, provider_of

LOOK_AGAIN = 10.0  # s between two searches, where a file could not be read
SEARCH_SECONDS = ATTENDED_SECONDS + FETCH_SECONDS  # s for a search: a person may be asked, and more than one source


@attrs.frozen(kw_only=True)
class Finding:
    """
    What one source of a chain said.

    Attributes:
        source: Name of the source.
        outcome: ``found``; ``not configured``, so that the chain goes on; ``failed``, so that it stops.
        detail: The access key id and when it ends; what was looked at; or why it failed. Nothing secret.
        used: Whether this is the source that the chain takes.
    """

    source: str
    outcome: Literal["found", "not configured", "failed"]
    detail: str
    used: bool = False


class ProviderChain(Unpicklable):
    """
    Provide the credentials of the first source that has some.

    A source that is not configured is passed over. One that is configured and fails ends the search with its own error:
    going on would silently take another identity. The source that was found is asked from then on, and the others again
    only when it has nothing to offer any more. But if a source before it was passed over because a default file could
    not be read, the chain searches again every 10 s, in the background, while credentials are asked for.

    Args:
        sources: `Credentials`, providers, or coroutine functions without arguments that return `Credentials`.

    Raises:
        ConfigurationError: *sources* is empty, or one of them is not a source.
    """

    bounds_itself = True

    def __init__(self, *sources: Source) -> None:
        sources = tuple(map(without_data, sources))
        self.sources: tuple[CredentialsProvider, ...] = ()  # for the traceback of an error here
        if not sources:
            raise ConfigurationError("a chain needs at least one source")
        self.sources = tuple(provider_of(source, what="a source of a chain") for source in sources)
        self.depends_on_client = any(map(depends_on_client, self.sources))
        self._chosen: CredentialsProvider | None = None
        self._doubtful = False  # whether a source before the chosen one may have some all the same
        self._search_again_at = 0.0
        self._searches: SingleFlight[Credentials] = SingleFlight(make_timeout_error=_timeout_error)

    async def provide_credentials(self, context: ProviderContext) -> Credentials:
        """
        Return the credentials of the first source that has some.

        Raises:
            CredentialsNotFound: None has; the message says what each looked at.
            STSError: One is configured and failed.
        """
        chosen, whose = self._chosen, (context.client, context.credentials_key)
        if chosen is not None:
            if self._doubtful and context.monotonic() >= self._search_again_at:
                self._search_again_at = context.monotonic() + LOOK_AGAIN
                self._searches.join(
                    context.tasks,
                    lambda: self._search_again(context),
                    key=whose,
                    seconds=SEARCH_SECONDS,
                )
            try:
                return await chosen.provide_credentials(context)
            except CredentialsNotFound:
                self._chosen = None
        return await self._searches.get(context.tasks, lambda: self._search(context), key=whose, seconds=SEARCH_SECONDS)

    async def _search(self, context: ProviderContext) -> Credentials:
        looked_at, doubtful = [], False
        for source in self.sources:
            try:
                credentials = await _provided(source, context)
            except CredentialsNotFound as error:
                looked_at.append(f"{name_of(source)}: {error}")
                doubtful = doubtful or error.doubtful
            else:
                self._chosen, self._doubtful = source, doubtful
                self._search_again_at = context.monotonic() + LOOK_AGAIN
                return credentials
        raise CredentialsNotFound("no credentials found (`sts-async doctor` says more); " + "; ".join(looked_at))

    async def _search_again(self, context: ProviderContext) -> Credentials:
        try:
            return await self._search(context)
        except STSError as error:
            if not (isinstance(error, InvalidConfigFile) and error.recoverable):
                self._chosen = None  # the next caller searches, and is told
            raise

    def invalidate(self, access_key_id: str) -> None:
        """Have the source in use fetch again, if *access_key_id*, which the service refused, is still its key."""
        invalidate = getattr(self._chosen, "invalidate", None)
        if invalidate is not None:
            invalidate(access_key_id)

    async def findings(self, context: ProviderContext) -> tuple[Finding, ...]:
        """Ask every source, also those that come after the one that is taken, and return what each said."""
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
    """Return what a source has, within 60 s unless the source bounds itself."""
    limit = asyncio.timeout(None if getattr(source, "bounds_itself", False) else FETCH_SECONDS)
    try:
        async with limit:
            return await source.provide_credentials(context)
    except TimeoutError:
        if not limit.expired():
            raise
    raise CredentialsError(f"{name_of(source)} did not provide credentials within {FETCH_SECONDS:g} s")


def _timeout_error(seconds: float) -> CredentialsError:
    return CredentialsError(f"the search for credentials was not done within {seconds:g} s")


async def _ask(source: CredentialsProvider, context: ProviderContext) -> Finding:
    name = name_of(source)
    try:
        credentials = await _provided(source, context)
    except CredentialsNotFound as error:
        return Finding(source=name, outcome="not configured", detail=str(error))
    except STSError as error:
        return Finding(source=name, outcome="failed", detail=f"{type(error).__name__}: {error}")
    except Exception as error:  # noqa: BLE001 - of a source of the program's own, whose text may hold anything
        return Finding(source=name, outcome="failed", detail=type(error).__name__)
    if not isinstance(credentials, Credentials):
        return Finding(source=name, outcome="failed", detail=not_credentials(credentials))
    ends = credentials.expiration
    until = "does not end" if ends is None else f"until {ends.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    account = "" if credentials.account_id is None else f", account {credentials.account_id}"
    return Finding(source=name, outcome="found", detail=f"{credentials.access_key_id}{account}, {until}")
