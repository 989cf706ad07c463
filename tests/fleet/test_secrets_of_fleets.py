"""T14 to T20: nothing that a fleet shows has a secret: reprs, events, reports, logs, errors, tracebacks."""

import asyncio
import gc
import logging
import weakref
from typing import Any

import pytest
from fleet.fleets import HOUR, Source, entry_of, open_fleet, pass_time, role, settled
from patience import soon
from reporters import REPORTERS

from sts_async import AssumeRoleWithSAMLRequest, AssumeRoleWithWebIdentityRequest, Credentials
from sts_async.fleet import ChainedRequest
from sts_async.testing import LocalSTS, Refuse, Throttle, VirtualClock

SECRET = "SENTINEL-" + "0123456789abcdef" * 4
ARN = role().role_arn


class Holder(Source):
    """A provider whose credentials have long secrets."""

    async def fetch(self, context: Any) -> Credentials:
        found = await super().fetch(context)
        return Credentials(
            access_key_id=found.access_key_id,
            secret_access_key=SECRET,
            session_token=SECRET,
            expiration=found.expiration,
        )


def identities(clock: VirtualClock) -> list[Any]:
    web_identity = AssumeRoleWithWebIdentityRequest(
        role_arn=ARN, role_session_name="me", web_identity_token=f"{SECRET}.{SECRET}.{SECRET}"
    )
    saml = AssumeRoleWithSAMLRequest(
        role_arn=ARN, principal_arn="arn:aws:iam::123456789012:saml-provider/x", saml_assertion=SECRET
    )
    return [web_identity, saml, Holder(clock), ChainedRequest(role(1), source=Holder(clock, 1)), role(2)]


@pytest.fixture
def _whole_tracebacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave tracebacks as they are, because crash reporters show them here."""
    monkeypatch.delattr("sys.tracebacklimit", raising=False)


def assert_hidden(*things: Any) -> None:
    for thing in things:
        for text in (repr(thing), str(thing), f"{[thing]}"):
            assert "SENTINEL" not in text
            assert SECRET[9:25] not in text


async def test_what_a_fleet_shows_has_no_secret(
    server: LocalSTS, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """T14, T17: through success, refusals, throttling, a pause and the end."""
    events: list[Any] = []
    caplog.set_level(logging.DEBUG)
    async with open_fleet(server, clock, client={"observers": [events.append]}) as fleet:
        fleet.add(*identities(clock))
        server.faults.add(Refuse("AccessDenied", message=SECRET), Throttle(times=2))
        await soon(fleet.warm_up())
        await pass_time(fleet, clock, HOUR)
        fleet.pause()
        fleet.resume()
        await settled(fleet)
        assert_hidden(fleet, fleet.snapshot(), fleet.failing(), *fleet.failing(), fleet._refresher)
        for identity, entry in fleet._entries.by_identity.items():
            assert_hidden(identity, entry, entry.state, entry.state.credentials, fleet.provider(identity))
            assert_hidden(*(failing.error.__cause__ for failing in fleet.failing()))

    assert len(events) > 20
    assert_hidden(*events)
    assert "SENTINEL" not in caplog.text


@pytest.mark.usefixtures("_whole_tracebacks")
@pytest.mark.parametrize("reporter", REPORTERS.values(), ids=REPORTERS)
@pytest.mark.parametrize("kind", range(5))
async def test_no_crash_reporter_shows_a_secret_of_a_fetch_that_fails(
    clock: VirtualClock, reporter: Any, kind: int
) -> None:
    """T15, T16: in the frames of the fleet, its identities, its credentials and the requests are hidden."""
    if not reporter.installed:
        pytest.skip(f"{reporter.package} is not installed: it is in the extra `test`")
    identity = identities(clock)[kind]
    if isinstance(identity, Source):
        identity.outcome = ValueError("no text of this provider is shown, but its type")
    async with LocalSTS(clock=clock) as server:
        server.faults.add(Refuse("AccessDenied", times=None))
        async with open_fleet(server, clock) as fleet:
            errors = []
            for _ in range(2):  # the second error is one that the fleet has kept
                try:
                    await soon(fleet.get(identity))
                except Exception as error:  # noqa: BLE001 - also that of the provider
                    errors.append(error)

    assert len(errors) == 2
    for error in errors:
        shown = reporter.show(error)
        assert "sts_async" in shown
        assert SECRET[:8] not in shown
        assert SECRET[9:17] not in shown
        assert SECRET[:8] not in str(error)


async def test_replaced_credentials_leave_no_reference(watched: None, server: LocalSTS, clock: VirtualClock) -> None:
    """T20."""
    source = Holder(clock)
    async with open_fleet(server, clock) as fleet:
        fleet.add(source)
        await fleet.warm_up()
        held: Any = fleet.peek(source)
        left = weakref.ref(held)
        del held
        clock.advance(HOUR - 30)
        await fleet.get(source)
        await asyncio.sleep(0)
        gc.collect()

        assert left() is None
        assert entry_of(fleet, source).state.credentials is not None


async def test_an_entry_and_a_refresher_have_no_attribute_in_their_repr(server: LocalSTS, clock: VirtualClock) -> None:
    """T14: crash reporters call `repr` for the variables of each frame."""
    async with open_fleet(server, clock) as fleet:
        await fleet.get(role())
        entry = entry_of(fleet, role())
        for thing in (entry, fleet._refresher, fleet._entries, fleet._fetcher, fleet._members):
            assert "credentials=" not in repr(thing).lower()
            assert len(repr(thing)) < 200
