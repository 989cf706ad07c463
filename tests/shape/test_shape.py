import copy
import json
import pickle
import types
from collections import OrderedDict
from collections.abc import Sequence
from typing import Annotated, Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sts_async._shape.constraints import Length, Member, Pattern, violations
from sts_async._shape.secret import Secret
from sts_async._shape.shape import Shape, document, extra, member, secret, shape

Name = Annotated[str, Length(1, 8), Pattern("[a-z]*")]
Names = Annotated[Sequence[Name], Length(0, 3)]


@shape
class Empty(Shape):
    """No members."""


@shape
class Single(Shape):
    value: str


@shape
class Everything(Shape):
    plain: str
    long_member_name: Name | None = None
    odd: int | None = member(default=None, wire="oDD")
    names: Names = ()
    inner: Single | None = None
    key: str | None = secret(default=None)
    text: Annotated[str | dict[str, Any], Length(1)] | None = document(default=None)
    note: str = extra(default="")


@shape
class Narrower(Everything):
    key: str = secret(wire="theKey")


def test_members_match_the_annotations() -> None:
    """They are what serialising, checking and reading go by."""
    assert Everything.__members__ == (
        Member("plain", "Plain", str, required=True),
        Member("long_member_name", "LongMemberName", str, False, (Length(1, 8), Pattern("[a-z]*"))),
        Member("odd", "oDD", int),
        Member(
            "names",
            "Names",
            list,
            False,
            (Length(0, 3),),
            Member("", "member", str, False, (Length(1, 8), Pattern("[a-z]*"))),
        ),
        Member("inner", "Inner", Single),
        Member("key", "Key", str, secret=True),
        Member("text", "Text", str, False, (Length(1),), document=True),
    )
    assert Empty.__members__ == ()


def test_a_member_can_be_narrowed_in_a_subclass() -> None:
    """Temporary credentials do so with token and expiration."""
    found = {m.name: m for m in Narrower.__members__}

    assert found["key"] == Member("key", "theKey", str, required=True, secret=True)
    assert found["names"] == Everything.__members__[3]
    with pytest.raises(TypeError, match="key"):
        Narrower(plain="a")  # type: ignore[call-arg]


def test_given_members_are_printed_and_secrets_are_not() -> None:
    """T14: a missing member is noise in a log, a secret one is a leak, and the metadata is not a member."""
    assert repr(Everything(plain="a")) == "Everything(plain='a')"
    assert (
        repr(Everything(plain="a", odd=0, names=["b"], key="SENTINEL", inner=Single(value=""), note="n"))
        == "Everything(plain='a', odd=0, names=('b',), inner=Single(value=''), key='***')"
    )
    assert repr(Empty()) == "Empty()"


TEXTS = st.text("ab", max_size=2)
EVERYTHING = st.builds(
    Everything,
    plain=TEXTS,
    odd=st.integers(0, 2) | st.none(),
    names=st.lists(TEXTS, max_size=2),
    key=TEXTS | st.none(),
    inner=st.builds(Single, value=TEXTS) | st.none(),
    note=TEXTS,
)


@given(EVERYTHING, EVERYTHING)
def test_shapes_are_equal_when_their_members_are(one: Everything, other: Everything) -> None:
    """Requests are keys of caches; fields outside the API do not count."""
    members = [(getattr(one, m.name), getattr(other, m.name)) for m in Everything.__members__]

    assert (one == other) == all(a == b for a, b in members)
    assert (one != other) == (not one == other)  # noqa: SIM201
    assert attrs.evolve(one, note="else") == one
    if one == other:
        assert hash(one) == hash(other)


def test_shapes_of_different_classes_are_never_equal() -> None:
    """Two operations without arguments are two operations."""

    @shape
    class Other(Shape):
        value: str

    @shape
    class Nothing(Shape):
        pass

    assert Single(value="a") != Other(value="a")
    assert Empty() != Nothing()
    assert Empty() == Empty()
    assert Single(value="a") != "a"
    assert len({Empty(), Nothing(), Single(value="a"), Other(value="a"), Empty()}) == 4


def test_shapes_are_frozen_and_have_no_room_for_more() -> None:
    """A misspelt assignment fails at once."""
    made: Any = Single(value="a")

    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        made.value = "b"
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        del made.value
    with pytest.raises(AttributeError):
        made.valu = "b"
    assert not hasattr(made, "__dict__")
    with pytest.raises(TypeError):
        Single("a")  # type: ignore[misc]


@given(EVERYTHING)
def test_shapes_pickle_and_copy(made: Everything) -> None:
    """T18: they cross process borders, with their secrets still hidden."""
    for same in (copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert same == made
        assert same.note == made.note
        assert repr(same) == repr(made)


@pytest.mark.parametrize("given_value", [["a"], ("a",), {"a"}, frozenset({"a"})], ids=repr)
def test_a_list_becomes_a_tuple(given_value: Any) -> None:
    """So that a request can be hashed, and does not change when the caller's list does."""
    assert Everything(plain="", names=given_value).names == ("a",)
    assert hash(Everything(plain="", names=given_value)) == hash(Everything(plain="", names=("a",)))


@pytest.mark.parametrize("given_value", ["a", 5, None, {"a": 1}], ids=repr)
def test_other_values_than_lists_stay_for_the_check_to_report(given_value: Any) -> None:
    """Without the check, text would become a list of characters."""
    assert Everything(plain="", names=given_value).names is given_value


def test_a_secret_text_is_wrapped() -> None:
    assert type(Everything(plain="", key="k").key) is Secret
    assert Everything(plain="").key is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=50)
@given(st.dictionaries(st.text(max_size=3), JSON, max_size=3))
def test_a_mapping_becomes_compact_json_text(document: dict[str, Any]) -> None:
    """Policies have a limit in characters, so no space is wasted; beyond ASCII all is escaped."""
    text: Any = Everything(plain="", text=document).text

    assert json.loads(text) == document
    assert text.isascii()
    assert text == json.dumps(document, separators=(",", ":"))


def test_text_is_sent_unchanged() -> None:
    """A policy that was measured, signed or reviewed as text must not change."""
    assert Everything(plain="", text='{ "a" : 1 }').text == '{ "a" : 1 }'


@pytest.mark.parametrize("kind", [dict, OrderedDict, types.MappingProxyType], ids=lambda kind: kind.__name__)
def test_any_mapping_is_taken_for_a_document(kind: Any) -> None:
    """The annotation says Mapping: a read-only view of a constant is one, at any depth."""
    statement = kind({"Effect": "Deny", "Action": "*", "Resource": "*"})

    made = Everything(plain="", text=kind({"Version": "2012-10-17", "Statement": [statement]}))

    assert made.text == '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}'


@pytest.mark.parametrize("policy", [{"a": object()}, {"a": {1}}, {"a": float}], ids=["object", "set", "class"])
def test_values_that_json_does_not_have_stay_unchanged(policy: Any) -> None:
    """For `violations` to name: an error from here would have the other members in its frames."""
    made = Everything(plain="", text=policy)

    assert made.text is policy
    assert list(violations(made)) == ["text must be JSON text or a mapping that JSON can express"]
