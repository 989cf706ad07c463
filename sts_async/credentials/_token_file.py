"""
Token files of ``aws sso login`` and ``aws login``, which the AWS CLI and the SDKs of many processes share.

A refresh token may be valid only once. If two processes use the same one, one of them fails, and the user must log in
again. If a process uses one and does not write the next one, the login is lost as well. So a refresh has these steps:

1. Lock the file, for all processes.
2. Read the file again, because another process may have refreshed the token since the first read.
3. Send the refresh token, and write the new contents. Cancelling the caller does not interrupt this step at once.
4. Release the lock.

If the lock file cannot be created, the new token could not be written either. Then a valid token is not refreshed,
because the next refresh token could be lost. An expired token is refreshed all the same, and stays in memory.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Generic, NamedTuple, Protocol, TypeVar

from .._config.options import TRUST_TOKEN_FILES
from .._protocol.json_documents import MAX_BYTES
from .._runtime import files as _files
from .._runtime import forks as _forks
from .._runtime.file_reads import FILE_READS, FileTimeout
from .._runtime.files import Lock
from .._runtime.outcome import Outcome
from .._shape.secret import SecretBytes
from .._wording.option_names import setting
from .._wording.os_errors import reason_of
from ..errors import CredentialsError, LoginRequired, STSError
from ..protocols import ProviderContext

REFRESH_BEFORE = 300.0  # s before its end at which a token is refreshed. Source: aws-sdk-rust
BETWEEN_TRIES = 30.0  # s between two attempts to refresh a token that is still valid. Source: aws-sdk-rust
LOCK_SECONDS = 30.0  # s to wait for the lock: another process may need it for all its attempts
LOCK_POLL = 0.03  # s between two attempts to take the lock
GRACE = 4.0  # s for a running refresh to complete after its caller was cancelled

log = logging.getLogger("sts_async")


class Token(Protocol):
    """The parsed contents of a token file."""

    @property
    def expires_at(self) -> datetime:
        """Time at which the token expires."""
        ...

    def hindrance(self, *, at: datetime) -> str | None:
        """Return why the token cannot be refreshed at *at*, or None if it can."""
        ...


T = TypeVar("T", bound=Token)
R = TypeVar("R")


def now(context: ProviderContext) -> datetime:
    """Return the current time by the wall clock of *context*."""
    return datetime.fromtimestamp(context.wall_clock(), UTC)


class Latest(NamedTuple, Generic[T]):
    """
    The latest available token.

    Attributes:
        token: The token. It may have expired if there is a *failure*.
        failure: Why a due refresh did not happen; None if it succeeded or was not due.
    """

    token: T
    failure: STSError | None = None


class TokenFile(Generic[T]):
    """
    A file with a token, which is shared with other processes.

    Args:
        parse: Returns the token in the contents of a file, or raises `CredentialsError`.
        advice: The command with which the user logs in again.
        trusted: Whether to use a file that another user owns or may write to. A new token is then written only if this
            user owns the directory. Otherwise it stays in memory: the other user, to whom the login belongs, could not
            read a file of this user.
    """

    def __init__(self, *, parse: Callable[..., T], advice: str, trusted: bool = False) -> None:
        self._parse = parse
        self._advice = advice
        self._trusted = trusted
        self._unsaved: tuple[Path, T] | None = None  # a new token that could not be written to its file
        self._next_try = float("-inf")
        self._warned = False
        self._used_on = ""  # the subject of the last warning about a token that could not be refreshed

    async def latest(
        self, path: Path, context: ProviderContext, *, refresh: Callable[[T], Awaitable[SecretBytes]] | None
    ) -> Latest[T]:
        """
        Return the token in the file at *path*. Refresh it first if it has at most 5 minutes left.

        While the token is valid, there is at most one attempt every 30 s.

        Args:
            path: The file.
            context: Provides the clocks.
            refresh: Sends the refresh token, and returns the new contents of the file; None for a token that cannot be
                refreshed.

        Raises:
            LoginRequired: The file does not exist or has no token.
            CredentialsError: The file cannot be read, or must not be used.
        """
        token = await self._load(path)
        if not is_due(token, context):
            self._refreshed()
            return Latest(token)
        hindrance = "it is of a profile without sso-session" if refresh is None else token.hindrance(at=now(context))
        if refresh is None or hindrance is not None:
            return Latest(token, self._not_refreshable(hindrance))
        if not is_over(token, context) and context.monotonic() < self._next_try:
            return Latest(token)
        self._next_try = context.monotonic() + BETWEEN_TRIES
        try:
            token = await _to_the_end(partial(self._refresh, path, context, refresh))
        except STSError as error:
            return Latest(token, error)
        self._refreshed()
        return Latest(token)

    def used_on(self, subject: str, failure: STSError) -> None:
        """Log that a valid token stays in use although its refresh failed. Log this once until a refresh succeeds."""
        if not self._used_on:
            self._used_on = subject
            log.warning("%s could not be refreshed; using it until it expires: %s", subject, failure)

    def _refreshed(self) -> None:
        if self._used_on:
            log.info("%s was refreshed", self._used_on)
            self._used_on = ""

    def _login_required(self, reason: str) -> LoginRequired:
        return LoginRequired(f"{reason}; run: {self._advice}")

    def _not_refreshable(self, hindrance: str | None) -> LoginRequired:
        return self._login_required(f"the token cannot be refreshed: {hindrance}")

    async def _load(self, path: Path) -> T:
        """Return the token in the file, or a newer one that could not be written to it."""
        try:
            token = await FILE_READS.run(path, self._read, path)
        except FileTimeout as error:
            raise CredentialsError(f"the token file {_shown(path)} cannot be used: {reason_of(error)}") from None
        if self._unsaved is not None and self._unsaved[0] == path:
            if self._unsaved[1].expires_at > token.expires_at:
                return self._unsaved[1]
            self._unsaved = None
        return token

    def _read(self, path: Path) -> T:
        file = f"token file {_shown(path)}"
        outcome: Outcome[T]
        try:
            data, _ = _files.read(path, max_bytes=MAX_BYTES, private=not self._trusted)
            outcome = Outcome(self._parse(data, what=f"the {file}"))
        except FileNotFoundError:
            outcome = Outcome(error=self._login_required(f"there is no {file}"))
        except OSError as error:
            outcome = Outcome(error=CredentialsError(f"the {file} cannot be used: {self._reason(error)}"))
        except CredentialsError as error:
            outcome = Outcome(error=self._login_required(str(error)))
        # Raised outside of the handlers: the frames of their errors contain the content of the file.
        return outcome.unwrap()

    async def _refresh(self, path: Path, context: ProviderContext, refresh: Callable[[T], Awaitable[SecretBytes]]) -> T:
        lock = await self._lock(path)
        try:
            # Read again: another process may have refreshed the token before this one had the lock.
            token = await self._load(path)
            if not is_due(token, context):
                return token
            if (hindrance := token.hindrance(at=now(context))) is not None:
                raise self._not_refreshable(hindrance)
            if isinstance(lock, OSError):
                self._check_worth_it(
                    token, context, f"the token file {_shown(path)} cannot be locked: {self._reason(lock)}"
                )
            content = await refresh(token)
            token = self._parse(content, what="the new token")
            self._unsaved = (path, token)
            if (failure := await asyncio.to_thread(_write, path, content, any_mode=self._trusted)) is not None:
                self._warn(f"the new token cannot be written to {_shown(path)}: {self._reason(failure)}")
            else:
                self._unsaved = None
            return token
        finally:
            # In a process that was forked in the meantime, the lock is not held.
            if isinstance(lock, Lock) and lock.held:
                await asyncio.to_thread(lock.release)

    async def _lock(self, path: Path) -> Lock | OSError:
        """
        Take the lock of the file, or return the error of a file system that has no locks.

        Each attempt returns at once, and the coroutine waits in between. If threads waited, a few sources would occupy
        all threads, and the source with the lock would have no thread to write in.

        Raises:
            CredentialsError: Another process has held the lock for 30 s.
        """
        try:
            async with asyncio.timeout(LOCK_SECONDS):
                while True:
                    lock = await asyncio.to_thread(_take, path, any_mode=self._trusted)
                    if lock is not None:
                        return lock
                    await asyncio.sleep(LOCK_POLL)
        except TimeoutError:
            pass
        raise CredentialsError(f"another process has held the lock of {_shown(path)} for {LOCK_SECONDS:.0f} s")

    def _reason(self, error: OSError) -> str:
        """Return why a file cannot be used, and how to allow it if the user trusts the file."""
        advice = f"; if you trust it, set {TRUST_TOKEN_FILES}=true or {setting('trust_token_files', 'True')}"
        return reason_of(error) + (advice if isinstance(error, _files.NotPrivate) and not self._trusted else "")

    def _check_worth_it(self, token: T, context: ProviderContext, complaint: str) -> None:
        """
        Check that a refresh is worth the risk of losing the next refresh token. It is if the token has expired.

        Raises:
            CredentialsError: The token is still valid. The message is *complaint*.
        """
        if not is_over(token, context):
            raise CredentialsError(complaint)
        self._warn(complaint)

    def _warn(self, complaint: str) -> None:
        if not self._warned:
            self._warned = True
            log.warning("%s; the token is kept in memory, and other processes may need a new login", complaint)


def is_due(token: Token, context: ProviderContext) -> bool:
    """Return True if *token* has at most 5 minutes left."""
    return _seconds_left(token, context) <= REFRESH_BEFORE


def is_over(token: Token, context: ProviderContext) -> bool:
    """Return True if *token* has expired."""
    return _seconds_left(token, context) <= 0


def _seconds_left(token: Token, context: ProviderContext) -> float:
    return token.expires_at.timestamp() - context.wall_clock()


def _take(path: Path, *, any_mode: bool) -> Lock | OSError | None:
    try:
        return _files.take_lock(path, any_mode=any_mode)
    except OSError as error:
        return error


def _write(path: Path, content: bytes, *, any_mode: bool) -> OSError | None:
    """Write the file. Return None, or the error if that failed."""
    try:
        _files.write_private(path, content, any_mode=any_mode)
    except OSError as error:
        return error
    return None


def _shown(path: Path) -> str:
    """Return a path for messages, with escapes, because parts of it may come from the environment."""
    return ascii(str(path))


async def _to_the_end(work: Callable[[], Awaitable[R]]) -> R:
    """
    Return the result of *work*, which gets 4 s to complete if the caller is cancelled.

    The work receives a refresh token that the service issues only once, so it must not be interrupted before it has
    written the token.
    """
    loop = asyncio.get_running_loop()
    _forks.isolate_loop_after_fork(loop)
    task = loop.create_task(Outcome.capture_async(work, errors=STSError))
    is_here = _forks.process_check()
    try:
        outcome = await asyncio.shield(task)
    finally:
        try:
            if not task.done() and is_here():  # a forked process leaves it to its parent
                await asyncio.wait([task], timeout=GRACE)
        finally:
            task.cancel()  # also when this is cancelled again: it may hold the lock
    return outcome.unwrap()
