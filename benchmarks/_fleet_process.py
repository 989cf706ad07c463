"""
One of several processes that share a directory of credentials, for `bench_fleet.py`.

    python benchmarks/_fleet_process.py fleet|aiobotocore-1 URL DIRECTORY COUNT

It prints a line when it is ready, and waits for a line. Then it gets the credentials of all roles, and prints the
number of roles with credentials.
"""

import asyncio
import json
import sys

import _contenders
import _fleet_peers
from _loopback import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, SESSION_TOKEN

AT_ONCE = 50


async def ready() -> None:
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)


async def fleet(url: str, directory: str, count: int) -> int:
    """`CredentialsFleet` with a `FileCache`."""
    from sts_async.fleet import CredentialsFleet, FileCache

    async with (
        _contenders.sts_client(url, AT_ONCE) as sts,
        CredentialsFleet(sts, cache=FileCache(directory), requests_per_second=100_000) as kept,
    ):
        requests = [_fleet_peers.request(number) for number in range(count)]
        await ready()
        kept.add(*requests)
        await kept.warm_up()
        return sum(kept.peek(request) is not None for request in requests)


async def aiobotocore(url: str, directory: str, count: int) -> int:
    """The fetcher of aiobotocore with botocore's `JSONFileCache`, and one client for all roles."""
    import contextlib

    from aiobotocore.config import AioConfig
    from aiobotocore.credentials import AioAssumeRoleCredentialFetcher, AioCredentials
    from aiobotocore.session import get_session
    from botocore.utils import JSONFileCache

    cache = JSONFileCache(directory)
    signing = AioCredentials(ACCESS_KEY_ID, SECRET_ACCESS_KEY, SESSION_TOKEN)
    options = {"endpoint_url": url, "region_name": REGION, "config": AioConfig(max_pool_connections=AT_ONCE)}
    numbers = iter(range(count))
    found: set[str] = set()
    async with get_session().create_client("sts", **options, **_fleet_peers.KEYS) as sts:

        @contextlib.asynccontextmanager
        async def shared(*_: object, **__: object):
            yield sts

        async def worker() -> None:
            for number in numbers:
                fetcher = AioAssumeRoleCredentialFetcher(
                    shared,
                    signing,
                    _fleet_peers.role_arn(number),
                    extra_args={"RoleSessionName": "benchmark"},
                    cache=cache,
                )
                found.add((await fetcher.fetch_credentials())["access_key"])

        await ready()
        await asyncio.gather(*[worker() for _ in range(AT_ONCE)])
    return len(found)


def main() -> None:
    name, url, directory, count = sys.argv[1:]
    measure = {"fleet": fleet, "aiobotocore-1": aiobotocore}[name]
    try:
        roles = asyncio.run(measure(url, directory, int(count)))
    except ImportError as error:
        print(f"not ready\n{json.dumps({'skipped': str(error)})}", flush=True)
    else:
        print(json.dumps({"roles": roles}), flush=True)


if __name__ == "__main__":
    main()
