"""
What `sts-async export-credentials` costs an SDK that starts it as its credential_process.

    python benchmarks/bench_export.py [--rounds 25] [--aws PATH]

Each command is a process of its own; they take turns. CPU is the user and system time of the whole process. Time on
the wall clock depends on the other work of the host. A role of a profile is printed from files, and is
fetched from a server in another process. ``--aws`` names the AWS CLI. Version 2 exports the same role; its cache is
filled before. Version 1 cannot export, so it lists the same credentials (`aws configure list`).

From files, the command takes at most 1.5 times the CPU of ``python -c pass``, and 30 ms.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import _loopback
import _rounds

FACTOR, MORE = 1.5, 30.0  # the limit: times the CPU of Python alone, and milliseconds
NOTHING, FILES, FETCH, AWS = "python -c pass", "from files", "from the server", "the AWS CLI"
EXPORT = [sys.executable, "-m", "sts_async", "export-credentials", "--profile", "data"]
CONFIG = f"""\
[profile base]
aws_access_key_id = {_loopback.ACCESS_KEY_ID}
aws_secret_access_key = {_loopback.SECRET_ACCESS_KEY}
[profile data]
role_arn = {_loopback.ROLE_ARN}
source_profile = base
role_session_name = me
"""


def measured(command: list[str], environ: dict[str, str]) -> tuple[float, float]:
    """Run a command, and return its CPU and its time, both in milliseconds."""
    started = time.perf_counter()
    process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    elapsed = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return (used.ru_utime + used.ru_stime) * 1e3, elapsed * 1e3


def command_of(aws: str, environ: dict[str, str]) -> list[str]:
    """Return the command of the AWS CLI that its version has."""
    for words in (["export-credentials"], ["list"]):
        command = [aws, "configure", *words, "--profile", "data"]
        if subprocess.run(command, env=environ, capture_output=True, check=False).returncode == 0:
            return command
    raise SystemExit(f"{aws} does not work here")


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost of exporting credentials.")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--aws", metavar="PATH", help="the AWS CLI")
    options = parser.parse_args()
    with _loopback.server() as url, tempfile.TemporaryDirectory() as home:
        (Path(home) / ".aws").mkdir()
        (Path(home) / ".aws/config").write_text(CONFIG)
        environ = {**_loopback.environment(), "HOME": home, "AWS_REGION": _loopback.REGION, "AWS_ENDPOINT_URL": url}
        environ = {name: value for name, value in environ.items() if name != "XDG_CACHE_HOME"}
        environ |= {"AWS_CONFIG_FILE": f"{home}/.aws/config", "AWS_DEFAULT_REGION": _loopback.REGION}
        commands = {NOTHING: [sys.executable, "-c", "pass"], FILES: EXPORT, FETCH: [*EXPORT, "--no-cache"]}
        if options.aws:
            commands[AWS] = command_of(options.aws, environ)
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for turn in range(options.rounds + 1):
            for name, command in commands.items():
                figures = measured(command, environ)
                if turn:  # the first fills the caches
                    taken[name].append(figures)
    print(f"{_rounds.versions()}; medians of {options.rounds} rounds")
    for name, rounds in taken.items():
        cpu, elapsed = (statistics.median(column) for column in zip(*rounds, strict=True))
        ratio = _rounds.Ratio.of([one for one, _ in rounds], [one for one, _ in taken[FILES]])
        print(f"{name:<18}{cpu:>8.1f} ms CPU{elapsed:>9.1f} ms   CPU / {FILES}: {ratio}")
    if options.aws:
        print(f"{AWS}: {' '.join(commands[AWS][1:])}")
    nothing, found = (statistics.median(cpu for cpu, _ in taken[name]) for name in (NOTHING, FILES))
    limit = FACTOR * nothing + MORE
    print(f"CPU from files: {found:.1f} ms (limit {limit:.1f}: {'met' if found <= limit else 'NOT MET'})")


if __name__ == "__main__":
    main()
