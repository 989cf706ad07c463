"""
How much of the library's own code a call enters: functions, files, and frames between the caller and aiohttp.

    python benchmarks/bench_counts.py [--list]

A warm call is `assume_role` by a client that has made some, at default settings, with session credentials. A cold
refresh is the first `get_credentials` of a new client whose profile has a role and a source profile of IAM Identity
Center with a valid token: four files are read, two services are asked. The process has done the same before, so nothing
is imported or compiled. Counts do not depend on the host. ``--list`` shows the functions.
"""

import argparse
import asyncio
import json
import os
import tempfile
from pathlib import Path

import _counting
from _loopback import REGION, ROLE_ARN

from sts_async import STSClient
from sts_async.testing import LocalSSO, LocalSTS

WARM_UP = 3
CONFIG = f"""\
[profile demo]
region = {REGION}
role_arn = {ROLE_ARN}
source_profile = corp

[profile corp]
region = {REGION}
sso_session = corp
sso_account_id = 123456789012
sso_role_name = ReadOnly

[sso-session corp]
sso_region = {REGION}
sso_start_url = https://demo.awsapps.com/start
"""


async def warm_call(counts: _counting.Counts) -> None:
    """Count a call by a client that has made some."""
    async with LocalSTS() as server:
        keys = server.issue(ROLE_ARN)
        async with STSClient(endpoint_url=server.url, region=REGION, credentials=keys) as sts:
            with counts.watching():
                for _ in range(WARM_UP):
                    with counts.counting():
                        await sts.assume_role(role_arn=ROLE_ARN, role_session_name="benchmark")


def write_config(home: Path) -> Path:
    """Write the config file, and return the directory for token files."""
    aws = home / ".aws"
    aws.mkdir()
    (aws / "config").write_text(CONFIG)
    return aws / "sso" / "cache"


async def cold_refresh(counts: _counting.Counts) -> None:
    """Count how a new client gets credentials by profile, source profile and IAM Identity Center."""
    sts = LocalSTS()
    sso = LocalSSO(credentials=lambda: sts.issue(ROLE_ARN), region=REGION)
    async with sts, sso:
        with tempfile.TemporaryDirectory() as home:
            environ = {**sso.environ, "HOME": home, "AWS_PROFILE": "demo", "AWS_ENDPOINT_URL_STS": sts.url}
            for name in [name for name in os.environ if name.startswith("AWS_")]:
                del os.environ[name]
            os.environ.update(environ, AWS_EC2_METADATA_DISABLED="true")
            sso.login(write_config(Path(home)), session="corp")
            with counts.watching():
                for _ in range(WARM_UP):
                    async with STSClient() as client:
                        with counts.counting():
                            await client.get_credentials()


MEASUREMENTS = {"warm call": warm_call, "cold refresh": cold_refresh}


def measure(name: str) -> _counting.Counts:
    """Return the counts of one measurement."""
    counts = _counting.Counts()
    asyncio.run(MEASUREMENTS[name](counts))
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description="How much of the library's own code a call enters.")
    parser.add_argument("--list", action="store_true", help="show the functions, most often entered first")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    found = {}
    for name in MEASUREMENTS:
        counts = measure(name)
        found[name] = {"calls": counts.calls, "files": counts.files, "frames": counts.frames}
        if not options.json:
            print(f"{name}: {counts.calls} calls in {counts.files} files, {counts.frames} frames to aiohttp")
        if options.list:
            for (file, function), number in counts.functions.most_common():
                print(f"{number:>6}  {file}  {function}")
    if options.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
