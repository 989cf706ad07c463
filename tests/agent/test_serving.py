"""What the endpoint serves: from memory, with a margin, within the time that SDKs wait."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from agent.endpoints import ask, open_endpoint
from fleet.fleets import HOUR, Service, Source, open_fleet, pass_time, role, settled
from patience import until
from support import KEYS

from sts_async import Credentials, StaticProvider
from sts_async.agent import serve
from sts_async.agent._answers import FETCH_SECONDS, MARGIN
from sts_async.errors import ConfigurationError, CredentialsError, ServiceError, ThrottlingError
from sts_async.fleet import ChainedRequest
from sts_async.testing import LocalSTS, VirtualClock


def left(clock: VirtualClock, document: dict[str, str]) -> float:
    """Return the seconds that the credentials of an answer have left."""
    return datetime.fromisoformat(document["Expiration"]).timestamp() - clock.time()


async def test_requests_are_answered_from_memory(watched: None, clock: VirtualClock) -> None:
    """The first request comes after the first fetch, and causes none."""
    service = Service(clock)
    async with open_endpoint(service, clock) as (_, endpoint):
        assert service.sent.total() == 1
        answers = await asyncio.gather(*(ask(endpoint) for _ in range(20)))

    assert {answered.status for answered in answers} == {200}
    assert len({answered.body for answered in answers}) == 1
    assert service.sent.total() == 1


async def test_a_program_that_asks_each_minute_always_has_the_margin(watched: None, clock: VirtualClock) -> None:
    """botocore, which asks again for each call below this margin, never does so."""
    service = Service(clock)
    async with open_endpoint(service, clock) as (fleet, endpoint):
        fewest = float("inf")
        for _ in range(180):
            fewest = min(fewest, left(clock, (await ask(endpoint)).document))
            await pass_time(fleet, clock, 60.0)

    assert fewest >= MARGIN
    assert service.sent.total() <= 6


async def test_an_identity_that_nobody_asks_for_is_not_refreshed(watched: None, clock: VirtualClock) -> None:
    """A program that has ended costs no request; a later one waits for the first fetch only."""
    service = Service(clock)
    async with open_endpoint(service, clock) as (fleet, endpoint):
        await ask(endpoint)
        await pass_time(fleet, clock, 12 * HOUR)
        sent = service.sent.total()
        answered = await ask(endpoint)

        assert sent <= 2
        assert answered.status == 200
        assert left(clock, answered.document) > HOUR - 10
        assert service.sent.total() == sent + 1


async def test_the_first_program_after_a_pause_gets_new_credentials(watched: None, clock: VirtualClock) -> None:
    """Credentials in memory have two minutes left: SDKs would use them, and ask again for each call."""
    service = Service(clock)
    async with open_endpoint(service, clock) as (fleet, endpoint):
        await pass_time(fleet, clock, HOUR - 120)

        assert left(clock, (await ask(endpoint)).document) > HOUR - 10


async def test_credentials_with_the_margin_are_served_during_a_refresh(watched: None, clock: VirtualClock) -> None:
    """A slow service delays no program as long as there is something good to serve."""
    service = Service(clock)
    async with open_endpoint(service, clock) as (fleet, endpoint):
        clock.advance(1)
        await ask(endpoint)
        service.gate = asyncio.Event()
        clock.advance(HOUR - MARGIN - 11)
        await until(lambda: service.running)
        before = asyncio.get_running_loop().time()
        answered = await ask(endpoint)

        assert asyncio.get_running_loop().time() - before < FETCH_SECONDS
        assert answered.status == 200
        assert left(clock, answered.document) == pytest.approx(MARGIN + 10, abs=1)
        service.gate.set()
        await settled(fleet)


@pytest.mark.parametrize(("passed", "status"), [(HOUR - 120, 200), (HOUR + 1, 503)])
async def test_a_slow_fetch_is_not_awaited_for_longer_than_sdks_wait(
    watched: None, clock: VirtualClock, passed: float, status: int
) -> None:
    """JavaScript and PHP wait 1 s. Until the fetch has ended, valid credentials are served, and no others."""
    service = Service(clock)
    async with open_endpoint(service, clock) as (fleet, endpoint):
        service.gate = asyncio.Event()
        clock.advance(passed)
        before = asyncio.get_running_loop().time()
        answered = await ask(endpoint)

        assert asyncio.get_running_loop().time() - before < 1.0
        assert answered.status == status
        if status == 503:
            assert answered.document["Code"] == "CredentialsUnavailable"
        service.gate.set()
        await settled(fleet)
        assert left(clock, (await ask(endpoint)).document) > HOUR - 10


@pytest.mark.parametrize(
    ("code", "status", "shown"),
    [("Throttling", 429, "ThrottlingException"), ("AccessDenied", 503, "CredentialsUnavailable")],
)
async def test_a_failed_fetch_is_a_refusal_with_its_code(
    watched: None, clock: VirtualClock, code: str, status: int, shown: str
) -> None:
    """The text of the error has the ARN of the caller, so only its code is shown."""
    service, bad = Service(clock), Source(clock)
    async with open_endpoint(service, clock, {"demo": role(), "bad": bad}) as (_, endpoint):
        text = "User: arn:aws:sts::123456789012:assumed-role/x is not authorized"
        bad.outcome = (ThrottlingError if status == 429 else ServiceError)(text, code=code, status=403)
        clock.advance(2 * HOUR)
        token = endpoint.token_file("bad").read_text()
        answered = await ask(endpoint, path="/role/bad", token=token)

        assert answered.status == status
        assert answered.document["Code"] == shown
        assert code in answered.document["Message"]
        assert b"arn:" not in answered.body


async def test_credentials_that_have_expired_are_not_served(watched: None, clock: VirtualClock) -> None:
    """While STS fails, the fleet serves expired credentials; every SDK would refuse them."""
    source = Source(clock)
    async with open_endpoint(Service(clock), clock, {"demo": source}) as (fleet, endpoint):
        error = CredentialsError("no service")
        error.recoverable = True
        source.outcome = error
        await ask(endpoint)
        await pass_time(fleet, clock, HOUR + 60)

        assert (await ask(endpoint)).status == 503
        source.outcome = None
        await pass_time(fleet, clock, HOUR)
        assert (await ask(endpoint)).status == 200


@pytest.mark.parametrize(
    "credentials",
    [
        Credentials(access_key_id="AKIA", secret_access_key="x"),
        Credentials(access_key_id="ASIA", secret_access_key="x", session_token="x"),
        Credentials(access_key_id="AKIA", secret_access_key="x", expiration=datetime(2030, 1, 1, tzinfo=UTC)),
    ],
    ids=["keys of a user", "no expiration", "no session token"],
)
async def test_only_temporary_credentials_are_served(
    watched: None, clock: VirtualClock, credentials: Credentials
) -> None:
    """SDKs refuse an answer without a token or an end, and keys of a user must not leave the process."""
    async with open_fleet(Service(clock), clock) as fleet:
        with pytest.raises(ConfigurationError, match="demo: only temporary credentials are served"):
            async with serve(fleet, {"demo": StaticProvider(credentials)}):
                raise AssertionError


async def test_one_identity_that_fails_does_not_stop_the_others(watched: None, clock: VirtualClock) -> None:
    """A file of a hundred roles always has one that is wrong."""
    service = Service(clock)
    service.refusals[role(1).role_arn] = "AccessDenied"
    async with open_endpoint(service, clock, {"demo": role(), "wrong": role(1)}) as (_, endpoint):
        token = endpoint.token_file("wrong").read_text()

        assert (await ask(endpoint)).status == 200
        assert (await ask(endpoint, path="/role/wrong", token=token)).status == 503


async def test_if_all_identities_fail_the_start_fails(watched: None, clock: VirtualClock) -> None:
    """With the error of the first, because this is the cause that a user must know."""
    service = Service(clock)
    service.refusals[role().role_arn] = "AccessDenied"
    async with open_fleet(service, clock) as fleet:
        with pytest.raises(ServiceError):
            async with serve(fleet, {"demo": role()}):
                raise AssertionError


async def test_chains_providers_and_providers_of_the_fleet_are_served(server: LocalSTS, clock: VirtualClock) -> None:
    """Whatever is an identity of a fleet."""
    async with open_fleet(server, clock) as fleet:
        identities: dict[str, Any] = {
            "demo": ChainedRequest(role(1), source=role(2)),
            "source": Source(clock),
            "provider": fleet.provider(role(3)),
        }
        async with serve(fleet, identities) as endpoint:
            for name in identities:
                token = endpoint.token_file(name).read_text()
                answered = await ask(endpoint, path=f"/role/{name}", token=token)

                assert answered.status == 200
                assert ("RoleArn" in answered.document) == (name != "source")


async def test_a_closed_fleet_is_a_refusal(watched: None, clock: VirtualClock) -> None:
    """The program may end in any order."""
    async with open_endpoint(Service(clock), clock) as (fleet, endpoint):
        await fleet.aclose()
        answered = await ask(endpoint)

    assert answered.status == 503
    assert answered.document["Message"] == "the endpoint is closed"


async def test_short_credentials_are_served_until_the_end(watched: None, clock: VirtualClock) -> None:
    """Credentials of 15 minutes are never refused: they are refreshed in time."""
    service, short = Service(clock), role(duration_seconds=900)
    async with open_endpoint(service, clock, {"demo": short}) as (fleet, endpoint):
        for _ in range(60):
            answered = await ask(endpoint)
            assert answered.status == 200
            assert left(clock, answered.document) > 60
            await pass_time(fleet, clock, 60.0)

    assert service.sent.total() <= 6 + 1


def test_the_keys_of_the_tests_are_not_temporary() -> None:
    """Otherwise the tests above would prove nothing."""
    assert KEYS.expiration is None
