"""What a call does when time, clocks, keys or limits are against it; on a clock that sleeping moves."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any

import attrs
import pytest
from patience import soon, turns
from support import ANSWER, ROLE, RawServer

from sts_async import Config, STSClient, errors
from sts_async._engine.loop import METADATA_KEPT, Engine, new_engine
from sts_async._engine.signing import EndpointSigner
from sts_async._protocol.clock_skew import ServiceClock
from sts_async._protocol.endpoints import Endpoint
from sts_async._protocol.http_messages import HttpRequest, HttpResponse
from sts_async._runtime import timeouts
from sts_async._shape.secret import SecretBytes
from sts_async.credentials import EnvironmentProvider, StaticProvider
from sts_async.operations import ASSUME_ROLE, GET_CALLER_IDENTITY, GET_SESSION_TOKEN
from sts_async.protocols import ProviderContext
from sts_async.retries import AdaptiveRetries, NoRetries, StandardRetries
from sts_async.retries._policies import QUOTA, RETRY_COST
from sts_async.shapes import AssumeRoleRequest, Credentials, GetCallerIdentityRequest, GetSessionTokenRequest

START = 1_767_225_600.0  # 2026-01-01T00:00:00Z
ENDPOINT = Endpoint("https://sts.eu-west-1.amazonaws.com/", "sts.eu-west-1.amazonaws.com", "eu-west-1")
REQUEST = AssumeRoleRequest(role_arn=ROLE, role_session_name="me")
Start = Callable[..., Awaitable[RawServer]]
KEYS = Credentials(access_key_id="AKIAIOSFODNN7EXAMPLE", secret_access_key="SENTINEL-secret")


def answer(**headers: str) -> HttpResponse:
    return HttpResponse(200, {"content-type": "text/xml", **headers}, SecretBytes(ANSWER.encode()))


def refusal(code: str, status: int = 400, **headers: str) -> HttpResponse:
    text = f"<ErrorResponse><Error><Code>{code}</Code></Error><RequestId>r-1</RequestId></ErrorResponse>"
    return HttpResponse(status, headers, SecretBytes(text.encode()))


@attrs.define
class World:
    """A transport that gives its outcomes in turn, the last for ever, and the clocks; a request takes no time."""

    outcomes: list[Any]
    now: float = START
    sent: list[HttpRequest] = attrs.field(factory=list)
    slept: list[float] = attrs.field(factory=list)

    async def send(self, request: HttpRequest) -> HttpResponse:
        _ = request.headers  # signed now
        self.sent.append(request)
        outcome = self.outcomes[min(len(self.sent), len(self.outcomes)) - 1]
        if callable(outcome):
            outcome = outcome()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome  # type: ignore[no-any-return]

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)

    def engine(self, **options: Any) -> Engine:
        defaults: dict[str, Any] = {
            "endpoint": ENDPOINT,
            "transport": self,
            "credentials": StaticProvider(KEYS),
            "retries": StandardRetries(),
            "wall_clock": lambda: self.now,
            "monotonic": lambda: self.now - START,
            "sleep": self.sleep,
            "jitter": lambda: 0.5,
        }
        return new_engine(**{**defaults, **options})


LOST = errors.ConnectionLost("lost")


def lost() -> errors.ConnectionLost:
    return errors.ConnectionLost("lost")


# Deadlines


async def test_a_wait_that_does_not_fit_is_not_begun() -> None:
    """The last error is raised, with the number of attempts, and no time is spent on hoping."""
    world = World([refusal("Throttling")])

    with pytest.raises(errors.ThrottlingError) as caught:
        await world.engine(deadline=0.7).invoke(ASSUME_ROLE, REQUEST)
    assert caught.value.attempts == 1 + len(world.slept) == 2
    assert world.slept == [0.5]


async def test_a_wait_that_fits_is() -> None:
    world = World([refusal("Throttling"), answer()])

    await world.engine(deadline=0.6).invoke(ASSUME_ROLE, REQUEST)
    assert world.slept == [0.5]


class Hanging:
    """A transport, and a source of credentials, that never answer."""

    async def send(self, request: HttpRequest) -> HttpResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async def provide_credentials(self, context: ProviderContext) -> Credentials:
        await asyncio.Event().wait()
        raise AssertionError


@pytest.mark.parametrize("part", ["transport", "credentials"])
async def test_what_hangs_ends_with_the_deadline(part: str) -> None:
    """F21, F30: whatever it is that hangs."""
    engine = World([answer()]).engine(deadline=0.02, **{part: Hanging()})

    with pytest.raises(errors.DeadlineExceeded, match=r"exceeded its deadline of 0\.02 s"):
        await soon(engine.invoke(ASSUME_ROLE, REQUEST))


async def test_the_error_of_an_earlier_attempt_says_more_than_a_deadline() -> None:
    async def hang(request: HttpRequest) -> HttpResponse:
        if len(world.sent) == 1:
            _ = request.headers
            await asyncio.Event().wait()
        return await World.send(world, request)

    world = World([lost])
    transport = type("Transport", (), {"send": staticmethod(hang)})

    with pytest.raises(errors.ConnectionLost) as caught:
        await world.engine(deadline=0.05, transport=transport).invoke(ASSUME_ROLE, REQUEST)
    assert caught.value.attempts == 2


async def test_the_time_out_of_an_attempt_is_not_that_of_the_call() -> None:
    """Both are a TimeoutError."""
    world = World([errors.AttemptTimeout("slow")])

    with pytest.raises(errors.AttemptTimeout):
        await world.engine(deadline=30.0, retries=NoRetries()).invoke(ASSUME_ROLE, REQUEST)


async def test_a_cancelled_call_is_cancelled() -> None:
    """F58: and not late."""
    task = asyncio.create_task(World([]).engine(deadline=30.0, transport=Hanging()).invoke(ASSUME_ROLE, REQUEST))
    await turns()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_deadlines_of_many_lengths_are_not_kept() -> None:
    limits = timeouts.TimeLimits()
    for number in range(1, 1000):
        with limits.start(float(number)):
            pass

    (lengths,) = limits._known.values()
    assert len(lengths) <= timeouts.MAX_IDLE_LENGTHS + 1


# The service's clock


def at(world: World, ahead: float) -> dict[str, str]:
    return {"date": formatdate(world.now + ahead, usegmt=True)}


async def test_a_request_that_was_refused_for_its_time_is_signed_again_for_the_service_s() -> None:
    """F20: 20 minutes, either way; the answer to the first says by how much."""
    for ahead in (1200.0, -1200.0):
        world = World([])
        world.outcomes = [
            refusal("RequestTimeTooSkewed", 403, **at(world, ahead)),
            answer(**at(world, ahead)),
        ]
        engine = world.engine()
        await engine.invoke(ASSUME_ROLE, REQUEST)

        dates = [request.headers["x-amz-date"] for request in world.sent]
        assert dates == ["20260101T000000Z", {1200.0: "20260101T002000Z", -1200.0: "20251231T234000Z"}[ahead]]
        assert engine.context.shared.clock.offset == pytest.approx(ahead, abs=1)


async def test_a_skew_is_learnt_from_success_and_heals() -> None:
    world = World([])
    world.outcomes = [answer(**at(world, 120)), answer(**at(world, 0)), answer()]
    engine = world.engine()
    for _ in range(3):
        await engine.invoke(ASSUME_ROLE, REQUEST)

    assert [request.headers["x-amz-date"][9:] for request in world.sent] == ["000000Z", "000200Z", "000000Z"]


TEMPORARY = attrs.evolve(KEYS, session_token="SENTINEL-token", expiration=datetime.fromtimestamp(START + 3600, UTC))


@pytest.mark.parametrize("ahead", [7200.0, -7200.0])
@pytest.mark.parametrize("environment", [False, True])
async def test_one_answer_with_a_wrong_date_ends_no_keys(ahead: float, environment: bool) -> None:
    """G3: keys for an hour, and an answer that says that it is two hours later, or earlier."""
    world = World([])
    world.outcomes = [answer(**at(world, 0)), answer(**at(world, ahead)), answer(**at(world, 0))]
    engine = world.engine(credentials=in_environment(TEMPORARY) if environment else StaticProvider(TEMPORARY))
    for _ in range(4):
        await engine.invoke(ASSUME_ROLE, REQUEST)
        assert engine.context.now().timestamp() == world.now

    signed = [request.headers["x-amz-date"][9:] for request in world.sent]
    assert [signed[0], signed[1], signed[3]] == ["000000Z"] * 3, "the next answer has mended it"


@pytest.mark.parametrize("environment", [False, True])
async def test_keys_are_sent_while_every_date_is_wrong_and_it_heals_when_dates_are_right(environment: bool) -> None:
    """G3: whether keys have ended is for the service to say; a client that sent nothing could never heal."""
    world = World([])
    world.outcomes = [lambda: answer(**at(world, 7200))]
    engine = world.engine(credentials=in_environment(TEMPORARY) if environment else StaticProvider(TEMPORARY))
    for _ in range(5):
        await engine.invoke(ASSUME_ROLE, REQUEST)
    assert engine.context.now().timestamp() == world.now + 7200
    world.outcomes = [lambda: answer(**at(world, 0))]
    for _ in range(2):
        await engine.invoke(ASSUME_ROLE, REQUEST)

    assert len(world.sent) == 7
    assert engine.context.now().timestamp() == world.now
    world.now += 3601
    with pytest.raises(errors.CredentialsExpired, match=r"credentials.* expired 1 s ago \(host clock: 2026-"):
        await engine.invoke(ASSUME_ROLE, REQUEST)


async def test_a_host_whose_clock_is_ahead_uses_keys_that_the_service_calls_good() -> None:
    """G3: the other clock may be the wrong one. An answer to an earlier call has told."""
    world = World([])
    world.outcomes = [answer(**at(world, -7200))]
    engine = world.engine()
    await engine.invoke(ASSUME_ROLE, REQUEST)
    ended_here = attrs.evolve(TEMPORARY, expiration=datetime.fromtimestamp(START - 3600, UTC))

    assert await StaticProvider(ended_here).provide_credentials(engine.context) is ended_here


def in_environment(credentials: Credentials) -> EnvironmentProvider:
    assert credentials.expiration is not None
    return EnvironmentProvider(
        {
            "AWS_ACCESS_KEY_ID": credentials.access_key_id,
            "AWS_SECRET_ACCESS_KEY": str.__str__(credentials.secret_access_key),
            "AWS_SESSION_TOKEN": str.__str__(credentials.session_token or ""),
            "AWS_CREDENTIAL_EXPIRATION": credentials.expiration.isoformat(),
        }
    )


async def test_a_clock_is_not_set_by_an_answer_that_anybody_in_between_could_have_written() -> None:
    """T23: an endpoint without TLS that is not on this host."""
    world = World([])
    world.outcomes = [refusal("SignatureDoesNotMatch", 403, **at(world, 1200)), answer()]
    engine = world.engine(endpoint=ENDPOINT._replace(secure=False))

    with pytest.raises(errors.ServiceError, match="SignatureDoesNotMatch"):
        await engine.invoke(ASSUME_ROLE, REQUEST)
    assert engine.context.shared.clock.offset == 0


async def test_a_date_a_year_ahead_is_not_believed() -> None:
    """T23: nothing is kept, and nothing signed for it."""
    world = World([])
    world.outcomes = [refusal("SignatureDoesNotMatch", 403, **at(world, 366 * 86_400))]

    with pytest.raises(errors.ServiceError, match="SignatureDoesNotMatch"):
        await world.engine().invoke(ASSUME_ROLE, REQUEST)
    assert len(world.sent) == 1


async def test_a_signature_that_is_wrong_for_another_reason_is_not_sent_again() -> None:
    """F19."""
    world = World([])
    world.outcomes = [refusal("SignatureDoesNotMatch", 403, **at(world, 10))]

    with pytest.raises(errors.ServiceError, match="SignatureDoesNotMatch"):
        await world.engine().invoke(ASSUME_ROLE, REQUEST)
    assert len(world.sent) == 1


async def test_a_time_offset_that_was_set_is_signed_with_and_stays() -> None:
    world = World([])
    world.outcomes = [answer(**at(world, 0))]
    engine = world.engine(clock=ServiceClock(offset=-60.0))
    await engine.invoke(ASSUME_ROLE, REQUEST)
    await engine.invoke(ASSUME_ROLE, REQUEST)

    assert [request.headers["x-amz-date"] for request in world.sent] == ["20251231T235900Z"] * 2


# Keys that the service refuses


class Renewable:
    """A source whose keys can be refused; it has as many as it is given."""

    def __init__(self, *key_ids: str) -> None:
        self.key_ids = list(key_ids)
        self.refused: list[str] = []

    async def provide_credentials(self, context: ProviderContext) -> Credentials:
        return Credentials(access_key_id=self.key_ids[0], secret_access_key="SENTINEL-secret")

    def invalidate(self, access_key_id: str) -> None:
        self.refused.append(access_key_id)
        if len(self.key_ids) > 1:
            self.key_ids.pop(0)


def signers(world: World) -> list[str]:
    return [request.headers["authorization"].partition("Credential=")[2].partition("/")[0] for request in world.sent]


@pytest.mark.parametrize("code", ["ExpiredToken", "ExpiredTokenException", "InvalidToken", "InvalidClientTokenId"])
async def test_keys_that_the_service_refuses_are_replaced_once(code: str) -> None:
    """F16: also by a policy that retries nothing."""
    world = World([refusal(code, 403), answer()])
    source = Renewable("AKIAOLD", "AKIANEW")
    await world.engine(credentials=source, retries=NoRetries()).invoke(ASSUME_ROLE, REQUEST)

    assert signers(world) == ["AKIAOLD", "AKIANEW"]
    assert source.refused == ["AKIAOLD"]


@pytest.mark.parametrize("key_ids", [["AKIAOLD"], ["AKIAOLD", "AKIAOLD"]])
async def test_without_others_the_refusal_is_raised(key_ids: list[str]) -> None:
    world = World([refusal("ExpiredToken", 403)])

    with pytest.raises(errors.ServiceError, match="ExpiredToken"):
        await world.engine(credentials=Renewable(*key_ids)).invoke(ASSUME_ROLE, REQUEST)
    assert len(world.sent) == 1


async def test_keys_are_replaced_once_in_a_call() -> None:
    world = World([refusal("ExpiredToken", 403)])

    with pytest.raises(errors.ServiceError, match="ExpiredToken"):
        await world.engine(credentials=Renewable("AKIAONE", "AKIATWO", "AKIATHREE")).invoke(ASSUME_ROLE, REQUEST)
    assert signers(world) == ["AKIAONE", "AKIATWO"]


@pytest.mark.parametrize("code", ["AccessDenied", "AuthFailure"])
async def test_other_refusals_do_not_replace_keys(code: str) -> None:
    """F18."""
    world = World([refusal(code, 403)])
    source = Renewable("AKIAOLD", "AKIANEW")

    with pytest.raises(errors.ServiceError, match=code):
        await world.engine(credentials=source).invoke(ASSUME_ROLE, REQUEST)
    assert source.refused == []


# Codes that are good for once

WITH_CODE = GetSessionTokenRequest(serial_number="arn:aws:iam::123456789012:mfa/me", token_code="123456")


@pytest.mark.parametrize("outcome", [lost, lambda: refusal("Throttling"), lambda: refusal("InternalFailure", 500)])
async def test_an_mfa_code_is_not_sent_twice(outcome: Callable[[], Any]) -> None:
    """T46: whatever the service made of the first."""
    world = World([outcome])

    with pytest.raises(errors.STSError):
        await world.engine().invoke(GET_SESSION_TOKEN, WITH_CODE)
    assert len(world.sent) == 1


async def test_an_mfa_code_that_was_not_sent_is_still_good() -> None:
    world = World([errors.ConnectError("refused"), errors.ConnectError("refused"), lost])

    with pytest.raises(errors.ConnectionLost):
        await world.engine().invoke(GET_SESSION_TOKEN, WITH_CODE)
    assert len(world.sent) == 3


# Limits


async def test_after_throttling_an_adaptive_client_paces_itself_in_order() -> None:
    """F60: callers are served as they came."""
    world = World([refusal("Throttling"), answer()])
    engine = world.engine(retries=AdaptiveRetries(limiters={}))
    await engine.invoke(ASSUME_ROLE, REQUEST)
    done: list[int] = []

    async def call(number: int) -> None:
        await engine.invoke(ASSUME_ROLE, REQUEST)
        done.append(number)

    before = world.now
    await asyncio.gather(*(call(number) for number in range(20)))

    assert done == list(range(20))
    assert world.now - before > 1
    assert engine._shared.queues == {}


async def test_those_who_wait_for_their_turn_can_be_cancelled() -> None:
    """F60: and those behind them move up."""

    class Held(NoRetries):
        open = False

        def admit(self, *, scope: str, now: float) -> float:
            return 0.0 if self.open else 1.0

    world = World([answer()])
    policy = Held()
    engine = world.engine(retries=policy)
    callers = [asyncio.create_task(engine.invoke(ASSUME_ROLE, REQUEST)) for _ in range(5)]
    await asyncio.sleep(0)
    for number in (0, 2):
        callers[number].cancel()
    await asyncio.sleep(0)
    policy.open = True
    results = await asyncio.gather(*callers, return_exceptions=True)

    assert [isinstance(result, asyncio.CancelledError) for result in results] == [True, False, True, False, False]
    assert engine._shared.queues == {}


async def test_a_turn_that_does_not_fit_the_deadline_is_not_waited_for() -> None:
    class Closed(NoRetries):
        def admit(self, *, scope: str, now: float) -> float:
            return 1.0

    world = World([answer()])

    with pytest.raises(errors.DeadlineExceeded):
        await world.engine(retries=Closed(), deadline=3.5).invoke(ASSUME_ROLE, REQUEST)
    assert world.slept == [1.0, 1.0, 1.0]
    assert world.sent == []


async def test_the_limit_of_one_account_holds_nobody_else_back() -> None:
    class Tenant(NoRetries):
        def admit(self, *, scope: str, now: float) -> float:
            scopes.append(scope)
            return 0.0

    scopes: list[str] = []
    world = World([answer()])
    engine = world.engine(retries=Tenant())
    other = Credentials(access_key_id="ASIAQNZGKIQY56JQ7WML", secret_access_key="SENTINEL-secret")
    await engine.invoke(ASSUME_ROLE, REQUEST)
    await engine.context.signed_by(StaticProvider(other)).invoke(ASSUME_ROLE, REQUEST)

    assert scopes[1] == "029608264753/eu-west-1"
    assert scopes[0] != scopes[1]


# Views


async def test_a_view_has_its_own_options_and_shares_the_rest() -> None:
    world = World([answer()])
    engine = world.engine(deadline=30.0)
    other = Credentials(access_key_id="ASIAQNZGKIQY56JQ7WML", secret_access_key="SENTINEL-secret")
    view = engine.view(credentials=StaticProvider(other), headers={"x-amz-source-account": "123456789012"})
    await view.invoke(ASSUME_ROLE, REQUEST)
    await engine.invoke(ASSUME_ROLE, REQUEST)
    signed, plain = (request.headers for request in world.sent)

    assert signers(world) == ["ASIAQNZGKIQY56JQ7WML", "AKIAIOSFODNN7EXAMPLE"]
    assert signed["x-amz-source-account"] == "123456789012"
    assert "x-amz-source-account" in signed["authorization"]
    assert "x-amz-source-account" not in plain
    assert engine.metadata_of(ASSUME_ROLE, REQUEST) is view.metadata_of(ASSUME_ROLE, REQUEST)


# The quota, for retries that are not sent


async def test_a_retry_that_does_not_fit_the_deadline_costs_no_quota() -> None:
    """G7, F59: sixty impatient calls leave the next one its retries."""
    world, retries = World([refusal("ServiceUnavailable", 503)]), StandardRetries()
    engine = world.engine(retries=retries, deadline=0.02)
    for _ in range(60):
        with pytest.raises(errors.ServiceError):
            await engine.invoke(ASSUME_ROLE, REQUEST)

    assert retries.quota == QUOTA
    assert len(world.sent) == 60


@pytest.mark.parametrize("policy", [StandardRetries, lambda: AdaptiveRetries(limiters={})])
async def test_a_retry_that_is_cancelled_in_its_pause_costs_no_quota(policy: Any) -> None:
    """G7: nor one whose deadline ends it there."""
    pausing, retries = asyncio.Event(), policy()

    async def sleep(seconds: float) -> None:
        pausing.set()
        await asyncio.Event().wait()

    engine = World([refusal("ServiceUnavailable", 503)]).engine(retries=retries, sleep=sleep)
    call = asyncio.create_task(engine.invoke(ASSUME_ROLE, REQUEST))
    await pausing.wait()
    paid = retries.quota
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    with pytest.raises(errors.ServiceError):
        await engine.view(deadline=0.03).invoke(ASSUME_ROLE, REQUEST)

    assert (paid, retries.quota) == (QUOTA - RETRY_COST[False], QUOTA)


async def test_a_retry_whose_credentials_cannot_be_had_costs_no_quota() -> None:
    """G7: it was not sent."""

    class Failing:
        asked = 0

        async def provide_credentials(self, context: ProviderContext) -> Credentials:
            self.asked += 1
            if self.asked == 2:
                raise errors.CredentialsError("gone")
            return KEYS

    retries = StandardRetries()
    engine = World([refusal("ServiceUnavailable", 503)]).engine(retries=retries, credentials=Failing())
    with pytest.raises(errors.CredentialsError, match="gone"):
        await engine.invoke(ASSUME_ROLE, REQUEST)

    assert retries.quota == QUOTA


async def test_an_mfa_code_costs_no_quota_for_the_retry_that_it_forbids() -> None:
    """G7: the policy would retry, and the code must not be sent twice."""
    retries = StandardRetries()
    engine = World([refusal("ServiceUnavailable", 503)]).engine(retries=retries)
    request = attrs.evolve(REQUEST, serial_number="arn:aws:iam::123456789012:mfa/me", token_code="123456")
    with pytest.raises(errors.ServiceError):
        await engine.invoke(ASSUME_ROLE, request)

    assert retries.quota == QUOTA


async def test_a_retry_that_was_sent_is_paid_for() -> None:
    retries = StandardRetries(max_attempts=3)
    with pytest.raises(errors.ServiceError):
        await World([refusal("ServiceUnavailable", 503)]).engine(retries=retries).invoke(ASSUME_ROLE, REQUEST)

    assert retries.quota == QUOTA - 2 * RETRY_COST[False]


async def test_what_observers_are_told_of_the_quota_leaves_out_what_was_given_back() -> None:
    """G7: and of no retry that is not to come."""
    seen: list[Any] = []
    engine = World([refusal("ServiceUnavailable", 503)]).engine(deadline=0.02, observers=[seen.append])
    with pytest.raises(errors.ServiceError):
        await engine.invoke(ASSUME_ROLE, REQUEST)

    assert [type(event).__name__ for event in seen] == ["AttemptFinished", "CallFinished"]
    assert (seen[-1].quota_used, seen[-1].quota_left) == (0, QUOTA)


async def test_a_call_takes_back_only_what_its_own_retry_has_cost() -> None:
    """F59: an attempt that costs nothing, over a connection that had died, brings nothing back either."""
    stale = lost()
    stale.stale = True
    retries = StandardRetries(quota=QUOTA)
    retries._quota = 10
    for _ in range(3):
        await World([stale, answer()]).engine(retries=retries).invoke(ASSUME_ROLE, REQUEST)

    assert retries.quota == 13


@pytest.mark.parametrize("ahead", [-7200.0, 7200.0])
async def test_the_first_answer_cuts_no_lifetime_by_a_wrong_date(ahead: float) -> None:
    """G3: keys for an hour end in an hour, whatever a single date says; a process that calls once sees no other."""
    world = World([])
    world.outcomes = [answer(**at(world, ahead))]
    response = await world.engine().invoke(ASSUME_ROLE, attrs.evolve(REQUEST, duration_seconds=900))

    assert response.credentials.expiration.timestamp() == START + 3600


async def test_a_presigned_url_is_dated_by_what_two_answers_say() -> None:
    """G3: it outlives the next answer, which mends a signature."""
    world = World([])
    world.outcomes = [answer(**at(world, 0)), answer(**at(world, 0)), answer(**at(world, 82_800))]
    engine = world.engine()
    for _ in range(3):
        await engine.invoke(ASSUME_ROLE, REQUEST)
    url = await engine.presign(GET_CALLER_IDENTITY, GetCallerIdentityRequest(), expires=60)

    assert "X-Amz-Date=20260101T000000Z" in url.reveal()


@pytest.mark.parametrize(
    ("stage", "end"),
    [
        ("credentials", "waited for credentials"),
        ("turn", "waited for its turn to be sent"),
        ("answer", "waited for the response"),
    ],
)
async def test_an_exceeded_deadline_names_what_the_call_waited_for(raw_server: Start, stage: str, end: str) -> None:
    """Without it, a caller cannot tell a slow source of credentials from a slow service."""

    async def never() -> Credentials:
        await asyncio.Event().wait()
        raise AssertionError

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    class Pacing(NoRetries):
        def admit(self, *, scope: str, now: float) -> float:
            return 0.05

    server = await raw_server(handler=silent)
    options: dict[str, Any] = {"credentials": never} if stage == "credentials" else {"credentials": KEYS}
    if stage == "turn":
        options["retries"] = Pacing()
    async with STSClient(region="eu-west-1", endpoint_url=server.url, config=Config(deadline=0.12), **options) as sts:
        with pytest.raises(errors.DeadlineExceeded) as caught:
            await sts.get_caller_identity()

    assert str(caught.value) == f"the call exceeded its deadline of 0.12 s while it {end}"


def test_a_signer_and_its_headers_are_one_value() -> None:
    """Event loops in other threads use the same identity: a call must never take the signer of another's headers."""
    signer = EndpointSigner(
        Endpoint("https://sts.eu-west-1.amazonaws.com/", "sts.eu-west-1.amazonaws.com", "eu-west-1")
    )
    identity = signer.use(KEYS)
    first = {"content-type": "a"}
    second = {"content-type": "b"}
    signer.signer_for(identity, first)
    before = identity.signing
    signer.signer_for(identity, second)

    assert before is not None
    assert before[0] is first
    assert before[1].headers == first
    assert identity.signing is not None
    assert (identity.signing[0], identity.signing[1].headers) == (second, second)


async def test_metadata_that_another_thread_removes_costs_no_answer() -> None:
    """Event loops in other threads share the cache. A call that STS has answered must not fail because of it."""

    class Emptied(OrderedDict[str, Any]):
        def popitem(self, last: bool = True) -> tuple[str, Any]:
            raise KeyError("another thread was faster")

        def __len__(self) -> int:
            return METADATA_KEPT + 1

    engine = World([answer()]).engine()
    engine._shared.metadata = Emptied()

    assert (await engine.invoke(ASSUME_ROLE, AssumeRoleRequest(role_arn=ROLE, role_session_name="me"))).metadata
