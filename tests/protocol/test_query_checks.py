"""The check of a request while its body is written: as strict as the rules in words, and as generous."""

import traceback
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sts_async import shapes
from sts_async._protocol import query
from sts_async._protocol.query import encode
from sts_async._shape import constraints
from sts_async._shape.constraints import (
    Category,
    Length,
    Member,
    OneOf,
    Pattern,
    Range,
    first_violations,
    member_violations,
)
from sts_async._shape.frozen_map import FrozenMap
from sts_async._shape.shape import Shape, shape
from sts_async.errors import ParamValidationError
from sts_async.operations import ASSUME_ROLE, OPERATIONS, Operation

ARN = "arn:aws:iam::123456789012:role/demo"
SECRET = "SENTINEL-6f1d"


@shape
class Inner(Shape):
    name: Annotated[str, Length(1, 2)] | None = None


ANY = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 12),
    st.integers(),
    st.floats(),
    st.text("ab\ud800é\n", max_size=4),
    st.binary(max_size=2),
    st.just(datetime.now(UTC)),
    st.just(timedelta(minutes=15)),
    st.lists(st.text(max_size=2) | st.none(), max_size=2).map(tuple),
    st.builds(Inner, name=st.text(max_size=3) | st.none() | st.integers()),
)


# One member


class Even:
    """A rule of a program's own."""

    rule = "have an even length"

    def accepts(self, value: Any) -> bool:
        return len(value) % 2 == 0


RULES = {
    str: st.lists(
        st.sampled_from(
            [Length(1, 2), Length(0), Length(2, 3), Pattern("[ab]*"), Category("L", "\n"), OneOf(("a", "é")), Even()]
        )
    ),
    int: st.lists(st.sampled_from([Range(0, 5), Range(-1, 10, "s")])),
}
VALUES: dict[type, Any] = {str: st.text("ab\né\ud800", max_size=3), int: st.integers(-2, 12)}


@settings(max_examples=300)
@given(data=st.data(), kind=st.sampled_from([str, int]))
def test_the_quick_test_agrees_with_the_rules_in_words(data: st.DataObject, kind: type) -> None:
    """Whatever the rules are, and in whatever order: a value is admitted if no violation of it has a name."""
    member = Member("m", "M", kind, constraints=tuple(data.draw(RULES[kind])))
    value = data.draw(VALUES[kind] | ANY)

    assert query._Writer(member).admits(value) == ([*member_violations(member, value, "m")] == [])


@pytest.mark.parametrize(("value", "admitted"), [("ab", True), ("a", False), ("cc", False), ("c", False)])
def test_several_rules_of_a_member_count_together(value: str, admitted: bool) -> None:
    """No member of the API has more than one beside its length; the next may."""
    assert query._Writer(Member("m", "M", str, constraints=(Pattern("[ab]*"), Even()))).admits(value) == admitted


@given(st.text())
def test_a_quick_test_accepts_no_more_than_its_constraint(text: str) -> None:
    """It may refuse text that is not ASCII, which the writer judges by the constraint itself."""
    for constraint in (Pattern(r"[\w+=,.@-]*"), Category("LZN", "_.:/=+-@"), OneOf(("a", "b")), Even()):
        accepted = bool(constraints.quick_test(constraint)(text))

        assert accepted <= constraint.accepts(text)
        if text.isascii():
            assert accepted == constraint.accepts(text)


def test_a_pattern_is_compiled_when_its_member_is_first_given() -> None:
    """Not every program gives every member, and each pattern costs some 0.1 ms."""

    @shape
    class Request(Shape):
        one: Annotated[str, Pattern("[c]+[d]?[e]*")]
        other: Annotated[str, Pattern("[d]+[c]?[e]*")] | None = None

    before = constraints._compiled.cache_info().misses
    for _ in range(2):
        encode(ASSUME_ROLE, Request(one="c"))
    after_one = constraints._compiled.cache_info().misses
    encode(ASSUME_ROLE, Request(one="c", other="d"))

    assert (after_one, constraints._compiled.cache_info().misses) == (before + 1, before + 2)


# Whole requests


GOOD: dict[type, Any] = {
    str: st.sampled_from([ARN, "me", "123456", "a" * 16, "RS256", "AWSIdentity", "é", "a b", "{}", "https://a.test"]),
    int: st.sampled_from([0, 60, 900, 3600, 43_200]),
}


def values_of(member: Member) -> st.SearchStrategy[Any]:
    """Return values of which many keep the rules of a member."""
    if member.kind is list:
        return st.lists(values_of(member.items), max_size=3)
    if member.kind in GOOD:
        return st.one_of([GOOD[member.kind]] * 4 + [ANY])  # type: ignore[no-any-return]
    return st.one_of([shapes_of(member.kind)] * 4 + [ANY])


def shapes_of(cls: Any) -> st.SearchStrategy[Any]:
    return st.builds(cls, **{m.name: values_of(m) if m.required else st.none() | values_of(m) for m in cls.__members__})


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
@settings(max_examples=25)
@given(data=st.data())
def test_a_request_is_written_or_all_that_is_wrong_is_named(operation: Operation[Any], data: st.DataObject) -> None:
    """In the order and in the words of the rules; and what is written is what is written unchecked."""
    assert_checked_by_the_rules(operation, data.draw(shapes_of(operation.request)))


def assert_checked_by_the_rules(operation: Operation[Any], request: Any) -> None:
    wrong = first_violations(request)
    if wrong:
        with pytest.raises(ParamValidationError) as caught:
            encode(operation, request)
        assert (caught.value.shape, caught.value.violations) == (type(request).__name__, wrong)
        assert caught.value.__context__ is None
    else:
        assert encode(operation, request) == encode(operation, request, validate=False)


VALID: list[dict[str, Any]] = [
    {},
    {"policy": {"Version": "2012-10-17"}, "duration_seconds": timedelta(hours=1)},
    {"tags": {"a b": "", "\u0661": "é"}, "transitive_tag_keys": ["a b"], "policy_arns": [ARN] * 10},
    {"provided_contexts": [shapes.ProvidedContext(provider_arn=ARN, context_assertion="a" * 3072)]},
    {"serial_number": "GAHT12345678", "token_code": "123456", "minimum_session_token_size": 0},
]


@pytest.mark.parametrize("members", VALID, ids=lambda members: ",".join(members))
def test_a_valid_request_is_written(members: dict[str, Any]) -> None:
    """A check that refuses everything would pass the tests above."""
    request = shapes.AssumeRoleRequest(role_arn=ARN, role_session_name="me", **members)

    assert encode(ASSUME_ROLE, request) == encode(ASSUME_ROLE, request, validate=False)


@shape
class MapsRequest(Shape):
    """Maps of each form, which no request of STS has."""

    ruled: Annotated[FrozenMap[Annotated[str, Length(1, 3)]], Length(1, 2)] | None = None
    inner: FrozenMap[Inner] | None = None


@pytest.mark.parametrize(
    "members",
    [
        *({"ruled": {"a": "b"}}, {"ruled": {}}, {"ruled": {"a": "long"}}, {"ruled": {7: "b"}}, {"ruled": ["a"]}),
        *({"ruled": dict.fromkeys("abc", "a")}, {"ruled": {"\ud800": "a"}}, {"ruled": {"a": None}}),
        *({"inner": {"a": Inner(name="a")}}, {"inner": {"a": Inner(name="long")}}, {"inner": {"a": "b"}}),
    ],
    ids=ascii,
)
def test_maps_are_checked_as_they_are_written(members: dict[str, Any]) -> None:
    """Keys, values and the number of entries."""
    assert_checked_by_the_rules(ASSUME_ROLE, MapsRequest(**members))


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (("a", 7, ("b",)), b"&ExternalId.member.1=a&ExternalId.member.2=7&ExternalId.member.3.member.1=b"),
        (FrozenMap({"k": "v"}), b"&ExternalId.entry.1.key=k&ExternalId.entry.1.value=v"),
        (shapes.Tag(key="k", value="v"), b"&ExternalId.Key=k&ExternalId.Value=v"),
        ((), b""),
    ],
    ids=repr,
)
def test_an_unchecked_value_is_written_in_the_form_of_its_type(value: Any, written: bytes) -> None:
    """Whatever the member should be: the service judges it."""
    request = shapes.AssumeRoleRequest(role_arn="a", role_session_name="b", external_id=value)

    assert encode(ASSUME_ROLE, request, validate=False).endswith(b"&RoleSessionName=b" + written)


def test_no_more_is_written_of_a_request_than_its_first_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    """T37: a list of 100,000 items with one violation each is not encoded, too."""
    quoted = []
    monkeypatch.setattr(query, "quote", lambda text: quoted.append(text) or text.encode())
    tags = tuple(shapes.Tag(key="", value="b") for _ in range(100_000))
    with pytest.raises(ParamValidationError) as caught:
        encode(ASSUME_ROLE, shapes.AssumeRoleRequest(role_arn=ARN, role_session_name="me", tags=tags[:50]))

    assert len(caught.value.violations) == 50
    with pytest.raises(ParamValidationError, match="a length of 0 to 50"):
        encode(ASSUME_ROLE, shapes.AssumeRoleRequest(role_arn=ARN, role_session_name="me", tags=tags))
    assert quoted == [ARN, "me"] * 2


@pytest.mark.parametrize(("broken", "validate"), [("member_violations", True), ("FrozenMap", False)])
def test_no_frame_of_the_writer_shows_a_secret(broken: str, validate: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """T16: a traceback with local variables, raised after a token has been written, does not show the token."""
    monkeypatch.setattr(query, broken, None)
    request = shapes.AssumeRoleWithWebIdentityRequest(
        role_arn=ARN, role_session_name="me", web_identity_token=f"{SECRET}+/=", provider_id="éééé", policy_arns=[ARN]
    )
    with pytest.raises(TypeError) as caught:
        encode(OPERATIONS[2], request, validate=validate)

    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "parts = [" in shown
    assert "RoleSessionName" in shown
    assert SECRET not in shown
