"""Keys and entries of caches that processes share."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import attrs
import pytest
from fleet.caches.cases import KEY, KEYS, NOW, REQUEST, issued, values_of
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from reporters import REPORTERS
from support import ROLE

from sts_async import AssumeRoleRequest, Credentials, GetCallerIdentityRequest
from sts_async.errors import ConfigurationError, ParamValidationError, STSError
from sts_async.fleet.caches import CachedCredentials, CacheKey
from sts_async.fleet.identities import ISSUING


@settings(max_examples=30)
@given(KEYS)
def test_equal_keys_have_equal_digests(key: CacheKey) -> None:
    """T42: a digest is 64 hexadecimal digits, whatever the key contains, so it cannot lead out of a directory."""
    again = CacheKey(request=attrs.evolve(key.request), source=key.source, endpoint=key.endpoint)  # type: ignore[misc]

    assert again.digest == key.digest
    assert len(key.digest) == 64
    assert {*key.digest} <= {*"0123456789abcdef"}


@settings(max_examples=30)
@given(KEYS, KEYS)
def test_different_keys_have_different_digests(one: CacheKey, other: CacheKey) -> None:
    """T42."""
    assume(one != other)

    assert one.digest != other.digest


MEMBERS = [(operation.request, member) for operation in ISSUING for member in operation.request.__members__]


@pytest.mark.parametrize(("shape", "member"), MEMBERS, ids=[f"{shape.__name__}.{m.name}" for shape, m in MEMBERS])
@settings(max_examples=10)
@given(st.data())
def test_each_member_changes_the_digest(shape: Any, member: Any, data: st.DataObject) -> None:
    """T42: the members are those of the API, so none can be forgotten. Secrets count too."""
    required = {one.name: "x" for one in shape.__members__ if one.required}
    values = st.none() | values_of(member) if not member.required else values_of(member)
    one, other = (shape(**{**required, member.name: data.draw(values)}) for _ in range(2))
    assume(one != other)

    assert digest_of(one) != digest_of(other)


def digest_of(request: Any) -> str:
    return CacheKey(request=request, source="", endpoint="").digest


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"source": "ab", "endpoint": "c"}, {"source": "a", "endpoint": "bc"}),
        ({"source": "", "endpoint": "1:a"}, {"source": "1:a", "endpoint": ""}),
        ({"source": "\0", "endpoint": ""}, {"source": "", "endpoint": "\0"}),
    ],
)
def test_no_text_can_cross_the_border_between_the_parts_of_a_key(one: dict[str, str], other: dict[str, str]) -> None:
    """T42: an attacker may choose one part."""
    assert CacheKey(request=REQUEST, **one).digest != CacheKey(request=REQUEST, **other).digest


def test_a_digest_stays_the_same_from_release_to_release() -> None:
    """Otherwise an update would empty every cache. If this changes on purpose, it is a note in the changelog."""
    assert KEY.digest == "5e056a23c288fa586e4a2296729d76bc24992b9249e1b4b39bdd208ce9892c96"


def test_a_request_that_cannot_be_encoded_has_no_digest() -> None:
    """The error is the one that sending it raises. Python writes no integers of thousands of digits."""
    with pytest.raises(ParamValidationError):
        digest_of(AssumeRoleRequest(role_arn=ROLE, role_session_name="me", duration_seconds=10**5000))


SECRET = "SENTINEL-" + "0123456789abcdef" * 20
REFUSED: dict[str, tuple[type[STSError], Callable[[], object]]] = {
    "no request": (ConfigurationError, lambda: CacheKey(request={"a": SECRET}, source="", endpoint="")),  # type: ignore[arg-type]
    "no request of the API": (ConfigurationError, lambda: CacheKey(request=KEY, source="", endpoint="")),  # type: ignore[arg-type]
    "source": (ConfigurationError, lambda: CacheKey(request=REQUEST, source=None, endpoint="")),  # type: ignore[arg-type]
    "endpoint": (ConfigurationError, lambda: CacheKey(request=REQUEST, source="", endpoint=5)),  # type: ignore[arg-type]
    "a member of a wrong type": (
        ParamValidationError,
        lambda: CacheKey(
            request=AssumeRoleRequest(role_arn=5, role_session_name="me", token_code=SECRET),  # type: ignore[arg-type]
            source="",
            endpoint="",
        ),
    ),
    "text that cannot be sent": (
        ParamValidationError,
        lambda: CacheKey(
            request=AssumeRoleRequest(role_arn=ROLE, role_session_name="\ud800", token_code=SECRET),
            source="",
            endpoint="",
        ),
    ),
    "credentials": (
        ConfigurationError,
        lambda: CachedCredentials(credentials={"SecretAccessKey": SECRET}, issued=NOW),  # type: ignore[arg-type]
    ),
    "a time without a zone": (
        ConfigurationError,
        lambda: attrs.evolve(issued(token=SECRET), issued=datetime(2026, 1, 1)),
    ),
    "no time": (ConfigurationError, lambda: attrs.evolve(issued(token=SECRET), issued="now")),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("reporter", REPORTERS.values(), ids=REPORTERS)
@pytest.mark.parametrize(("error", "make"), REFUSED.values(), ids=REFUSED)
def test_wrong_arguments_are_refused_and_not_shown(
    error: type[STSError], make: Callable[[], object], reporter: Any
) -> None:
    """G6, T16."""
    if not reporter.installed:
        pytest.skip(f"{reporter.package} is not installed: it is in the extra `test`")
    with pytest.raises(error) as caught:
        make()

    assert SECRET[:8] not in reporter.show(caught.value) + str(caught.value)


def test_a_key_of_any_request_of_the_api_can_be_made() -> None:
    """The fleet decides which requests are identities."""
    assert len(CacheKey(request=GetCallerIdentityRequest(), source="", endpoint="").digest) == 64


def test_credentials_in_an_entry_are_not_shown() -> None:
    """T14."""
    assert "SENTINEL" not in repr(issued()) + str(issued())
    assert "ASIAIOSFODNN7EXAMPLE" in repr(issued())


def test_the_seconds_left_are_those_until_the_expiration() -> None:
    later = (NOW + timedelta(minutes=10)).astimezone(timezone(timedelta(hours=5)))
    endless = CachedCredentials(credentials=Credentials(access_key_id="A", secret_access_key="B"), issued=NOW)

    assert issued(seconds=900).seconds_left(now=later) == 300
    assert endless.seconds_left(now=datetime.now(UTC)) == float("inf")
