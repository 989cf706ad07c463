"""The forms in which a program can give a member: one rule for each kind of member, whatever its name."""

import enum
import re
from collections import ChainMap, deque
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Annotated, Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sts_async import shapes
from sts_async._cli import commands as commands
from sts_async._cli import members as _members
from sts_async._protocol.query import encode
from sts_async._shape.constraints import Length, Member, Range, violations
from sts_async._shape.forms import rule_of
from sts_async._shape.shape import Shape, secret, shape
from sts_async.credentials import (
    AssumeRoleProvider,
    FederationTokenProvider,
    SAMLProvider,
    SessionTokenProvider,
    WebIdentityProvider,
)
from sts_async.operations import ASSUME_ROLE, OPERATIONS
from sts_async.testing import LocalSTS

ARN = "arn:aws:iam::123456789012:role/demo"
POLICY = "arn:aws:iam::aws:policy/ReadOnlyAccess"
TEAM = shapes.Tag(key="team", value="a")


def is_seconds(member: Member) -> bool:
    return any(isinstance(rule, Range) and rule.unit == "s" for rule in member.constraints)


def forms_of(member: Member) -> list[tuple[Any, Any]]:
    """Return pairs of a value in another form, and of what is kept for it, by the kind of the member alone."""
    if is_seconds(member):
        return [(timedelta(minutes=15), 900), (900, 900)]
    if member.kind is shapes.PolicyDescriptorType:
        return [(POLICY, shapes.PolicyDescriptorType(arn=POLICY))]
    if member.kind is not list:
        return []
    if member.items.kind is shapes.Tag:
        pairs = {"team": "a", "cost centre": ""}
        tags = tuple(shapes.Tag(key=key, value=value) for key, value in pairs.items())
        return [(kind(pairs), tags) for kind in (dict, MappingProxyType, ChainMap, shapes.FrozenMap)] + [({}, ())]
    one = {
        shapes.PolicyDescriptorType: POLICY,
        str: "key",
        shapes.ProvidedContext: shapes.ProvidedContext(provider_arn=ARN),
    }
    given_item = one[member.items.kind]
    kept = shapes.PolicyDescriptorType(arn=POLICY) if given_item is POLICY else given_item
    return [(kind([given_item]), (kept,)) for kind in (list, tuple, set, frozenset, deque)] + [
        ({given_item: 1}.keys(), (kept,))
    ]


EVERY_FORM = [
    pytest.param(operation.request, member, value, kept, id=f"{operation.name}.{member.name}-{type(value).__name__}")
    for operation in OPERATIONS
    for member in operation.request.__members__
    for value, kept in forms_of(member)
]


def request_with(cls: Any, **members: Any) -> Any:
    """Return a request whose other required members are there."""
    required = {member.name: "x" for member in cls.__members__ if member.required}
    return cls(**{**required, **members})


@pytest.mark.parametrize(("cls", "member", "value", "kept"), EVERY_FORM)
def test_every_member_takes_all_forms_of_its_kind(cls: Any, member: Member, value: Any, kept: Any) -> None:
    """E3: tags as a mapping, policies by their ARNs, a lifetime as a timedelta, any collection for a list."""
    made = request_with(cls, **{member.name: value})
    usual = request_with(cls, **{member.name: kept})

    assert getattr(made, member.name) == kept
    assert type(getattr(made, member.name)) is type(kept)
    assert made == usual
    assert hash(made) == hash(usual)
    assert attrs.evolve(made) == made
    assert [line for line in violations(made) if line.startswith(member.name)] == []


def test_the_table_of_forms_has_every_operation_that_takes_them() -> None:
    """A table that finds nothing would be satisfied by everything."""
    operations = {parameter.id.partition("-")[0] for parameter in EVERY_FORM}

    assert {
        "AssumeRole.tags",
        "AssumeRole.policy_arns",
        "AssumeRole.transitive_tag_keys",
        "AssumeRole.provided_contexts",
        "AssumeRoot.task_policy_arn",
        "GetFederationToken.tags",
        "GetWebIdentityToken.audience",
        "GetSessionToken.duration_seconds",
    } <= operations


def test_a_member_that_the_api_adds_has_the_forms_of_its_kind() -> None:
    """E3: they follow from the model of members; no list of names is kept."""

    @shape
    class Label(Shape):
        key: str
        value: str

    @shape
    class Wanted(Shape):
        arn: str

    @shape
    class Future(Shape):
        labels: Annotated[Mapping[str, str] | Collection[Label], Length(0, 3)] = ()
        wanted: Collection[str | Wanted] = ()
        one: str | Wanted | None = None
        idle: Annotated[int | timedelta, Range(0, 9, "s")] | None = None
        hidden: Collection[str | Wanted] = secret(default=())

    made = Future(labels={"a": "b"}, wanted={"w"}, one="w", idle=timedelta(seconds=9), hidden=["w"])
    label, wanted = Label(key="a", value="b"), Wanted(arn="w")

    assert made == Future(labels=[label], wanted=[wanted], one=wanted, idle=9, hidden=[wanted])
    assert hash(made)


def test_each_provider_takes_the_same_forms() -> None:
    """E3: what a provider asks for is a request like any other."""

    async def text() -> str:
        return ""

    many: dict[str, Any] = {"policy_arns": [POLICY], "duration_seconds": timedelta(hours=1)}
    providers = [
        AssumeRoleProvider(role_arn=ARN, tags={"team": "a"}, transitive_tag_keys={"team"}, **many),
        FederationTokenProvider(name="bob", tags={"team": "a"}, **many),
        SAMLProvider(role_arn=ARN, principal_arn="arn:aws:iam::123456789012:saml-provider/p", assertion=text, **many),
        WebIdentityProvider(role_arn=ARN, token=text, **many),
        SessionTokenProvider(duration_seconds=timedelta(hours=1)),
    ]

    requests: list[Any] = [provider._request for provider in providers]
    assert [request.duration_seconds for request in requests] == [3600] * 5
    assert [request.policy_arns for request in requests[:4]] == [(shapes.PolicyDescriptorType(arn=POLICY),)] * 4
    assert [request.tags for request in requests[:2]] == [(TEAM,)] * 2


async def test_a_server_sees_the_same_request_in_every_form() -> None:
    """E3: over a socket, where LocalSTS reads the tags and the lifetime."""
    async with LocalSTS() as server, server.client() as sts:
        issued = await sts.assume_role(
            role_arn=ARN,
            role_session_name="me",
            tags={"team": "a"},
            policy_arns=[POLICY],
            duration_seconds=timedelta(minutes=30),
        )
        token = await sts.get_web_identity_token(audience={"api"}, signing_algorithm="RS256", tags={"team": "a"})

    assert issued.packed_policy_size
    assert token.web_identity_token


def test_the_form_of_the_wire_does_not_depend_on_the_form_that_was_given() -> None:
    given_values: dict[str, Any] = {
        "tags": {"team": "a"},
        "policy_arns": [POLICY],
        "duration_seconds": timedelta(hours=1),
    }
    body = encode(
        ASSUME_ROLE, shapes.AssumeRoleRequest(role_arn=ARN, role_session_name="me", **given_values), validate=False
    )

    assert b"Tags.member.1.Key=team&Tags.member.1.Value=a" in bytes(body)
    assert b"PolicyArns.member.1.arn=arn%3Aaws" in bytes(body)
    assert b"DurationSeconds=3600&" in bytes(body)


def test_a_text_enumeration_is_text() -> None:
    """E3: its value is sent; an enumeration whose members are no text is refused, as any other object is."""

    class Algorithm(enum.StrEnum):
        RS256 = "RS256"

    class Other(enum.Enum):
        RS256 = "RS256"

    good = shapes.GetWebIdentityTokenRequest(audience=["a"], signing_algorithm=Algorithm.RS256)
    wrong: Any = Other.RS256

    assert [*violations(good)] == []
    assert b"SigningAlgorithm=RS256" in bytes(encode(OPERATIONS[-1], good, validate=False))
    assert [*violations(shapes.GetWebIdentityTokenRequest(audience=["a"], signing_algorithm=wrong))] == [
        "signing_algorithm must be text"
    ]


@given(st.timedeltas())
def test_a_timedelta_of_whole_seconds_is_their_number_and_no_other_is_taken(value: timedelta) -> None:
    """Rounding would ask for another lifetime than the program did."""
    kept = shapes.GetSessionTokenRequest(duration_seconds=value).duration_seconds

    if value.microseconds:
        assert kept is value
    else:
        assert kept == value.total_seconds()
        assert type(kept) is int


def test_later_changes_of_an_argument_do_not_change_the_request() -> None:
    tags, arns = {"team": "a"}, [POLICY]
    request = shapes.AssumeRoleRequest(role_arn=ARN, role_session_name="me", tags=tags, policy_arns=arns)
    tags["team"] = "b"
    arns.clear()

    assert request.tags == (TEAM,)
    assert request.policy_arns == (shapes.PolicyDescriptorType(arn=POLICY),)


def test_a_generator_is_refused_because_it_can_be_read_only_once() -> None:
    """Whoever looks at it first, such as a debugger, would empty it."""
    wrong: Any = (tag for tag in [TEAM])
    request = shapes.AssumeRoleRequest(role_arn=ARN, role_session_name="me", tags=wrong)

    assert [*violations(request)] == [
        'tags must be a mapping such as {"team": "a"} or a list of Tag(key=..., value=...)'
    ]


class Broken(Collection[str]):
    """A collection of the program's own that fails when it is read."""

    def __contains__(self, item: object) -> bool:
        return False

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("SENTINEL")


def test_a_collection_that_fails_is_refused_when_the_request_is_sent() -> None:
    """T16: an error from the constructor would have the other members, some of them secret, in its frames."""
    request = shapes.AssumeRoleRequest(role_arn=ARN, role_session_name="me", transitive_tag_keys=Broken())

    assert [*violations(request)] == ['transitive_tag_keys must be a list of text, such as ["a", "b"]']


WRONG = object()
REFUSED = [
    pytest.param(operation.request, member, id=f"{operation.name}.{member.name}")
    for operation in OPERATIONS
    for member in operation.request.__members__
]


@pytest.mark.parametrize(("cls", "member"), REFUSED)
def test_the_form_that_a_refusal_shows_is_taken(cls: Any, member: Member) -> None:
    """E3: each form in the message of each member is evaluated, and is then refused no more for its kind."""
    (line,) = [one for one in violations(request_with(cls, **{member.name: WRONG})) if one.startswith(member.name)]
    assert line == f"{member.name} must {rule_of(member)}"
    names = {**vars(shapes), "timedelta": timedelta}
    for shown in re.findall(r"\w+\([^)]*\)|\{.*?\}|\[.*?\]|\d+", line):
        value: Any = eval(shown.replace("...", "'value'"), names)
        if "list of" in line and not isinstance(value, list | dict):
            value = [value]
        again = [*violations(request_with(cls, **{member.name: value}))]

        assert f"{member.name} must {rule_of(member)}" not in again
        assert not [one for one in again if one.startswith(f"{member.name}[0] must be")]
    if member.kind is list or is_seconds(member):
        assert re.search(r"[\[{(]", line)


def test_the_rule_of_a_kind_without_other_forms_is_its_name() -> None:
    """Requests of today have no such member; one of tomorrow may."""
    assert rule_of(Member("at", "At", datetime)) == "be a datetime"
    assert rule_of(Member("at", "At", list, items=Member("", "member", datetime))) == "be a list of datetime"


@pytest.mark.parametrize("name", commands.SUMMARIES)
def test_the_help_of_the_command_line_has_only_the_forms_that_it_takes(name: str) -> None:
    """E3: there all values are text; `timedelta` and `Tag` are of Python."""
    documented = _members.documented_in(_members._documentation(name), "Args")
    members = _members.operation_of(name).request.__members__
    shown = [_members._help(member, documented[member.name]) for member in members]

    assert [text for text in shown if re.search("timedelta|`Tag`|mapping|list of|, ,|  ", text)] == []
