"""F16-F18, F20: credentials and tokens that end or are refused while many use them, and a clock that is off."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from faults.faulty import GOOD, Act, Received, document, refuses, says
from faults.matrix import (
    AMPLE,
    BY_CALLERS,
    TIMEOUT,
    Fails,
    Played,
    Row,
    Succeeds,
    assume_role,
    hold,
    names,
    played,
    serving,
)
from patience import LOOK, soon, until
from support import KEYS, ROLE, put_into

from sts_async import STSClient, errors
from sts_async.credentials import AssumeRoleProvider, CachingProvider, WebIdentityProvider
from sts_async.credentials._schedule import Schedule
from sts_async.events import CredentialsRefreshFailed
from sts_async.retries import NoRetries, StandardRetries
from sts_async.shapes import Credentials
from sts_async.testing import LocalSTS, Skew

ISSUED = says(document("AssumeRoleWithWebIdentity"))
PROVIDER = "provider1"
"""The name of the provider's own sessions, which has as many characters as those of callers."""


async def identity(client: STSClient, caller: str) -> Any:
    return await client.get_caller_identity()


def attempts_of(calls: list[Played]) -> list[int]:
    """Return how often the request of each call was sent, all of which must have succeeded."""
    for call in calls:
        assert not isinstance(call.outcome, errors.STSError), f"{call.caller}: {call.outcome!r}"
    return [call.outcome.metadata.attempts for call in calls]


def minutes_later(client: STSClient, minutes: int) -> None:
    """Have the client's monotonic clock say that some minutes have gone by."""
    now = client._life.engine.context.monotonic()  # type: ignore[union-attr]
    put_into(client, monotonic=lambda: now + 60.0 * minutes)


# -- keys -----------------------------------------------------------------------------------------------------------


@BY_CALLERS
async def test_sessions_that_end_under_their_callers_are_renewed_once_each_time(callers: int) -> None:
    """F16: whoever was refused goes on with the new session."""
    async with LocalSTS() as server:
        provider = AssumeRoleProvider(role_arn=ROLE, source=server.credentials)
        async with server.client(credentials=provider) as client:
            await client.get_caller_identity()
            for renewals in (1, 2, 3):
                minutes_later(client, renewals)
                server.expire(await client.get_credentials())
                calls = await played(client, identity, names(callers))

                assert attempts_of(calls) == [2] * callers
                assert max(call.seconds for call in calls) < TIMEOUT
                assert [served.operation for served in server.requests].count("AssumeRole") == 1 + renewals


def keys(number: int) -> Credentials:
    return Credentials(access_key_id=f"AKIAKEY{number}", secret_access_key=f"SENTINEL-secret-{number}")


async def with_keys(
    give: Callable[[], Awaitable[Credentials]], *, refused: Callable[[Received], bool], code: str, callers: int
) -> list[Played]:
    """Have callers call with keys from a source, at a server that refuses some of them."""

    def script(received: Received) -> Act:
        return refuses(code, status=403) if refused(received) else GOOD

    async with serving(script, credentials=CachingProvider(give), retries=NoRetries()) as (client, _):
        return await played(client, assume_role, names(callers))


@BY_CALLERS
@pytest.mark.parametrize("code", ["ExpiredTokenException", "ExpiredToken", "InvalidClientTokenId", "InvalidToken"])
async def test_refused_keys_are_asked_for_once_more_for_all(code: str, callers: int) -> None:
    """F16: by a policy that retries nothing."""
    given = 0

    async def give() -> Credentials:
        nonlocal given
        given += 1
        return keys(given)

    calls = await with_keys(give, refused=lambda r: r.signed_by == "AKIAKEY1", code=code, callers=callers)

    hold(Row("F16", [], Succeeds(attempts=2)), calls)
    assert given == 2


@BY_CALLERS
async def test_keys_that_stay_refused_end_every_call(callers: int) -> None:
    """F16: the source has no others, so nothing is sent again."""
    given = 0

    async def give() -> Credentials:
        nonlocal given
        given += 1
        return keys(1)

    calls = await with_keys(give, refused=lambda r: True, code="ExpiredToken", callers=callers)

    hold(Row("F16", [], Fails(errors.ServiceError, attempts=1, code="ExpiredToken", retryable=False)), calls)
    assert 2 <= given <= 1 + callers


@BY_CALLERS
async def test_new_keys_that_are_refused_too_are_the_end(callers: int) -> None:
    """F16: each call asks once for others, however often the source has some."""
    given = 0

    async def give() -> Credentials:
        nonlocal given
        given += 1
        return keys(given)

    calls = await with_keys(give, refused=lambda r: True, code="ExpiredToken", callers=callers)

    hold(Row("F16", [], Fails(errors.ServiceError, attempts=2, code="ExpiredToken", retryable=False)), calls)


async def test_a_session_that_stays_refused_is_renewed_twice_and_not_for_each_call() -> None:
    """B9: fifty calls one after the other within seconds; each is sent at most twice."""

    def script(received: Received) -> Act:
        if of_provider(received):
            return says(document().replace("ASIAIOSFODNN7EXAMPLE", f"ASIA{received.number:016}"))
        return refuses("InvalidClientTokenId", status=403)

    provider = AssumeRoleProvider(role_arn=ROLE, role_session_name=PROVIDER, source=KEYS)
    async with serving(script, credentials=provider) as (client, server):
        await client.get_credentials()
        begun = client._life.engine.context.monotonic()  # type: ignore[union-attr]
        put_into(client, monotonic=lambda: begun)  # no time goes by, however slow the machine
        calls = [call for name in names(50) for call in await played(client, assume_role, [name])]
        fetched = len(server.received[PROVIDER])
        put_into(client, monotonic=lambda: begun + 60)
        calls += await played(client, assume_role, ["later"])

    fate = Fails(errors.ServiceError, attempts=1, code="InvalidClientTokenId", retryable=False)
    hold(Row("B9", [], fate), calls[1:50])
    assert [calls[0].outcome.attempts, calls[-1].outcome.attempts] == [2, 1]
    assert (fetched, len(server.received[PROVIDER])) == (2, 3)


# -- a role that may no longer be assumed -------------------------------------------------------------------------


class Hasty(AssumeRoleProvider):
    """Refreshes behind its callers almost as soon as it has credentials, which live for an hour."""

    schedule = Schedule(advisory=3598.9)


def of_provider(received: Received) -> bool:
    return received.caller == PROVIDER


@BY_CALLERS
async def test_a_refusal_to_assume_a_role_is_raised_by_all_and_remembered(callers: int) -> None:
    """F18: fifty callers, and then fifty more at once, are one request."""
    provider = AssumeRoleProvider(role_arn=ROLE, role_session_name=PROVIDER, source=KEYS)
    denial = refuses("AccessDenied", status=403)
    async with serving(lambda received: denial, credentials=provider) as (client, server):
        first = await played(client, assume_role, names(callers))
        second = await played(client, assume_role, names(callers))

    fate = Fails(errors.ServiceError, attempts=1, code="AccessDenied", recoverable=False)
    hold(Row("F18", [], fate, within=0.5), first + second)
    assert {caller: len(received) for caller, received in server.received.items()} == {PROVIDER: 1}


async def refreshed_behind(client: STSClient, server: Any) -> None:
    """Ask for credentials until a second fetch has ended, which begins about a second after the first."""
    while len(server.received[PROVIDER]) < 2:
        await client.get_credentials()
        await asyncio.sleep(LOOK)
    await until(lambda: not client._life._tasks._running)


async def refused_behind(events: list[object]) -> list[int]:
    """Have a role refused to a refresh behind the callers; return how often each of fifty calls after it was sent."""

    def script(received: Received) -> Act:
        if of_provider(received):
            return says(document()) if received.number == 1 else refuses("AccessDenied", status=403)
        return GOOD

    provider = Hasty(role_arn=ROLE, role_session_name=PROVIDER, source=KEYS)
    async with serving(script, credentials=provider, observers=[events.append]) as (client, server):
        await soon(refreshed_behind(client, server))
        calls = await played(client, assume_role, names(50))

    assert len(server.received[PROVIDER]) == 2
    return attempts_of(calls)


async def test_a_role_that_is_refused_behind_its_callers_serves_on() -> None:
    """F18: what is held is good for an hour."""
    assert await refused_behind([]) == [1] * 50


async def test_a_role_that_is_refused_behind_its_callers_is_told_to_observers() -> None:
    """F18: with an event, because nobody gets the error."""
    events: list[object] = []
    await refused_behind(events)

    assert [type(event) for event in events if isinstance(event, CredentialsRefreshFailed)] == [
        CredentialsRefreshFailed
    ]


# -- a token in a file ----------------------------------------------------------------------------------------------


async def with_token(file: Path, script: Callable[[Received], Act], *, callers: int, waves: int = 1) -> Any:
    """Have callers call with a role for the token in a file; return what came of it, and the provider's requests."""

    def answer(received: Received) -> Act:
        return script(received) if of_provider(received) else GOOD

    provider = WebIdentityProvider(role_arn=ROLE, role_session_name=PROVIDER, token_file=file)
    calls: list[Played] = []
    async with serving(answer, credentials=provider) as (client, server):
        for _ in range(waves):
            calls += await played(client, assume_role, names(callers))
    return calls, server.received[PROVIDER]


@BY_CALLERS
@pytest.mark.parametrize("code", ["ExpiredTokenException", "InvalidIdentityToken"])
async def test_a_token_that_was_replaced_meanwhile_is_read_again_for_all(
    code: str, callers: int, tmp_path: Path
) -> None:
    """F17."""
    file = tmp_path / "token"
    file.write_text("SENTINEL.old.token")

    def script(received: Received) -> Act:
        if received.form["WebIdentityToken"] == "SENTINEL.new.token":
            return ISSUED
        file.write_text("SENTINEL.new.token")
        return refuses(code)

    calls, requests = await with_token(file, script, callers=callers)

    hold(Row("F17", [], Succeeds(attempts=1)), calls)
    assert [received.form["WebIdentityToken"] for received in requests] == ["SENTINEL.old.token", "SENTINEL.new.token"]


@BY_CALLERS
@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("ExpiredTokenException", errors.ExpiredTokenException),
        ("InvalidIdentityToken", errors.InvalidIdentityTokenException),
    ],
)
async def test_a_token_that_stays_ends_every_call_with_a_hint(
    code: str, error: type[errors.ServiceError], callers: int, tmp_path: Path
) -> None:
    """F17: and is sent once for all of them."""
    file = tmp_path / "token"
    file.write_text("SENTINEL.old.token")

    calls, requests = await with_token(file, lambda received: refuses(code), callers=callers, waves=2)

    hold(Row("F17", [], Fails(error, attempts=1, code=code, retryable=False, recoverable=False), within=0.5), calls)
    assert {call.outcome.__notes__[0] for call in calls} == {
        f"'{file}' still holds the token that was refused: the program that writes it must renew the token"
    }
    assert len(requests) == 1


# -- clocks -----------------------------------------------------------------------------------------------------------


async def with_a_clock_off(minutes: int, *, callers: int, retries: StandardRetries) -> None:
    """Have callers call a server that verifies signatures and their time, by another clock."""
    clock = LocalSTS(clock=lambda: time.time() + 60 * minutes)
    async with clock as server, server.client(retries=retries) as client:
        first = await played(client, identity, names(callers))
        later = [attempts_of(await played(client, identity, names(callers))) for _ in range(2)]

    assert attempts_of(first) == [2] * callers
    assert later == [[1] * callers] * 2
    assert max(call.seconds for call in first) < TIMEOUT


@BY_CALLERS
@pytest.mark.parametrize("minutes", [20, -20])
async def test_a_service_whose_clock_is_off_costs_one_more_attempt_once(minutes: int, callers: int) -> None:
    """F20."""
    await with_a_clock_off(minutes, callers=callers, retries=StandardRetries(quota=AMPLE))


@pytest.mark.parametrize("minutes", [20, -20])
async def test_a_clock_that_is_off_costs_fifty_callers_no_more_than_one(minutes: int) -> None:
    """F20: the quota is there to spare a service that is in trouble, and this one is not."""
    await with_a_clock_off(minutes, callers=50, retries=StandardRetries())


async def test_one_answer_by_a_wrong_clock_ends_no_client_with_temporary_keys() -> None:
    """G3: the keys live for an hour. A server that is two hours ahead calls them expired, and the next one does not."""
    async with LocalSTS() as server, server.client(credentials=server.issue(ROLE)) as client:
        await client.get_caller_identity()
        server.faults.add(Skew(7200))
        with pytest.raises(errors.ServiceError, match="ExpiredToken"):
            await client.get_caller_identity()
        later = [(await client.get_caller_identity()).metadata.attempts for _ in range(2)]

    assert later == [2, 1], "signed for the wrong time once more"
