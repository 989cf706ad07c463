"""Input and output of the command line: closed, full and broken streams, and MFA codes with and without a terminal."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from commands import run_here
from support import ROLE
from terminals import Terminal, environ

from sts_async.testing import LocalSTS

LOCAL = ["--local", "get-caller-identity"]
COMMANDS = {"result": LOCAL, "help": ["--help"], "version": ["--version"], "doctor": ["doctor", "--local"]}
COMMANDS |= {"fleet": ["fleet", "--local", "--count", "1", "--once"]}
COMMANDS |= {"help of an operation": ["help", "assume-role"], "list of options": ["help", "options"]}
each_output = pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)


async def in_shell(redirection: str, *arguments: str, **more: str) -> tuple[int | None, str, str]:
    """Run the command with a redirection of a shell; ``@`` is replaced by the command."""
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", "set -o pipefail; " + redirection.replace("@", '"$@"'), "bash"),
        *(sys.executable, "-W", "error", "-m", "sts_async", *arguments),
        env=environ(**more),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


# -- Output ----------------------------------------------------------------------------------------------------------


@each_output
async def test_output_that_a_full_disk_does_not_take_is_one_line_and_a_status(arguments: list[str]) -> None:
    """E7: Python writes most of it at exit, and then says so in a traceback."""
    status, _, err = await in_shell("@ > /dev/full", *arguments)

    assert (status, err) == (1, "sts-async: standard output: No space left on device\n")


@each_output
async def test_output_without_anything_that_takes_it_is_one_line_and_a_status(arguments: list[str]) -> None:
    """E7: `print` writes nothing then, and raises nothing."""
    status, _, err = await in_shell("@ >&-", *arguments)

    assert (status, err) == (1, "sts-async: standard output: it is closed\n")


@each_output
async def test_a_closed_pipe_ends_without_a_message(arguments: list[str]) -> None:
    """E7: as in a pipe to `head`."""
    status, _, err = await in_shell("@ | true", *arguments)

    assert (status in (0, 1), err) == (True, "")


@pytest.mark.parametrize("redirection", ["@ 2>&-", "@ 2>/dev/full", "@ 2>&1 >/dev/null | true"])
@pytest.mark.parametrize(
    ("arguments", "expected"), [(["get-caller-identity"], 1), (["get-caller-identity", "--x"], 2), ([], 2)], ids=str
)
async def test_an_error_that_cannot_be_written_is_still_a_status(
    redirection: str, arguments: list[str], expected: int
) -> None:
    """E7: and it is never written where the answer is expected."""
    status, out, err = await in_shell(redirection, *arguments)

    assert (status, out, err) == (expected, "", "")


async def test_the_response_is_written_if_standard_error_is_closed() -> None:
    """E7: with a warning, which has no place to go."""
    status, out, _ = await in_shell("@ 2>&-", *LOCAL, "--app-id", "my shop")

    assert status == 0
    assert out.startswith("{")


async def test_a_closed_standard_input_is_one_line() -> None:
    """E7."""
    status, out, err = await in_shell("@ <&-", "--local", "decode-authorization-message", "--encoded-message", "-")

    assert (status, out, err) == (1, "", "sts-async: --encoded-message: standard input is closed\n")


async def test_text_that_the_terminal_cannot_encode_is_written_with_escapes() -> None:
    """E7: the name of a profile may have any characters."""
    status, out, err = await in_shell("@", "doctor", "--profile", "é", PYTHONIOENCODING="ascii")

    assert status == 1
    assert "Traceback" not in err
    assert "\\xe9" in out


# -- MFA codes -------------------------------------------------------------------------------------------------------


@pytest.fixture
async def profile(write_file: Callable[[str, str], Path]) -> AsyncIterator[dict[str, str]]:
    """Return the environment of a profile whose role needs the code 123456, which a server checks."""
    async with LocalSTS() as server:
        keys = server.credentials
        config = write_file(
            "config",
            f"[default]\nregion = {server.region}\nendpoint_url = {server.url}\nrole_arn = {ROLE}\n"
            f"source_profile = user\nmfa_serial = {server.user.mfa_serial}\n"
            f"[profile user]\naws_access_key_id = {keys.access_key_id}\n"
            f"aws_secret_access_key = {keys.secret_access_key}\n"
            f"[profile twice]\nregion = {server.region}\nendpoint_url = {server.url}\nrole_arn = {ROLE}\n"
            "source_profile = default\nmfa_serial = arn:aws:iam::123456789012:mfa/other\n",
        )
        yield {"AWS_CONFIG_FILE": str(config), "AWS_SHARED_CREDENTIALS_FILE": os.devnull}


@pytest.fixture
async def terminal() -> AsyncIterator[Terminal]:
    terminal = Terminal()
    yield terminal
    terminal.close()


async def test_a_person_at_the_terminal_is_asked_for_the_code(profile: dict[str, str], terminal: Terminal) -> None:
    """E7: the prompt is at the terminal, independent of standard input, and typed text is not shown."""
    await terminal.start("get-caller-identity", **profile)
    await terminal.until(b"MFA code of arn:aws:iam::123456789012:mfa/developer: ")
    assert not terminal.echoes()
    terminal.type(b" 123456 \n")
    status, out, err = await terminal.end()

    assert (status, err) == (0, "")
    assert ":assumed-role/demo/" in out
    assert b"123456 " not in terminal.shown
    assert terminal.echoes()


async def test_ending_the_input_at_the_prompt_is_one_line(profile: dict[str, str], terminal: Terminal) -> None:
    """E7: Ctrl-D."""
    await terminal.start("get-caller-identity", **profile)
    await terminal.until(b"developer: ")
    terminal.type(b"\x04")
    status, out, err = await terminal.end()

    assert (status, out) == (1, "")
    assert "no MFA code was given" in err
    assert err.count("\n") == 1
    assert terminal.echoes()


async def test_interrupting_the_prompt_ends_the_command_and_restores_the_terminal(
    profile: dict[str, str], terminal: Terminal
) -> None:
    """E7: Ctrl-C. A thread that still reads does not keep the process."""
    await terminal.start("get-caller-identity", **profile)
    await terminal.until(b"developer: ")
    terminal.type(b"\x03")

    assert await terminal.end() == (130, "", "")
    assert terminal.echoes()


async def without_terminal(code: bytes, *arguments: str, **more: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", "sts_async", *arguments),
        env=environ(**more),
        start_new_session=True,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(code)
    return process.returncode, out.decode(), err.decode()


@pytest.mark.slow
async def test_without_a_terminal_one_line_says_how_to_give_the_code_and_that_works(profile: dict[str, str]) -> None:
    """E7: `getpass` warns, reads standard input in plain sight, and ends in an EOFError."""
    status, out, err = await without_terminal(b"", "get-caller-identity", **profile)

    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "no terminal for a prompt: pass --mfa-code CODE, or --mfa-code - with the code on standard input" in err

    for arguments, code in ((["--mfa-code", "123456"], b""), (["--mfa-code", "-"], b"123456\n")):
        status, out, err = await without_terminal(code, "get-caller-identity", *arguments, **profile)

        assert (status, err) == (0, "")
        assert ":assumed-role/demo/" in out


async def test_a_wrong_code_is_reported_with_the_message_of_sts(profile: dict[str, str]) -> None:
    """E7: the code that was given once is not sent a second time."""
    status, _, err = await run_here(environ(**profile), "get-caller-identity", "--mfa-code", "654321")

    assert status == 1
    assert err.startswith("sts-async: AccessDenied: MultiFactorAuthentication failed")


@pytest.mark.parametrize(
    ("code", "typed"),
    [("12", b""), ("12 34 56", b""), ("", b""), ("-", b""), ("-", b"12\n"), ("\N{FULLWIDTH DIGIT ONE}" * 6, b"")],
)
async def test_a_code_that_cannot_be_one_is_refused_with_the_option_and_the_rule(
    profile: dict[str, str], code: str, typed: bytes
) -> None:
    """It does not mention `AssumeRoleRequest`, which the user has not written."""
    status, out, err = await run_here(environ(**profile), "get-caller-identity", f"--mfa-code={code}", given=typed)

    assert (status, out) == (2, "")
    assert err == (
        "sts-async get-caller-identity: --mfa-code must be six digits. "
        "Run `sts-async get-caller-identity --help` for usage.\n"
    )


@pytest.mark.parametrize("typed", [b"\n", b"12 34 56\n"])
async def test_a_code_at_the_prompt_that_cannot_be_one_is_one_line(
    profile: dict[str, str], terminal: Terminal, typed: bytes
) -> None:
    await terminal.start("get-caller-identity", **profile)
    await terminal.until(b"developer: ")
    terminal.type(typed)
    status, out, err = await terminal.end()

    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "the code of the MFA device must be six digits" in err
    assert "AssumeRole" not in err


async def test_without_validation_another_server_decides_whether_a_code_is_valid(profile: dict[str, str]) -> None:
    """Its devices may show eight digits."""
    status, _, err = await run_here(
        environ(**profile), "get-caller-identity", "--no-validate-parameters", "--mfa-code", "12345678"
    )

    assert status == 1
    assert "six digits" not in err


async def test_one_code_is_not_given_to_two_devices(profile: dict[str, str]) -> None:
    """E7: it would be refused, or shown to the wrong account."""
    status, _, err = await run_here(
        environ(**profile), "get-caller-identity", "--profile", "twice", "--mfa-code", "123456"
    )

    assert status == 1
    assert "codes of 2 MFA devices are needed, but --mfa-code has only one" in err
