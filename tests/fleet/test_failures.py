"""Identities that fail: they are tried again after growing pauses, are reported once, and do not affect the others."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fleet.fleets import (
    HOUR,
    Service,
    Source,
    changes,
    open_fleet,
    operations_of,
    outcome_of,
    pass_time,
    role,
    roles,
    settled,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from patience import PatientLoop, soon

from sts_async import Credentials
from sts_async.credentials import AssumeRoleProvider
from sts_async.errors import (
    ConnectError,
    CredentialsError,
    CredentialsExpired,
    LoginRequired,
    ServiceError,
    STSError,
)
from sts_async.events import CredentialsRefreshed, CredentialsRefreshFailed
from sts_async.fleet import IdentityState
from sts_async.testing import LocalSTS, Refuse, Throttle, Unavailable, VirtualClock

DENIED = ServiceError("no", code="AccessDenied", status=403)


async def test_a_refused_identity_is_tried_again_after_growing_pauses(watched: None, clock: VirtualClock) -> None:
    """AccessDenied is a state: about 35 attempts a day, in place of 86,400 / 10."""
    source, attempts = Source(clock), []
    source.outcome = DENIED
    async with open_fleet(Service(clock), clock) as fleet:
        fleet.add(source)
        seen = 0
        for _ in range(24):
            await pass_time(fleet, clock, HOUR)
            attempts.append(source.fetched - seen)
            seen = source.fetched

    assert attempts[0] <= 8
    assert max(attempts[2:]) <= 2
    assert 24 <= sum(attempts) <= 56


@pytest.mark.parametrize(
    ("error", "least", "most"),
    [
        (DENIED, 9, 20),  # someone must change a role: 30 to 60 min
        (ConnectError("refused"), 36, 80),  # 5 to 10 min
        (ServiceError("no", code="ServiceUnavailable", status=503), 36, 80),
        (LoginRequired("log in"), 360, 740),  # a person logs in and then waits: 30 to 60 s
        (ValueError("odd"), 360, 740),
    ],
    ids=lambda value: getattr(value, "code", type(value).__name__),
)
async def test_the_number_of_attempts_in_six_hours_depends_on_who_can_mend_the_cause(
    watched: None, clock: VirtualClock, error: Exception, least: int, most: int
) -> None:
    source = Source(clock)
    source.outcome = error
    async with open_fleet(Service(clock), clock) as fleet:
        fleet.add(source)
        await pass_time(fleet, clock, 6 * HOUR)
        (failing,) = fleet.failing()
        assert failing.failures == source.fetched
        source.outcome = None
        await pass_time(fleet, clock, HOUR)

        assert fleet.failing() == []
        assert fleet.snapshot().fresh == 1

    assert least <= failing.failures <= most


async def test_a_failing_identity_is_listed_with_its_cause_and_its_next_attempt(
    server: LocalSTS, clock: VirtualClock
) -> None:
    server.faults.add(Refuse("AccessDenied", times=None))
    began = clock.time()
    async with open_fleet(server, clock) as fleet:
        fleet.add(role())
        await fleet.warm_up()
        (failing,) = fleet.failing()

        assert (failing.identity, failing.state, failing.code) == (role(), IdentityState.FAILING, "AccessDenied")
        assert failing.name == "role 'arn:aws:iam::123456789012:role/role-0' (session 'me')"
        assert type(failing.error) is ServiceError
        assert failing.error.__traceback__ is None
        assert (failing.since, failing.failures) == (datetime.fromtimestamp(began, UTC), 1)
        assert failing.next_try is not None
        assert timedelta(seconds=5) <= failing.next_try - failing.since <= timedelta(seconds=15)
        assert failing.expiration is None
        clock.advance((failing.next_try - failing.since).total_seconds() + 0.001)  # it is rounded to microseconds
        await settled(fleet)
        (later,) = fleet.failing()

    assert (later.since, later.failures) == (failing.since, 2)


async def test_identities_that_fail_longest_are_listed_first(watched: None, clock: VirtualClock) -> None:
    sources = [Source(clock, number) for number in range(5)]
    async with open_fleet(Service(clock), clock) as fleet:
        fleet.add(*sources)
        await fleet.warm_up()
        for number in (3, 0, 4):
            sources[number].outcome = ConnectError("refused")
            fleet.remove(sources[number])
            fleet.add(sources[number])
            await settled(fleet)
            clock.advance(1)
        assert [failing.identity for failing in fleet.failing()] == [sources[3], sources[0], sources[4]]


async def test_cached_credentials_are_served_while_refreshes_fail(watched: None, clock: VirtualClock) -> None:
    """The attempts are 5 to 10 min apart. An outage that may pass does not end the use of the credentials."""
    source, events = Source(clock), []
    async with open_fleet(Service(clock), clock, client={"observers": [events.append]}) as fleet:
        fleet.add(source)
        await fleet.warm_up()
        held = fleet.peek(source)
        source.outcome = ConnectError("refused")
        await pass_time(fleet, clock, HOUR + 600)

        assert await fleet.get(source) is held
        assert fleet.peek(source) is None
        (failing,) = fleet.failing()
        assert (failing.state, failing.code) == (IdentityState.STALE, None)
        assert held is not None
        assert failing.expiration == held.expiration
        attempts = source.fetched - 1
        source.outcome = None
        await pass_time(fleet, clock, 600)
        assert fleet.peek(source) is not None
        assert fleet.failing() == []

    assert 2 <= attempts <= 6
    assert changes(events) == [
        (None, "waiting"),
        ("waiting", "fresh"),
        ("fresh", "stale"),
        ("stale", "fresh"),
        ("fresh", None),
    ]
    failures = [event for event in events if isinstance(event, CredentialsRefreshFailed)]
    assert len(failures) == attempts
    assert failures[0].changed
    refreshed = [event for event in events if isinstance(event, CredentialsRefreshed)]
    assert refreshed[0].failing_seconds is None
    assert refreshed[1].failing_seconds is not None
    assert refreshed[1].failing_seconds > 600
    assert {event.identity for event in [*failures, *refreshed]} == {"source 0"}


async def test_a_final_refusal_ends_the_use_of_cached_credentials_in_their_last_minute(
    watched: None, clock: VirtualClock
) -> None:
    source, events = Source(clock), []
    async with open_fleet(Service(clock), clock, client={"observers": [events.append]}) as fleet:
        fleet.add(source)
        await fleet.warm_up()
        source.outcome = DENIED
        await pass_time(fleet, clock, HOUR - 61)
        assert isinstance(await fleet.get(source), Credentials)
        await pass_time(fleet, clock, 300)
        with pytest.raises(ServiceError, match="AccessDenied"):
            await fleet.get(source)
        assert fleet.failing()[0].state is IdentityState.FAILING

    assert [state for _, state in changes(events)] == ["waiting", "fresh", "stale", "failing", None]


async def test_each_change_of_state_is_logged_once_however_long_it_lasts(
    watched: None, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    source = Source(clock)
    source.outcome = DENIED
    with caplog.at_level(logging.INFO, logger="sts_async"):
        async with open_fleet(Service(clock), clock) as fleet:
            fleet.add(source)
            await pass_time(fleet, clock, 12 * HOUR)
            for _ in range(100):
                await outcome_of(lambda: fleet.get(source))
            failing = [record.getMessage() for record in caplog.records]
            source.outcome = None
            await pass_time(fleet, clock, HOUR)
            recovered = [record.getMessage() for record in caplog.records][len(failing) :]

    assert failing == ["source 0: refresh failed; there are no credentials to serve: AccessDenied: no (HTTP 403)"]
    assert len(recovered) == 1
    assert recovered[0].startswith("source 0: fresh after failing for 4")


async def test_an_identity_that_fails_delays_no_other(server: LocalSTS, clock: VirtualClock) -> None:
    """Half of the identities are refused, and the rest are fresh for hours, with as many requests as alone."""
    server.declare(*(refusing_role(number) for number in range(0, 20, 2)))
    async with open_fleet(server, clock, concurrency=2) as fleet:
        fleet.add(*roles(20))
        await soon(fleet.warm_up())
        for _ in range(8):
            await pass_time(fleet, clock, HOUR / 2)
            snapshot = fleet.snapshot()
            assert (snapshot.fresh, snapshot.failing) == (10, 10)

        assert {failing.code for failing in fleet.failing()} == {"AccessDenied"}
        assert all(fleet.peek(role(number)) for number in range(1, 20, 2))


def refusing_role(number: int) -> Any:
    from sts_async.testing import Role

    return Role(role(number).role_arn, trusts=["arn:aws:iam::123456789012:user/other"])


async def test_a_provider_that_hangs_delays_no_request(watched: None, clock: VirtualClock) -> None:
    """Providers have workers of their own."""
    stuck = [Source(clock, number) for number in range(5)]
    for source in stuck:
        source.gate = asyncio.Event()
    async with open_fleet(Service(clock), clock, concurrency=2) as fleet:
        fleet.add(*stuck, *roles(10))
        await soon(asyncio.gather(*(fleet.get(one) for one in roles(10))))

        assert (fleet.snapshot().fresh, fleet.snapshot().waiting) == (10, 5)


async def test_credentials_that_arrive_expired_are_a_failed_refresh_and_the_old_ones_are_kept(
    watched: None, clock: VirtualClock
) -> None:
    """F49."""
    source = Source(clock)
    async with open_fleet(Service(clock), clock) as fleet:
        fleet.add(source)
        await fleet.warm_up()
        held = fleet.peek(source)
        source.seconds = -1
        await pass_time(fleet, clock, HOUR - 60)

        assert await fleet.get(source) is held is not None
        (failing,) = fleet.failing()
        assert (failing.state, type(failing.error)) == (IdentityState.STALE, CredentialsExpired)
        source.seconds = HOUR
        await pass_time(fleet, clock, 600)
        assert fleet.failing() == []


@pytest.mark.parametrize("answer", [None, {"AccessKeyId": "AKIA"}, "SENTINEL-text"], ids=["None", "dict", "text"])
async def test_a_provider_that_returns_no_credentials_fails_with_an_error_that_does_not_show_them(
    watched: None, clock: VirtualClock, answer: object
) -> None:
    class Wrong:
        async def provide_credentials(self, context: object, /) -> Any:
            return answer

    async with open_fleet(Service(clock), clock) as fleet:
        with pytest.raises(CredentialsError) as caught:
            await fleet.get(Wrong())

    assert "SENTINEL" not in str(caught.value)
    assert "Wrong" in str(caught.value)


async def test_throttling_halves_the_rate_and_all_identities_are_fetched(server: LocalSTS, clock: VirtualClock) -> None:
    server.faults.add(Throttle(times=2))
    async with open_fleet(server, clock, requests_per_second=100) as fleet:
        fleet.add(*roles(10))
        await pass_time(fleet, clock, 30)
        (budget,) = fleet.snapshot().budgets

        assert fleet.snapshot().fresh == 10
        assert budget.throttled == 2
        assert budget.rate < budget.limit
        assert budget.sent == len(server.requests) == 12
        await pass_time(fleet, clock, 120)
        assert fleet.snapshot().budgets[0].rate <= budget.limit


async def test_the_rate_of_requests_stays_within_the_budget(watched: None, clock: VirtualClock) -> None:
    service = Service(clock)
    async with open_fleet(service, clock, requests_per_second=10) as fleet:
        fleet.add(*roles(100))
        counts = []
        for _ in range(20):
            before = service.sent.total()
            await pass_time(fleet, clock, 1)
            counts.append(service.sent.total() - before)

    assert sum(counts) == 100
    assert max(counts[1:]) <= 11
    assert counts[0] <= 10 + 10


@settings(max_examples=15)
@given(
    outcomes=st.lists(
        st.tuples(st.sampled_from(["fresh", "away", "denied"]), st.sampled_from([30, 600, 3000, 8000])), max_size=12
    )
)
def test_callers_get_valid_credentials_in_any_history_ten_minutes_after_its_failures(
    outcomes: list[tuple[str, int]],
) -> None:
    """Credentials that have expired, and errors, come only from identities that are listed as failing."""

    async def run() -> None:
        clock = VirtualClock(start=1_767_225_600.0)
        source = Source(clock)
        async with open_fleet(Service(clock), clock) as fleet:
            fleet.add(source)
            for name, seconds in outcomes:
                source.outcome = {"fresh": None, "away": ConnectError("refused"), "denied": DENIED}[name]
                await pass_time(fleet, clock, seconds)
                found = await outcome_of(lambda: fleet.get(source))
                if isinstance(found, Credentials):
                    assert found.expiration is not None
                    valid = found.expiration.timestamp() > clock.time()
                else:
                    assert isinstance(found, STSError)
                    valid = False
                assert valid or fleet.failing()
                if name == "fresh" and seconds >= 600:
                    assert valid
                    assert fleet.failing() == []

    with asyncio.Runner(loop_factory=PatientLoop) as runner:
        runner.run(run())


async def test_an_outage_of_the_service_passes_through_unnoticed_by_callers(
    server: LocalSTS, clock: VirtualClock
) -> None:
    async with open_fleet(server, clock) as fleet:
        fleet.add(*roles(5))
        await fleet.warm_up()
        server.faults.add(Unavailable(times=None))
        for _ in range(12):
            await pass_time(fleet, clock, 600)
            for one in roles(5):
                assert isinstance(await fleet.get(one), Credentials)
        attempts = len(server.requests) - 5
        assert fleet.snapshot().stale == 5
        server.faults.clear()
        await pass_time(fleet, clock, 600)
        assert fleet.snapshot().fresh == 5

    assert attempts <= 3 * 5 * 12 * 2, "three sends in each attempt, and at most twelve attempts an hour"
    assert set(operations_of(server)) == {"AssumeRole"}


# -- fetches that ask a person -------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong_code", [False, True])
async def test_a_fetch_that_asks_a_person_never_runs_in_the_background(
    server: LocalSTS, clock: VirtualClock, wrong_code: bool
) -> None:
    """T46: neither after `add`, nor when it is due, nor after a failure."""
    asked: list[float] = []

    async def code(serial_number: str) -> str:
        asked.append(clock.monotonic())
        return "000000" if wrong_code else "123456"

    provider = AssumeRoleProvider(
        role_arn=role().role_arn,
        serial_number="arn:aws:iam::123456789012:mfa/developer",
        mfa_code=code,
        source=server.credentials,
    )
    async with open_fleet(server, clock) as fleet:
        fleet.add(provider)
        await soon(fleet.warm_up())
        await pass_time(fleet, clock, HOUR)
        assert asked == []
        first = await outcome_of(lambda: fleet.get(provider))
        assert isinstance(first, STSError) == wrong_code
        times = len(asked)
        await pass_time(fleet, clock, 3 * HOUR)
        fleet.pause(provider)
        fleet.resume(provider)
        await pass_time(fleet, clock, HOUR)
        assert len(asked) == times
        await outcome_of(lambda: fleet.get(provider))
        assert len(asked) > times
