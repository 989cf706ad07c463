"""Token files of logins: when a token is refreshed, by which process, and where the new token is kept."""

import asyncio
import json
import logging
import os
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs
import pytest
from patience import turns, until
from support import START, Clocks, held

from sts_async._engine.loop import Engine
from sts_async._runtime import files
from sts_async._shape.secret import SecretBytes
from sts_async.credentials import _token_file, _tokens
from sts_async.credentials._token_file import TokenFile
from sts_async.errors import CredentialsError, LoginRequired


def content(serial: int, *, ends: float) -> SecretBytes:
    """Return a token file of SSO with a number in its tokens, which expires at *ends*."""
    document = {
        "accessToken": f"SENTINEL-access-{serial}",
        "refreshToken": f"SENTINEL-refresh-{serial}",
        "expiresAt": datetime.fromtimestamp(ends).astimezone().isoformat(),
        "clientId": "SENTINEL-client",
        "clientSecret": "SENTINEL-client-secret",
        "registrationExpiresAt": "2027-01-01T00:00:00Z",
    }
    return SecretBytes(json.dumps(document).encode())


@attrs.define
class Issuer:
    """Rotates the refresh token at each use, and refuses a used one."""

    clocks: Clocks
    life: float = 3600.0
    serial: int = 0
    asked: int = 0
    failure: CredentialsError | None = None
    may_answer: asyncio.Event = attrs.field(factory=asyncio.Event)

    def __attrs_post_init__(self) -> None:
        self.may_answer.set()

    async def refresh(self, token: _tokens.SSOToken) -> SecretBytes:
        self.asked += 1
        await self.may_answer.wait()
        if self.failure:
            raise self.failure
        if json.loads(token.request())["refreshToken"] != f"SENTINEL-refresh-{self.serial}":
            raise LoginRequired("this refresh token was used before")
        self.serial += 1
        return content(self.serial, ends=self.clocks.wall + self.life)


@pytest.fixture
def issuer(clocks: Clocks) -> Issuer:
    return Issuer(clocks)


@pytest.fixture
def turned_away(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return a list that grows with each attempt to take a lock that another process holds."""
    found: list[Path] = []
    take = _token_file._take

    def noting(path: Path, **options: Any) -> Any:
        if (lock := take(path, **options)) is None:
            found.append(path)
        return lock

    monkeypatch.setattr(_token_file, "_take", noting)
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "token.json"


def token_file() -> TokenFile[_tokens.SSOToken]:
    return TokenFile(parse=_tokens.read_sso_token, advice="sign in")


def on_disk(path: Path) -> tuple[bytes, int]:
    """Return the contents of a file, and its mode."""
    return path.read_bytes(), stat.S_IMODE(path.stat().st_mode)


def serial(latest: _token_file.Latest[_tokens.SSOToken]) -> int:
    return int(latest.token.access_token.rpartition("-")[2])


@pytest.mark.parametrize(("left", "refreshes"), [(301, 0), (300, 1), (1, 1), (-5, 1)])
async def test_a_token_is_refreshed_in_its_last_five_minutes(
    context: Engine, issuer: Issuer, path: Path, left: float, refreshes: int
) -> None:
    files.write_private(path, content(0, ends=START + left))
    latest = await token_file().latest(path, context, refresh=issuer.refresh)

    assert (serial(latest), issuer.asked, latest.failure) == (refreshes, refreshes, None)
    assert on_disk(path) == (content(1, ends=START + 3600) if refreshes else content(0, ends=START + left), 0o600)


async def test_while_the_token_is_valid_there_is_one_attempt_in_thirty_seconds(
    context: Engine, issuer: Issuer, path: Path, clocks: Clocks
) -> None:
    files.write_private(path, content(0, ends=START + 40))
    issuer.failure = CredentialsError("not now")
    file = token_file()
    failures = [(await file.latest(path, context, refresh=issuer.refresh)).failure for _ in range(3)]
    asked = issuer.asked
    clocks.advance(31)
    await file.latest(path, context, refresh=issuer.refresh)
    clocks.advance(10)
    last = [await file.latest(path, context, refresh=issuer.refresh) for _ in range(2)]

    assert [failure is None for failure in failures] == [False, True, True]
    assert (asked, issuer.asked) == (1, 4)
    assert all(latest.failure is not None for latest in last)


async def test_a_failed_refresh_is_logged_once_and_its_success_once(
    context: Engine, issuer: Issuer, path: Path, clocks: Clocks, caplog: pytest.LogCaptureFixture
) -> None:
    """G8: not with each attempt."""
    caplog.set_level(logging.INFO, logger="sts_async")
    files.write_private(path, content(0, ends=START + 290))
    issuer.failure = CredentialsError("not now")
    file = token_file()
    for _ in range(5):
        latest = await file.latest(path, context, refresh=issuer.refresh)
        assert latest.failure is not None
        file.used_on("the token of a test", latest.failure)
        clocks.advance(31)
    issuer.failure = None
    for _ in range(2):
        await file.latest(path, context, refresh=issuer.refresh)

    assert [record.getMessage() for record in caplog.records] == [
        "the token of a test could not be refreshed; using it until it expires: not now",
        "the token of a test was refreshed",
    ]


async def test_many_sources_refresh_once(lend: Callable[..., Engine], issuer: Issuer, path: Path) -> None:
    """F39: there are 40 sources, more than threads; the issuer accepts a refresh token once."""
    files.write_private(path, content(0, ends=START + 10))
    context = lend()
    found = await asyncio.gather(*(token_file().latest(path, context, refresh=issuer.refresh) for _ in range(40)))

    assert {(serial(latest), latest.failure) for latest in found} == {(1, None)}
    assert issuer.asked == 1


PROCESS = """
    import asyncio, json, sys, time
    from datetime import datetime
    from pathlib import Path
    from sts_async._runtime import files
    from sts_async.credentials import _tokens
    from sts_async._shape.secret import SecretBytes
    from sts_async.credentials._token_file import TokenFile

    path, server = Path(sys.argv[1]), Path(sys.argv[2])

    class ProviderContext:
        wall_clock, monotonic = time.time, time.monotonic

    async def refresh(token):
        # the server: a file that knows which refresh token is good
        given = json.loads(token.request())["refreshToken"]
        assert given == server.read_text(), "a refresh token was used twice"
        number = int(given.rpartition("-")[2]) + 1
        await asyncio.sleep(0)
        server.write_text(f"refresh-{number}")
        ends = datetime.fromtimestamp(time.time() ).astimezone().isoformat()  # due again at once
        changes = {"refreshToken": f"refresh-{number}", "expiresAt": ends}
        return SecretBytes(json.dumps({**token.document.reveal(), **changes}).encode())

    async def main():
        file = TokenFile(parse=_tokens.read_sso_token, advice="sign in")
        number = 0
        while number < 30:  # of all processes together
            file._next_try = 0.0
            latest = await file.latest(path, ProviderContext, refresh=refresh)
            if latest.failure is not None:
                raise latest.failure
            number = int(latest.token.document.reveal()["refreshToken"].rpartition("-")[2])

    asyncio.run(main())
"""


async def test_processes_lose_no_token(path: Path, tmp_path: Path) -> None:
    """F39: each process waits for the lock, and reads the token that another one has written."""
    server = tmp_path / "server"
    server.write_text("refresh-0")
    document = json.loads(content(0, ends=0))
    files.write_private(path, json.dumps({**document, "refreshToken": "refresh-0"}).encode())
    command = [sys.executable, "-c", textwrap.dedent(PROCESS), str(path), str(server)]
    processes = [await asyncio.create_subprocess_exec(*command, stderr=subprocess.PIPE) for _ in range(3)]
    errors = [(await process.communicate())[1].decode() for process in processes]

    assert errors == ["", "", ""]
    assert json.loads(on_disk(path)[0])["refreshToken"] == on_disk(server)[0].decode()
    assert int(on_disk(server)[0].rpartition(b"-")[2]) >= 30


async def test_a_token_that_another_process_refreshed_first_is_used(
    context: Engine, issuer: Issuer, path: Path, turned_away: list[Path]
) -> None:
    """F39: the file is read again under the lock."""
    files.write_private(path, content(0, ends=START + 10))
    with held(path):
        waiting = asyncio.create_task(token_file().latest(path, context, refresh=issuer.refresh))
        await until(lambda: turned_away)
        files.write_private(path, content(7, ends=START + 3600))
    latest = await waiting

    assert (serial(latest), issuer.asked) == (7, 0)


async def test_the_check_that_a_token_can_be_refreshed_is_repeated_under_the_lock(
    context: Engine, issuer: Issuer, path: Path, turned_away: list[Path]
) -> None:
    """F39: another program may have written a file of another form."""
    files.write_private(path, content(0, ends=START - 10))
    with held(path):
        waiting = asyncio.create_task(token_file().latest(path, context, refresh=issuer.refresh))
        await until(lambda: turned_away)
        changed = {**json.loads(content(7, ends=START - 5)), "clientId": None}
        files.write_private(path, json.dumps(changed).encode())
    latest = await waiting

    assert issuer.asked == 0
    assert isinstance(latest.failure, LoginRequired)
    assert "it has no clientId; run: sign in" in str(latest.failure)


async def test_a_lock_that_is_never_released_is_an_error(
    context: Engine, issuer: Issuer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_token_file, "LOCK_SECONDS", 0.1)
    files.write_private(path, content(0, ends=START - 10))
    with held(path):
        latest = await token_file().latest(path, context, refresh=issuer.refresh)

    assert issuer.asked == 0
    assert isinstance(latest.failure, CredentialsError)
    assert "another process has held the lock" in str(latest.failure)


async def test_the_lock_is_released_after_every_refresh(context: Engine, issuer: Issuer, path: Path) -> None:
    """This holds for success and for failure."""
    files.write_private(path, content(0, ends=START - 10))
    issuer.failure = CredentialsError("not now")
    await token_file().latest(path, context, refresh=issuer.refresh)
    with held(path):
        pass
    issuer.failure = None
    await token_file().latest(path, context, refresh=issuer.refresh)
    with held(path):
        pass


async def test_a_refresh_that_is_cancelled_is_still_written(context: Engine, issuer: Issuer, path: Path) -> None:
    """F39, F58: the service may already have used up the old refresh token."""
    files.write_private(path, content(0, ends=START - 10))
    issuer.may_answer.clear()
    task = asyncio.create_task(token_file().latest(path, context, refresh=issuer.refresh))
    await until(lambda: issuer.asked)
    task.cancel()
    await turns()
    issuer.may_answer.set()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert on_disk(path) == (content(1, ends=START + 3600), 0o600)
    with held(path):
        pass


async def test_a_cancelled_refresh_that_never_completes_is_stopped(
    context: Engine, issuer: Issuer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_token_file, "GRACE", 0.05)
    files.write_private(path, content(0, ends=START - 10))
    issuer.may_answer.clear()
    task = asyncio.create_task(token_file().latest(path, context, refresh=issuer.refresh))
    await until(lambda: issuer.asked)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: len(asyncio.all_tasks()) == 1)

    with held(path):
        pass


async def test_a_refresh_that_is_cancelled_twice_releases_the_lock(context: Engine, issuer: Issuer, path: Path) -> None:
    """F58: the caller is cancelled again while the refresh may still complete."""
    files.write_private(path, content(0, ends=START - 10))
    issuer.may_answer.clear()
    task = asyncio.create_task(token_file().latest(path, context, refresh=issuer.refresh))
    await until(lambda: issuer.asked)
    for _ in range(2):
        task.cancel()
        await turns()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: len(asyncio.all_tasks()) == 1)

    with held(path):
        pass


async def test_a_token_that_cannot_be_written_is_kept_in_memory(
    context: Engine, issuer: Issuer, path: Path, clocks: Clocks, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """F38: with one warning. The next refresh uses the rotated token, not the one in the file."""

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    files.write_private(path, content(0, ends=START + 10))
    monkeypatch.setattr(files, "write_private", full)
    file = token_file()
    found = [serial(await file.latest(path, context, refresh=issuer.refresh)) for _ in range(2)]
    clocks.advance(3600)
    found.append(serial(await file.latest(path, context, refresh=issuer.refresh)))
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]

    assert found == [1, 1, 2]
    assert len(warnings) == 1
    assert "No space left on device; the token is kept in memory" in warnings[0]


async def test_a_newer_file_replaces_a_token_in_memory(
    context: Engine, issuer: Issuer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F38: the user has logged in again."""
    files.write_private(path, content(0, ends=START + 10))
    file = token_file()
    with monkeypatch.context() as patch:
        patch.setattr(_token_file, "_write", lambda *_, **__: OSError(28, "No space left"))
        await file.latest(path, context, refresh=issuer.refresh)
    files.write_private(path, content(9, ends=START + 7200))

    assert serial(await file.latest(path, context, refresh=issuer.refresh)) == 9


async def test_without_write_access_a_token_is_refreshed_only_after_it_expired(
    context: Engine, issuer: Issuer, path: Path, clocks: Clocks, caplog: Any
) -> None:
    """F38, T39: the next refresh token is lost for all other processes, so the refresh waits as long as possible."""
    files.write_private(path, content(0, ends=START + 10))
    path.parent.chmod(0o777)
    file = token_file()
    first = await file.latest(path, context, refresh=issuer.refresh)
    clocks.advance(11)
    second = await file.latest(path, context, refresh=issuer.refresh)

    assert (serial(first), "others may write to it" in str(first.failure)) == (0, True)
    assert (serial(second), second.failure) == (1, None)
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1


async def test_a_missing_file_requires_a_login(context: Engine, path: Path) -> None:
    """F40."""
    with pytest.raises(LoginRequired, match=f"there is no token file '{path}'; run: sign in"):
        await token_file().latest(path, context, refresh=None)


@pytest.mark.parametrize("name", ["\x1b[2J", "a\nb", "\u2028", "a\0b", "\udfff"], ids=ascii)
async def test_a_path_is_shown_on_one_line(context: Engine, tmp_path: Path, name: str) -> None:
    """T45, T38: the directory may come from the environment."""
    with pytest.raises(CredentialsError, match="token file '") as caught:
        await token_file().latest(tmp_path / name, context, refresh=None)

    assert str(caught.value).isprintable()


@pytest.mark.parametrize("data", [b"", b'{"accessToken": "SENTINEL', b"[]", b"{}", b"\x00\xff"])
async def test_an_invalid_file_requires_a_login(context: Engine, path: Path, data: bytes) -> None:
    """F37, T15."""
    files.write_private(path, data)
    with pytest.raises(LoginRequired, match=r"the token file .*; run: sign in") as caught:
        await token_file().latest(path, context, refresh=None)

    assert caught.value.__context__ is None


async def test_a_token_that_cannot_be_refreshed_is_used_until_it_expires(context: Engine, path: Path) -> None:
    files.write_private(path, content(0, ends=START + 10))
    latest = await token_file().latest(path, context, refresh=None)

    assert serial(latest) == 0
    assert isinstance(latest.failure, LoginRequired)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.mkdir(), "is a directory"),
        (os.mkfifo, "is a FIFO"),
        (lambda path: path.symlink_to("/dev/zero"), "is a device"),
        (lambda path: path.write_bytes(b" " * 70_000), "is larger than 65,536 bytes"),
        (lambda path: (path.write_bytes(b"{}"), path.chmod(0o666)), "others may write to it"),
    ],
    ids=["directory", "FIFO", "device", "large", "writable"],
)
async def test_an_unsuitable_token_file_is_refused(
    context: Engine, path: Path, spoil: Callable[[Path], Any], reason: str
) -> None:
    """T38, T40."""
    path.parent.mkdir()
    spoil(path)
    with pytest.raises(CredentialsError, match=reason) as caught:
        await token_file().latest(path, context, refresh=None)

    assert not isinstance(caught.value, LoginRequired)


# -- C10: files that others own or may write to ----------------------------------------------------------------------

OWNER = getattr(os, "geteuid", int)()
ADVICE = "if you trust it, set STS_ASYNC_TRUST_TOKEN_FILES=true or trust_token_files=True"


def trusting() -> TokenFile[_tokens.SSOToken]:
    return TokenFile(parse=_tokens.read_sso_token, advice="sign in", trusted=True)


@pytest.fixture
def of_another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run this process as a user that owns no files but may read and write all of them, as in a container."""
    monkeypatch.setattr(os, "geteuid", lambda: 54_321)


def warnings_in(caplog: Any) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


async def test_a_token_file_of_another_user_is_refused_with_advice(
    context: Engine, issuer: Issuer, path: Path, request: pytest.FixtureRequest
) -> None:
    """C10: ``docker -v ~/.aws``."""
    files.write_private(path, content(0, ends=START + 3600))
    request.getfixturevalue("of_another_user")
    with pytest.raises(CredentialsError, match=f"belongs to user {OWNER}, not to user 54321; {ADVICE}$"):
        await token_file().latest(path, context, refresh=issuer.refresh)

    assert serial(await trusting().latest(path, context, refresh=issuer.refresh)) == 0


async def test_a_new_token_is_not_written_into_a_directory_of_another_user(
    context: Engine, issuer: Issuer, path: Path, clocks: Clocks, caplog: Any, request: pytest.FixtureRequest
) -> None:
    """
    C10: that user could not read the new file. So the new token is kept in memory, with one warning.

    The token is refreshed only after it has expired, because its owner needs the refresh token.
    """
    files.write_private(path, content(0, ends=START + 10))
    before = on_disk(path)
    request.getfixturevalue("of_another_user")
    file = trusting()
    found = []
    for seconds in (11, 3600, 3600):
        found.append(serial(await file.latest(path, context, refresh=issuer.refresh)))
        clocks.advance(seconds)

    assert found == [0, 1, 2]
    assert (on_disk(path), issuer.asked) == (before, 2)
    assert [warning for warning in warnings_in(caplog) if "kept in memory" in warning] == [
        f"the token file '{path}' cannot be locked: belongs to user {OWNER}, not to user 54321; the token is "
        "kept in memory, and other processes may need a new login"
    ]


async def test_a_new_token_is_written_into_a_directory_that_others_may_write_to(
    context: Engine, issuer: Issuer, path: Path, caplog: Any
) -> None:
    """C10: under WSL, every file has mode 0777, and this user owns it."""
    files.write_private(path, content(0, ends=START + 10))
    for place in (path, path.parent):
        place.chmod(0o777)
    latest = await trusting().latest(path, context, refresh=issuer.refresh)

    assert (serial(latest), latest.failure) == (1, None)
    assert on_disk(path) == (content(1, ends=START + 3600), 0o600)
    assert warnings_in(caplog) == []


async def test_a_trusted_file_must_still_be_regular_and_small(context: Engine, path: Path) -> None:
    """C10, T38: the option is about owner and mode, and so is its advice."""
    files.write_private(path, b" " * 70_000)
    for file in (token_file(), trusting()):
        with pytest.raises(CredentialsError, match=r"is larger than 65,536 bytes$"):
            await file.latest(path, context, refresh=None)
