"""
What the first call of a program costs, with everything that is imported and compiled before it.

    python benchmarks/bench_cold.py [--rounds 25]

Each program is a process of its own that makes one call to a server in another process, and ends. Its CPU seconds are
those that the system counts for the whole process, user and system; the contenders take turns. The floor is a program
of a few lines that signs one request, sends it with aiohttp and reads the answer with lxml: the least that a client on
top of both can cost. A contender that is not installed is left out.
"""

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Collection
from importlib.util import find_spec

import _loopback
import _rounds

LIMIT = 1.25  # of sts_async to the floor
FLOOR = "aiohttp + signing + lxml"

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
    FLOOR: """
import asyncio, hashlib, hmac
from datetime import UTC, datetime
from urllib.parse import urlencode
import aiohttp
from lxml import etree

def headers_for(body):
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    scope = f"{stamp[:8]}/{region}/sts/aws4_request"
    sent = {"content-type": "application/x-www-form-urlencoded; charset=utf-8", "host": url.split("/")[2],
            "x-amz-date": stamp, "x-amz-security-token": token}
    lines, names = "".join(f"{name}:{value}\\n" for name, value in sent.items()), ";".join(sent)
    request = f"POST\\n/\\n\\n{lines}\\n{names}\\n{hashlib.sha256(body).hexdigest()}".encode()
    text = f"AWS4-HMAC-SHA256\\n{stamp}\\n{scope}\\n{hashlib.sha256(request).hexdigest()}"
    signing_key = b"AWS4" + secret.encode()
    for part in scope.split("/"):
        signing_key = hmac.digest(signing_key, part.encode(), "sha256")
    proof = hmac.digest(signing_key, text.encode(), "sha256").hex()
    sent["authorization"] = f"AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={names}, Signature={proof}"
    return sent

async def main():
    members = {"Action": "AssumeRole", "Version": "2011-06-15", "RoleArn": arn, "RoleSessionName": "me"}
    body = urlencode(members).encode()
    async with aiohttp.ClientSession() as session:
        async with session.post(url, data=body, headers=headers_for(body)) as response:
            root = etree.fromstring(await response.read(), etree.XMLParser(resolve_entities=False, no_network=True))
    answer = {element.tag.rpartition("}")[2]: element.text for element in root.iter()}
    assert answer["AccessKeyId"] == key and datetime.fromisoformat(answer["Expiration"])
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
    """
    Return the CPU seconds of a process that runs a program.

    Raises:
        subprocess.CalledProcessError: The program failed; its message is on standard error.
    """
    command = [sys.executable, "-c", PREPARED + program, *arguments]
    with subprocess.Popen(command, env=_loopback.environment()) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, "the program of a contender")
    return used.ru_utime + used.ru_stime


def compete(rounds: int, names: Collection[str]) -> dict[str, list[float]]:
    """Return the CPU seconds of each program, a number for each round."""
    taken: dict[str, list[float]] = {name: [] for name in names if name != "boto3" or find_spec("boto3")}
    with _loopback.server() as url:
        arguments = [
            *(url, _loopback.ROLE_ARN, _loopback.REGION),
            *(_loopback.ACCESS_KEY_ID, _loopback.SECRET_ACCESS_KEY, _loopback.SESSION_TOKEN),
        ]
        for turn in range(rounds + 1):
            for name, figures in taken.items():
                seconds = cpu_seconds(PROGRAMS[name], arguments)
                if turn:  # the first writes byte code and warms the file cache
                    figures.append(seconds)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU seconds of a program that makes one call.")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--only", help=f"comma-separated, out of {', '.join(PROGRAMS)}")
    options = parser.parse_args()
    taken = compete(options.rounds, [name for name in PROGRAMS if not options.only or name in options.only.split(",")])
    print(f"medians of {options.rounds} rounds, CPU seconds of the whole process")
    for name, figures in taken.items():
        over = f"{_rounds.Ratio.of(figures, taken[FLOOR])} of the floor" if FLOOR in taken else ""
        print(f"{name:<36}{statistics.median(figures):>8.3f}   least {min(figures):.3f}   {over}")
    if {"sts_async", FLOOR} <= taken.keys():
        print(f"\nsts_async / {FLOOR} = {_rounds.Ratio.of(taken['sts_async'], taken[FLOOR])} (limit {LIMIT:.2f})")


if __name__ == "__main__":
    main()
