"""
What the first call of a program costs, with everything that is imported and compiled before it.

    python benchmarks/bench_cold.py [--rounds 25]

Each program is a process of its own that makes one call to a server in another process, and ends. Its CPU seconds are
those that the system counts for the whole process, user and system; the contenders take turns. Bare aiohttp sends the
same request with nothing around it, and is the least that a client on top of aiohttp can cost.
"""

import argparse
import os
import statistics
import subprocess
import sys

import _loopback

PREPARED = """
import sys
url, arn, region, key, secret, token = sys.argv[1:]
"""
PROGRAMS = {
    "Python alone": "",
    "import aiohttp": "import asyncio, aiohttp",
    "bare aiohttp": """
import asyncio, aiohttp
async def main():
    async with aiohttp.ClientSession() as session:
        async with session.post(url, data=b"Action=AssumeRole&Version=2011-06-15") as response:
            await response.read()
asyncio.run(main())
""",
    "sts_async": """
import asyncio
from sts_async import Credentials, STSClient
async def main():
    keys = Credentials(access_key_id=key, secret_access_key=secret, session_token=token)
    async with STSClient(endpoint_url=url, region=region, credentials=keys) as sts:
        await sts.assume_role(role_arn=arn, role_session_name="me")
asyncio.run(main())
""",
    "sts_async, keys of the environment": """
import asyncio, os
os.environ |= {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": token}
from sts_async import STSClient
async def main():
    async with STSClient(endpoint_url=url, region=region) as sts:
        await sts.assume_role(role_arn=arn, role_session_name="me")
asyncio.run(main())
""",
    "boto3": """
import boto3
sts = boto3.client("sts", endpoint_url=url, region_name=region, aws_access_key_id=key, aws_secret_access_key=secret,
                   aws_session_token=token)
sts.assume_role(RoleArn=arn, RoleSessionName="me")
""",
}


def cpu_seconds(program: str, arguments: list[str]) -> float:
    """Return the CPU seconds of a process that runs a program."""
    command = [sys.executable, "-c", PREPARED + program, *arguments]
    with subprocess.Popen(command, env=_loopback.environment()) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, "the program of a contender")
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU seconds of a program that makes one call.")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--only", help=f"comma-separated, out of {', '.join(PROGRAMS)}")
    options = parser.parse_args()
    programs = {name: text for name, text in PROGRAMS.items() if not options.only or name in options.only.split(",")}
    taken: dict[str, list[float]] = {name: [] for name in programs}
    with _loopback.server() as url:
        arguments = [
            *(url, _loopback.ROLE_ARN, _loopback.REGION),
            *(_loopback.ACCESS_KEY_ID, _loopback.SECRET_ACCESS_KEY, _loopback.SESSION_TOKEN),
        ]
        for turn in range(options.rounds + 1):
            for name, program in programs.items():
                seconds = cpu_seconds(program, arguments)
                if turn:  # the first writes byte code and warms the file cache
                    taken[name].append(seconds)
    print(f"medians of {options.rounds} rounds, CPU seconds of the whole process")
    for name, figures in taken.items():
        print(f"{name:<36}{statistics.median(figures):>8.3f}   least {min(figures):.3f}")


if __name__ == "__main__":
    main()
