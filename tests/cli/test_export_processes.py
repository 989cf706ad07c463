"""Processes of `export-credentials`: one fetch for dozens at once, an SDK that starts it, and imports of the quick."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from cli.exports import ROLE, Export, export
from patience import PATIENCE

__all__ = ["export"]

COMMAND = [sys.executable, "-m", "sts_async", "export-credentials"]
HEAVY = {"aiohttp", "argparse", "asyncio", "attr", "attrs", "cattrs", "inspect", "logging", "lxml", "pathlib", "socket"}
HEAVY |= {"ssl", "tempfile", "threading", "subprocess"}

# A program imports the library once and forks the processes, because importing it dozens of times takes long. A process
# that is forked before it has an event loop or a thread is like one that was started.
FORKS = """
import os, sys
from sts_async.__main__ import main
from sts_async import cli, client, credentials
from sts_async._cli import export
from sts_async._runtime import file_reads
from sts_async.fleet.caches import _leases
# A slow machine may take any time for a file or a lease.
file_reads.FILE_SECONDS = _leases.LEASE_SECONDS = {patience}
sys.argv = ["sts-async", "export-credentials", *sys.argv[2:]]
differ = {differ}
pids = []
for number in range({count}):
    pid = os.fork()
    if not pid:
        status = 1
        try:
            if differ:
                os.environ["AWS_SDK_UA_APP_ID"] = str(number)
            os.dup2(os.open(f"{directory}/{{number}}", os.O_WRONLY | os.O_CREAT), 1)
            status = main()
        finally:
            os._exit(status)
    pids.append(pid)
sys.exit(max(os.waitpid(pid, 0)[1] for pid in pids))
"""


def forked(directory: Path, *arguments: str, count: int, differ: bool) -> list[dict[str, Any]]:
    """Run the command in so many processes at once, and return what they print."""
    code = FORKS.format(patience=PATIENCE, directory=directory, count=count, differ=differ)
    done = subprocess.run([sys.executable, "-c", code, "x", *arguments], timeout=PATIENCE, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    return [json.loads((directory / str(number)).read_text()) for number in range(count)]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
@pytest.mark.parametrize("differ", [False, True], ids=["the same command", "with different variables"])
def test_dozens_of_processes_at_once_make_one_call(export: Export, tmp_path: Path, *, differ: bool) -> None:
    found = forked(tmp_path, "--profile", "data", count=24, differ=differ)

    assert len({members["AccessKeyId"] for members in found}) == 1
    assert export.calls == 1
    assert len(export.entries()) == (24 if differ else 1)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_each_process_asks_a_source_that_is_not_kept(export: Export, tmp_path: Path) -> None:
    """Once. Those that waited for another process find nothing, and go on without a lease."""
    log = tmp_path / "log"
    document = json.dumps({"Version": 1, "AccessKeyId": "x", "SecretAccessKey": "x"})
    (tmp_path / "source").write_text(f"#!/bin/sh\necho >> {log}\necho '{document}'\n")
    (tmp_path / "source").chmod(0o700)
    export.write_config(f"[profile p]\ncredential_process = {tmp_path}/source\n")
    found = forked(tmp_path, "--profile", "p", count=6, differ=False)

    assert {members["AccessKeyId"] for members in found} == {"x"}
    assert log.read_text() == "\n" * 6


@pytest.mark.slow
def test_botocore_uses_the_profile_that_the_command_prints(export: Export) -> None:
    profile = export("--profile", "base", "--role-arn", ROLE, "--format", "config").out
    with (export.home / ".aws/config").open("a") as config:
        config.write(profile)
    found = []
    for _ in range(2):
        session = botocore.session.Session(profile="sts-async-demo")
        found.append(session.get_credentials().get_frozen_credentials())
        client = session.create_client("sts", region_name="us-east-1", endpoint_url=export.server.url)
        assert client.get_caller_identity()["Arn"].endswith(":assumed-role/demo/sts-async")
    provided = session.get_credentials()

    assert found[0] == found[1]
    assert provided.method == "custom-process"
    assert provided.refresh_needed() is False, "botocore would start the command for each request"
    assert [served.operation for served in export.server.requests].count("AssumeRole") == 1


def modules_of(*arguments: str) -> tuple[set[str], str]:
    """Run the command in a process, and return the modules that it imported and its output."""
    code = "import sys, sts_async.__main__ as m; del sys.argv[1]; s = m.main(); print(*sys.modules); sys.exit(s)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code, "x", "export-credentials", *arguments],
        timeout=PATIENCE,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    out, modules = done.stdout.splitlines()[:2]
    return {*modules.split()}, out


def test_what_was_printed_is_printed_again_without_the_library(export: Export) -> None:
    """E13: the largest part of a process is to import what it does not need."""
    first = export("--profile", "data")
    modules, out = modules_of("--profile", "data")
    ours = {name for name in modules if name.startswith("sts_async")}

    assert out == first.out.rstrip()
    assert {name.partition(".")[0] for name in modules} & HEAVY == set()
    assert len(ours) <= 16
    assert len(modules) <= 90
    assert export.calls == 1


def run(*arguments: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*COMMAND, *arguments], timeout=PATIENCE, text=True, stderr=subprocess.PIPE, **options)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no full device")
def test_an_output_that_cannot_be_written_is_one_line(export: Export) -> None:
    """In a process that prints from files, which has code of its own for this."""
    export("--profile", "data")
    with Path("/dev/full").open("w") as full:
        lost = run("--profile", "data", stdout=full)
    closed = subprocess.run(
        ["sh", "-c", f"{COMMAND[0]} -m sts_async export-credentials --profile data >&-"],
        timeout=PATIENCE,
        text=True,
        stderr=subprocess.PIPE,
    )
    read, write = os.pipe()
    os.close(read)
    unread = run("--profile", "data", stdout=write)
    os.close(write)

    assert (lost.returncode, lost.stderr) == (1, "sts-async: standard output: No space left on device\n")
    assert (closed.returncode, closed.stderr) == (1, "sts-async: standard output: it is closed\n")
    assert (unread.returncode, unread.stderr) == (1, "")
    assert export.calls == 1
