"""Retries, time and refreshed credentials: the fourth group of lines."""

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import attrs
import botocore.endpoint
import pytest
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import ClientError, HTTPClientError
from differences.conftest import Boto
from differences.lines import line
from patience import other_than
from support import ROLE

from sts_async import AssumeRoleProvider, Config, Credentials, NoRetries, STSClient
from sts_async.errors import ConnectionLost, DeadlineExceeded, InvalidIdentityTokenException, ServiceError
from sts_async.testing import LocalSTS, Refuse, Reset, Skew, Unavailable, VirtualClock


@pytest.fixture
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the pauses between botocore's attempts away; our client has a virtual clock."""
    monkeypatch.setattr(botocore.endpoint, "time", SimpleNamespace(sleep=lambda _: None))


# -- Retries and time -----------------------------------------------------------------------------------------------


@line("the retry mode, when none is chosen")
async def test_the_mode_of_retries_is_adaptive(boto: Boto) -> None:
    client = await boto.run(boto.client, region_name="eu-west-1")

    assert client.meta.config.retries["mode"] == "standard"
    assert (await Config().resolve()).retry_mode == "adaptive"


@line("`AWS_RETRY_MODE` and other words in another case")
async def test_words_count_in_any_case(boto: Boto, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_RETRY_MODE", "Standard")

    error = await boto.run(boto.client, region_name="eu-west-1")
    assert type(error).__name__ == "InvalidRetryModeError"
    assert (await Config().resolve()).retry_mode == "standard"


@line("`max_attempts` in code")
@pytest.mark.usefixtures("_no_pauses")
async def test_max_attempts_are_attempts_in_code_too(boto: Boto, server: LocalSTS) -> None:
    server.faults.add(Unavailable(times=None))
    client = boto.client(server, config={"retries": {"max_attempts": 1, "mode": "standard"}})
    await boto.run(client.get_caller_identity)
    assert len(server.requests) == 2

    async with server.client(config=Config(max_attempts=1), clock=VirtualClock()) as sts:
        with pytest.raises(ServiceError):
            await sts.get_caller_identity()
    assert len(server.requests) == 3


@line("the retry mode `legacy`")
@pytest.mark.usefixtures("_no_pauses")
async def test_the_legacy_mode_has_a_quota(boto: Boto, server: LocalSTS) -> None:
    server.faults.add(Unavailable(times=None))
    client = boto.client(server, config={"retries": {"mode": "legacy"}})
    for _ in range(12):
        await boto.run(client.get_caller_identity)
    assert len(server.requests) == 12 * 5
    server.requests.clear()

    async with server.client(config=Config(retry_mode="legacy"), clock=VirtualClock()) as sts:
        for _ in range(12):
            with pytest.raises(ServiceError):
                await sts.get_caller_identity()
    assert len(server.requests) == 12 + 500 // 14


@line("time-outs")
async def test_timeouts_are_short_and_of_whole_attempts(boto: Boto) -> None:
    theirs = (await boto.run(boto.client, region_name="eu-west-1")).meta.config
    ours = await Config().resolve()

    assert (theirs.connect_timeout, theirs.read_timeout) == (60, 60)
    assert (ours.connect_timeout, ours.attempt_timeout) == (3.1, 10)


@line("the time of a whole call")
async def test_a_call_has_a_deadline(boto: Boto, server: LocalSTS) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'deadline'"):
        await asyncio.to_thread(boto.client, server, config={"deadline": 30})
    assert Config().deadline == 30

    async def never() -> Credentials:
        await asyncio.Event().wait()
        raise AssertionError

    async with server.client(credentials=never, config=Config(deadline=0.01)) as sts:
        with pytest.raises(DeadlineExceeded):
            await sts.get_caller_identity()


@line("a wrong clock of this host")
async def test_a_wrong_clock_is_corrected(boto: Boto, server: LocalSTS) -> None:
    server.faults.add(Skew(3600, times=None))

    error = await boto.run(boto.client(server).get_caller_identity)
    assert error.response["Error"]["Code"] == "SignatureDoesNotMatch"
    async with server.client() as sts:
        assert (await sts.get_caller_identity()).metadata.attempts == 2


@line("a request with an MFA code whose answer is lost")
@pytest.mark.usefixtures("_no_pauses")
async def test_an_mfa_code_is_not_sent_twice(boto: Boto, server: LocalSTS) -> None:
    server.faults.add(Reset(times=None))
    serial = server.user.mfa_serial
    client = boto.client(server)
    await boto.run(client.get_session_token, SerialNumber=serial, TokenCode="123456")
    assert len(server.requests) == 3

    async with server.client(clock=VirtualClock()) as sts:
        with pytest.raises(ConnectionLost):
            await sts.get_session_token(serial_number=serial, token_code="123456")
    assert len(server.requests) == 3 + 1


@line("STS could not fetch the key that verifies a web identity token")
@pytest.mark.usefixtures("_no_pauses")
async def test_a_key_that_could_not_be_fetched_is_a_passing_failure(boto: Boto, server: LocalSTS) -> None:
    text = "Couldn't retrieve verification key from your identity provider, please reference AssumeRoleWithWebIdentity"
    server.faults.add(Refuse("InvalidIdentityToken", message=text, times=None))
    client = boto.client(server)
    await boto.run(
        client.assume_role_with_web_identity, RoleArn=ROLE, RoleSessionName="me", WebIdentityToken="SENTINEL"
    )
    assert len(server.requests) == 1

    async with server.client(clock=VirtualClock()) as sts:
        with pytest.raises(InvalidIdentityTokenException):
            await sts.assume_role_with_web_identity(
                role_arn=ROLE, role_session_name="me", web_identity_token="SENTINEL"
            )
    assert len(server.requests) == 1 + 3


@line("STS refuses keys that a source has provided")
async def test_refused_keys_are_replaced_once(boto: Boto, server: LocalSTS) -> None:
    ended, good = server.issue(ROLE, seconds=-1), server.issue(ROLE)
    theirs, ours = [ended, good], [ended, good]
    in_an_hour = datetime.now(UTC) + timedelta(hours=1)

    def refresh() -> dict[str, Any]:
        return _metadata(theirs.pop(0), in_an_hour)

    client = boto.client(server)
    client._request_signer._credentials = RefreshableCredentials.create_from_metadata(refresh(), refresh, "test")
    assert isinstance(await boto.run(client.get_caller_identity), ClientError)

    async def source() -> Credentials:
        return attrs.evolve(ours.pop(0), expiration=in_an_hour)

    async with server.client(credentials=source) as sts:
        assert (await sts.get_caller_identity()).metadata.attempts == 2


def _metadata(credentials: Credentials, ends: datetime) -> dict[str, Any]:
    return {
        "access_key": credentials.access_key_id,
        "secret_key": credentials.secret_access_key,
        "token": credentials.session_token,
        "expiry_time": ends.isoformat(),
    }


# -- Refreshed credentials ------------------------------------------------------------------------------------------


@attrs.define
class Role:
    """
    A role whose sessions both libraries keep fresh, on one clock.

    Botocore's class for this has a function that fetches; ours asks a server.
    """

    server: LocalSTS
    clock: VirtualClock
    lifetime: int
    sts: STSClient
    fails: bool = False
    fetches: int = 0
    theirs: Any = None

    def __attrs_post_init__(self) -> None:
        self.theirs = RefreshableCredentials(
            **{name: value for name, value in self._fetched().items() if name != "expiry_time"},
            expiry_time=self._ends(),
            refresh_using=self._fetched,
            method="test",
            time_fetcher=lambda: datetime.fromtimestamp(self.clock.time(), UTC),
        )

    def _ends(self) -> datetime:
        return datetime.fromtimestamp(self.clock.time() + self.lifetime, UTC)

    def _fetched(self) -> dict[str, Any]:
        self.fetches += 1
        if self.fails:
            raise HTTPClientError(error="no answer")
        keys = {"access_key": str(self.fetches), "secret_key": "x", "token": "x"}
        return {**keys, "expiry_time": self._ends().isoformat()}

    def of_botocore(self) -> str:
        """Return the key id that a caller gets."""
        return str(self.theirs.get_frozen_credentials().access_key)

    async def of_ours(self) -> str:
        """Return the key id that a caller gets."""
        return (await self.sts.get_credentials()).access_key_id

    @property
    def our_fetches(self) -> int:
        return len([served for served in self.server.requests if served.operation == "AssumeRole"])

    def break_down(self, code: str | None = None) -> None:
        self.fails = True
        fault = Unavailable(operation="AssumeRole", times=None)
        self.server.faults.add(fault if code is None else Refuse(code, operation="AssumeRole", times=None))


@pytest.fixture
async def role(request: pytest.FixtureRequest) -> Any:
    lifetime = getattr(request, "param", 3600)
    clock = VirtualClock()
    async with LocalSTS(clock=clock) as server:
        provider = AssumeRoleProvider(role_arn=ROLE, source=server.credentials, duration_seconds=lifetime)
        async with server.client(credentials=provider, clock=clock, retries=NoRetries()) as sts:
            yield Role(server, clock, lifetime, sts)


@line("when the keys of a session of an hour are refreshed")
async def test_keys_are_refreshed_in_the_background(role: Role) -> None:
    first = await role.of_ours()
    role.clock.advance(3600 - 14 * 60)
    assert role.of_botocore() == "2"  # by the caller, who waits

    role.clock.advance(9 * 60 + 1)  # 5 min are left
    assert await role.of_ours() == first
    await other_than(first, role.of_ours)
    assert role.our_fetches == 2


@line("when the keys of a session of 15 minutes are refreshed")
@pytest.mark.parametrize("role", [900], indirect=True)
async def test_short_sessions_are_not_fetched_at_each_call(role: Role) -> None:
    await role.of_ours()
    for _ in range(3):
        role.clock.advance(1)
        role.of_botocore()
        await role.of_ours()

    assert role.fetches == 1 + 3
    assert role.our_fetches == 1


@line("a refresh fails, and the keys are valid for another five minutes")
async def test_valid_keys_stay_in_use(role: Role) -> None:
    first = await role.of_ours()
    role.break_down()
    role.clock.advance(3600 - 5 * 60)

    with pytest.raises(HTTPClientError):
        role.of_botocore()
    assert await role.of_ours() == first


@line("a refresh fails for a reason that may pass, and the keys have ended")
async def test_ended_keys_stay_in_use_during_an_outage(role: Role) -> None:
    first = await role.of_ours()
    role.break_down()
    role.clock.advance(3 * 3600)

    with pytest.raises(HTTPClientError):
        role.of_botocore()
    assert await role.of_ours() == first


@line("attempts while refreshes fail")
async def test_a_failed_refresh_is_followed_by_a_pause(role: Role) -> None:
    await role.of_ours()
    role.break_down()
    role.clock.advance(3600)
    for _ in range(10):
        with pytest.raises(HTTPClientError):
            role.of_botocore()
        await role.of_ours()
        role.clock.advance(10)

    assert role.fetches == 1 + 10
    assert role.our_fetches == 1 + 1


@line("attempts after AccessDenied, without valid keys")
async def test_a_final_error_is_remembered(role: Role) -> None:
    role.break_down("AccessDenied")
    role.clock.advance(3600)  # for botocore, which has keys
    for _ in range(10):
        with pytest.raises(HTTPClientError):
            role.of_botocore()
        with pytest.raises(ServiceError, match="AccessDenied"):
            await role.of_ours()

    assert role.fetches == 1 + 10
    assert role.our_fetches == 1


@line("keys of a `credential_process` or of a function of the program")
async def test_own_sources_are_asked_just_before_the_end(role: Role) -> None:
    asked = 0

    async def source() -> Credentials:
        nonlocal asked
        asked += 1
        ends = datetime.fromtimestamp(role.clock.time() + 3600, UTC)
        return Credentials(access_key_id="AKIAA", secret_access_key="x", session_token="x", expiration=ends)

    async with role.server.client(credentials=source, clock=role.clock) as sts:
        await sts.get_credentials()
        role.clock.advance(3600 - 11)
        role.of_botocore()
        await sts.get_credentials()
        assert (role.fetches, asked) == (2, 1)
        role.clock.advance(1)
        await sts.get_credentials()
        assert asked == 2
