"""The README: its code runs, its tables are complete, its first two commands are what they must be."""

import asyncio
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web

import sts_async
from sts_async import calls, config, errors
from sts_async.operations import OPERATIONS
from sts_async.testing import LocalSTS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^```sh\n(.*?)\n```$", README, re.MULTILINE | re.DOTALL)
BLOCKS = re.findall(r"^```python\n(.*?)\n```$", README, re.MULTILINE | re.DOTALL)
SERVICE = [block for block in BLOCKS if "web.Application()" in block]
TESTS = [block for block in BLOCKS if "def test_" in block]
PROGRAMS = [block for block in BLOCKS if block not in SERVICE + TESTS]


def environment(server: LocalSTS) -> dict[str, str]:
    keys = server.credentials
    return {
        "AWS_ACCESS_KEY_ID": keys.access_key_id,
        "AWS_SECRET_ACCESS_KEY": keys.secret_access_key,
        "AWS_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL_STS": server.url,
        "PATH": os.environ["PATH"],
        "HOME": os.environ["HOME"],
    }


def test_every_block_of_code_is_of_a_kind_that_is_run_here() -> None:
    assert all("asyncio.run(main())" in block or "\nprint(" in block for block in PROGRAMS)
    assert len(SERVICE) == 1


@pytest.mark.parametrize("program", PROGRAMS, ids=range(len(PROGRAMS)))
async def test_the_programs_run(program: str) -> None:
    async with LocalSTS() as server:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", "-c", program),
            env=environment(server),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()

    complaints = [line for line in err.decode().splitlines() if "credential refresh" not in line]  # of an outage
    assert (process.returncode, complaints) == (0, [])
    assert out


async def test_the_web_service_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, Any] = {"__name__": "service"}
    exec(compile(SERVICE[0], "README.md", "exec"), names)  # the block is the subject of the test
    async with LocalSTS() as server:
        for name, value in environment(server).items():
            monkeypatch.setenv(name, value)
        runner = web.AppRunner(names["app"])
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/credentials/acme"

        async with ClientSession() as session, session.get(url) as response:
            answer = await response.json()
        await runner.cleanup()

    assert list(answer) == ["expires"]


@pytest.mark.parametrize("block", TESTS, ids=range(len(TESTS)))
def test_the_tests_pass(block: str, pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makepyfile(test_block=block)

    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")

    result.assert_outcomes(passed=block.count("def test_"))


def test_the_first_two_commands_are_one_line_each() -> None:
    first, second = COMMANDS[:2]

    assert all(
        command.startswith("python3.11 -m venv .venv && .venv/bin/pip install") and "\n" not in command
        for command in (first, second)
    )
    assert ".venv/bin/sts-async --local assume-role" in first
    assert second.endswith(".venv/bin/python -m pytest -q -n 2")


def test_the_table_of_operations_is_the_table_of_operations() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .+ \| (yes|no) \|$", README, re.MULTILINE)

    names = [name for name, function in vars(calls.Calls).items() if name != "send" and not name.startswith("_")]
    assert [name for name, _ in rows] == names
    assert [signed == "yes" for _, signed in rows] == [operation.signed for operation in OPERATIONS]


def test_the_errors_in_the_table_exist_and_the_tree_is_covered() -> None:
    endings = "Error|Exception|Lost|Timeout|Refused|Region|Endpoint|NotFound|Expired|Large|File|Required|Exceeded"
    named = set(re.findall(rf"`([A-Z]\w+(?:{endings}))`", README))
    unmodelled = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.STSError) and not getattr(value, "modelled_code", None)
    }

    assert {name for name in named - {"TypeError", "ValueError"} if not hasattr(sts_async, name)} == set()
    assert unmodelled - named == set()


def test_every_option_is_in_the_table_with_its_variables_and_its_key() -> None:
    section = README.partition("## Configuration")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \| .+ \|$", section, re.MULTILINE)

    assert [name for name, _, _ in rows] == list(config.OPTIONS)
    for name, variables, key in rows:
        known = config.OPTIONS[name]
        assert tuple(re.findall(r"`(\w+)`", variables)) == known.variables
        assert (re.findall(r"`(\w+)`", key) or [None]) == [known.key]


def test_the_variables_in_the_text_are_those_that_are_read() -> None:
    """Anywhere in the library, and no others."""
    package = Path(sts_async.__file__).parent
    pure = [package / "_config" / "services.py", package / "credentials" / "_tokens.py"]
    files = [package / "config.py", *(package / "credentials").glob("*.py"), *pure]
    read = {name for path in files for name in re.findall(r'"(AWS_[A-Z0-9_]+)"', path.read_text(encoding="utf-8"))}

    assert set(re.findall(r"`(AWS_\w+)`", README)) == read


def test_the_map_shows_every_room() -> None:
    drawn = set(re.findall(r"^  (\S+)", README.partition("\nsts_async/\n")[2].partition("\n```")[0], re.MULTILINE))
    package = Path(sts_async.__file__).parent
    rooms = {
        path.name + "/" * path.is_dir()
        for path in package.iterdir()
        if path.suffix in ("", ".py") and not path.name.startswith("__")
    }

    assert rooms - {"_version.py"} == drawn
