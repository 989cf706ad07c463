"""
``sts-async fleet``: keep the credentials of a file of roles fresh, and show their states.

It runs until SIGINT or SIGTERM. SIGHUP reads the file again. With ``--once``, all credentials are fetched once.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from .._runtime.signals import signal_queue
from ..client import STSClient
from ..credentials.source import MFACode
from ..errors import STSError
from ..events import CacheStateChanged, Event, IdentityStateChanged
from ..fleet.caches.protocol import CredentialsCache
from ..fleet.fleet import CredentialsFleet
from ..fleet.identities import Identity, describe, source_of
from ..fleet.reports import FailingIdentity, FleetSnapshot
from ..shapes import Credentials, GetCallerIdentityRequest
from .command_client import DEFAULT_REGION, client_of
from .fleet_lines import MAX_FAILING, Lines, in_one_moment, plural
from .fleet_options import ENDING_OF_FLEET, RELOAD
from .output import Output
from .roles_source import NO_IDENTITY, RolesSource, partition_of_endpoint
from .terminal import PREFIX, Warnings, in_one_line

if TYPE_CHECKING:
    import signal

    from ..fleet.roles_file import RolesFile

MAX_UNWRITTEN = 1000  # results in the queue of the output, so that none is dropped
SUMMARY_SECONDS = 60.0


@attrs.frozen(kw_only=True)
class Settings:
    """
    The options of the command.

    Attributes:
        roles: Path of the file of roles; None for generated roles.
        local: Whether to use a local STS.
        count: Number of generated roles.
        cache: The cache that processes share; None for no cache.
        cache_namespace: Name of the calling identity in the cache; None for its access key id.
        rate: Maximum number of requests per second for each calling account and region.
        concurrency: Maximum number of requests at once.
        allowed_accounts: Ids of the accounts that identities may belong to; None for any.
        strict_arns: Whether ARNs of roles must follow the grammar of IAM.
        once: Whether to fetch all credentials once and end.
        client: Options of the client, by their names in `Config`.
        mfa_code: The function that returns the code of an MFA device.
        summary_seconds: Time between two summaries.
    """

    roles: str | None
    local: bool = False
    count: int = 20
    cache: CredentialsCache | None = None
    cache_namespace: str | None = None
    rate: float = 200.0
    concurrency: int = 50
    allowed_accounts: Sequence[str] | None = None
    strict_arns: bool = True
    once: bool = False
    client: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    mfa_code: MFACode | None = None
    summary_seconds: float = SUMMARY_SECONDS


class Display(Protocol):
    """
    Shows the states of a fleet.

    Attributes:
        seconds: Time between two calls of `show`.
    """

    seconds: float

    def note(self, text: str) -> None:
        """Show a message."""
        ...

    def changed(self, name: str, event: IdentityStateChanged) -> None:
        """Show a change of the state of an identity."""
        ...

    def show(self, snapshot: FleetSnapshot, failing: Sequence[tuple[str, FailingIdentity]]) -> None:
        """Show the state of the fleet, and its identities that fail, with their names."""
        ...

    def end(self) -> None:
        """End the display."""
        ...


async def run(settings: Settings, warnings: Warnings) -> int:
    """
    Run the command, and return its exit status.

    Args:
        settings: The options.
        warnings: The handler for warnings of the library, which must not write in the event loop.

    Raises:
        OutputLost: Standard output cannot be written.
        STSError: An option is invalid.
        ValueError: The file cannot be read, or has no identity that can be used.
    """
    async with contextlib.AsyncExitStack() as stack:
        output = await stack.enter_async_context(Output())
        stack.callback(setattr, warnings, "write", warnings.write)
        warnings.write = output.complain
        # The states of identities are shown by the command, which has their names.
        warnings.addFilter(lambda record: record.module != "_reporter")
        config, credentials = await stack.enter_async_context(
            client_of(
                settings.client, local=settings.local, mfa_code=settings.mfa_code, concurrency=settings.concurrency
            )
        )
        source = RolesSource(
            settings.roles,
            generated=settings.count,
            region=str(settings.client.get("region", DEFAULT_REGION)),
            partition=await partition_of_endpoint(config),
            allowed_accounts=settings.allowed_accounts,
            strict_arns=settings.strict_arns,
        )
        found = await source.read()
        for line in source.problems_of(found):
            output.complain(line)
        if not found.identities:
            raise ValueError(f"{source.shown}: {NO_IDENTITY}")
        command = _Command(settings, output, source, found)
        async with (
            STSClient(config=config, credentials=credentials, observers=[command.observe]) as sts,
            CredentialsFleet(
                sts,
                requests_per_second=settings.rate,
                concurrency=settings.concurrency,
                cache=settings.cache,
                cache_namespace=settings.cache_namespace,
                allowed_accounts=settings.allowed_accounts,
                strict_arns=settings.strict_arns,
            ) as fleet,
        ):
            return await (command.fetch(sts, fleet) if settings.once else command.keep(sts, fleet))


class _Command:
    """The command with its identities and its display."""

    def __init__(self, settings: Settings, output: Output, source: RolesSource, found: "RolesFile") -> None:
        self._settings = settings
        self._output = output
        self._source = source
        self._broken = bool(found.problems)
        self._quiet = True  # while identities are added or removed: one message covers all of them
        self._set_names({identity: name for name, identity in found.identities.items()})
        self._display: Display = Lines(output, seconds=settings.summary_seconds)

    def _set_names(self, names: Mapping[Identity, str]) -> None:
        """Set the names of the identities; events have only descriptions, which several identities can share."""
        self._names = dict(names)
        self._by_description: dict[str, str] = {}
        for identity, name in names.items():
            text = describe(identity)
            self._by_description[text] = text if text in self._by_description else name

    def observe(self, event: Event) -> None:
        """Show a change of the state of an identity, and that the cache is available again."""
        if self._settings.once:
            return
        if isinstance(event, CacheStateChanged) and event.available:  # the other change is a warning
            self._display.note(f"{in_one_line(event.cache)} is available again, after {event.seconds:.0f} s")
        if isinstance(event, IdentityStateChanged):
            added_or_removed = event.before is None or event.state is None
            if not (self._quiet and added_or_removed):
                self._display.changed(self._by_description.get(event.identity, event.identity), event)

    # -- Once ----------------------------------------------------------------------------------------------------------

    async def fetch(self, sts: STSClient, fleet: CredentialsFleet) -> int:
        """Fetch all credentials once, and return the exit status."""
        failed = unwritten = 0
        await _sign(sts)
        fleet.add(*self._names)  # otherwise, the fleet would forget an identity that signs for a later one
        async for identity, outcome in fleet.each([*self._names], concurrency=self._settings.concurrency):
            failed += not isinstance(outcome, Credentials)
            self._output.say(f"{self._names[identity]}: {_outcome_in_words(outcome)}\n")
            unwritten += 1
            if unwritten == MAX_UNWRITTEN:
                unwritten = 0
                await self._output.flush()
        count = len(self._names)
        self._output.say(f"{count - failed:,} of {count:,} {plural(count, 'identity')} fetched\n")
        await self._output.flush()
        return 1 if failed or self._broken else 0

    # -- Until a signal ends it ----------------------------------------------------------------------------------------

    async def keep(self, sts: STSClient, fleet: CredentialsFleet) -> int:
        """Keep all credentials fresh until a signal ends the command, and return the exit status."""
        names = (*ENDING_OF_FLEET, RELOAD)
        with signal_queue(names) as signals, contextlib.ExitStack() as stack:
            if not await self._can_sign(sts, signals):
                return 0
            self._display = self._new_display()
            stack.callback(lambda: self._display.end())
            count = len(self._names)
            self._display.note(f"keeping {count:,} {plural(count, 'identity')} of {self._source.shown}")
            fleet.add(*self._names)
            await self._until_the_end(fleet, signals)
            self._quiet = True
        self._output.say(f"{in_one_moment()} ended\n")
        return 0

    async def _can_sign(self, sts: STSClient, signals: "asyncio.Queue[signal.Signals]") -> bool:
        """
        Check that requests can be signed. Return False if a signal ended the command first.

        So a prompt for an MFA code comes before the table.

        Raises:
            STSError: Requests cannot be signed.
        """
        signing = asyncio.create_task(_sign(sts))
        try:
            while not signing.done():
                signalled = asyncio.create_task(signals.get())
                try:
                    await asyncio.wait([signing, signalled], return_when=asyncio.FIRST_COMPLETED)
                    if signalled.done() and signalled.result().name != RELOAD:
                        return False
                finally:
                    signalled.cancel()
            await signing
        finally:
            signing.cancel()
        return True

    def _new_display(self) -> Display:
        """Return a live table if standard output is a terminal and the package rich is installed."""
        kind = os.environ.get("TERM", "" if sys.platform == "win32" else "dumb")
        if sys.stdout is not None and sys.stdout.isatty() and kind not in ("dumb", "unknown"):
            with contextlib.suppress(ImportError):
                from .fleet_table import Table

                return Table(self._output, title=self._source.shown)
        return self._display

    async def _until_the_end(self, fleet: CredentialsFleet, signals: "asyncio.Queue[signal.Signals]") -> None:
        """Show the state at intervals, and read the file again on SIGHUP, until another signal arrives."""
        loop = asyncio.get_running_loop()
        signalled = asyncio.create_task(signals.get())
        shown = loop.time()
        try:
            while not self._output.ended.done():
                self._quiet = False
                waited = max(0.0, shown + self._display.seconds - loop.time())
                await asyncio.wait([signalled, self._output.ended], timeout=waited, return_when=asyncio.FIRST_COMPLETED)
                if signalled.done():
                    if signalled.result().name != RELOAD:
                        return
                    await self._reload(fleet)
                    signalled = asyncio.create_task(signals.get())
                if loop.time() >= shown + self._display.seconds:
                    self._show(fleet)
                    shown = loop.time()
        finally:
            signalled.cancel()

    def _show(self, fleet: CredentialsFleet) -> None:
        failing = fleet.failing(limit=MAX_FAILING)
        self._display.show(fleet.snapshot(), [(self._names.get(one.identity, one.name), one) for one in failing])

    async def _reload(self, fleet: CredentialsFleet) -> None:
        """Read the file again. If it has problems, nothing is removed; if it cannot be read, nothing changes."""
        try:
            found = await self._source.read()
        except ValueError as error:
            self._output.complain(f"{PREFIX}{in_one_line(error)}: the identities stay as they are\n")
            return
        for line in self._source.problems_of(found):
            self._output.complain(line)
        if not found.identities:
            self._output.complain(f"{PREFIX}{self._source.shown}: {NO_IDENTITY}: the identities stay as they are\n")
            return
        names = {identity: name for name, identity in found.identities.items()}
        added = [identity for identity in names if identity not in self._names]
        missing = [identity for identity in self._names if identity not in names]
        self._quiet = True
        fleet.add(*added)
        # An identity stays in the fleet while it signs for others, so it is removed after them.
        removed = [] if found.problems else sorted(missing, key=_links_of, reverse=True)
        fleet.remove(*removed)
        kept = {identity: self._names[identity] for identity in self._names if identity not in {*removed}}
        self._set_names({**kept, **names})
        note = f"{self._source.shown} was read again: {len(added):,} added, {len(removed):,} removed"
        if found.problems and missing:
            note += f", {len(missing):,} missing but kept, because the file has problems"
        self._display.note(note)


async def _sign(sts: STSClient) -> None:
    """
    Sign a request that is not sent. One error about options or credentials is better than one for each identity.

    Raises:
        STSError: The request cannot be signed.
    """
    await sts.presign(GetCallerIdentityRequest())


def _links_of(identity: Identity) -> int:
    """Return the number of identities through which an identity is obtained."""
    links = 0
    while (source := source_of(identity)) is not None:
        identity, links = source, links + 1
    return links


def _outcome_in_words(outcome: Credentials | STSError) -> str:
    if isinstance(outcome, STSError):
        return f"failed: {in_one_line(outcome)}"
    return f"fresh until {in_one_moment(outcome.expiration)}" if outcome.expiration else "fresh"
