"""The documents: their code runs, their tables are complete, and two commands of README.md keep their form."""

import asyncio
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from documents import COMMANDS, DOCUMENTS, README, ROOT, blocks, prose, section
from patience import soon, until

import sts_async
from sts_async import calls, config, errors
from sts_async.operations import OPERATIONS
from sts_async.testing import LocalSTS, Role

REFERENCE = DOCUMENTS["sts_async/README.md"]
MAX_LINES = 400  # of README.md: a manual that is read, not searched
BLOCKS = [(path, block) for path, text in DOCUMENTS.items() for block in blocks(text, "python")]
EXCERPTS = {
    "sts_async/bridges/recipes.md": "tests/bridges/test_recipes.py",
    "sts_async/coming_from_boto3.md": "tests/test_coming_from_boto3.py",
}
"""Documents whose blocks are parts of programs, and the tests that run each of them."""
SERVICE = [block for path, block in BLOCKS if "web.Application()" in block and path not in EXCERPTS]
TESTS = [(path, block) for path, block in BLOCKS if "def test_" in block]
WORKERS = [block for _, block in BLOCKS if "RedisCache(" in block]
"""Programs that need Redis; `fleet/caches/test_deployment.py` runs them."""
PROGRAMS = [
    (path, block)
    for path, block in BLOCKS
    if block not in [*SERVICE, *WORKERS] and "def test_" not in block and path not in EXCERPTS
]
SHELL = [(path, block) for path, text in DOCUMENTS.items() for block in blocks(text, "sh") if block not in COMMANDS[:2]]
LINES = [(path, line) for path, block in SHELL if "sts-async" in block for line in block.splitlines()]
ABOUT_FILES = [(path, block) for path, block in SHELL if "sts-async" not in block]
ROLE = "arn:aws:iam::123456789012:role/demo"
STAND_INS = {
    "sts-async": 'exec "$PYTHON" -m sts_async "$@"',
    # A refusal with an encoded authorization message, on standard error.
    "aws": f'exec "$PYTHON" -m sts_async assume-role --role-arn {ROLE} --role-session-name me',
    "npm": 'echo "STS of the tests: $AWS_ENDPOINT_URL_STS"',
}
"""Programs that the blocks of commands call, as shell scripts."""


def ids(cases: list[tuple[str, str]]) -> list[str]:
    return [f"{path}-{number}" for number, (path, _) in enumerate(cases)]


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
    marked = sum(len(re.findall(r"^ *```\w+$", text, re.MULTILINE)) for text in DOCUMENTS.values())

    assert all("asyncio.run(main())" in block or "\nprint(" in block for _, block in PROGRAMS)
    assert len(SERVICE) == len(WORKERS) == 1
    assert all((ROOT / test).exists() for test in EXCERPTS.values())
    assert marked == len(BLOCKS) + len(SHELL) + len(COMMANDS[:2])


def test_the_manual_can_be_read_at_once() -> None:
    """What is longer is a reference, and stands in the document of its room."""
    assert len(README.splitlines()) <= MAX_LINES


@pytest.mark.parametrize(("path", "program"), PROGRAMS, ids=ids(PROGRAMS))
async def test_the_programs_run(path: str, program: str) -> None:
    async with LocalSTS() as server:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", "-c", program),
            env=environment(server),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()

    complaints = [line for line in err.decode().splitlines() if "refresh" not in line]  # of an outage
    assert (process.returncode, complaints) == (0, []), path
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


@pytest.mark.parametrize(("path", "block"), TESTS, ids=ids(TESTS))
def test_the_tests_pass(path: str, block: str, pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makepyfile(test_block=block)

    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")

    result.assert_outcomes(passed=block.count("def test_"))


@pytest.mark.skipif(sys.platform == "win32", reason="the commands are those of a POSIX shell")
@pytest.mark.parametrize(("path", "line"), LINES, ids=ids(LINES))
async def test_the_commands_succeed(path: str, line: str, tmp_path: Path) -> None:
    """With stand-ins for other programs. A command that runs until a signal is ended when its file is there."""
    for name, script in STAND_INS.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    written = tmp_path / "sts.env"
    command, _, _ = line.partition(" &  #")
    async with LocalSTS(roles=[Role(ROLE, external_id="ext-1")]) as server:
        variables = environment(server)
        process = await asyncio.create_subprocess_exec(
            *("/bin/sh", "-c", f"exec {command}" if command != line else command),
            env={**variables, "PATH": f"{tmp_path}:{variables['PATH']}", "PYTHON": sys.executable},
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        if command != line:
            await until(lambda: written.exists() or process.returncode is not None)
            process.terminate()
        out, err = await soon(process.communicate())

    assert out or written.read_text(), path
    assert (process.returncode, err.decode()) == (0, "")


@pytest.mark.parametrize(("path", "block"), ABOUT_FILES, ids=ids(ABOUT_FILES))
def test_other_commands_name_files_that_exist(path: str, block: str) -> None:
    """They install packages or measure for minutes, so they are not run here."""
    words = shlex.split(block.replace("\\\n", " "), comments=True)
    named = [word for word in words if re.match(r"(tests|benchmarks|sts_async)/|pyproject\.toml$", word)]
    modules = [word.replace(".", "/") + ".py" for word in words if re.match(r"tests\.\w+$", word)]

    assert named + modules or "pip install" in block, path
    assert [name for name in named + modules if "$" not in name and not (ROOT / name).exists()] == []


def test_the_first_two_commands_are_one_line_each() -> None:
    first, second = COMMANDS[:2]

    assert all(
        command.startswith("python3.11 -m venv .venv && .venv/bin/pip install") and "\n" not in command
        for command in (first, second)
    )
    assert ".venv/bin/sts-async --local assume-role" in first
    assert second.endswith(".venv/bin/python -m pytest -q -n 3")


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
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \| .+ \|$", section(REFERENCE, "Options"), re.MULTILINE)

    assert [name for name, _, _ in rows] == list(config.OPTIONS)
    for name, variables, key in rows:
        known = config.OPTIONS[name]
        assert tuple(re.findall(r"`(\w+)`", variables)) == known.variables
        assert (re.findall(r"`(\w+)`", key) or [None]) == [known.key]


def test_the_variables_in_the_documents_are_those_that_are_read() -> None:
    """Anywhere in the library, and no others. The line of a difference may name one that botocore alone reads."""
    package = Path(sts_async.__file__).parent
    sources = [path for path in package.rglob("*.py") if not path.relative_to(package).parts[0].startswith("testing")]
    read = {name for path in sources for name in re.findall(r'"(AWS_[A-Z0-9_]+)"', path.read_text(encoding="utf-8"))}
    named = {name for text in DOCUMENTS.values() for name in re.findall(r"`(AWS_\w+)`", text)}

    assert named == read


def test_every_benchmark_is_in_the_table_of_programs() -> None:
    """A reader of a figure can reproduce it."""
    rows = re.findall(r"^\| `(bench_\w+\.py)` \|", DOCUMENTS["benchmarks/README.md"], re.MULTILINE)

    assert sorted(rows) == sorted(path.name for path in (ROOT / "benchmarks").glob("bench_*.py"))


def test_the_documents_name_files_that_exist() -> None:
    """Links of the documents in folders are relative; README.md, which an index shows, names paths instead."""
    for path, text in DOCUMENTS.items():
        named = re.findall(r"`((?:sts_async|tests|benchmarks)/[\w/]+\.(?:py|md|txt))`", prose(text))
        links = [link for link in re.findall(r"\]\(([^)#\s]+)\)", prose(text)) if "://" not in link]

        missing = [name for name in named if not (ROOT / name).exists()]
        missing += [link for link in links if not ((ROOT / path).parent / link).exists()]
        assert missing == [], path
    assert {f"`{path}`" for path in DOCUMENTS} - set(re.findall(r"`[\w/]+\.md`", README)) == {"`README.md`"}
