"""
``sts-async export-credentials``, when the credentials are not among those that were printed before.

One process at a time does this for the same command, arguments, variables and files; `exported` describes how they are
compared. A role has a second cache below, that of a fleet. So a fleet and all commands of a host that use the same role
with the same key share one fetch, whatever their other arguments and variables are.
"""

import contextlib
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from .._protocol.json_documents import write_object
from .._runtime.clock import SystemClock
from .._runtime.file_contents import UNUSABLE, noting
from .._runtime.file_reads import FILE_READS
from .._runtime.files import Lock
from .._runtime.threads import NoThread
from .._shape.secret import HiddenDocument, SecretBytes
from ..client import STSClient
from ..config import Config
from ..credentials import DefaultChain
from ..credentials._schedule import REFRESH_BACKOFF
from ..credentials.source import MFACode, Source
from ..errors import STSError
from ..fleet._shared_fetches import SharedFetches
from ..fleet.caches import FileCache
from ..fleet.caches._directory import CacheDirectory
from ..fleet.caches._entries import OwnFormat, cacheable, credentials_document
from ..fleet.caches._leases import Leases
from ..protocols import is_attended
from ..shapes import AssumeRoleRequest, Credentials
from .export_forms import render
from .export_roles import SharedRole, is_repeatable, margin_of, origin_of
from .exported import DIRECTORY, FORMAT_VERSION, LAST_MINUTE, Exported, digest_of_file, load
from .own_profile import leave_own_profile

_MEMBERS = [member.name for member in AssumeRoleRequest.__members__ if member.name != "token_code"]


@attrs.frozen(kw_only=True)
class Settings:
    """
    The options of the command.

    Attributes:
        role: The request for the role; None to export the credentials of the source.
        form: The format.
        digest: The name of the entry; None if the result is not kept.
        cache: The directory of the cache; None for the default.
        no_cache: Whether to use no cache.
        strict_arns: Whether ARNs of roles must follow the grammar of IAM.
        local: Whether to use a local STS.
        client: The options of the client, by their names in `Config`.
        arguments: The arguments of the process, with the name of the command.
        mfa_code: The function that returns the code of an MFA device.
    """

    role: AssumeRoleRequest | None
    form: str
    digest: str | None
    cache: str | None
    no_cache: bool
    strict_arns: bool
    local: bool
    client: Mapping[str, Any] = attrs.field(repr=False)
    arguments: Sequence[str] = attrs.field(repr=False)
    mfa_code: MFACode


@attrs.frozen
class _Obtained:
    """
    New credentials.

    Attributes:
        credentials: The credentials.
        issued: When they were issued, in seconds since 1970.
        attended: Whether a person was asked.
        repeatable: Whether only arguments, variables and files decided which credentials these are.
    """

    credentials: Credentials
    issued: float
    attended: bool
    repeatable: bool


class _Noted:
    """
    The files that a search has read, with the digests of what it parsed.

    Attributes:
        files: The digest for each path; None if there was no file.
        complete: Whether the digests are all that the files decided.
    """

    def __init__(self) -> None:
        self.files: dict[str, str | None] = {}
        self.complete = True

    def __call__(self, path: str, data: bytes | None) -> None:
        digest = None if data is None else digest_of_file(data)
        # A file with two contents was changed meanwhile, and it is not known which of them decided.
        if data is UNUSABLE or self.files.setdefault(path, digest) != digest:
            self.complete = False


async def run(settings: Settings) -> str:
    """
    Return the output of the command, without a line break at its end.

    Raises:
        STSError: There are no credentials, or an option is invalid.
        ValueError: The credentials cannot be quoted in this format.
    """
    cache = None if settings.no_cache or settings.local else FileCache(settings.cache)
    if cache is None or cache.directory is None or settings.digest is None:
        obtained = await _obtain(settings, cache)
        return render(settings.form, _members(obtained.credentials))
    entry = _Entry(cache.directory / DIRECTORY, settings.digest)
    async with entry.lease() as lease:
        before = await entry.load()
        if before is not None and before.is_fresh(time.time()):
            return before.text()
        if lease.waited:
            # The other process has kept nothing: its fetch failed, or its source is asked each time. Then there is
            # nothing to wait for, and the next process must not wait for this one.
            await lease.end()
        noted = _Noted()
        try:
            with noting(noted):
                obtained = await _obtain(settings, cache)
        except STSError as error:
            if before is None or not error.recoverable or not before.is_usable(time.time()):
                raise
            before.refresh_at = _after_pause(before.ends)
            await entry.store(before)
            return before.text()
        exported = _exported(obtained, form=settings.form, files=noted.files)
        if noted.complete and obtained.repeatable and cacheable(obtained.credentials):
            await entry.store(exported)
        return exported.text()


def _exported(obtained: _Obtained, *, form: str, files: Mapping[str, str | None]) -> Exported:
    expiration = obtained.credentials.expiration
    ends = float("inf") if expiration is None else expiration.timestamp()
    refresh_at = ends - margin_of(ends - obtained.issued, attended=obtained.attended)
    if refresh_at <= time.time():  # a refresh has failed, and these are credentials of an earlier fetch
        refresh_at = _after_pause(ends)
    members = _members(obtained.credentials)
    return Exported(form=form, members=members, issued=obtained.issued, refresh_at=refresh_at, ends=ends, files=files)


def _after_pause(ends: float) -> float:
    """Return the time of the next attempt after a failed refresh, by the rules of the SDKs."""
    return min(time.time() + random.uniform(*REFRESH_BACKOFF), ends - LAST_MINUTE)  # noqa: S311 - it spreads attempts


def _members(credentials: Credentials) -> HiddenDocument:
    """Return the members of the document of a process that credentials have."""
    document = credentials_document(credentials)
    return HiddenDocument({name: document[name] for name in document if document[name] is not None})


# -- The search ------------------------------------------------------------------------------------------------------


async def _obtain(settings: Settings, cache: FileCache | None) -> _Obtained:
    """Return the credentials that the options describe, from their source."""
    role = partial(SharedRole, fetches=None if cache is None else SharedFetches(cache))
    async with contextlib.AsyncExitStack() as stack:
        source: Source
        if settings.local:
            from .fleet_client import client_of

            config, source = await stack.enter_async_context(
                client_of(settings.client, local=True, mfa_code=settings.mfa_code)
            )
        else:
            config = Config(**settings.client)
            await leave_own_profile(config, settings.arguments)
            source = DefaultChain(config, mfa_code=settings.mfa_code, _roles=role)
        provider: Any = source
        if settings.role is not None:
            provider = role(
                source=source,
                mfa_code=None if settings.role.serial_number is None else settings.mfa_code,
                strict_arns=settings.strict_arns,
                **{name: getattr(settings.role, name) for name in _MEMBERS},
            )
        sts = await stack.enter_async_context(STSClient(config=config, credentials=provider))
        credentials = await sts.get_credentials()
        engine, _ = await sts._ready()
        origin = origin_of(provider)
        issued = origin.issued if isinstance(origin, SharedRole) else None
        return _Obtained(
            credentials,
            issued=time.time() if issued is None else issued.timestamp(),
            attended=is_attended(provider, engine.context),
            repeatable=is_repeatable(provider),
        )


# -- Entries ---------------------------------------------------------------------------------------------------------


class _Entry:
    """
    The entry of a command, and the lease under which one process fetches for it.

    No failure of a file is a failure of the command: it then fetches for itself.
    """

    def __init__(self, path: Path, digest: str) -> None:
        self._digest = digest
        self._directory = CacheDirectory(path, OwnFormat(), time.time)

    async def load(self) -> Exported | None:
        """Return the entry, if its files have not changed."""
        path = self._directory.path
        with contextlib.suppress(OSError, NoThread):
            return await FILE_READS.run(path / self._digest, load, str(path), self._digest)
        return None

    async def store(self, exported: Exported) -> None:
        """Write the entry."""
        path = self._directory.entry(self._digest)
        with contextlib.suppress(OSError, NoThread):
            await FILE_READS.run(path, self._directory.write, path, _encode(self._digest, exported))

    @contextlib.asynccontextmanager
    async def lease(self) -> AsyncIterator["_Lease"]:
        """Wait until no other process fetches for this command, at most 30 s."""
        lease = _Lease(self._directory, self._digest)
        await lease.begin()
        try:
            yield lease
        finally:
            await lease.end()


class _Lease:
    """
    A lease on an entry.

    Attributes:
        waited: Whether another process had it.
    """

    def __init__(self, directory: CacheDirectory, digest: str) -> None:
        self._directory = directory
        self._digest = digest
        self._leases = Leases(lock=self._lock, unlock=self._unlock, clock=SystemClock())
        self._taken = False
        self.waited = False

    async def begin(self) -> None:
        """Take the lease. Without it, if the files cannot be locked, the command goes on."""
        with contextlib.suppress(OSError, NoThread):
            self._taken = await self._leases.take(self._digest)

    async def end(self) -> None:
        """Let another process have the lease. Later calls do nothing."""
        taken, self._taken = self._taken, False
        if taken:
            with contextlib.suppress(OSError, NoThread):
                await self._leases.give_back(self._digest)

    async def _lock(self, name: str) -> Lock | None:
        path = self._directory.lock_of(name)
        lock = await FILE_READS.run(path, self._directory.take_lock, path)
        self.waited = self.waited or lock is None
        return lock

    async def _unlock(self, lock: Lock) -> None:
        lock.release()


def _encode(digest: str, exported: Exported) -> SecretBytes:
    """Return the contents of an entry."""
    return write_object(
        HiddenDocument(
            Version=FORMAT_VERSION,
            Inputs=digest,
            Form=exported.form,
            Files=exported.files,
            Issued=exported.issued,
            RefreshAt=exported.refresh_at,
            Ends=exported.ends,
            Credentials=exported.members,
        )
    )
