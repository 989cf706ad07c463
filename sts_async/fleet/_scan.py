"""A scan: fetch the credentials of many identities, a bounded number at a time, and yield each when it is done."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable

from .._runtime.outcome import copy_without_traceback
from ..errors import ClientClosedError, CredentialsError, STSError
from ..shapes import Credentials
from .identities import Identity, describe

Fetch = Callable[[Identity], Awaitable[Credentials]]
Found = tuple[Identity, Credentials | STSError]


async def scan(
    identities: Iterable[Identity] | AsyncIterable[Identity],
    *,
    fetch: Fetch,
    leave: Callable[[Identity], None],
    concurrency: int,
) -> AsyncGenerator[Found, None]:
    """
    Yield each identity with its credentials or its error.

    Args:
        identities: The identities. One is read when its fetch can start.
        fetch: Returns the credentials of one.
        leave: Called with each identity after it was yielded.
        concurrency: Maximum number of identities that are fetched at the same time.

    Raises:
        ClientClosedError: The fleet or its client was closed.
    """
    coming = _asynchronous(identities)
    running: set[asyncio.Task[Found]] = set()
    finished: list[Found] = []
    reading = True
    try:
        while reading or running:
            while reading and len(running) < concurrency:
                try:
                    identity = await anext(coming)
                except StopAsyncIteration:
                    reading = False
                else:
                    running.add(asyncio.ensure_future(_fetched(identity, fetch)))
            if not running:
                return
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            finished += [task.result() for task in done]
            while finished:
                identity, outcome = finished[-1]
                if isinstance(outcome, ClientClosedError):
                    raise outcome
                yield identity, outcome
                leave(finished.pop()[0])
    finally:
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        for identity, _ in finished:
            leave(identity)


async def _fetched(identity: Identity, fetch: Fetch) -> Found:
    try:
        return identity, await fetch(identity)
    except STSError as error:
        return identity, copy_without_traceback(error)
    except Exception as error:  # noqa: BLE001 - a provider of the program may raise anything
        failure = CredentialsError(f"{describe(identity)} failed with {type(error).__name__}")
        failure.__cause__ = error
        return identity, failure


async def _asynchronous(identities: Iterable[Identity] | AsyncIterable[Identity]) -> AsyncIterator[Identity]:
    if isinstance(identities, AsyncIterable):
        async for identity in identities:
            yield identity
    else:
        for identity in identities:
            yield identity
