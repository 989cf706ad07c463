"""Maps: a value that cannot change, its way over the wire in both directions, and its constraints."""

import copy
import json
import pickle
from typing import Annotated, Any
from urllib.parse import parse_qsl

import pytest
from botocore.model import OperationModel, ServiceModel
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from trees import element_of, structure

from sts_async import shapes
from sts_async._protocol.converter import UNREADABLE, explain, unstructure
from sts_async._protocol.query import encode
from sts_async._protocol.xml import children, parse
from sts_async._shape.constraints import Length, violations
from sts_async._shape.frozen_map import FrozenMap
from sts_async._shape.secret import Secret, SecretBytes
from sts_async._shape.shape import Shape, member, secret, shape
from sts_async.errors import ParamValidationError
from sts_async.operations import Operation

SENTINEL = "SENTINEL-51ab"


@shape
class Inner(Shape):
    """Values of a map other than text."""

    name: str | None = None
    counts: FrozenMap[int] | None = None


@shape
class MapsResponse(shapes.Response):
    """Each form of a map that the protocol has."""

    plain: FrozenMap[str] | None = None
    flat: FrozenMap[str] | None = member(default=None, flattened=True)
    inner: FrozenMap[Inner] | None = None
    flat_inner: FrozenMap[Inner] | None = member(default=None, flattened=True)
    hidden: FrozenMap[str] | None = secret(default=None)


@shape
class MapsRequest(shapes.Request[MapsResponse]):
    """The same, and one with rules."""

    plain: FrozenMap[str] | None = None
    flat: FrozenMap[str] | None = member(default=None, flattened=True)
    inner: FrozenMap[Inner] | None = None
    flat_inner: FrozenMap[Inner] | None = member(default=None, flattened=True)
    ruled: Annotated[FrozenMap[Annotated[str, Length(1, 3)]], Length(1, 2)] | None = None


MAPS = Operation("Maps", MapsRequest, MapsResponse)
MEMBERS = {
    "Plain": {"shape": "Texts"},
    "Flat": {"shape": "FlatTexts"},
    "Inner": {"shape": "Inners"},
    "FlatInner": {"shape": "FlatInners"},
}


def map_of(value: str, **more: Any) -> dict[str, Any]:
    return {"type": "map", "key": {"shape": "Text"}, "value": {"shape": value}, **more}


MODEL = ServiceModel(
    {
        "metadata": {"protocol": "query", "apiVersion": "2011-06-15", "endpointPrefix": "sts", "serviceId": "STS"},
        "operations": {
            "Maps": {
                "name": "Maps",
                "http": {"method": "POST", "requestUri": "/"},
                "input": {"shape": "Members"},
                "output": {"shape": "Members", "resultWrapper": "MapsResult"},
            }
        },
        "shapes": {
            "Members": {"type": "structure", "members": MEMBERS},
            "Text": {"type": "string"},
            "Integer": {"type": "integer"},
            "Texts": map_of("Text"),
            "FlatTexts": map_of("Text", flattened=True),
            "Counts": map_of("Integer"),
            "Item": {"type": "structure", "members": {"Name": {"shape": "Text"}, "Counts": {"shape": "Counts"}}},
            "Inners": map_of("Item"),
            "FlatInners": map_of("Item", flattened=True),
        },
    }
)
OUTLINE: OperationModel = MODEL.operation_model("Maps")

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"))
KEY = TEXT | st.sampled_from(["entry", "key", "value", "1", "a.b", "&=+ <>"])
TEXTS = st.dictionaries(KEY, TEXT, max_size=3)
INNERS = st.dictionaries(
    KEY,
    st.fixed_dictionaries({}, optional={"Name": TEXT, "Counts": st.dictionaries(KEY, st.integers(), min_size=1)}),
    max_size=3,
)
TREES = st.fixed_dictionaries(
    {},
    optional={
        "Plain": TEXTS,
        "Flat": TEXTS.filter(bool),
        "Inner": INNERS,
        "FlatInner": INNERS.filter(bool),
    },
)


def inner_of(tree: dict[str, Any]) -> Inner:
    return Inner(name=tree.get("Name"), counts=tree.get("Counts"))


def request_of(tree: dict[str, Any]) -> MapsRequest:
    def inners(name: str) -> Any:
        return {key: inner_of(item) for key, item in tree[name].items()} if name in tree else None

    return MapsRequest(
        plain=tree.get("Plain"), flat=tree.get("Flat"), inner=inners("Inner"), flat_inner=inners("FlatInner")
    )


def element(name: str, value: Any) -> Any:
    made = etree.Element(name)
    if isinstance(value, dict):
        made.extend([child for key, item in value.items() for child in elements(key, item)])
    else:
        made.text = str(value)
    return made


def elements(name: str, value: Any) -> list[Any]:
    """Return the elements of a member, as the protocol's documentation describes them."""
    if name not in ("Plain", "Flat", "Inner", "FlatInner", "Counts"):
        return [element(name, value)]
    flat = name.startswith("Flat")
    entries = [element(name if flat else "entry", {"key": key, "value": item}) for key, item in value.items()]
    if flat:
        return entries
    made = etree.Element(name)
    made.extend(entries)
    return [made]


def document_of(tree: dict[str, Any]) -> bytes:
    root, result = etree.Element("MapsResponse"), etree.Element("MapsResult")
    result.extend([child for name, value in tree.items() for child in elements(name, value)])
    root.append(result)
    return bytes(etree.tostring(root))


# Over the wire


@settings(max_examples=100)
@given(TREES)
def test_a_body_with_maps_says_what_botocore_s_says(tree: dict[str, Any]) -> None:
    """A5: entries are numbered from one; those of a flattened map have no name of their own."""
    request = request_of(tree)
    pairs = parse_qsl(encode(MAPS, request, validate=False).decode(), keep_blank_values=True, strict_parsing=True)
    theirs = create_serializer("query", False).serialize_to_request(tree, OUTLINE)["body"]

    assert dict(pairs) == {name: str(value) for name, value in theirs.items()}
    assert len(pairs) == len(theirs)


@settings(max_examples=100)
@given(TREES)
def test_an_answer_with_maps_says_what_botocore_says_that_it_says(tree: dict[str, Any]) -> None:
    """A5: both forms, with any text as key and value."""
    document = document_of(tree)
    theirs = create_parser("query").parse({"status_code": 200, "headers": {}, "body": document}, OUTLINE.output_shape)
    theirs.pop("ResponseMetadata")
    result = children(parse(SecretBytes(document))[1])["MapsResult"]

    found = structure(result, MapsResponse)

    assert unstructure(found) == theirs
    assert structure(result, MapsResponse) == found
    assert hash(structure(result, MapsResponse)) == hash(found)
    assert json.loads(json.dumps(unstructure(found))) == unstructure(found)


def test_the_answer_that_brought_maps_is_read() -> None:
    """A5: AssumeRoleWithWebIdentity and AssumeRoleWithSAML say on whose behalf the session acts."""
    entries = "".join(
        f"<entry><key>{key}</key><value>{SENTINEL}-{key}</value></entry>" for key in ("department", "device")
    )
    _, element = parse(
        SecretBytes(
            f"<TrustedIdentityPropagationContext><OriginIdentity><Subject>{SENTINEL}</Subject><SubjectType>user"
            f"</SubjectType></OriginIdentity><TransactionContext><IdentityProvider>{entries}</IdentityProvider>"
            "</TransactionContext></TrustedIdentityPropagationContext>".encode()
        )
    )

    found = structure(element, shapes.TrustedIdentityPropagationContext)

    assert found == shapes.TrustedIdentityPropagationContext(
        origin_identity=shapes.OriginIdentity(subject=SENTINEL, subject_type="user"),
        transaction_context=shapes.TransactionContext(
            identity_provider=FrozenMap({"department": f"{SENTINEL}-department", "device": f"{SENTINEL}-device"})
        ),
    )
    assert SENTINEL not in repr(found)
    assert SENTINEL not in repr(found.transaction_context)


PAIR = {"key": "k", "value": "v"}


@pytest.mark.parametrize(
    ("tree", "entries"),
    [
        ({"Plain": ""}, {}),
        ({"Plain": "\n  "}, {}),
        ({"Plain": {"other": "x"}}, {}),
        ({"Plain": {"entry": PAIR}}, {"k": "v"}),
        ({"Plain": {"entry": [PAIR, {"key": "k", "value": "later"}]}}, {"k": "later"}),
        ({"Plain": {"entry": [{**PAIR, "note": "x"}], "note": "x"}}, {"k": "v"}),
    ],
    ids=str,
)
def test_what_an_answer_adds_to_a_map_is_passed_over(tree: Any, entries: dict[str, str]) -> None:
    """Be liberal in what is received: an element without entries is a map without entries, an unknown child is none."""
    assert structure(element_of(tree), MapsResponse).plain == entries


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Flat", "text"),
        ("Flat", {"entry": PAIR}),
        ("Flat", [PAIR, {"key": "k"}]),
        ("Inner", {"entry": {"key": "k", "value": "text"}}),
        *(
            ("Plain", value)
            for value in (
                *("text", ["", ""], {"entry": "text"}, {"entry": {"key": "k"}}, {"entry": {"value": "v"}}),
                *(
                    {"entry": {"key": ["a", "b"], "value": "v"}},
                    {"entry": {"key": "k", "value": {"x": ""}}},
                    {"entry": [PAIR, ""]},
                ),
            )
        ),
    ],
    ids=str,
)
def test_what_is_no_map_is_unreadable_and_explained(name: str, value: Any) -> None:
    """By the member, without anything that was in it."""
    with pytest.raises(UNREADABLE):
        structure(element_of({name: value}), MapsResponse)

    assert explain(element_of({name: value}), MapsResponse, "Result") == f"Result.{name} is unreadable"


def test_a_good_map_is_not_the_explanation() -> None:
    """Each member is tried, in the order of the API model."""
    tree = {"Plain": {"entry": PAIR}, "Flat": [PAIR, PAIR], "FlatInner": {"entry": ""}}

    assert explain(element_of(tree), MapsResponse, "Result") == "Result.FlatInner is unreadable"


# As a value


@given(TEXTS, TEXTS)
def test_a_map_is_read_like_a_dict(items: dict[str, str], others: dict[str, str]) -> None:
    made = FrozenMap(items)

    assert dict(made) == items == made
    assert (made == others) == (items == others) == (made == FrozenMap(others))
    assert made != tuple(items)
    assert ([*made], [*made.values()], [*made.items()]) == ([*items], [*items.values()], [*items.items()])
    assert [made[key] for key in made] == [made.get(key) for key in items] == [*items.values()]
    assert (len(made), "no such key" in made, made.get("no such key", 7)) == (len(items), False, 7)
    assert hash(made) == hash(FrozenMap(reversed(items.items())))
    for same in (copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made)), FrozenMap(made)):
        assert same == made
        assert repr(same) == repr(made) == f"FrozenMap({items!r})"


def test_a_map_does_not_change_with_its_source() -> None:
    """The caller's dict can change later; the request, which is a key of a cache, cannot."""
    items = {"a": "b"}
    request = MapsRequest(plain=items, inner={"x": Inner(name="y")})  # type: ignore[arg-type]
    before = hash(request)
    items.clear()

    assert request.plain == {"a": "b"}
    assert hash(request) == before
    with pytest.raises(TypeError, match="item assignment"):
        request.plain["a"] = "c"  # type: ignore[index]


def test_a_secret_in_a_map_is_found_and_hidden() -> None:
    """Also one that is a member of what the map holds."""

    @shape
    class Keeper(Shape):
        """Something with a secret."""

        word: str = secret()

    @shape
    class Holder(Shape):
        """A map of such."""

        keepers: FrozenMap[Keeper]

    held = Holder(keepers={"a": Keeper(word=SENTINEL)})  # type: ignore[arg-type]
    hidden = MapsResponse(hidden={SENTINEL: SENTINEL})  # type: ignore[arg-type]

    for made in (held, hidden):
        assert made._has_secret()
        assert SENTINEL not in repr(made)
    assert not MapsResponse(plain=FrozenMap({"a": "b"}))._has_secret()
    assert hidden.hidden is not None
    assert [type(text) for pair in hidden.hidden.items() for text in pair] == [Secret, Secret]
    assert type(MapsResponse(hidden=SENTINEL).hidden) is Secret  # type: ignore[arg-type]


# When it is sent


@pytest.mark.parametrize(
    ("given_members", "lines"),
    [
        ({"ruled": {"a": "b"}, "plain": {}}, []),
        ({"ruled": {}}, ["ruled must have a length of 1 to 2"]),
        ({"ruled": {"a": f"{SENTINEL}"}}, ["ruled.values[0] must have a length of 1 to 3"]),
        ({"ruled": {"a": "b", 7: 8}}, ["ruled.keys[1] must be text", "ruled.values[1] must be text"]),
        ({"plain": {"\ud800": ""}}, ["plain.keys[0] must be text that UTF-8 can encode"]),
        ({"plain": [SENTINEL]}, ["plain must be a mapping"]),
        ({"inner": {"a": Inner(counts={"b": "c"})}}, ["inner.values[0].counts.values[0] must be an integer"]),  # type: ignore[arg-type]
        ({"inner": {"a": SENTINEL}}, ["inner.values[0] must be a Inner(name=..., counts=...)"]),
    ],
    ids=ascii,
)
def test_a_map_keeps_the_rules_of_its_values(given_members: dict[str, Any], lines: list[str]) -> None:
    """Entries are numbered, since a key can be as secret as its value."""
    assert [*violations(MapsRequest(**given_members))] == lines


def test_a_map_that_cannot_be_written_is_one_error() -> None:
    """Without the text."""
    with pytest.raises(ParamValidationError) as caught:
        encode(MAPS, MapsRequest(plain=FrozenMap({"\ud800": SENTINEL})), validate=False)

    assert SENTINEL not in str(caught.value)
