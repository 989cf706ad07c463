"""A scan: fetch the credentials of many identities, a bounded number at a time, and yield them as they come."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable

from .._runtime.outcome import copy_without_traceback
from ..errors import ClientClosedError, STSError
from ..shapes import Credentials
from .identities import Identity

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
        identities: The identities. Only as many are read as are fetched.
        fetch: Returns the credentials of one.
        leave: Called with each identity after it was yielded.
        concurrency: Maximum number of identities that are fetched at the same time.

    Raises:
        ClientClosedError: The fleet or its client was closed.
    """
    coming = _asynchronous(identities)
    running: set[asyncio.Task[Found]] = set()
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
            for task in done:
                identity, outcome = task.result()
                if isinstance(outcome, ClientClosedError):
                    raise outcome
                yield identity, outcome
                leave(identity)
    finally:
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)


async def _fetched(identity: Identity, fetch: Fetch) -> Found:
    try:
        return identity, await fetch(identity)
    except STSError as error:
        return identity, copy_without_traceback(error)


async def _asynchronous(identities: Iterable[Identity] | AsyncIterable[Identity]) -> AsyncIterator[Identity]:
    if isinstance(identities, AsyncIterable):
        async for identity in identities:
            yield identity
    else:
        for identity in identities:
            yield identity
