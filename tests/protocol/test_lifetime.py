from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sts_async import shapes
from sts_async._protocol.lifetime import GRACE, MAX_LIFETIME, bounded

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def credentials(expiration: datetime) -> shapes.TemporaryCredentials:
    return shapes.TemporaryCredentials(
        access_key_id="AKIDEXAMPLE", secret_access_key="key", session_token="token", expiration=expiration
    )


def expiration_after(expiration: datetime, **options: Any) -> datetime:
    options = {"requested": None, "default": None, **options}
    response = bounded(
        shapes.GetSessionTokenResponse(credentials=credentials(expiration)), issued_at=NOW.timestamp(), **options
    )
    return response.credentials.expiration


@given(
    lifetime=st.timedeltas(min_value=timedelta(days=-999), max_value=timedelta(days=999)),
    requested=st.integers(0, 129_600) | st.none(),
    default=st.integers(0, 43_200) | st.none(),
)
def test_an_expiration_is_kept_or_brought_down_never_put_off(
    lifetime: timedelta, requested: int | None, default: int | None
) -> None:
    """F50: believing a longer life than was granted ends in calls with expired keys."""
    found = expiration_after(NOW + lifetime, requested=requested, default=default) - NOW
    longest = timedelta(seconds=MAX_LIFETIME if requested is None else requested + GRACE)

    assert found <= max(lifetime, timedelta())
    assert found <= longest
    assert (found == lifetime) == (lifetime <= longest)


@pytest.mark.parametrize(
    ("options", "lifetime"),
    [
        ({"requested": 900}, timedelta(seconds=900)),
        ({"requested": 0}, timedelta()),
        ({"requested": 43_200, "default": 3600}, 12 * HOUR),
        ({"default": 3600}, HOUR),
        ({"default": 43_200}, 12 * HOUR),
        ({}, 36 * HOUR),
    ],
    ids=str,
)
def test_the_year_9999_becomes_the_lifetime_that_was_granted(options: dict[str, Any], lifetime: timedelta) -> None:
    """F50: what was asked for, else what the operation gives unasked, else the longest that STS grants."""
    forever = datetime.max.replace(tzinfo=UTC)

    assert expiration_after(forever, **options) == NOW + lifetime


@pytest.mark.parametrize("requested", [129_601, 604_800, 10**9, 10**30])
def test_what_was_requested_and_granted_is_believed(requested: int) -> None:
    """B15: a server that is not AWS may grant a week, to a client that does not check its parameters."""
    lifetime = min(timedelta(seconds=min(requested, 10**9)), timedelta(days=9999))

    assert expiration_after(NOW + lifetime, requested=requested, default=3600) == NOW + lifetime
    assert expiration_after(NOW + timedelta(hours=2), requested=requested, default=3600) == NOW + timedelta(hours=2)


def test_what_exceeds_even_what_was_requested_is_brought_down_to_it() -> None:
    """B15, F50: not to the hour that the service gives unasked."""
    forever = datetime.max.replace(tzinfo=UTC)

    assert expiration_after(forever, requested=604_800, default=3600) == NOW + timedelta(days=7)


@pytest.mark.parametrize("requested", [-1, True, "604800", 60.0])
def test_a_duration_that_no_service_grants_counts_as_none(requested: Any) -> None:
    """B15: it was not checked."""
    forever = datetime.max.replace(tzinfo=UTC)

    assert expiration_after(forever, requested=requested, default=3600) == NOW + HOUR


def test_an_hour_beyond_what_was_asked_for_is_believed() -> None:
    """Clocks differ; to the hour it is not absurd."""
    assert expiration_after(NOW + 2 * HOUR, requested=3600) == NOW + 2 * HOUR
    assert expiration_after(NOW + 2 * HOUR + timedelta(microseconds=1), requested=3600) == NOW + HOUR
    assert expiration_after(NOW + 36 * HOUR, default=3600) == NOW + 36 * HOUR


def test_what_is_not_absurd_is_returned_as_it_is() -> None:
    """The usual case makes no copy."""
    response = shapes.GetSessionTokenResponse(credentials=credentials(NOW + HOUR))

    assert bounded(response, issued_at=NOW.timestamp(), requested=None, default=None) is response


def test_a_token_s_own_expiration_is_bounded_too() -> None:
    """GetWebIdentityToken answers with an expiration and no credentials."""
    response = shapes.GetWebIdentityTokenResponse(web_identity_token="jwt", expiration=NOW + 99 * HOUR)

    assert bounded(response, issued_at=NOW.timestamp(), requested=60, default=300).expiration == NOW + timedelta(
        seconds=60
    )
    assert bounded(response, issued_at=NOW.timestamp(), requested=None, default=300).expiration == NOW + timedelta(
        seconds=300
    )


def test_what_does_not_expire_is_returned_as_it_is() -> None:
    """Most answers have no expiration, and static credentials have None."""
    for holder in (
        shapes.GetAccessKeyInfoResponse(account="1"),
        shapes.Credentials(access_key_id="A", secret_access_key="k"),
        5,
    ):
        assert bounded(holder, issued_at=NOW.timestamp(), requested=60, default=60) is holder


def test_the_rest_of_the_response_is_kept() -> None:
    """The metadata too, which is no member."""
    metadata = shapes.ResponseMetadata(request_id="id", attempts=2)
    response = shapes.GetSessionTokenResponse(
        credentials=credentials(NOW + 99 * HOUR), session_token_size=7, metadata=metadata
    )

    found = bounded(response, issued_at=NOW.timestamp(), requested=60, default=60)

    assert found.metadata is metadata
    assert found == shapes.GetSessionTokenResponse(
        credentials=credentials(NOW + timedelta(seconds=60)), session_token_size=7
    )
