"""
The cost of bridges, compared with the bare library and with the usual code without a bridge.

    python benchmarks/bench_bridges.py [--rounds 3] [--only peek] [--quick]

Each turn of each row has a new process. A contender whose library is not installed is left out.

requests  CPU of a request that the library signs, over one that it does not sign, to a server in another process. Equal
          requests, and requests of one origin with different paths. botocore: its signer, in the place of ours.
peek      CPU of one call by which another library gets credentials, in µs. They are in memory.
sessions  Memory of each of 100 sessions of boto3, each with a role and a client for S3: over one fleet, and with
          refreshable credentials that have their own client of STS. What one session of boto3 takes is in both: 1,000
          sessions would need more than 20 GB.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import _goals
import _loopback
from _fleet_network import resident
from _fleet_peers import keys_of, request, role_arn
from _goals import Goal
from _rounds import Figures, Measurement

OURS = "sts_async"
BOTOCORE = "botocore"
REQUESTS = 4000
CALLS = 200_000
SESSIONS = 100


def keys() -> Any:
    """Return credentials that last an hour."""
    from sts_async import Credentials

    return Credentials(
        access_key_id=_loopback.ACCESS_KEY_ID,
        secret_access_key=_loopback.SECRET_ACCESS_KEY,
        session_token=_loopback.SESSION_TOKEN,
        expiration=datetime.now(UTC) + timedelta(hours=1),
    )


def botocore_middleware(service: str) -> Any:
    """Return a middleware for aiohttp that signs as a program does with botocore."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    signer = SigV4Auth(
        Credentials(_loopback.ACCESS_KEY_ID, _loopback.SECRET_ACCESS_KEY, _loopback.SESSION_TOKEN),
        service,
        _loopback.REGION,
    )

    async def sign(request: Any, handler: Any) -> Any:
        signed = AWSRequest(
            request.method,
            str(request.url),
            {"content-type": request.headers["content-type"], "host": request.headers["host"]},
            await request.body.as_bytes(),
        )
        signer.add_auth(signed)
        for name in ("x-amz-date", "x-amz-security-token", "authorization"):
            request.headers[name] = signed.headers[name]
        return await handler(request)

    return sign


async def requests(contender: str, options: argparse.Namespace) -> Figures:
    """Return the CPU of a request through aiohttp, over that of one without a signature."""
    import aiohttp

    from sts_async import STSClient, bridges

    count = max(50, int(REQUESTS * options.scale))
    cores = _loopback.cores()
    async with AsyncExitStack() as stack:
        url = stack.enter_context(_loopback.server(core=cores[1] if cores else None))
        sts = await stack.enter_async_context(STSClient(region=_loopback.REGION, credentials=keys()))
        made = {
            OURS: lambda: bridges.aiohttp.middleware(sts, service="sqs", origins=url),
            BOTOCORE: lambda: botocore_middleware("sqs"),
        }[contender]()
        bare = await stack.enter_async_context(aiohttp.ClientSession())
        signing = await stack.enter_async_context(aiohttp.ClientSession(middlewares=[made]))

        async def cpu(session: aiohttp.ClientSession, path: Callable[[int], str]) -> float:
            begun = time.process_time()
            for number in range(count):
                headers = {"Content-Type": "application/x-amz-json-1.0"}
                async with session.post(f"{url}{path(number)}", data=b"{}", headers=headers) as response:
                    await response.read()
            return (time.process_time() - begun) / count * 1e6

        figures: Figures = {}
        for name, path in (("equal", lambda _: ""), ("different", lambda number: f"queue/{number}?part={number}")):
            await cpu(bare, path)
            await cpu(signing, path)
            over = [await cpu(signing, path) - await cpu(bare, path) for _ in range(5)]
            figures[f"{name} requests, µs of CPU over the bare library"] = [statistics.median(over)]
        return figures


async def peek(contender: str, options: argparse.Namespace) -> Figures:
    """Return the CPU of the functions that other libraries call, in µs."""
    count = max(1000, int(CALLS * options.scale))

    def cpu(work: Callable[[], object]) -> list[float]:
        begun = time.process_time()
        for _ in range(count):
            work()
        return [(time.process_time() - begun) / count * 1e6]

    if contender == BOTOCORE:
        from botocore.credentials import RefreshableCredentials

        later = datetime.now(UTC) + timedelta(hours=1)
        made = {"access_key": "a", "secret_key": "b", "token": "c", "expiry_time": later.isoformat()}
        refreshable = RefreshableCredentials.create_from_metadata(made, lambda: made, "benchmark")
        return {"boto3, get_frozen_credentials": cpu(refreshable.get_frozen_credentials)}
    from sts_async import STSClient, bridges
    from sts_async.bridges import CredentialsView

    async with STSClient(region=_loopback.REGION, credentials=keys()) as sts:
        view = CredentialsView(sts)
        await view.get()
        figures = {"CredentialsView.peek": cpu(view.peek)}
        for name, function in (
            ("boto3, get_frozen_credentials", lambda: bridges.botocore.session_credentials(sts).get_frozen_credentials),
            ("obstore, the provider", lambda: bridges.obstore.credential_provider(sts)),
            ("polars, the provider", lambda: bridges.polars.credential_provider(sts)),
        ):
            try:
                found = function()
            except Exception as error:  # noqa: BLE001 - its library is not installed
                print(f"{name} is left out: {error}")
                continue
            found()
            figures[name] = cpu(found)
        return figures


async def sessions(contender: str, options: argparse.Namespace) -> Figures:
    """Return the memory of each session."""
    import boto3
    import botocore.session

    from sts_async import STSClient, bridges
    from sts_async.fleet import CredentialsFleet

    count = max(10, int(SESSIONS * options.scale))
    kept: list[Any] = []
    async with AsyncExitStack() as stack:
        url = stack.enter_context(_loopback.server())
        sts = await stack.enter_async_context(STSClient(region=_loopback.REGION, credentials=keys(), endpoint_url=url))
        fleet = await stack.enter_async_context(CredentialsFleet(sts, requests_per_second=100_000))

        def plain() -> boto3.Session:
            return boto3.Session(
                aws_access_key_id=_loopback.ACCESS_KEY_ID,
                aws_secret_access_key=_loopback.SECRET_ACCESS_KEY,
                region_name=_loopback.REGION,
            )

        async def over_the_fleet(number: int) -> boto3.Session:
            provider = fleet.provider(request(number))
            await fleet.get(request(number))
            return bridges.boto3.session(provider, region=_loopback.REGION)

        async def refreshable(number: int) -> boto3.Session:
            from botocore.credentials import RefreshableCredentials

            client = plain().client("sts", endpoint_url=url)

            def refresh() -> dict[str, str]:
                return keys_of(client.assume_role(RoleArn=role_arn(number), RoleSessionName="benchmark"))

            session = botocore.session.Session()
            session._credentials = RefreshableCredentials.create_from_metadata(refresh(), refresh, "benchmark")
            return boto3.Session(botocore_session=session, region_name=_loopback.REGION)

        make = {OURS: over_the_fleet, BOTOCORE: refreshable}[contender]
        kept += [(await make(number)).client("s3") for number in range(3)]  # they load the models of the services
        before, begun = resident(), time.process_time()
        kept += [(await make(number)).client("s3") for number in range(3, 3 + count)]
        seconds = time.process_time() - begun
        return {
            "kB of memory for each session": [(resident() - before) / count / 1000],
            "ms of CPU to make it": [seconds / count * 1000],
        }


ROWS = {
    "requests": Measurement("A signed request through aiohttp", requests, (OURS, BOTOCORE)),
    "peek": Measurement("Credentials for another library, from memory: CPU of a call in µs", peek, (OURS, BOTOCORE)),
    "sessions": Measurement("Sessions of boto3 with a client for S3 each", sessions, (OURS, BOTOCORE), pinned=False),
}
GOALS = {
    ("requests", "equal requests, µs of CPU over the bare library"): Goal(30),
    ("requests", "different requests, µs of CPU over the bare library"): Goal(30),
    ("peek", "CredentialsView.peek"): Goal(5),
    ("peek", "boto3, get_frozen_credentials"): Goal(5),
    ("peek", "obstore, the provider"): Goal(5),
    ("peek", "polars, the provider"): Goal(5),
}


def main() -> None:
    _goals.main(argparse.ArgumentParser(description="Bridges."), ROWS, ours=OURS, goals=GOALS, one_round=["sessions"])


if __name__ == "__main__":
    main()
