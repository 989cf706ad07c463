"""`sts-async fleet`: a file of roles that is kept fresh, its reloading and its end, with lines and with a table."""

import asyncio
import base64
import io
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from patience import PATIENCE, soon, turns, until
from processes import HANG, gone, pids_in, shell
from support import SEEN_SECRETS
from terminals import Terminal, environ

from sts_async import AssumeRoleRequest, CacheStateChanged, FileCache, cli
from sts_async._cli import fleet, output, terminal
from sts_async._cli.fleet import Settings
from sts_async._cli.fleet_options import EPILOG
from sts_async._cli.terminal import OutputLost, Warnings
from sts_async.errors import STSError
from sts_async.fleet import CacheUser, _role_lines
from sts_async.fleet.roles_file import read_roles
from sts_async.testing import LocalSTS, Role

HUB = "arn:aws:iam::123456789012:role/hub"
DATA = "arn:aws:iam::210987654321:role/data"
REFUSED = "arn:aws:iam::123456789012:role/refused"
SENTINEL = "SENTINEL-4b1c"


@pytest.fixture
async def server() -> AsyncIterator[LocalSTS]:
    async with LocalSTS(roles=[HUB, DATA, Role(REFUSED, trusts=["arn:aws:iam::999999999999:root"])]) as running:
        yield running


def keys_of(server: LocalSTS) -> dict[str, str]:
    keys = server.credentials
    return {
        "AWS_ACCESS_KEY_ID": keys.access_key_id,
        "AWS_SECRET_ACCESS_KEY": str.__str__(keys.secret_access_key),
        "AWS_ENDPOINT_URL_STS": server.url,
        "AWS_REGION": server.region,
    }


class Stream(io.StringIO):
    """A standard stream that is a pipe or a terminal."""

    def __init__(self, *, is_terminal: bool = False) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


class Command:
    """The command in the event loop of the test, with streams of its own."""

    def __init__(self, server: LocalSTS, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.out, self.err = Stream(), Stream()
        self.server, self.file = server, file
        self._monkeypatch = monkeypatch
        monkeypatch.setattr(output, "END_SECONDS", PATIENCE)  # no writer is left for the next test, however slow it is
        for name, value in keys_of(server).items():
            monkeypatch.setenv(name, value)

    async def run(self, text: str, **options: Any) -> int:
        """Run the command for a file with this text, and return its status."""
        self._monkeypatch.setattr(sys, "stdout", self.out)
        self._monkeypatch.setattr(sys, "stderr", self.err)
        self.file.write_text(text)
        return await soon(fleet.run(Settings(roles=str(self.file), **options), Warnings()))

    def start(self, text: str, **options: Any) -> None:
        self.task = asyncio.create_task(self.run(text, **options))

    async def shows(self, *texts: str) -> None:
        """Wait until the output has these texts."""
        for text in texts:
            await until(lambda text=text: self.task.done() or text in self.out.getvalue() + self.err.getvalue())
            assert text in self.out.getvalue() + self.err.getvalue()

    async def reload(self, text: str) -> None:
        self.file.write_text(text)
        os.kill(os.getpid(), signal.SIGHUP)

    async def end(self) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        return await soon(self.task)

    @property
    def lines(self) -> list[str]:
        """The lines of the output, without their times."""
        return [line.partition("Z ")[2] or line for line in self.out.getvalue().splitlines()]

    @property
    def problems(self) -> list[str]:
        """The lines of standard error, without the prefix and the file."""
        shown = self.err.getvalue().replace("sts-async: ", "").replace(str(self.file), "FILE")
        return shown.splitlines()


@pytest.fixture
def command(server: LocalSTS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(server, tmp_path / "roles", monkeypatch)


# -- Once --------------------------------------------------------------------------------------------------------------


async def test_once_fetches_each_identity_and_shows_no_secret(command: Command) -> None:
    """T17: names, times and errors are shown, no keys."""
    status = await command.run(f"{HUB} name=hub\n{DATA} through=hub\n", once=True)

    shown = command.out.getvalue() + command.err.getvalue()
    assert (status, command.problems) == (0, [])
    assert sorted(line.partition(" 2")[0] for line in command.lines[:2]) == ["data: fresh until", "hub: fresh until"]
    assert command.lines[2:] == ["2 of 2 identities fetched"]
    assert len(command.server.requests) == 2
    assert not [secret for secret in SEEN_SECRETS if len(secret) > 7 and secret in shown]


async def test_once_fails_if_an_identity_cannot_be_fetched(command: Command) -> None:
    """The others are fetched. The error is shown once, as a result and not also as a warning."""
    status = await command.run(f"{HUB}\n{REFUSED} name=no\n", once=True)

    (failed,) = [line for line in command.lines if line.startswith("no: ")]
    assert status == 1
    assert failed.startswith("no: failed: AccessDenied: ")
    assert "1 of 2 identities fetched" in command.lines
    assert command.problems == []


async def test_once_fails_if_a_line_is_wrong(command: Command) -> None:
    """So that a check of a file finds what the command cannot use."""
    status = await command.run(f"{HUB}\n{DATA} sesion={SENTINEL}\n", once=True)

    assert (status, command.lines[-1]) == (1, "1 of 1 identity fetched")
    assert command.problems == ["FILE, line 2: sesion is not an option of a role (did you mean session?)"]


async def test_many_problems_are_counted(command: Command) -> None:
    """A file that is something else must not fill the screen."""
    await command.run(f"{HUB}\n" + "hello\n" * 25, once=True)

    assert len(command.problems) == 21
    assert command.problems[-1] == "FILE has 5 more problems"


async def test_all_results_are_written(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if there are more of them than the queue of the output holds."""
    monkeypatch.setattr(output, "MAX_LINES", 4)
    monkeypatch.setattr(fleet, "MAX_UNWRITTEN", 2)
    text = "".join(f"{HUB} session=s{number} name=n{number}\n" for number in range(20))

    assert await command.run(text, once=True) == 0
    assert len(command.lines) == 21
    assert command.problems == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file has no identity that can be used"),
        ("hello", "the file has no identity that can be used"),
        (b"\xff", "the file is not text in UTF-8"),
        (None, "No such file or directory"),
    ],
)
async def test_a_file_without_an_identity_is_an_error(text: str | bytes | None, message: str, command: Command) -> None:
    if text is not None:
        command.file.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ValueError, match=message):
        await soon(fleet.run(Settings(roles=str(command.file)), Warnings()))


async def test_a_file_that_is_no_regular_file_is_an_error(command: Command) -> None:
    """T38: a FIFO would block the thread that reads it."""
    os.mkfifo(command.file)
    with pytest.raises(ValueError, match="is a FIFO, not a regular file"):
        await soon(fleet.run(Settings(roles=str(command.file)), Warnings()))


async def test_roles_of_accounts_that_are_not_allowed_are_not_fetched(command: Command) -> None:
    """T43."""
    status = await command.run(f"{HUB}\n{DATA}\n", once=True, allowed_accounts=["123456789012"])

    assert status == 1
    assert command.problems == ["FILE, line 2: the account 210987654321 is not allowed"]
    assert len(command.server.requests) == 1


async def test_roles_of_another_partition_than_the_region_are_refused(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is sent. At a URL of the user, any partition may be right."""
    china = HUB.replace("arn:aws:", "arn:aws-cn:")
    await command.run(china, once=True)
    monkeypatch.delenv("AWS_ENDPOINT_URL_STS")
    with pytest.raises(ValueError, match="no identity that can be used"):
        await command.run(china, once=True)

    assert command.problems == ["FILE, line 1: the role is in the partition aws-cn, but the endpoint is in aws"]


async def test_processes_share_a_cache(command: Command, tmp_path: Path) -> None:
    """The second run asks for nothing."""
    cache = tmp_path / "cache"
    for _ in range(2):
        assert await command.run(HUB, once=True, cache=FileCache(cache)) == 0

    assert len(command.server.requests) == 1
    assert cache.stat().st_mode & 0o777 == 0o700


# -- Until a signal comes ----------------------------------------------------------------------------------------------


async def test_a_cache_that_is_available_again_is_a_line(command: Command) -> None:
    """Its loss is a warning of the library, and the reader of the one waits for the other."""

    class Cache(FileCache):
        async def join(self, user: CacheUser) -> None:
            for available in (False, True):
                user.notify(CacheStateChanged(cache="RedisCache('redis://h')", available=available, seconds=11.6))

        async def leave(self, user: CacheUser) -> None:
            pass

    command.start(HUB, cache=Cache(command.file.with_name("cache")))
    await command.shows("hub: waiting -> fresh")
    await command.end()

    assert command.lines[0] == "RedisCache('redis://h') is available again, after 12 s"
    assert len([line for line in command.lines if "Cache" in line]) == 1


async def test_each_change_of_a_state_is_a_line_and_summaries_follow(command: Command) -> None:
    """The start and the end are one line each, however many identities there are."""
    command.start(f"{HUB}\n{REFUSED}\n", summary_seconds=0.05)
    await command.shows("hub: waiting -> fresh", "refused: waiting -> failing: AccessDenied", "1 fresh, 1 failing")
    status = await command.end()

    assert (status, command.problems) == (0, [])
    assert command.lines[0] == f"keeping 2 identities of {command.file}"
    assert [line for line in command.lines if line.startswith("2 identities: 1 fresh, 1 failing; 2 requests")]
    assert command.lines[-1] == "ended"
    assert not [line for line in command.lines if line.endswith(("added", "removed"))]


async def test_sighup_reads_the_file_again(command: Command) -> None:
    """What is new is added, and what is missing is removed. The rest is not fetched again."""
    command.start(f"{HUB}\n{DATA} name=old")
    await command.shows("hub: waiting -> fresh", "old: waiting -> fresh")
    await command.reload(f"{HUB}\n{DATA} name=new session=new\n")
    await command.shows("was read again: 1 added, 1 removed", "new: waiting -> fresh")
    await command.end()

    assert len(command.server.requests) == 3
    assert command.problems == []


async def test_a_chain_is_removed_as_a_whole(command: Command) -> None:
    """Nothing is left of an identity that signed for others, though the file has it first."""
    command.start(f"{HUB} name=hub\n{DATA} through=hub\n{DATA} name=other", summary_seconds=0.05)
    await command.shows("3 identities: 3 fresh;")
    await command.reload(f"{DATA} name=other")
    await command.shows("0 added, 2 removed", "1 identity: 1 fresh;")
    await command.end()


async def test_a_broken_file_removes_nothing(command: Command) -> None:
    """The problems are shown, new identities are added, and the others stay fresh."""
    command.start(f"{HUB}\n{DATA} name=data")
    await command.shows("hub: waiting -> fresh", "data: waiting -> fresh")
    command.file.unlink()
    os.kill(os.getpid(), signal.SIGHUP)
    await command.shows("No such file or directory: the identities stay as they are")
    await command.reload("# being written\n")
    await command.shows("the file has no identity that can be used: the identities stay as they are")
    await command.reload(f"{HUB}\n{DATA} name=data sesion=x\n{DATA} name=new session=new\n")
    await command.shows(
        "line 2: sesion is not an option",
        "was read again: 1 added, 0 removed, 1 missing but kept, because the file has problems",
        "new: waiting -> fresh",
    )
    await command.reload(HUB)
    await command.shows("was read again: 0 added, 2 removed")
    await command.end()

    assert command.lines[-1] == "ended"


async def test_identities_with_one_description_are_told_apart_or_described(command: Command) -> None:
    """Events have no names: an ambiguous one is shown with its description, not with a wrong name."""
    command.start(f"{HUB} name=one external-id=xy\n{HUB} name=two external-id=xz\n{DATA} name=three")
    await command.shows("three: waiting -> fresh", f"role '{HUB}' (session 'sts-async'): waiting -> fresh")
    await command.end()


@pytest.mark.parametrize("once", [True, False], ids=["once", "kept"])
@pytest.mark.parametrize(
    ("missing", "message"),
    [("AWS_ACCESS_KEY_ID", "half a pair|AWS_ACCESS_KEY_ID"), ("AWS_REGION", "no region|needs a region"), ("", "found")],
    ids=["key", "region", "credentials"],
)
async def test_what_every_identity_would_lack_is_one_error(
    missing: str, message: str, once: bool, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is sent, and a file of 10,000 roles has not as many errors."""
    for name in [missing] if missing else ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]:
        monkeypatch.delenv(name)
    with pytest.raises(STSError, match=message):
        await command.run(f"{HUB}\n{DATA}", once=once)

    assert (command.lines, command.problems, len(command.server.requests)) == ([], [], 0)


async def test_a_signal_ends_the_command_while_it_waits_for_its_own_credentials(
    command: Command, write_file: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A reload before them changes nothing."""
    pids = tmp_path / "pids"
    config = write_file("config", f"[default]\ncredential_process = {shell(HANG.format(pids))}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    command.start(HUB)
    started = await pids_in(pids, count=2)
    os.kill(os.getpid(), signal.SIGHUP)
    await turns()
    assert not command.task.done()

    assert await command.end() == 0
    assert [await gone(pid) for pid in started] == [True, True]


# -- Processes ---------------------------------------------------------------------------------------------------------


async def start(*arguments: str, **more: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", "sts_async", *arguments),
        env=environ(**more),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )


async def until_shown(process: asyncio.subprocess.Process, text: str) -> None:
    assert process.stdout
    line = b"\n"
    while line and text.encode() not in line:
        line = await soon(process.stdout.readline())
    assert line, "it ended"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_the_process_with_status_0(number: signal.Signals) -> None:
    """With local servers and generated roles; SIGHUP before it only reads the roles again."""
    before = signal.signal(number, signal.SIG_DFL)  # a program that was started with a signal ignored keeps that
    try:
        process = await start("--local", "fleet", "--count", "2")
    finally:
        signal.signal(number, before)
    await until_shown(process, "demo-0002: waiting -> fresh")
    process.send_signal(signal.SIGHUP)
    await until_shown(process, "generated roles was read again: 0 added, 0 removed")
    process.send_signal(number)
    out, err = await soon(process.communicate())

    assert (process.returncode, err) == (0, b"")
    assert out.decode().endswith("Z ended\n")


async def test_a_reader_that_goes_away_ends_the_process(tmp_path: Path) -> None:
    """As in a pipe to `head`: nothing would be seen of the command any more."""
    process = await start("--local", "fleet", "--count", "1")
    await until_shown(process, "demo-0001: waiting -> fresh")
    process._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]
    process.send_signal(signal.SIGHUP)
    _, err = await soon(process.communicate())

    assert (process.returncode, err) == (1, b"")


async def test_the_advice_about_web_identity_tokens_helps(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """C18: the requests are signed with the role of the token."""
    await command.run(f'{HUB}\n{{"Operation": "AssumeRoleWithWebIdentity"}}', once=True)
    token = command.file.with_name("token")
    claims = {"sub": "me", "iss": "https://idp.example.com", "aud": "sts", "iat": 0, "exp": 1 << 40}
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    token.write_text(f"e30.{payload}.e30")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ROLE_ARN", HUB)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    status = await command.run(DATA, once=True)

    assert "set AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE" in command.problems[0]
    assert status == 0
    assert [record.operation for record in command.server.requests][1:] == ["AssumeRoleWithWebIdentity", "AssumeRole"]


# -- The table ---------------------------------------------------------------------------------------------------------


async def test_a_terminal_shows_a_table_until_ctrl_c() -> None:
    """The command of README.md, as it stands there."""
    shown = Terminal()
    await shown.start("--local", "fleet", shows_output=True, TERM="xterm", COLUMNS="120")
    await soon(shown.until(b"20 of 20 have credentials"))
    shown.type(b"\x03")
    await soon(shown.until(b"ended"))
    status, _, _ = await soon(shown.end())
    shown.close()

    assert status == 0
    assert b"sts-async fleet: generated roles" in shown.shown
    assert b"\x1b[?25l" in shown.shown  # the cursor is hidden
    assert b"Traceback" not in shown.shown


async def test_a_terminal_that_is_closed_ends_the_process() -> None:
    """The SIGHUP of the terminal only reads the roles again. The next picture cannot be drawn."""
    shown = Terminal()
    await shown.start("--local", "fleet", "--count", "1", shows_output=True, TERM="xterm")
    await soon(shown.until(b"1 of 1 have credentials"))
    os.close(shown.its)
    os.close(shown.ours)
    status, _, _ = await soon(shown.end())

    assert status == 1


@pytest.mark.parametrize("reason", ["a pipe", "a simple terminal", "without rich"])
async def test_lines_are_shown_where_a_table_cannot_be(
    reason: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    command.out = Stream(is_terminal=reason != "a pipe")
    monkeypatch.setenv("TERM", "dumb" if reason == "a simple terminal" else "xterm")
    if reason == "without rich":
        monkeypatch.setitem(sys.modules, "sts_async._cli.fleet_table", None)
    command.start(HUB)
    await command.shows("Z hub: waiting -> fresh\n")
    await command.end()

    assert command.lines == [f"keeping 1 identity of {command.file}", "hub: waiting -> fresh", "ended"]


async def test_the_table_is_drawn_at_a_terminal(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Problems of the file appear above it; its last picture stays."""
    command.out = Stream(is_terminal=True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    command.start(f"{HUB}\n{REFUSED}\nhello")
    await command.shows("1 of 2 have credentials", "AccessDenied", "hub: waiting -> fresh", "line 3: the line must")
    status = await command.end()

    assert status == 0
    assert command.out.getvalue().endswith("ended\n")


async def test_a_full_disk_ends_the_command(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """E7: it would run unseen."""

    def fail(text: str) -> None:
        raise OutputLost("No space left on device")

    monkeypatch.setattr(terminal, "say", fail)
    with pytest.raises(OutputLost, match="No space left"):
        await command.run(HUB)


# -- Usage -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: --roles"),
        (["--local", "--count", "0"], "argument --count: must be 1 to 100000"),
        (["--roles", "x", "--count", "5"], "--count can only be used with --local and without --roles"),
        (["--local", "--roles", "x", "--count", "5"], "--count can only be used with --local and without --roles"),
        (["--roles", "x", "--rate", "0"], "argument --rate: must be a number greater than 0"),
        (["--roles", "x", "--rate", SENTINEL], "argument --rate: must be a number greater than 0"),
        (["--roles", "x", "--concurrency", "x"], "argument --concurrency: must be 1 to 100000"),
        (["--roles", "x", "--allowed-accounts", "1"], "argument --allowed-accounts: must be account ids of 12 digits"),
        (["--role", "x"], "unrecognized option --role (did you mean --roles?)"),
    ],
    ids=str,
)
def test_wrong_options_are_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """E7."""
    status = cli.main(["fleet", *arguments])
    out, err = capsys.readouterr()

    assert (status, out) == (2, "")
    assert err == f"sts-async fleet: {message}. Run `sts-async fleet --help` for usage.\n"


def test_the_command_runs_once_with_local_servers(
    capsys: pytest.CaptureFixture[str], write_file: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings of the host have no effect."""
    monkeypatch.setenv("AWS_PROFILE", "gone")
    roles = write_file("roles", f"{HUB}\nurn:ecs:iam::ns:role/dell\n")
    generated = cli.main(
        ["--local", "fleet", "--count", "3", "--once", "--concurrency", "100", "--region", "cn-north-1"]
    )
    out, err = capsys.readouterr()
    listed = cli.main(["fleet", "--local", "--roles", str(roles), "--once", "--any-arn"])
    more, _ = capsys.readouterr()

    assert (generated, err) == (0, "")
    assert out.endswith("3 of 3 identities fetched\n")
    assert listed == 1
    assert "dell: failed: ValidationError: The role ARN is invalid" in more  # sent, and refused by the local STS
    assert more.endswith("1 of 2 identities fetched\n")


def test_a_file_that_is_missing_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """E7."""
    status = cli.main(["fleet", "--roles", "/gone/roles", "--local"])

    assert (status, *capsys.readouterr()) == (1, "", "sts-async: /gone/roles: No such file or directory\n")


@pytest.mark.parametrize("arguments", [["help", "fleet"], ["fleet", "--help"], ["fleet", "help"]])
def test_the_help_describes_the_file_and_all_options(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    status = cli.main(arguments)
    out, _ = capsys.readouterr()

    assert status == 0
    for part in (
        "a file of roles:",
        "SIGHUP",
        "--cache DIR|URL",
        "--cache-key-file FILE",
        "--cache-namespace NAME",
        "--once",
        "--any-arn",
        "--rate N",
        "--region NAME",
    ):
        assert part in out


def test_the_help_lists_the_options_of_a_line() -> None:
    """A member that the API adds is accepted at once, and must be in the list."""
    listed = EPILOG.partition("options of a line: ")[2].partition("\n\n")[0]
    names = {part.split()[0] for part in re.split(r",\s+", re.sub(r" \(.*?\)", "", listed))}
    members = [member for member in AssumeRoleRequest.__members__ if not _role_lines._refusal(member)]
    accepted = {_role_lines._as_option(member.name) for member in members} - {"role-arn"}

    assert names == accepted | {"name", "through"}


def test_each_line_in_the_help_is_a_line_of_a_file() -> None:
    """C18."""
    lines = EPILOG.partition("a file of roles:\n")[2].partition("\n\n")[0]
    found = read_roles(lines)

    assert (len(found.identities), found.problems) == (3, ())
