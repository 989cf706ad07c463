"""The cache of all sources that fetch: one fetch for all callers, when it runs, and what is served if it fails."""

import asyncio
import gc
import logging
import pickle
import weakref
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from patience import turns, until
from support import ROLE, START, Clocks

from sts_async._engine.loop import Engine, new_engine
from sts_async._protocol.clock_skew import ServiceClock
from sts_async.credentials import AssumeRoleProvider, CachingProvider, RefreshingProvider
from sts_async.credentials.source import name_of, provider_of
from sts_async.errors import (
    ConfigurationError,
    ConnectError,
    CredentialsError,
    CredentialsExpired,
    CredentialsNotFound,
    ServiceError,
    STSError,
)
from sts_async.protocols import ProviderContext
from sts_async.shapes import Credentials
from sts_async.testing import LocalSTS, VirtualClock

DUE = 3000  # s after which credentials for an hour are refreshed, in the middle of the times that are chosen from
DENIED = ServiceError("no", code="AccessDenied", status=403)


class Source(RefreshingProvider):
    """A source that returns its outcomes in turn and repeats the last one; a number is a lifetime in seconds."""

    def __init__(self, clocks: Clocks, *outcomes: float | Exception | object) -> None:
        super().__init__()
        self.clocks = clocks
        self.outcomes = list(outcomes) or [3600.0]
        self.fetched = 0
        self.go_on: asyncio.Event | None = None

    async def fetch(self, context: ProviderContext) -> Credentials:
        self.fetched += 1
        if self.go_on is not None:
            await self.go_on.wait()
        outcome: Any = self.outcomes[min(self.fetched, len(self.outcomes)) - 1]
        if isinstance(outcome, BaseException):
            raise outcome
        if not isinstance(outcome, int | float):
            return outcome  # type: ignore[no-any-return]
        return Credentials(
            access_key_id=f"ASIA{self.fetched:016}",
            secret_access_key="SENTINEL-secret",
            expiration=datetime.fromtimestamp(self.clocks.wall + outcome, UTC),
        )

    def __repr__(self) -> str:
        return "Source()"


async def key(source: RefreshingProvider, context: Engine) -> int:
    """Return the number of the fetch that returned the credentials."""
    return int((await source.provide_credentials(context)).access_key_id[4:])


async def settle(times: int = 5) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


async def test_valid_credentials_are_not_fetched_again(context: Engine, clocks: Clocks) -> None:
    source = Source(clocks)
    first = await source.provide_credentials(context)
    clocks.advance(DUE - 1)

    assert await source.provide_credentials(context) is first
    assert source.fetched == 1


async def test_in_the_advisory_window_callers_get_cached_credentials_while_one_fetch_runs(
    context: Engine, clocks: Clocks
) -> None:
    source = Source(clocks)
    await key(source, context)
    clocks.advance(DUE)
    source.go_on = asyncio.Event()

    assert await asyncio.gather(*(key(source, context) for _ in range(100))) == [1] * 100
    await settle()
    assert source.fetched == 2
    source.go_on.set()
    await settle()
    assert await key(source, context) == 2
    assert source.fetched == 2


async def test_in_the_last_minute_all_callers_wait_for_one_fetch(context: Engine, clocks: Clocks) -> None:
    source = Source(clocks)
    await key(source, context)
    clocks.advance(3540)

    assert await asyncio.gather(*(key(source, context) for _ in range(100))) == [2] * 100


@pytest.mark.parametrize("outcome", [3600.0, DENIED, ConnectError("refused"), CredentialsNotFound("nothing")], ids=repr)
async def test_ten_thousand_callers_of_an_empty_cache_cause_one_fetch(
    context: Engine, clocks: Clocks, outcome: float | STSError
) -> None:
    """F45: this holds for success and for failure."""
    source = Source(clocks, outcome)
    results = await asyncio.gather(*(key(source, context) for _ in range(10_000)), return_exceptions=True)

    assert source.fetched == 1
    assert len({str(result) for result in results}) == 1
    assert {type(result) for result in results} == {type(outcome) if isinstance(outcome, STSError) else int}


async def test_cancelling_the_first_caller_does_not_start_another_fetch(context: Engine, clocks: Clocks) -> None:
    """F42."""
    source = Source(clocks)
    source.go_on = asyncio.Event()
    callers = [asyncio.create_task(key(source, context)) for _ in range(1000)]
    await settle()
    callers[0].cancel()
    await settle()
    source.go_on.set()
    results = await asyncio.gather(*callers, return_exceptions=True)

    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == [1] * 999
    assert source.fetched == 1


async def test_a_fetch_continues_after_the_deadlines_of_all_its_callers(context: Engine, clocks: Clocks) -> None:
    """F44: later callers get its result."""
    source = Source(clocks)
    source.go_on = asyncio.Event()
    for _ in range(20):
        caller = asyncio.create_task(key(source, context))
        await settle()
        caller.cancel()
        await settle()
    source.go_on.set()
    await settle()

    assert await key(source, context) == 1
    assert source.fetched == 1


Lines = list[tuple[str, str]]


def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    """Return level and text of the log lines, without the errors."""
    return [(record.levelname, record.getMessage().rpartition(": ")[0]) for record in caplog.records]


def told(word: str, *, rest: str = "which expire at 2026-01-01T01:00:00+00:00") -> tuple[str, str]:
    return "WARNING", f"Source: credential refresh failed; {word} the cached credentials, {rest}"


KEPT = told("still serving")
ENDED = told("still serving", rest="which expired at 2026-01-01T01:00:00+00:00")
LOST = told("no longer serving")


async def test_six_hours_of_outage_cause_one_attempt_per_pause_and_few_log_lines(
    context: Engine, clocks: Clocks, caplog: pytest.LogCaptureFixture
) -> None:
    """G8, F47: no call fails. There is one line at the start, one when the credentials expire, one at the end."""
    caplog.set_level(logging.INFO, logger="sts_async")
    source = Source(clocks, 3600.0, ConnectError("refused"))
    await key(source, context)
    clocks.advance(DUE)
    for _ in range(360):
        assert await asyncio.gather(*(key(source, context) for _ in range(5))) == [1] * 5
        await settle()
        clocks.advance(60)

    assert source.fetched - 1 == pytest.approx(360 * 60 / 480, abs=1)  # the pause is 450 s, seen once a minute
    assert lines(caplog) == [KEPT, ENDED]
    assert "refused" in caplog.text
    source.outcomes = [3600.0]
    clocks.advance(450)
    caplog.clear()
    await key(source, context)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "Source: credential refresh recovered after failing for 22050 s")
    ]


async def test_a_role_that_is_refused_for_hours_causes_few_attempts_and_log_lines(
    context: Engine, clocks: Clocks, caplog: pytest.LogCaptureFixture
) -> None:
    """C17, G8: valid keys stay in use. Then the error is raised, and cached longer after each failure."""
    caplog.set_level(logging.INFO, logger="sts_async")
    source = Source(clocks, 12 * 3600.0, DENIED)
    await key(source, context)
    clocks.advance(12 * 3600 - 3600)
    served, at = 0, list[float]()
    for second in range(6 * 3600):
        before = source.fetched
        try:
            served += await key(source, context)
            await settle()
        except ServiceError:
            pass
        at += [second] * (source.fetched - before)
        clocks.advance(1)

    assert served == 3600 - 60, "until the last minute"
    assert at[:10] == [1200, 1650, 2100, 2550, 3000, 3450, 3540, 3550, 3580, 3670]
    assert at[10:12] == [3940, 4390]
    assert max(sum(hour <= second < hour + 3600 for second in at) for hour in range(5 * 3600)) <= 12
    assert [line for line in lines(caplog) if "12:00:00" in line[1]] == lines(caplog)
    assert [text.partition(";")[2].split(" ")[1:3] for _, text in lines(caplog)] == [
        ["still", "serving"],
        ["no", "longer"],
    ]


async def test_a_refused_role_is_tried_again_at_the_start_of_the_mandatory_window(
    context: Engine, clocks: Clocks
) -> None:
    """C17: the pause ends at this moment, on each of the two clocks."""
    for jump in (0.0, 7200.0):
        source = Source(clocks, 3600.0, DENIED, 3600.0)
        await key(source, context)
        clocks.advance(3500)
        assert await key(source, context) == 1
        await settle()
        assert source.fetched == 2
        clocks.advance(40)
        clocks.wall += jump

        assert await key(source, context) == 3


async def test_a_cached_error_says_when_the_next_attempt_is(context: Engine, clocks: Clocks) -> None:
    source = Source(clocks, DENIED)
    for _ in range(3):
        with pytest.raises(ServiceError) as caught:
            await key(source, context)

    assert caught.value.__notes__ == ["Source: this error is cached from an earlier attempt; next attempt in 10 s"]
    assert not hasattr(DENIED, "__notes__")


async def test_a_suspended_machine_ends_a_pause(context: Engine, clocks: Clocks) -> None:
    """F52: credentials that expired while the machine was suspended are not served for the rest of a pause."""
    source = Source(clocks, 3600.0, ConnectError("refused"), 3600.0)
    await key(source, context)
    clocks.advance(DUE)
    await key(source, context)
    await settle()
    clocks.wall += 12 * 3600

    assert await key(source, context) == 3


async def test_credentials_expire_only_when_both_clocks_say_so(lend: Callable[..., Engine], clocks: Clocks) -> None:
    """G3: a wrong Date header, or a wrong clock of the host, must not stop a client."""
    for offset in (7200.0, -7200.0, 0.0):
        context = lend(clock=ServiceClock(offset=offset))
        assert await key(Source(clocks, 3600.0), context) == 1
        assert await key(Source(clocks, 3600.0 - min(0.0, offset)), context) == 1
    hasty = lend(clock=ServiceClock(offset=600.0))
    source = Source(clocks, 3600.0)
    await key(source, hasty)

    assert source._caches.all()[-1].state.ends.wall == clocks.wall + 3000, "the sooner of the two"
    with pytest.raises(CredentialsExpired):
        await key(Source(clocks, -1.0), lend(clock=ServiceClock(offset=600.0)))


async def test_keys_that_replaced_refused_ones_have_a_minimum_use(context: Engine, clocks: Clocks) -> None:
    """B9: a service that refuses every key causes a fetch after 5 s, 15 s, 45 s and so on, not one for each call."""
    source = Source(clocks)
    at = list[float]()
    for second in range(3600):
        before = source.fetched
        source.invalidate((await source.provide_credentials(context)).access_key_id)
        at += [second] * (source.fetched - before)
        clocks.advance(1)

    assert at[:7] == [0, 1, 6, 21, 66, 201, 501]
    assert len(at) < 20
    clocks.advance(600)
    source.invalidate(f"ASIA{source.fetched:016}")
    assert await key(source, context) == len(at) + 1, "what has lasted is replaced at once"


async def test_the_first_attempt_after_the_pause_recovers(context: Engine, clocks: Clocks) -> None:
    """F48."""
    source = Source(clocks, 3600.0, ConnectError("refused"), 3600.0)
    await key(source, context)
    clocks.advance(4000)
    assert await key(source, context) == 1
    clocks.advance(451)

    assert await key(source, context) == 3


async def test_a_final_error_is_raised_and_cached_for_seconds(context: Engine, clocks: Clocks) -> None:
    """F18: callers cause no storm of fetches, and stale credentials are not served."""
    source = Source(clocks, 3600.0, DENIED)
    await key(source, context)
    clocks.advance(3540)
    for _ in range(10):
        with pytest.raises(ServiceError, match="AccessDenied"):
            await key(source, context)
    assert source.fetched == 2
    clocks.advance(10.1)

    with pytest.raises(ServiceError, match="AccessDenied"):
        await key(source, context)
    assert source.fetched == 3


async def test_an_error_in_the_advisory_window_does_not_reach_callers(
    context: Engine, clocks: Clocks, caplog: pytest.LogCaptureFixture
) -> None:
    """F18: valid credentials stay in use, and a warning announces the problem."""
    source = Source(clocks, 3600.0, DENIED)
    await key(source, context)
    clocks.advance(DUE)

    assert await key(source, context) == 1
    await settle()
    assert await key(source, context) == 1
    assert source.fetched == 2
    assert "AccessDenied" in caplog.text


@pytest.mark.parametrize("lifetime", [-3600.0, -0.001, 0.0])
async def test_credentials_that_arrive_expired_are_a_failure(context: Engine, clocks: Clocks, lifetime: float) -> None:
    """F49: they do not replace the cached credentials."""
    source = Source(clocks, 3600.0, lifetime)
    await key(source, context)
    clocks.advance(3600)
    assert await key(source, context) == 1

    with pytest.raises(CredentialsExpired, match=r"^Source returned credentials that have already expired"):
        await key(Source(clocks, lifetime), context)


@pytest.mark.parametrize("name", [None, "the vault"])
async def test_messages_call_a_source_by_its_name(
    context: Engine, clocks: Clocks, caplog: pytest.LogCaptureFixture, name: str | None
) -> None:
    """The default is the name of its class. A chain uses the same name."""
    kind = type("Named", (Source,), {} if name is None else {"name": name})
    source = kind(clocks, 3600.0, -1.0)
    await key(source, context)
    clocks.advance(3600)
    await key(source, context)
    called = name or "Named"

    assert (source.name, name_of(source)) == (called, called)
    assert f"{called}: credential refresh failed; still serving the cached credentials, which expired at" in caplog.text
    assert f": {called} returned" in caplog.text


def test_a_caching_provider_is_named_after_its_source() -> None:
    async def from_vault() -> Credentials:
        raise NotImplementedError

    assert name_of(CachingProvider(from_vault)).endswith("from_vault)")


async def test_only_a_schedule_that_accepts_them_serves_expired_credentials(
    context: Engine, clocks: Clocks, caplog: pytest.LogCaptureFixture
) -> None:
    """F33."""
    source = Source(clocks, -3600.0)
    source.schedule = attrs.evolve(source.schedule, accept_expired=True)

    assert await key(source, context) == 1
    assert await key(source, context) == 1
    assert "expired" in caplog.text
    clocks.advance(451)
    await key(source, context)
    assert source.fetched == 2


async def test_a_refused_key_causes_one_fetch(context: Engine, clocks: Clocks) -> None:
    """F16: the next caller fetches. A caller that was refused with an older key changes nothing."""
    source = Source(clocks)
    refused = (await source.provide_credentials(context)).access_key_id
    source.invalidate(refused)
    assert await asyncio.gather(key(source, context), key(source, context)) == [2, 2]
    source.invalidate(refused)

    assert await key(source, context) == 2


async def test_after_a_suspend_the_first_call_refreshes_before_use(context: Engine, clocks: Clocks) -> None:
    """F52: the monotonic clock stood still during the suspend."""
    source = Source(clocks)
    await key(source, context)
    clocks.wall += 12 * 3600

    assert await key(source, context) == 2


@pytest.mark.parametrize("jump", [-86_400.0, 86_400.0])
async def test_a_jump_of_the_wall_clock_never_extends_the_life_of_credentials(
    context: Engine, clocks: Clocks, jump: float
) -> None:
    """F51."""
    source = Source(clocks)
    await key(source, context)
    clocks.wall += jump
    clocks.advance(3541)

    assert await key(source, context) == 2


@pytest.mark.parametrize("wrong", [None, "SENTINEL-token", {"AccessKeyId": "x"}])
async def test_a_result_that_is_not_credentials_is_an_error_without_its_value(
    context: Engine, clocks: Clocks, wrong: object
) -> None:
    with pytest.raises(CredentialsError, match=rf"returned (a {type(wrong).__name__}|None), not Credentials"):
        await key(Source(clocks, wrong), context)


async def test_replaced_credentials_are_released(context: Engine, clocks: Clocks) -> None:
    """T20."""
    source = Source(clocks)
    old = weakref.ref(await source.provide_credentials(context))
    clocks.advance(3541)
    await key(source, context)
    gc.collect()

    assert old() is None


async def test_a_provider_outlives_its_client(lend: Callable[..., Engine], clocks: Clocks) -> None:
    """F55: closing a client cancels the fetch that it started. Callers of another client start a new one."""
    one, other = lend(), lend()
    source = Source(clocks)
    source.go_on = asyncio.Event()
    first, second = asyncio.create_task(key(source, one)), asyncio.create_task(key(source, other))
    await settle()
    await one.tasks.aclose()
    source.go_on.set()

    assert await second == 2
    with pytest.raises(STSError, match="closed"):
        await first


def test_one_provider_serves_event_loops_one_after_the_other(clocks: Clocks) -> None:
    """F53: a provider that returns the same for each client has one cache for all."""
    source = Source(clocks)
    source.depends_on_client = False

    async def in_a_loop() -> int:
        engine = new_engine(
            endpoint=None,
            transport=None,  # type: ignore[arg-type]
            credentials=source,
            retries=None,  # type: ignore[arg-type]
            wall_clock=lambda: clocks.wall,
            monotonic=lambda: clocks.monotonic,
        )
        return await key(source, engine.context)

    assert asyncio.run(in_a_loop()) == 1
    assert asyncio.run(in_a_loop()) == 1
    clocks.advance(3541)
    assert asyncio.run(in_a_loop()) == 2


@pytest.mark.parametrize("error", [ValueError("SENTINEL"), ZeroDivisionError()], ids=repr)
async def test_cached_credentials_stay_in_use_after_any_failure(
    context: Engine, clocks: Clocks, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    """F57: a pause and a warning follow. The warning does not show the text of an unknown error."""
    source = Source(clocks, 3600.0, error)
    await key(source, context)
    clocks.advance(DUE)
    for _ in range(20):
        assert await key(source, context) == 1
        await settle()

    assert source.fetched == 2
    assert f"Source failed with {type(error).__name__}" in caplog.text


async def test_a_source_that_cancels_its_own_task_has_failed(context: Engine, clocks: Clocks) -> None:
    """F58: the callers that wait were not cancelled."""
    with pytest.raises(CredentialsError, match="cancelled its own fetch"):
        await key(Source(clocks, asyncio.CancelledError()), context)


async def test_an_impossibly_long_lifetime_is_limited(context: Engine, clocks: Clocks) -> None:
    """F50: credentials of the year 9999 are refreshed within 36 hours."""
    source = Source(clocks, 250_000_000_000.0)
    await key(source, context)
    clocks.advance(36 * 3600)

    assert await key(source, context) == 2


# Sources of a program's own


async def own_source() -> Credentials:
    return Credentials(access_key_id="AKIAOWN", secret_access_key="SENTINEL-own")


async def test_a_coroutine_function_is_a_source(context: Engine) -> None:
    assert (await provider_of(own_source).provide_credentials(context)).access_key_id == "AKIAOWN"


async def test_credentials_of_a_programs_source_are_not_served_after_expiry(context: Engine, clocks: Clocks) -> None:
    """The library does not know the errors of the source."""
    source = CachingProvider(Source(clocks, 60.0, ConnectError("refused"), 60.0))
    first = await source.provide_credentials(context)
    clocks.advance(49)
    assert await source.provide_credentials(context) is first
    clocks.advance(2)

    with pytest.raises(ConnectError):
        await CachingProvider(Source(clocks, ConnectError("refused"))).provide_credentials(context)
    assert (await source.provide_credentials(context)) is first  # its own cache keeps stale ones, ours asks it


async def test_an_error_of_the_programs_source_is_raised_unchanged(context: Engine) -> None:
    async def broken() -> Credentials:
        raise ZeroDivisionError("theirs")

    with pytest.raises(ZeroDivisionError, match="theirs"):
        await CachingProvider(broken).provide_credentials(context)


@pytest.mark.parametrize("wrong", ["AKIA", 1, Credentials, CachingProvider, {"access_key_id": "x"}], ids=str)
def test_an_invalid_source_is_refused_by_the_constructor(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="credentials must be"):
        provider_of(wrong)


async def test_the_error_names_a_function_that_is_not_a_coroutine_function(context: Engine) -> None:
    with pytest.raises(CredentialsError, match="must be a coroutine function: it returned a Credentials"):
        await CachingProvider(lambda: Credentials(access_key_id="A", secret_access_key="SENTINEL")).fetch(context)  # type: ignore[arg-type,return-value]


async def test_the_error_names_a_source_whose_expiration_has_no_time_zone(context: Engine, clocks: Clocks) -> None:
    naive = Credentials(access_key_id="A", secret_access_key="SENTINEL", expiration=datetime(2030, 1, 1))

    with pytest.raises(CredentialsError, match="not a timezone-aware datetime"):
        await key(Source(clocks, naive), context)


def test_the_repr_of_a_provider_names_its_source(clocks: Clocks) -> None:
    assert name_of(Source(clocks)) == "Source"
    assert repr(CachingProvider(own_source)) == "CachingProvider(own_source)"


def test_a_provider_refuses_to_be_pickled(clocks: Clocks) -> None:
    """T18."""
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(Source(clocks))


def test_the_clock_of_the_tests_begins_where_the_examples_do() -> None:
    assert datetime.fromtimestamp(START, UTC) == datetime(2026, 1, 1, tzinfo=UTC)


# An idle program


async def test_an_idle_role_is_not_refreshed_until_a_call_uses_it() -> None:
    """E9: without calls no request is sent. The next call refreshes in the background, or waits for a fetch."""
    clock = VirtualClock()
    async with LocalSTS(clock=clock) as server:
        role = AssumeRoleProvider(role_arn=ROLE, source=server.credentials)
        async with server.client(credentials=role, clock=clock) as sts:
            first = await sts.get_credentials()
            clock.advance(3600 - 178)
            await turns()
            idle, busy = len(server.requests), {*sts._life._tasks._running}
            assert await sts.get_credentials() == first
            await until(lambda: not sts._life._tasks._running)
            second = await sts.get_credentials()
            refreshed = len(server.requests)
            clock.advance(6 * 3600)
            await turns()
            still = len(server.requests)
            third = await sts.get_credentials()

    assert (idle, busy) == (1, set())
    assert (refreshed, still, len(server.requests)) == (2, 2, 3)
    assert len({first.access_key_id, second.access_key_id, third.access_key_id}) == 3


async def test_asking_once_a_minute_always_returns_credentials_that_last() -> None:
    """E9: the docstring promises it."""
    clock = VirtualClock()
    async with LocalSTS(clock=clock) as server:
        role = AssumeRoleProvider(role_arn=ROLE, source=server.credentials)
        async with server.client(credentials=role, clock=clock) as sts:
            left = []
            for _ in range(4 * 60):
                credentials = await sts.get_credentials()
                await until(lambda: not sts._life._tasks._running)
                assert credentials.expiration is not None
                left.append(credentials.expiration.timestamp() - clock.time())
                clock.advance(60)

    assert min(left) > 60
    assert 4 <= len(server.requests) <= 6
