import enum
import traceback
from collections.abc import Sequence
from datetime import timedelta
from types import NoneType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sts_async import shapes
from sts_async._shape import constraints
from sts_async._shape.constraints import Category, Length, Member, OneOf, Pattern, Range, first_violations, violations
from sts_async._shape.shape import Shape
from sts_async.errors import ParamValidationError
from sts_async.operations import OPERATIONS

ARN = "arn:aws:iam::123456789012:role/demo"
SECRET = "SENTINEL-6f1d"
SECONDS = "duration_seconds must be a whole number of seconds, such as 900 or timedelta(minutes=15)"
TAGS = 'tags must be a mapping such as {"team": "a"} or a list of Tag(key=..., value=...)'
CONTEXT = "ProvidedContext(provider_arn=..., context_assertion=...)"
TAG = shapes.Tag(key="k", value="v")


def assume_role(**given: Any) -> shapes.AssumeRoleRequest:
    return shapes.AssumeRoleRequest(**{"role_arn": ARN, "role_session_name": "me", **given})


def broken(**given: Any) -> list[str]:
    return [*violations(assume_role(**given))]


# Each rule


@given(st.integers(0, 9), st.integers(0, 9) | st.none(), st.text(max_size=12) | st.lists(st.integers(), max_size=12))
def test_a_length_is_between_its_bounds(least: int, most: int | None, value: Sequence[Any]) -> None:
    """In characters, or in members; without `most` there is no upper bound."""
    assert Length(least, most).accepts(value) == (len(value) in range(least, 99 if most is None else most + 1))


@given(st.integers(-9, 9), st.integers(-9, 9), st.integers(-12, 12))
def test_a_range_includes_both_ends(least: int, most: int, value: int) -> None:
    assert Range(least, most).accepts(value) == (value in range(least, most + 1))


@given(st.text("ab\n", max_size=4))
def test_a_pattern_has_to_match_the_whole_text(value: str) -> None:
    r"""T7: `$` would admit a newline at the end, and `match` whatever follows."""
    assert Pattern("[ab]*").accepts(value) == ("\n" not in value)


@pytest.mark.parametrize("digit", ["\u0661", "\u0967", "\uff11", "\u00b2", "\U0001d7d8"], ids=ascii)
def test_digits_and_letters_of_a_pattern_are_ascii(digit: str) -> None:
    """T7: the service reads them so."""
    assert not Pattern(r"\d*").accepts(digit)
    assert not Pattern(r"\w*").accepts(digit)
    assert not Pattern(r"\w*").accepts("é")


def test_a_pattern_is_compiled_once_and_at_first_use() -> None:
    """Not every program calls every operation."""
    before = constraints._compiled.cache_info().misses
    rule, same = Pattern("[a]+[b]?"), Pattern("[a]+[b]?")
    made = constraints._compiled.cache_info().misses

    assert rule.accepts("ab")
    assert same.accepts("a")
    assert (made, constraints._compiled.cache_info().misses) == (before, before + 1)


def test_categories_are_those_of_unicode() -> None:
    r"""``[\p{L}\p{N}_]``: letters and numbers of any script, no marks, no symbols."""
    rule = Category("LN", "_")

    assert all(rule.accepts(text) for text in ("", "_", "é", "\u0661", "\u4e2d", "\U0001d4d0", "\u00b2"))
    assert not any(rule.accepts(text) for text in ("-", "a-", "\u0301", "€", "\n", "\U0001f600"))


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (Length(1), "have a length of at least 1"),
        (Length(6, 6), "have a length of 6"),
        (Length(2, 64), "have a length of 2 to 64"),
        (Range(900, 43_200, "s"), "be 900 to 43200 s"),
        (Range(1, 2), "be 1 to 2"),
        (Pattern("[a]"), "match [a]"),
        (Category("LZ", "_."), "have only characters of the Unicode categories L, Z or of _."),
        (OneOf(("a", "b")), "be one of a, b"),
    ],
)
def test_a_rule_completes_the_word_must(rule: constraints.Constraint, text: str) -> None:
    """So that a message says what to do."""
    assert rule.rule == text


def test_one_of_a_few_is_exactly_one_of_them() -> None:
    assert OneOf(("RS256", "ES384")).accepts("RS256")
    assert not OneOf(("RS256", "ES384")).accepts("rs256")
    assert not OneOf(("RS256", "ES384")).accepts("RS")


# Whole requests


@pytest.mark.parametrize(
    "name", ["a\r\nb", "a b", "x", "a" * 65, "\u0661\u0662", "ab\n", "a<b>", "a&b", "", "a\0b"], ids=ascii
)
def test_a_hostile_session_name_is_refused(name: str) -> None:
    """T7: it becomes a part of ARNs, logs and policies of others."""
    assert broken(role_session_name=name) != []
    assert all(line.startswith("role_session_name must ") for line in broken(role_session_name=name))


@pytest.mark.parametrize("value", ["a\r\nb", "a b", "x", "a" * 1225, "\u0661\u0662", "ab\n", "<script>"], ids=ascii)
def test_a_hostile_external_id_is_refused(value: str) -> None:
    """T7."""
    assert [line.split()[0] for line in broken(external_id=value)] in (["external_id"], ["external_id"] * 2)


@pytest.mark.parametrize("name", ["ab", "a" * 64, "A-Z_0+=,.@-"])
def test_a_good_session_name_is_accepted(name: str) -> None:
    """A rule that refuses everything would pass the tests above."""
    assert broken(role_session_name=name, external_id=f"{name}:/") == []


OR_TAGS, OR_ARNS = ', or give tags={"a": "b"}', ', or give policy_arns=["arn:..."]'


def test_the_form_that_a_refused_item_names_is_taken() -> None:
    """E3: for programs that come from boto3, whose tags are dicts with Key and Value."""
    for advice in (OR_TAGS, OR_ARNS):
        members = eval(f"dict({advice.removeprefix(', or give ').replace('arn:...', ARN)})")
        assert [*violations(assume_role(**members))] == []


@pytest.mark.parametrize("tags", [dict.fromkeys(range(100000), "a"), [5] * 100_000], ids=["mapping", "list"])
def test_the_items_of_a_list_that_is_too_long_are_not_looked_at(tags: Any) -> None:
    """T37: they would hold the event loop for seconds, and make a message of megabytes."""
    request = assume_role(tags=tags)

    assert [*violations(request)] == ["tags must have a length of 0 to 50"]


def test_a_thousand_violations_are_looked_for() -> None:
    """T37: also where the bounds of AWS do not count."""
    request = assume_role(tags=[5] * 100_000)
    found = first_violations(request, bounds=False)

    assert len(found) == 1000
    assert str(ParamValidationError("R", found)).endswith("; and at least 980 more")
    assert first_violations(assume_role(tags=[5]), bounds=False) == tuple(violations(assume_role(tags=[5])))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("wrap", [lambda value: {"x": value}, lambda value: {"x": [{"y": value}]}])
def test_a_policy_with_a_number_that_json_does_not_have_is_refused(bad: float, wrap: Any) -> None:
    """E3: Python writes NaN and Infinity, which no other parser reads."""
    assert [*violations(assume_role(policy=wrap(bad)))] == [
        "policy must be JSON text or a mapping that JSON can express"
    ]


def test_all_violations_come_at_once_and_nested_ones_with_their_path() -> None:
    """A user who corrects one at a time pays a round of tests for each."""
    request = assume_role(
        role_arn="arn",
        role_session_name="a b" * 30,
        policy_arns=[shapes.PolicyDescriptorType(arn=ARN), shapes.PolicyDescriptorType(arn="x")],
        policy="",
        duration_seconds=1,
        tags=[shapes.Tag(key="k", value="v"), shapes.Tag(key="", value="\0" * 257)],
        transitive_tag_keys=["fine", "!"],
        token_code="12345x7",
        provided_contexts=[shapes.ProvidedContext(provider_arn=ARN, context_assertion="abc")] * 6,
        minimum_session_token_size=-1,
    )

    assert [line.partition(" must ")[0] for line in violations(request)] == [
        "role_arn",
        "role_session_name",
        "role_session_name",
        "policy_arns[1].arn",
        "policy",
        "policy",
        "duration_seconds",
        "tags[1].key",
        "tags[1].value",
        "tags[1].value",
        "transitive_tag_keys[1]",
        "token_code",
        "token_code",
        "provided_contexts",
        "minimum_session_token_size",
    ]


@pytest.mark.parametrize(("length", "lines"), [(256, []), (257, ["source_identity must have a length of 2 to 256"])])
def test_a_source_identity_has_at_most_256_characters(length: int, lines: list[str]) -> None:
    """A3: the service has raised the limit from 64; what it takes is not refused here."""
    assert broken(source_identity="a" * length) == lines


def test_a_context_assertion_has_at_most_3072_characters() -> None:
    """A3: raised from 2,048."""
    longest, longer = (shapes.ProvidedContext(provider_arn=ARN, context_assertion="a" * n) for n in (3072, 3073))

    assert broken(provided_contexts=[longest]) == []
    assert broken(provided_contexts=[longer]) == [
        "provided_contexts[0].context_assertion must have a length of 4 to 3072"
    ]


@pytest.mark.parametrize("scope", ["a", "a b", "read:all write:own ~!", "#[]^_`{|}", "a" * 256])
def test_a_scope_is_words_joined_by_single_spaces(scope: str) -> None:
    """A4: RFC 6749, section 3.3, without the comma."""
    request = shapes.GetWebIdentityTokenRequest(audience=["a"], signing_algorithm="RS256", scope=scope)

    assert [*violations(request)] == []


@pytest.mark.parametrize("scope", [" ", " a", "a ", "a  b", "a\tb", "a\n", 'a"', "a\\", "a,b", "é", "\x7f"], ids=ascii)
def test_a_scope_of_another_form_is_named(scope: str) -> None:
    """A4: spaces at an end or two in a row, and characters that a scope cannot have."""
    request = shapes.GetWebIdentityTokenRequest(audience=["a"], signing_algorithm="RS256", scope=scope)

    (line,) = violations(request)
    assert line.startswith("scope must match ")


def test_a_subject_mode_is_one_of_two() -> None:
    """A4."""
    request = shapes.GetWebIdentityTokenRequest(audience=["a"], signing_algorithm="RS256", subject_mode="awsidentity")

    assert [*violations(request)] == ["subject_mode must be one of AWSIdentity, OriginIdentity"]


def test_a_required_member_that_is_none_or_empty_is_named() -> None:
    """None is what an unset variable gives, an empty list what a filter leaves."""
    wrong: Any = None

    assert broken(role_arn=wrong) == ["role_arn is required"]
    assert [*violations(shapes.GetWebIdentityTokenRequest(audience=[], signing_algorithm="RS256"))] == [
        "audience is required"
    ]
    assert broken(tags=[shapes.Tag(key="k", value=wrong)]) == ["tags[0].value is required"]


@pytest.mark.parametrize(
    ("given_value", "line"),
    [
        ({"role_arn": 5}, "role_arn must be text"),
        ({"role_arn": b"arn:aws:iam::123456789012:role/demo"}, "role_arn must be text"),
        ({"duration_seconds": "3600"}, SECONDS),
        ({"duration_seconds": 3600.0}, SECONDS),
        ({"duration_seconds": True}, SECONDS),
        ({"minimum_session_token_size": False}, "minimum_session_token_size must be an integer"),
        ({"duration_seconds": timedelta(seconds=900.5)}, SECONDS),
        ({"minimum_session_token_size": timedelta(0)}, "minimum_session_token_size must be an integer"),
        ({"tags": "key"}, TAGS),
        ({"tags": b"key"}, TAGS),
        ({"tags": TAG}, TAGS),
        ({"tags": {"key": 5}}, "tags[0].value must be text"),
        ({"tags": [{"Key": "k", "Value": "v"}]}, "tags[0] must be a Tag(key=..., value=...)" + OR_TAGS),
        ({"tags": [None]}, "tags[0] must be a Tag(key=..., value=...)" + OR_TAGS),
        ({"transitive_tag_keys": "key"}, 'transitive_tag_keys must be a list of text, such as ["a", "b"]'),
        ({"transitive_tag_keys": {"a": "b"}}, 'transitive_tag_keys must be a list of text, such as ["a", "b"]'),
        ({"transitive_tag_keys": [True]}, "transitive_tag_keys[0] must be text"),
        ({"policy_arns": ARN}, "policy_arns must be a list of text or PolicyDescriptorType(arn=...)"),
        ({"policy_arns": [5]}, "policy_arns[0] must be text or PolicyDescriptorType(arn=...)" + OR_ARNS),
        ({"policy_arns": [{"arn": ARN}]}, "policy_arns[0] must be text or PolicyDescriptorType(arn=...)" + OR_ARNS),
        ({"provided_contexts": 5}, f"provided_contexts must be a list of {CONTEXT}"),
        ({"provided_contexts": ["a"]}, f"provided_contexts[0] must be a {CONTEXT}"),
    ],
    ids=repr,
)
def test_a_value_of_another_kind_is_named(given_value: dict[str, Any], line: str) -> None:
    """A bool is no integer here, though it is one for Python; a text is no list of characters."""
    assert broken(**given_value) == [line]


def test_a_nested_shape_of_another_kind_is_named() -> None:
    wrong: Any = 5
    request = shapes.AssumeRootRequest(target_principal="123456789012", task_policy_arn=wrong)

    assert [*violations(request)] == ["task_policy_arn must be text or PolicyDescriptorType(arn=...)"]


def test_an_integer_of_a_subclass_is_an_integer() -> None:
    """Enumerations of durations are common in code of users."""

    class Duration(enum.IntEnum):
        HOUR = 3600
        MOMENT = 1

    assert broken(duration_seconds=Duration.HOUR) == []
    assert broken(duration_seconds=Duration.MOMENT) == ["duration_seconds must be 900 to 43200 s"]


def test_text_that_utf_8_cannot_encode_is_refused_as_a_violation() -> None:
    """A lone surrogate passes every pattern-less member, and fails only when the body is written."""
    request = shapes.GetDelegatedAccessTokenRequest(trade_in_token="\ud800")

    assert [*violations(request)] == ["trade_in_token must be text that UTF-8 can encode"]
    assert broken(tags=[shapes.Tag(key="k", value="\udfff")]) == [
        "tags[0].value must have only characters of the Unicode categories L, Z, N or of _.:/=+-@",
        "tags[0].value must be text that UTF-8 can encode",
    ]
    assert [*violations(shapes.GetDelegatedAccessTokenRequest(trade_in_token="\ud7ff\ue000\U0010ffffé"))] == []


@pytest.mark.parametrize(
    "given_value",
    [
        {name: f"{SECRET}\n {'x' * 3000}"}
        for name in (
            *("role_arn", "role_session_name", "external_id", "token_code", "serial_number", "source_identity"),
            *("duration_seconds", "tags", "policy_arns", "provided_contexts", "transitive_tag_keys"),
        )
    ]
    + [
        {"tags": [shapes.Tag(key=SECRET * 99, value=SECRET * 99), SECRET]},
        {"provided_contexts": [shapes.ProvidedContext(context_assertion=SECRET * 999)]},
        {"transitive_tag_keys": [SECRET * 99]},
        {"policy_arns": [shapes.PolicyDescriptorType(arn=SECRET)]},
    ],
    ids=lambda given_value: next(iter(given_value)),
)
def test_no_violation_repeats_a_value(given_value: dict[str, Any]) -> None:
    """T15: messages end in logs, and a value can be secret or come from a stranger."""
    lines = broken(**given_value)

    assert lines
    assert SECRET not in repr(lines)


def test_no_frame_of_the_check_shows_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """T16: a traceback with local variables, raised inside the check, shows no token."""

    def fail(text: str) -> bool:
        raise RuntimeError

    monkeypatch.setattr(constraints, "_encodable", fail)
    request = shapes.AssumeRoleWithWebIdentityRequest(role_arn=ARN, role_session_name="me", web_identity_token=SECRET)
    with pytest.raises(RuntimeError) as caught:
        [*violations(request)]

    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "member =" in shown
    assert SECRET not in shown


def test_every_kind_of_request_member_is_one_that_the_check_knows() -> None:
    """A new kind would need a rule in words."""

    def kinds(member: Member) -> set[type]:
        return {member.kind} | (kinds(member.items) if member.items else set())

    found = {kind for o in OPERATIONS for member in o.request.__members__ for kind in kinds(member)}

    assert {kind for kind in found if not issubclass(kind, Shape)} == {str, int, list}
    assert NoneType not in found
