"""
What the parts of a call that do nothing visible cost, while all goes well.

    python benchmarks/bench_overhead.py [--calls 200000] [--rounds 5]

The decisions of a retry policy (one to admit the request, one to learn of its success), a view of a client with other
options and its first use, an observer and a handler that do nothing. In microseconds of CPU, the best of some rounds;
of a view also the memory, by tracemalloc.
"""

import argparse
import asyncio
import gc
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import _loopback

from sts_async import AdaptiveRetries, Config, Credentials, NoRetries, RequestHandler, StandardRetries, STSClient
from sts_async._protocol.http_messages import HttpRequest, HttpResponse
from sts_async._shape.secret import SecretBytes

KEYS = Credentials(access_key_id=_loopback.ACCESS_KEY_ID, secret_access_key=_loopback.SECRET_ACCESS_KEY)
VIEWS = 1000


def decisions(policy: Any, calls: int) -> None:
    """Ask a policy what a call that succeeds at once asks it."""
    for number in range(calls):
        now = number / 1000
        policy.admit(scope="123456789012/eu-west-1", now=now)
        policy.after_success(scope="123456789012/eu-west-1", attempt=1, after=None, now=now)


def nothing(calls: int) -> None:
    """Do what `decisions` does beside asking."""
    for number in range(calls):
        _ = number / 1000


def best(work: Callable[[], object], *, calls: int, rounds: int) -> float:
    """Return the microseconds of CPU for each of the *calls* that *work* makes, in the best round."""
    taken = []
    for _ in range(rounds):
        begun = time.process_time()
        work()
        taken.append(time.process_time() - begun)
    return min(taken) / calls * 1e6


class OneAnswer:
    """A transport that has one answer."""

    def __init__(self) -> None:
        body = _loopback.prepared_answer().partition(b"\r\n\r\n")[2]
        date = f"{datetime.now(UTC):%a, %d %b %Y %H:%M:%S GMT}"
        self._response = HttpResponse(200, {"date": date}, SecretBytes(body))

    async def send(self, request: HttpRequest) -> HttpResponse:
        return self._response


async def per_call(call: Callable[[], Awaitable[object]], *, calls: int, rounds: int) -> float:
    """Return what `best` does, of a coroutine function that is awaited for each call."""
    taken = []
    for _ in range(rounds):
        begun = time.process_time()
        for _ in range(calls):
            await call()
        taken.append(time.process_time() - begun)
    return min(taken) / calls * 1e6


def show(what: str, value: float, unit: str = "us") -> None:
    print(f"{what:60}{value:>10.2f} {unit}")


async def calls_with(sts: STSClient, options: argparse.Namespace) -> None:
    """Show what an observer, a handler and a view add to a call."""
    engine = await sts._life.ready()
    engine._shared.transport = OneAnswer()
    role: dict[str, Any] = {"role_arn": _loopback.ROLE_ARN, "role_session_name": "me"}
    variants = {
        "a call, without sending": sts,
        "by a view": sts.with_options(deadline=20),
        "with an observer that does nothing": sts.with_options(observer=lambda event: None),
        "with a handler that does nothing": sts.with_options(handlers=[RequestHandler()]),
        "without retries": sts.with_options(retries=NoRetries()),
    }
    shape = {"calls": max(1, options.calls // 100), "rounds": options.rounds}
    for what, client in variants.items():
        show(what, await per_call(lambda client=client: client.assume_role(**role), **shape))  # type: ignore[misc]


async def main_async(options: argparse.Namespace) -> None:
    calls, rounds = options.calls, options.rounds
    idle = best(lambda: nothing(calls), calls=calls, rounds=rounds)
    for policy in (AdaptiveRetries(), StandardRetries(), NoRetries()):
        cost = best(lambda policy=policy: decisions(policy, calls), calls=calls, rounds=rounds)  # type: ignore[misc]
        show(f"decisions of {type(policy).__name__}", cost - idle)
    limiting = AdaptiveRetries()
    limiting._limiter("123456789012/eu-west-1", 0.0).answer(now=0.0, throttled=True)
    show(
        "decisions of AdaptiveRetries that limits",
        best(lambda: decisions(limiting, calls), calls=calls, rounds=rounds) - idle,
    )

    async with STSClient(region="eu-west-1", credentials=KEYS, config=Config(max_attempts=3)) as sts:

        def views() -> list[object]:
            return [sts.with_options(deadline=2) for _ in range(VIEWS)]

        show("a view", best(views, calls=VIEWS, rounds=20 * rounds))
        gc.collect()
        tracemalloc.start()
        kept: list[Any] = views()
        show("its memory", tracemalloc.get_traced_memory()[0] / len(kept), "bytes")
        engine = await sts._life.ready()
        for view in kept:
            view._view(engine)
        show("its memory after a call that is not signed", tracemalloc.get_traced_memory()[0] / len(kept), "bytes")
        tracemalloc.stop()
        await calls_with(sts, options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    asyncio.run(main_async(parser.parse_args()))


if __name__ == "__main__":
    main()
