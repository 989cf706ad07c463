"""
The file of somebody who has signed in: read, and refreshed by whoever comes first, in whatever process.

A refresh token may be good for one use only. So whoever refreshes holds the lock of the file, reads it again under the
lock, and writes what came before anything else can happen to it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from .._config.options import TRUST_TOKEN_FILES
from .._protocol.json_documents import MAX_BYTES
from .._runtime import files as _files
from .._runtime import forks as _forks
from .._runtime.file_reads import FILE_READS, FileTimeout
from .._runtime.files import Lock
from .._shape.secret import SecretBytes
from .._wording.option_names import setting
from .._wording.os_errors import reason_of
from ..errors import CredentialsError, LoginRequired, STSError
from ..protocols import ProviderContext

REFRESH_BEFORE = 300.0  # s of its life that a token has left when it is refreshed. Source: aws-sdk-rust
BETWEEN_TRIES = 30.0  # s between two tries to refresh a token that is still valid. Source: aws-sdk-rust
LOCK_SECONDS = 30.0  # for which another process may hold the lock: all its attempts
LOCK_POLL = 0.03  # s between two tries of the lock
GRACE = 4.0  # s that a refresh under way gets to end well, when whoever waits for it is cancelled

log = logging.getLogger("sts_async")


class Token(Protocol):
    """What a token file holds."""

    @property
    def expires_at(self) -> datetime:
        """When it ends."""
        ...

    def hindrance(self, *, at: datetime) -> str | None:
        """Return why it cannot be refreshed at *at*, or None when it can."""
        ...


T = TypeVar("T", bound=Token)
R = TypeVar("R")


def now(context: ProviderContext) -> datetime:
    """Return what time it is for *context*."""
    return datetime.fromtimestamp(context.wall_clock(), UTC)


class Latest(NamedTuple, Generic[T]):
    """
    The best token that there is.

    Attributes:
        token: It may have ended, when there is a *failure*.
        failure: Why it was not refreshed although that is due, or None.
    """

    token: T
    failure: STSError | None = None


class TokenFile(Generic[T]):
    """
    A file with a token, which whoever comes first refreshes, in whatever process.

    Args:
        parse: Returns the token in the content of a file, or raises `CredentialsError`.
        advice: What a person has to do when there is no token: a command.
        trusted: Whether a file that another user owns or may write to is used. The new token is then written where
            this user owns the directory. In a directory of another user it stays in memory: that user, whose login it
            is, could not read a file of this one.
    """

    def __init__(self, *, parse: Callable[..., T], advice: str, trusted: bool = False) -> None:
        self._parse = parse
        self._advice = advice
        self._trusted = trusted
        self._unsaved: tuple[Path, T] | None = None  # what could not be written: nobody else knows it
        self._next_try = float("-inf")
        self._warned = False
        self._used_on = ""  # what a log was told of a token that is used although it was not refreshed

    async def latest(
        self, path: Path, context: ProviderContext, *, refresh: Callable[[T], Awaitable[SecretBytes]] | None
    ) -> Latest[T]:
        """
        Return the token in the file at *path*, refreshed when no more than 5 min of its life are left.

        While the token is still valid, there is at most one try each 30 s.

        Args:
            path: The file.
            context: What tells the time.
            refresh: Returns the new content of the file; None when this kind of token cannot be refreshed.

        Raises:
            LoginRequired: There is no token.
            CredentialsError: The file cannot be used.
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
            token = await _to_the_end(self._refresh(path, context, refresh))
        except STSError as error:
            return Latest(token, error)
        self._refreshed()
        return Latest(token)

    def used_on(self, subject: str, failure: STSError) -> None:
        """Log that a valid token stays in use although it was not refreshed: once, until it is."""
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
        """Return the token that the file holds, or that it would hold if it could have been written."""
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
        try:
            data, _ = _files.read(path, max_bytes=MAX_BYTES, private=not self._trusted)
            return self._parse(data, what=f"the {file}")
        except FileNotFoundError:
            failure: STSError = self._login_required(f"there is no {file}")
        except OSError as error:
            failure = CredentialsError(f"the {file} cannot be used: {self._reason(error)}")
        except CredentialsError as error:
            failure = self._login_required(str(error))
        raise failure  # outside: what was read is in the frames of the other

    async def _refresh(self, path: Path, context: ProviderContext, refresh: Callable[[T], Awaitable[SecretBytes]]) -> T:
        lock = await self._lock(path)
        try:
            token = await self._load(path)  # again: another process may have refreshed it meanwhile
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
            if isinstance(lock, Lock) and lock.held:  # not so in a process that was forked meanwhile
                await asyncio.to_thread(lock.release)

    async def _lock(self, path: Path) -> Lock | OSError:
        """
        Take the lock of the file; return why there cannot be one where there cannot.

        Each try returns at once: were threads to wait here, a few sources would take all there are, and whoever holds
        the lock would have none to write with.
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
        raise CredentialsError(f"somebody else has held the lock of {_shown(path)} for {LOCK_SECONDS:.0f} s")

    def _reason(self, error: OSError) -> str:
        """Return why a file cannot be used, and what helps if the user trusts it."""
        advice = f"; if you trust it, set {TRUST_TOKEN_FILES}=true or {setting('trust_token_files', 'True')}"
        return reason_of(error) + (advice if isinstance(error, _files.NotPrivate) and not self._trusted else "")

    def _check_worth_it(self, token: T, context: ProviderContext, complaint: str) -> None:
        """Refuse to use up a refresh token, when the next one cannot be kept, for as long as the token is valid."""
        if not is_over(token, context):
            raise CredentialsError(complaint)
        self._warn(complaint)

    def _warn(self, complaint: str) -> None:
        if not self._warned:
            self._warned = True
            log.warning("%s; the token is kept in memory, and other processes may need a new login", complaint)


def is_due(token: Token, context: ProviderContext) -> bool:
    """Say whether *token* is to be refreshed."""
    return _seconds_left(token, context) <= REFRESH_BEFORE


def is_over(token: Token, context: ProviderContext) -> bool:
    """Say whether *token* has ended."""
    return _seconds_left(token, context) <= 0


def _seconds_left(token: Token, context: ProviderContext) -> float:
    return token.expires_at.timestamp() - context.wall_clock()


def _take(path: Path, *, any_mode: bool) -> Lock | OSError | None:
    try:
        return _files.take_lock(path, any_mode=any_mode)
    except OSError as error:
        return error


def _write(path: Path, content: bytes, *, any_mode: bool) -> OSError | None:
    """Write the file; return why that failed, or None."""
    try:
        _files.write_private(path, content, any_mode=any_mode)
    except OSError as error:
        return error
    return None


def _shown(path: Path) -> str:
    """Return a path as messages have it: parts of it may come from the environment."""
    return ascii(str(path))


async def _to_the_end(work: Coroutine[Any, Any, R]) -> R:
    """Return what *work* returns. It is not ended with whoever waits for it: what it gets may come only once."""
    loop = asyncio.get_running_loop()
    _forks.isolate_loop_after_fork(loop)
    task = loop.create_task(_settled(work))
    is_here = _forks.process_check()
    try:
        outcome = await asyncio.shield(task)
    finally:
        try:
            if not task.done() and is_here():  # a forked process leaves it to its parent
                await asyncio.wait([task], timeout=GRACE)
        finally:
            task.cancel()  # also when this is cancelled again: it may hold the lock
    if isinstance(outcome, STSError):
        raise outcome
    return outcome


async def _settled(work: Coroutine[Any, Any, R]) -> R | STSError:
    try:
        return await work
    except STSError as error:
        return error
