"""
The contenders that find and keep credentials, and what surrounds them: an environment, files, and a place that never
answers.

What a contender imports, it imports when it is entered: each runs in a process of its own.
"""

import argparse
import asyncio
import contextlib
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from _loopback import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, SESSION_TOKEN
from _rounds import Figures

Ask = Callable[[], Coroutine[Any, Any, object]]
AskWithin = Callable[[float], Coroutine[Any, Any, object]]

FETCH = 0.05  # s that a fetch takes, where nothing else is said
SHORT = 0.02  # s that an identity lives which is to have ended
LIFE = 3600.0  # s that what is fetched is good for
FILE_SIZE = 1 << 20  # bytes of each of the two shared files, when they are large
KEYS = f"aws_access_key_id = {ACCESS_KEY_ID}\naws_secret_access_key = {SECRET_ACCESS_KEY}\n"


class Source:
    """
    Where identities come from. It counts how often it is asked.

    Args:
        takes: Seconds that a fetch takes.
        first: Seconds that the first identity lives; those after it live an hour.
        failure: What is raised in place of each identity after the first *good* ones.
        good: How many fetches succeed before that.
    """

    def __init__(
        self, *, takes: float = FETCH, first: float = LIFE, failure: type[Exception] | None = None, good: int = 0
    ) -> None:
        self.fetches = 0
        self._takes = takes
        self._first = first
        self._failure = failure
        self._good = good

    async def __call__(self) -> datetime:
        """Return when a new identity ends."""
        self.fetches += 1
        number = self.fetches
        await asyncio.sleep(self._takes)
        if self._failure is not None and number > self._good:
            raise self._failure("refused")
        return datetime.now(UTC) + timedelta(seconds=self._first if number == 1 else LIFE)


@dataclass(frozen=True)
class Peer:
    """
    What a contender can do.

    Attributes:
        error: What a source raises when the service cannot be reached.
        issued: Returns how to ask for an identity that a source issues and the contender keeps.
        issued_within: Returns how to ask for such an identity within some seconds: with a deadline where the contender
            knows one, otherwise with `asyncio.timeout`.
        found: Returns how to ask for the identity that the default chain finds.
        call: Makes a client, and a call with it.
    """

    error: type[Exception]
    issued: Callable[[Source], Awaitable[Ask]]
    issued_within: Callable[[Source], Awaitable[AskWithin]]
    found: Callable[[], Awaitable[Ask]]
    call: Callable[[], Awaitable[object]]


def timed(issued: Callable[[Source], Awaitable[Ask]]) -> Callable[[Source], Awaitable[AskWithin]]:
    """Return `Peer.issued_within` for a contender that knows no deadlines."""

    async def issued_within(source: Source) -> AskWithin:
        ask = await issued(source)

        async def within(seconds: float) -> object:
            async with asyncio.timeout(seconds):
                return await ask()

        return within

    return issued_within


@contextlib.asynccontextmanager
async def sts_async() -> AsyncIterator[Peer]:
    from sts_async import ConnectError, Credentials, STSClient

    def provider(source: Source) -> Any:
        from sts_async.credentials import RefreshingProvider

        class Issued(RefreshingProvider):
            async def fetch(self, context: object) -> Credentials:
                ends = await source()
                return Credentials(
                    access_key_id=ACCESS_KEY_ID,
                    secret_access_key=SECRET_ACCESS_KEY,
                    session_token=SESSION_TOKEN,
                    expiration=ends,
                )

        return Issued()

    async def issued(source: Source) -> Ask:
        return partial(provider(source).provide_credentials, (await client._life.ready()).context)

    async def issued_within(source: Source) -> AskWithin:
        owner = STSClient(region=REGION, credentials=provider(source))
        clients.push_async_callback(owner.aclose)
        return lambda seconds: owner.with_options(deadline=seconds).get_credentials()

    async def found() -> Ask:
        from sts_async.credentials import DefaultChain

        return partial(DefaultChain().provide_credentials, (await client._life.ready()).context)

    async def call() -> object:
        async with STSClient(region=REGION) as another:
            return await another.get_caller_identity()

    keys = Credentials(access_key_id=ACCESS_KEY_ID, secret_access_key=SECRET_ACCESS_KEY)
    client = STSClient(region=REGION, credentials=keys)
    async with contextlib.AsyncExitStack() as clients:
        clients.push_async_callback(client.aclose)
        yield Peer(ConnectError, issued, issued_within, found, call)


@contextlib.asynccontextmanager
async def aiobotocore() -> AsyncIterator[Peer]:
    from aiobotocore.credentials import AioDeferredRefreshableCredentials
    from aiobotocore.session import get_session

    async def issued(source: Source) -> Ask:
        async def refresh() -> dict[str, str]:
            ends = await source()
            keys = {"access_key": ACCESS_KEY_ID, "secret_key": SECRET_ACCESS_KEY, "token": SESSION_TOKEN}
            return {**keys, "expiry_time": ends.isoformat()}

        return AioDeferredRefreshableCredentials(refresh, "benchmark").get_frozen_credentials

    async def found() -> Ask:
        credentials = await get_session().get_credentials()
        return credentials.get_frozen_credentials

    async def call() -> object:
        async with get_session().create_client("sts", region_name=REGION) as client:
            return await client.get_caller_identity()

    yield Peer(RuntimeError, issued, timed(issued), found, call)


@contextlib.asynccontextmanager
async def aws_sdk_sts() -> AsyncIterator[Peer]:
    from aws_sdk_sts.client import AsyncSTSClient
    from aws_sdk_sts.config import AsyncSTSConfig
    from aws_sdk_sts.models import GetCallerIdentityInput
    from smithy_aws_core.identity import AWSCredentialsIdentity
    from smithy_aws_core.identity.chain import IdentityChain
    from smithy_core.aio.identity import CachingIdentityResolver
    from smithy_core.exceptions import SmithyIdentityError

    async def issued(source: Source) -> Ask:
        class Issued(CachingIdentityResolver[Any, Any]):
            async def _get_identity(self, *, properties: Any) -> Any:
                ends = await source()
                return AWSCredentialsIdentity(
                    access_key_id=ACCESS_KEY_ID,
                    secret_access_key=SECRET_ACCESS_KEY,
                    session_token=SESSION_TOKEN,
                    expiration=ends,
                )

        return partial(Issued().get_identity, properties={})

    async def found() -> Ask:
        chain = await IdentityChain.create(AWSCredentialsIdentity)
        return partial(chain.get_identity, properties={})

    async def call() -> object:
        async with AsyncSTSClient(await AsyncSTSConfig.resolve(region=REGION)) as client:
            return await client.get_caller_identity(GetCallerIdentityInput())

    yield Peer(SmithyIdentityError, issued, timed(issued), found, call)


CONTENDERS: dict[str, Callable[[], AbstractAsyncContextManager[Peer]]] = {
    "sts_async": sts_async,
    "aiobotocore": aiobotocore,
    "aws-sdk-sts": aws_sdk_sts,
}


@contextlib.contextmanager
def settings_sources() -> Iterator[None]:
    """Give this process an empty home directory and nothing of AWS in its environment, except that IMDS is off."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(HOME=home, AWS_EC2_METADATA_DISABLED="true")
        Path(home, ".aws").mkdir()
        yield


def surrounded(
    measure: Callable[[Peer, argparse.Namespace], Awaitable[Figures]],
) -> Callable[[str, argparse.Namespace], Awaitable[Figures]]:
    """Return *measure* for the name of a contender, which finds nothing of this machine."""

    async def of_contender(name: str, options: argparse.Namespace) -> Figures:
        with settings_sources():
            async with CONTENDERS[name]() as peer:
                return await measure(peer, options)

    return of_contender


def set_keys() -> None:
    """Set the variables of session credentials."""
    os.environ.update(
        AWS_ACCESS_KEY_ID=ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY=SECRET_ACCESS_KEY, AWS_SESSION_TOKEN=SESSION_TOKEN
    )


def unset_keys() -> None:
    """Take them away again."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        del os.environ[name]


def write_keys() -> None:
    """Write a default profile with keys."""
    (Path.home() / ".aws" / "credentials").write_text(f"[default]\n{KEYS}")


def write_large_files() -> None:
    """Write two files of 1 MiB, and in one of them a default profile whose credentials a process writes."""
    directory = Path.home() / ".aws"
    answer = directory / "answer.json"
    answer.write_text(f'{{"Version": 1, "AccessKeyId": "{ACCESS_KEY_ID}", "SecretAccessKey": "{SECRET_ACCESS_KEY}"}}')
    default = f"[default]\ncredential_process = cat {answer}\n"
    _fill(directory / "config", default, "[profile other-{0:05d}]\nregion = eu-west-1\n# ", "x" * 80)
    _fill(directory / "credentials", "", "[stored-{0:05d}]\n" + KEYS + "# ", "x" * 40)


def _fill(path: Path, head: str, profile: str, comment: str) -> None:
    size = len(profile.format(0) + comment) + 1
    count = (FILE_SIZE - len(head)) // size
    path.write_text(head + "".join(f"{profile.format(number)}{comment}\n" for number in range(count)))


@contextlib.contextmanager
def black_hole() -> Iterator[str]:
    """Give the URL of a port on this host where connecting hangs: nobody accepts, and the queue is full."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(8):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(listening.getsockname())
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
