"""credential_process: how the process runs, which output is accepted, and that nothing of it remains or is shown."""

import asyncio
import json
import os
import shlex
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import botocore.credentials
import pytest
from hypothesis import given
from hypothesis import strategies as st
from patience import in_a_thread
from processes import HANG, echo, gone, nothing_is_left, pids_in, python, shell
from support import Clocks
from test_secrets import shown

from sts_async._engine.loop import Engine
from sts_async._protocol.redaction import Redaction
from sts_async._runtime import process as _process
from sts_async._runtime.threads import NoThread
from sts_async._shape.secret import Secret
from sts_async.credentials import process
from sts_async.credentials.process import MAX_CHARACTERS, TOO_LONG, ProcessProvider, _advice, last_lines, visible
from sts_async.errors import ConfigurationError, CredentialsError, CredentialsExpired
from sts_async.shapes import Credentials

__all__ = ["nothing_is_left"]  # the watch, over every test here

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc, for what is left")

KEYS = {"Version": 1, "AccessKeyId": "AKIAEXAMPLE", "SecretAccessKey": "SENTINEL-secret"}
WHOLE = {**KEYS, "SessionToken": "SENTINEL-token", "Expiration": "2026-01-01T01:00:00Z"}


async def refusal_of(command: str, context: Engine, **options: Any) -> CredentialsError:
    with pytest.raises(CredentialsError) as caught:
        await ProcessProvider(command, name="credential_process of profile 'x'", **options).fetch(context)
    return caught.value


# -- what is believed ---------------------------------------------------------------------------------------------


async def test_the_output_is_the_credentials(context: Engine) -> None:
    assert await ProcessProvider(echo(WHOLE)).fetch(context) == Credentials(
        access_key_id="AKIAEXAMPLE",
        secret_access_key="SENTINEL-secret",
        session_token="SENTINEL-token",
        expiration=datetime(2026, 1, 1, 1, tzinfo=UTC),
    )


async def test_botocore_finds_the_same_credentials(context: Engine) -> None:
    command = echo(WHOLE, then="echo noise >&2")
    ours = await ProcessProvider(command).fetch(context)
    oracle = botocore.credentials.ProcessProvider("x", dict)
    theirs = await asyncio.to_thread(oracle._retrieve_credentials_using, command)

    assert (theirs["access_key"], theirs["secret_key"]) == (ours.access_key_id, ours.secret_access_key)
    assert theirs["token"] == ours.session_token
    assert datetime.fromisoformat(theirs["expiry_time"]) == ours.expiration


async def test_without_expiration_the_process_runs_once(context: Engine, clocks: Clocks, tmp_path: Path) -> None:
    """F41: such credentials never expire, so there is nothing to refresh."""
    provider = ProcessProvider(echo(KEYS, then=f"echo run >> {tmp_path}/runs"))
    first = await provider.provide_credentials(context)
    clocks.advance(10 * 365 * 86_400)

    assert await provider.provide_credentials(context) is first
    assert (tmp_path / "runs").read_text() == "run\n"


async def test_the_process_runs_again_10_s_before_the_end(context: Engine, clocks: Clocks, tmp_path: Path) -> None:
    """Processes are not run in advance, because some of them ask a person."""
    provider = ProcessProvider(echo(WHOLE, then=f"echo run >> {tmp_path}/runs"))
    await provider.provide_credentials(context)
    clocks.advance(3589)
    await provider.provide_credentials(context)

    assert (tmp_path / "runs").read_text() == "run\n"

    clocks.advance(2)
    await provider.provide_credentials(context)

    assert (tmp_path / "runs").read_text() == "run\n" * 2


async def test_credentials_that_have_expired_are_refused(context: Engine) -> None:
    """F49."""
    provider = ProcessProvider(echo({**WHOLE, "Expiration": "2025-12-31T23:59:59Z"}))

    with pytest.raises(CredentialsExpired, match=r"^credential_process returned credentials that have"):
        await provider.provide_credentials(context)


@pytest.mark.parametrize("version", [..., None, 2, 0, "1", 1.5, True, [1]], ids=repr)
async def test_the_version_must_be_1(context: Engine, version: Any) -> None:
    """T35."""
    document = {name: value for name, value in {**KEYS, "Version": version}.items() if value is not ...}
    error = await refusal_of(echo(document), context)

    assert str(error) == "credential_process of profile 'x': the output must have Version 1"
    assert "SENTINEL" not in shown(error)


@pytest.mark.parametrize("output", ["", "SENTINEL", '{"SecretAccessKey": "SENTINEL"', "[]", "\x00"], ids=repr)
async def test_output_that_is_not_a_json_object_is_refused(context: Engine, output: str) -> None:
    """F41, T15."""
    error = await refusal_of(python("import sys; sys.stdout.write(eval(sys.argv[1]))", repr(output)), context)

    assert str(error) == "credential_process of profile 'x': the output is not a JSON object"
    assert "SENTINEL" not in shown(error)


@pytest.mark.parametrize("member", ["AccessKeyId", "SecretAccessKey"])
async def test_the_error_names_a_missing_member(context: Engine, member: str) -> None:
    """T15: null key."""
    error = await refusal_of(echo({**WHOLE, member: None}), context)

    assert str(error) == f"credential_process of profile 'x': the output: {member} is missing"
    assert "SENTINEL" not in shown(error)


# -- how it is run ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trick", ["; touch {}", "$(touch {})", "`touch {}`", "| touch {}", "&& touch {}", "> {}", "*"])
async def test_no_shell_reads_the_command(context: Engine, tmp_path: Path, trick: str) -> None:
    """T34: characters with a meaning in a shell are literal arguments."""
    pwned = tmp_path / "pwned"
    trick = trick.format(pwned)
    code = f"import json, sys; open({str(tmp_path / 'seen')!r}, 'w').write(json.dumps(sys.argv[1:]))"
    await refusal_of(python(code) + " " + trick, context)

    assert json.loads((tmp_path / "seen").read_text()) == shlex.split(trick)
    assert not pwned.exists()


@given(st.text(st.sampled_from("ab '\"\\;$`|&\t\n#*~"), max_size=20))
def test_the_command_is_split_as_by_botocore(command: str) -> None:
    """T34."""
    try:
        theirs = botocore.credentials.compat_shell_split(command)
    except ValueError:
        theirs = []

    assert _process.split_command(command) == theirs


@pytest.mark.parametrize("command", ["", "  ", "helper 'SENTINEL", "helper SENTINEL\\"], ids=repr)
async def test_an_invalid_command_is_refused(context: Engine, command: str) -> None:
    """T36: the error of `shlex` would contain the command."""
    with pytest.raises(ConfigurationError, match="the command is empty, or has an unclosed quotation mark") as caught:
        await ProcessProvider(command).fetch(context)

    assert "SENTINEL" not in shown(caught.value)


@pytest.mark.parametrize("command", ["SENTINEL" * 5000, "SENTINEL\0", b"SENTINEL", None, 5], ids=lambda c: str(c)[:9])
def test_a_command_that_is_too_long_is_refused_at_once(command: Any) -> None:
    """T37, T36: a line of the config file may have a mebibyte, and splitting it would take half a minute."""
    with pytest.raises(ConfigurationError, match="must be text without NUL, of up to 32,767 characters") as caught:
        ProcessProvider(command)

    assert "SENTINEL" not in shown(caught.value)


@pytest.mark.parametrize("worst", ["a ", "a", "\\a", '"a', '""', "\U0001f600"])
def test_the_longest_command_is_split(worst: str) -> None:
    """T37: the time to split a command grows with the square of its length, so the length is limited."""
    command = f'"{worst * MAX_CHARACTERS}'[:MAX_CHARACTERS]

    assert len(command) == MAX_CHARACTERS
    assert in_a_thread(_process.split_command, command) or in_a_thread(_process.split_command, command[1:])


async def test_the_output_of_a_process_with_an_unknown_exit_code_is_refused(context: Engine) -> None:
    """F41: in a program that ignores SIGCHLD, the system discards the exit code."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        error = await refusal_of(echo(WHOLE, then="exit 3"), context)
    finally:
        signal.signal(signal.SIGCHLD, before)

    assert "its exit code is unknown" in str(error)
    assert "SENTINEL" not in shown(error)


async def test_without_a_thread_there_is_a_credentials_error(context: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """F41."""

    def full(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", full)
    error = await refusal_of(echo(WHOLE), context)

    assert str(error).endswith("the program cannot be run (no thread can be started)")


async def test_the_program_is_looked_up_in_path(
    context: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T34."""
    helper = tmp_path / "a helper"
    helper.write_text(f"#!/bin/sh\nprintf %s {shlex.quote(json.dumps(KEYS))}\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    assert (await ProcessProvider("'a helper'").fetch(context)).access_key_id == "AKIAEXAMPLE"


@pytest.mark.parametrize("program", ["/SENTINEL/helper", "SENTINEL-helper", "/tmp"], ids=repr)
async def test_a_program_that_cannot_be_run_is_an_error(context: Engine, program: str) -> None:
    """F41, T36: the text of the system's error would name the program."""
    error = await refusal_of(f"{program} --password SENTINEL", context)

    assert str(error).startswith("credential_process of profile 'x': the program cannot be run (")
    assert str(error).split("(")[1] in {"ENOENT)", "EACCES)"}
    assert "SENTINEL" not in shown(error)


# -- failure ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("then", "said"),
    [
        ("exit 3", "ended with exit code 3"),
        ("kill -TERM $$", "ended by signal SIGTERM"),
        ("kill -37 $$", "ended by signal 37"),
    ],
)
async def test_the_output_of_a_failed_process_is_refused(context: Engine, then: str, said: str) -> None:
    """F41, T15, T35: the error contains nothing of both outputs."""
    error = await refusal_of(echo(WHOLE, then=f"echo SENTINEL >&2; {then}"), context)

    assert str(error) == f"credential_process of profile 'x': {said}; {_advice()}"
    assert "SENTINEL" not in shown(error)


@pytest.fixture
def shown_stderr(context: Engine, tmp_path: Path) -> Callable[..., Awaitable[str]]:
    """Return a function that runs a failing script, and returns the part of the error about its standard error."""

    async def run(script: str, *arguments: str) -> str:
        await asyncio.to_thread((tmp_path / "script").write_text, script)
        command = shlex.join(["/bin/sh", str(tmp_path / "script"), *arguments])
        error = await refusal_of(command, context, show_process_stderr=True)
        problem, _, words = str(error).partition("; it wrote to standard error: ")
        assert problem.startswith("credential_process of profile 'x': ")
        return words

    return run


async def test_an_error_can_end_with_the_last_lines_of_stderr(context: Engine) -> None:
    """C11: it has five lines joined to one, however much was written before."""
    script = "for n in 1 2 3 4 5 6 7; do echo line $n >&2; echo >&2; done; exit 3"
    error = await refusal_of(shell(script), context, show_process_stderr=True)

    assert str(error) == (
        "credential_process of profile 'x': ended with exit code 3; "
        "it wrote to standard error: line 3 | line 4 | line 5 | line 6 | line 7"
    )


@pytest.mark.parametrize("then", ["", "kill -TERM $$", "yes"])
async def test_stderr_is_shown_for_every_kind_of_failure(
    shown_stderr: Callable[..., Awaitable[str]], then: str
) -> None:
    """C11: also after a signal, and for output that is invalid or too large."""
    assert await shown_stderr(f"echo ask your administrator >&2; {then}") == "ask your administrator"


async def test_an_error_without_stderr_does_not_mention_it(context: Engine) -> None:
    """C11: it has neither lines nor advice how to see them."""
    for shows in (True, False):
        error = await refusal_of(shell("echo ' ' >&2; exit 1"), context, show_process_stderr=shows)
        assert str(error) == "credential_process of profile 'x': ended with exit code 1"


async def test_the_last_lines_are_shown_after_much_output(shown_stderr: Callable[..., Awaitable[str]]) -> None:
    """C11: the 4 KiB that are kept are the last ones."""
    script = "i=0; while [ $i -lt 3000 ]; do echo progress >&2; i=$((i+1)); done; echo no ticket >&2; exit 1"

    assert (await shown_stderr(script)).endswith("progress | no ticket")


async def test_the_last_lines_are_limited_in_length(shown_stderr: Callable[..., Awaitable[str]]) -> None:
    """C11: to the last 1,000 characters."""
    words = await shown_stderr("printf '%03000d\\n' 7 >&2; exit 1")

    assert len(words) == 1000
    assert (words[:4], words[-2:]) == ("...0", "07")


async def test_the_last_lines_are_printable(shown_stderr: Callable[..., Awaitable[str]]) -> None:
    """C11, T45: without colors, other control characters and invalid UTF-8."""
    words = await shown_stderr("printf '\\033[31mred\\033[0m\\007\\r\\nb\\377d\\342\\200\\256' >&2; exit 1")

    assert words.isprintable()
    assert words == "red | b\ufffdd"


async def test_known_secrets_are_hidden_in_the_last_lines(
    shown_stderr: Callable[..., Awaitable[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """C11: the output of the process, its arguments, and secrets of the environment."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SENTINEL-environment")
    monkeypatch.setenv("VAULT_TOKEN", "SENTINEL-vault")
    document = json.dumps({"SecretAccessKey": "SENTINEL-of-the-output"})
    script = (
        'echo "$2"; echo "got $2" >&2; echo "$AWS_SECRET_ACCESS_KEY and $VAULT_TOKEN" >&2; '
        'echo "bad password ${1#*=}" >&2; exit 1'
    )
    words = await shown_stderr(script, "--password=SENTINEL-argument", document)

    assert words == "got *** | *** and *** | bad password ***"


LONG = "Sup3rSecretPassw0rdLongEnough"
SHORT = "Sup3rSecret"


@pytest.mark.parametrize(
    ("argument", "printed"),
    [
        (f"-p{LONG}", LONG),
        (f"-p{SHORT}", SHORT),
        (f"-p{SHORT}", f"-p{SHORT}"),
        (f"--{SHORT}", f"--{SHORT}"),
        (f"-{SHORT}", SHORT),
        (f"--password={SHORT}", SHORT),
        (f"--password={SHORT}", f"--password={SHORT}"),
        ("--password=Sup3r=Secret", "Sup3r=Secret"),
        ("Sup3r Secret", "Sup3r Secret"),
        ("Header: Sup3rSecret", SHORT),
    ],
)
async def test_long_arguments_are_hidden_in_every_form(
    shown_stderr: Callable[..., Awaitable[str]], argument: str, printed: str
) -> None:
    """C11: this includes values in the same word as their option, and passwords that begin with a hyphen."""
    assert await shown_stderr(f"echo refused {shlex.quote(printed)} >&2; exit 1", argument) == "refused ***"


@pytest.mark.parametrize("secret", [SHORT, LONG])
@pytest.mark.parametrize(
    "within",
    ["\x1b[31m", "\x1b[1;38;5;9m", "\x1b(B", "\x9b0m", "\x1b]0;a title\x07", "\x1b]8;;link\x1b\\", "\x1bPa\x1b\\"]
    + [chr(code) for code in (0, 7, 8, 11, 12, 27, 28, 127, 0x85, 0xAD, 0x200B, 0x202E, 0x2028, 0xFEFF)],
    ids=ascii,
)
def test_a_control_sequence_within_a_secret_does_not_show_it(secret: str, within: str) -> None:
    """C11: no character is removed after the redaction."""
    for middle in (4, len(secret) // 2, len(secret) - 3):
        parted = f"bad {secret[:middle]}{within}{secret[middle:]} word"
        for known, text in ((secret, parted), (parted[4:-5], f"bad {secret} word")):
            hide = Redaction(visible(Secret(known)))
            assert last_lines(text.encode(), hide) == "bad *** word"


async def test_the_shown_stderr_does_not_begin_within_a_secret(
    shown_stderr: Callable[..., Awaitable[str]],
) -> None:
    """C11: an incomplete first line is left out, because it may begin with the rest of a secret."""
    end = "printf '\\n%04080d\\nlast line\\n' 0 >&2; exit 1"
    words = await shown_stderr(f"printf 'bad {SHORT}' >&2; {end}", f"-p{SHORT}")

    assert words.endswith("0 | last line")
    assert "cret" not in words
    assert await shown_stderr("printf '%05000d' 7 >&2; exit 1") == TOO_LONG


def test_the_first_line_is_shown_if_the_text_is_not_cut() -> None:
    """C11: only the first line of a cut text is left out."""
    hide = Redaction()

    assert last_lines(b"one\ntwo", hide) == "one | two"
    assert last_lines(b"one\ntwo", hide, is_cut=True) == "two"
    assert last_lines(b"one\r\ntwo", hide, is_cut=True) == "two"


async def test_without_a_thread_stderr_is_not_shown(context: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """F41: the error of the process is raised all the same."""

    async def full(*_: Any) -> Any:
        raise NoThread

    monkeypatch.setattr(process, "reading", full)
    error = await refusal_of(shell("echo reason >&2; exit 3"), context, show_process_stderr=True)

    assert str(error).endswith("exit code 3; its standard error cannot be shown: no thread can be started")


async def test_the_variable_shows_stderr_too(context: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """C11: so a failure can be diagnosed without a change of code."""
    monkeypatch.setenv("STS_ASYNC_SHOW_PROCESS_STDERR", "true")

    assert str(await refusal_of(shell("echo no ticket >&2; exit 1"), context)).endswith(
        "it wrote to standard error: no ticket"
    )
    assert "no ticket" not in str(
        await refusal_of(shell("echo no ticket >&2; exit 1"), context, show_process_stderr=False)
    )

    monkeypatch.setenv("STS_ASYNC_SHOW_PROCESS_STDERR", "sometimes")
    with pytest.raises(ConfigurationError, match="STS_ASYNC_SHOW_PROCESS_STDERR must be true or false"):
        await ProcessProvider("true").fetch(context)
    with pytest.raises(ConfigurationError, match="show_process_stderr must be"):
        ProcessProvider("true", show_process_stderr="true")  # type: ignore[arg-type]


async def test_stderr_is_an_attribute_of_the_provider(context: Engine) -> None:
    """T35: it helps to diagnose a failure, and it may contain secrets."""
    provider = ProcessProvider(shell("echo SENTINEL reason >&2; exit 1"))
    with pytest.raises(CredentialsError):
        await provider.fetch(context)

    assert provider.stderr.decode() == "SENTINEL reason\n"
    assert "SENTINEL" not in f"{provider!r} {provider.stderr!r} {provider.stderr}"


async def test_the_command_is_never_shown(context: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """T36: not in the error, in its traceback with local variables, or in the repr of the provider."""
    provider = ProcessProvider(python("exit(1)", "--password", "SENTINEL"), name="credential_process of profile 'x'")
    with pytest.raises(CredentialsError) as caught:
        await provider.fetch(context)

    assert "SENTINEL" not in shown(caught.value)
    assert "SENTINEL" not in repr(vars(provider))
    assert "SENTINEL" not in caplog.text
    assert repr(provider) == "ProcessProvider(\"credential_process of profile 'x'\")"


async def test_too_much_output_is_refused(context: Engine) -> None:
    """T35."""
    error = await refusal_of("yes SENTINEL", context)

    assert str(error) == "credential_process of profile 'x': wrote more than 65,536 bytes"
    assert "SENTINEL" not in shown(error)


async def test_64_kib_of_output_are_accepted(context: Engine) -> None:
    """T35."""
    whole = json.dumps(KEYS)
    code = "import sys; sys.stdout.write(sys.argv[1].ljust(int(sys.argv[2])))"
    await ProcessProvider(python(code, whole, "65536")).fetch(context)

    assert "wrote more" in str(await refusal_of(python(code, whole, "65537"), context))


async def test_a_process_that_hangs_times_out(context: Engine) -> None:
    """T35."""
    error = await refusal_of(echo(WHOLE, then="sleep 1000"), context, seconds=0.3)

    assert str(error) == "credential_process of profile 'x': timed out after 0.3 s"
    assert "SENTINEL" not in shown(error)


async def test_closing_the_client_kills_the_process(context: Engine, tmp_path: Path) -> None:
    """T35: closing cancels the running refresh and waits for it."""
    pids = tmp_path / "pids"
    asking = asyncio.create_task(ProcessProvider(shell(HANG.format(pids))).provide_credentials(context))
    found = await pids_in(pids, count=2)
    await context.tasks.aclose()
    results = await asyncio.gather(asking, return_exceptions=True)

    assert type(results[0]).__name__ == "ClientClosedError"
    assert all([await gone(pid) for pid in found])


async def test_windows_gets_the_command_unsplit(
    context: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Windows splits it by its own rules, in which backslashes separate directories."""
    helper = tmp_path / "a\\helper 'of ours"
    helper.write_text(f"#!/bin/sh\nprintf %s {shlex.quote(json.dumps(KEYS))}\n")
    helper.chmod(0o755)
    monkeypatch.setattr(_process, "POSIX", False)

    assert (await ProcessProvider(str(helper)).fetch(context)).access_key_id == "AKIAEXAMPLE"
