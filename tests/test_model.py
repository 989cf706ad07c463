"""The library against the API model inside the installed botocore: a member added there fails here, by name."""

import re
import unicodedata
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import attrs
import pytest
from botocore.loaders import Loader
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sts_async import errors, shapes
from sts_async._shape.constraints import Category, Length, Member, OneOf, Pattern, Range
from sts_async._shape.frozen_map import FrozenMap
from sts_async._shape.shape import Shape
from sts_async.errors import ServiceError
from sts_async.operations import API_VERSION, BY_REQUEST, GET_SCOPED_CREDENTIALS, NAMESPACE, OPERATIONS

MODEL = Loader().load_service_model("sts", "service-2", api_version=API_VERSION)
MODEL_SHAPES = MODEL["shapes"]

# What differs on purpose ---------------------------------------------------------------------------------------------

MORE_THAN_THE_MODEL = {
    # The API reference says it in words.
    "AssumeRoleRequest.PolicyArns": {"max": 10},
    "AssumeRoleWithSAMLRequest.PolicyArns": {"max": 10},
    "AssumeRoleWithWebIdentityRequest.PolicyArns": {"max": 10},
    "GetFederationTokenRequest.PolicyArns": {"max": 10},
    "GetWebIdentityTokenRequest.SigningAlgorithm": {"choices": ("RS256", "ES384")},
}
REQUIRED_HERE_ONLY = {
    # An answer without them is of no use (F64).
    "AssumeRoleResponse.Credentials",
    "AssumeRoleWithSAMLResponse.Credentials",
    "AssumeRoleWithWebIdentityResponse.Credentials",
    "AssumeRootResponse.Credentials",
    "DecodeAuthorizationMessageResponse.DecodedMessage",
    "GetAccessKeyInfoResponse.Account",
    "GetCallerIdentityResponse.Account",
    "GetCallerIdentityResponse.Arn",
    "GetCallerIdentityResponse.UserId",
    "GetDelegatedAccessTokenResponse.Credentials",
    "GetFederationTokenResponse.Credentials",
    "GetScopedCredentialsResponse.Credentials",
    "GetSessionTokenResponse.Credentials",
    "GetWebIdentityTokenResponse.Expiration",
    "GetWebIdentityTokenResponse.WebIdentityToken",
}
REQUIRED_IN_THE_MODEL_ONLY = {
    # Servers that are not AWS leave them out or misspell them (F64).
    "AssumedRoleUser.Arn",
    "AssumedRoleUser.AssumedRoleId",
    "FederatedUser.Arn",
    "FederatedUser.FederatedUserId",
    "ScopedSession.Arn",
    "ScopedSession.ScopedSessionId",
}
SECRET_HERE_ONLY = {
    # The model's trait leaves out what three measured clients print at DEBUG.
    "Credentials.SessionToken",
    "AssumeRoleRequest.TokenCode",
    "GetSessionTokenRequest.TokenCode",
    "ProvidedContext.ContextAssertion",
    "DecodeAuthorizationMessageRequest.EncodedMessage",
    "DecodeAuthorizationMessageResponse.DecodedMessage",
}

# Both sides as flat tables -------------------------------------------------------------------------------------------

OURS = {
    "Credentials" if cls is shapes.TemporaryCredentials else name: cls
    for name, cls in vars(shapes).items()
    if isinstance(cls, type)
    and issubclass(cls, Shape)
    and cls not in (Shape, shapes.Request, shapes.Response, shapes.Credentials)
}
THEIRS = {
    name: shape
    for name, shape in MODEL_SHAPES.items()
    if shape["type"] == "structure" and not shape.get("exception", False)
}
KINDS = {"string": str, "integer": int, "timestamp": datetime, "list": list, "map": FrozenMap}
INSIDE = {"list": ("member",), "map": ("key", "value")}

Facts = dict[str, Any]


def targets(name: str) -> list[str]:
    """Return the names of the shapes that a shape of the model is directly made of."""
    shape = MODEL_SHAPES[name]
    parts = [shape[part] for part in INSIDE.get(shape["type"], ())] + [*shape.get("members", {}).values()]
    return [part["shape"] for part in parts]


def reached_from(names: set[str]) -> set[str]:
    """Return the names of these shapes and of all that they are made of."""
    found, new = set(names), set(names)
    while new:
        new = {target for name in new for target in targets(name)} - found
        found |= new
    return found


RECEIVED = reached_from({operation["output"]["shape"] for operation in MODEL["operations"].values()}) & {*THEIRS}
SENT = reached_from({operation["input"]["shape"] for operation in MODEL["operations"].values()}) & {*THEIRS}
MARKED = {name for name, shape in MODEL_SHAPES.items() if shape.get("sensitive")}


def their_members(wanted: Callable[[str], bool]) -> dict[str, Facts]:
    return {
        f"{name}.{wire}": describe_theirs(member["shape"], received=name in RECEIVED)
        for name, shape in THEIRS.items()
        if wanted(name)
        for wire, member in shape["members"].items()
    }


def describe_theirs(name: str, *, received: bool) -> Facts:
    shape = MODEL_SHAPES[name]
    facts: Facts = {"kind": KINDS.get(shape["type"]) or OURS[name]}
    if shape["type"] in INSIDE:
        facts["items"] = describe_theirs(targets(name)[-1], received=received)
    if shape["type"] == "map":
        assert describe_theirs(targets(name)[0], received=received) == {"kind": str}, f"{name}: keys have a rule"
        facts["flattened"] = shape.get("flattened", False)
    if received:
        return facts
    facts |= {fact: shape[fact] for fact in ("min", "max") if fact in shape}
    if "pattern" in shape:
        facts["pattern"] = in_our_dialect(shape["pattern"])
    if "enum" in shape:
        facts["choices"] = tuple(shape["enum"])
    return facts


def in_our_dialect(pattern: str) -> Pattern | Category:
    r"""Return the rule for a model's pattern: `re` has no `\p{L}`, and reads ``\u10000`` as two characters."""
    categories = re.fullmatch(r"\[((?:\\p\{\w\})+)(.*)\][+*]", pattern)
    if categories:
        letters, others = categories.groups()
        return Category("".join(re.findall(r"\w(?=\})", letters)), others.replace("\\", ""))
    pattern = pattern.replace(r"\u10000-\u10FFFF", r"\U00010000-\U0010FFFF")
    return Pattern(pattern.replace(r"\u0009\u000A\u000D", r"\t\n\r"))


def our_members(wanted: Callable[[str], bool]) -> dict[str, Facts]:
    return {
        f"{name}.{member.wire}": describe_ours(member)
        for name, cls in OURS.items()
        if wanted(name)
        for member in cls.__members__
    }


def describe_ours(member: Member) -> Facts:
    facts: Facts = {"kind": member.kind}
    for constraint in member.constraints:
        match constraint:
            case Length(least, most) | Range(least, most, _):
                facts |= {"min": least} if member.kind is not list or least else {}
                facts |= {"max": most} if most is not None else {}
            case OneOf(choices):
                facts["choices"] = choices
            case _:
                facts["pattern"] = constraint
    if member.items:
        facts["items"] = describe_ours(member.items)
    if member.kind is FrozenMap:
        facts["flattened"] = member.flattened
    return facts


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    return [
        f"{name}: here {ours.get(name, 'absent')}, in the model {theirs.get(name, 'absent')}"
        for name in sorted({*ours, *theirs})
        if name not in ours or name not in theirs or ours[name] != theirs[name]
    ]


# Shapes --------------------------------------------------------------------------------------------------------------


def test_every_shape_of_the_model_is_here_and_no_other() -> None:
    """A structure that is added to the API has to be added here."""
    assert sorted({*OURS} ^ {*THEIRS}) == []


def test_requests_have_the_model_s_members_with_the_model_s_constraints() -> None:
    """Be strict in what is sent: neither a member nor a bound is missing, or ours alone, but for a short table."""
    theirs = their_members(lambda name: name not in RECEIVED)
    for name, more in MORE_THAN_THE_MODEL.items():
        assert not {*more} & {*theirs[name]}, f"{name}: the model says it now"
        theirs[name] |= more

    assert differences(our_members(lambda name: name not in RECEIVED), theirs) == []


def test_no_structure_is_both_sent_and_received() -> None:
    """Else it would be strict or liberal in the wrong direction."""
    assert sorted(SENT & RECEIVED) == []
    assert {*THEIRS} == SENT | RECEIVED


def test_responses_have_the_model_s_members_without_constraints() -> None:
    """Be liberal in what is received: names and kinds are the model's, bounds are the service's own business."""
    ours = our_members(RECEIVED.__contains__)

    assert differences(ours, their_members(RECEIVED.__contains__)) == []
    assert all({*facts} <= {"kind", "items", "flattened"} for facts in ours.values())


def test_required_members_are_the_model_s_but_for_two_tables() -> None:
    """F64: what an answer must have is decided here, what a request must have is decided by the model."""
    ours = {f"{name}.{member.wire}" for name, cls in OURS.items() for member in cls.__members__ if member.required}
    theirs = {f"{name}.{wire}" for name, shape in THEIRS.items() for wire in shape.get("required", ())}

    assert sorted(ours - theirs) == sorted(REQUIRED_HERE_ONLY)
    assert sorted(theirs - ours) == sorted(REQUIRED_IN_THE_MODEL_ONLY)
    assert {name.partition(".")[0] for name in REQUIRED_HERE_ONLY | REQUIRED_IN_THE_MODEL_ONLY} <= RECEIVED


def test_members_stand_in_the_order_of_the_model() -> None:
    """The body is written in this order, and so are the signatures of the coroutines."""
    ours = {name: [member.wire for member in cls.__members__] for name, cls in OURS.items()}

    assert differences(ours, {name: [*shape["members"]] for name, shape in THEIRS.items()}) == []


def test_secrets_are_the_sensitive_members_of_the_model_and_six_more() -> None:
    """T14, A5: session tokens and MFA codes are not marked in the model; of a marked structure, all is secret."""
    hidden = reached_from(MARKED & {*THEIRS}) & {*THEIRS}
    ours = {f"{name}.{member.wire}" for name, cls in OURS.items() for member in cls.__members__ if member.secret}
    theirs = {
        f"{name}.{wire}"
        for name, shape in THEIRS.items()
        for wire, member in shape["members"].items()
        if name in hidden or not MARKED.isdisjoint({member["shape"], *inside(member["shape"])})
    }

    assert sorted(theirs - ours) == []
    assert sorted(ours - theirs) == sorted(SECRET_HERE_ONLY)


def inside(name: str) -> list[str]:
    return targets(name) if MODEL_SHAPES[name]["type"] in INSIDE else []


def test_what_is_not_required_may_be_left_out() -> None:
    """An absent list is an empty tuple, so that it can be iterated; any other absent member is None."""
    wrong = [
        f"{cls.__name__}.{member.name}"
        for cls in OURS.values()
        for member in cls.__members__
        for field in [getattr(attrs.fields(cls), member.name)]
        if field.default != (attrs.NOTHING if member.required else () if member.kind is list else None)
    ]

    assert wrong == []


# Strings, by behaviour -----------------------------------------------------------------------------------------------


def string_members() -> Iterator[tuple[str, Member]]:
    """Yield the name of each string shape of the model that requests have, with our member for it."""
    seen: set[str] = set()
    for name, shape in THEIRS.items():
        for wire, member in shape["members"].items() if name not in RECEIVED else ():
            ours = next(m for m in OURS[name].__members__ if m.wire == wire)
            model_name = member["shape"]
            if MODEL_SHAPES[model_name]["type"] == "list":
                model_name, ours = MODEL_SHAPES[model_name]["member"]["shape"], ours.items
            if MODEL_SHAPES[model_name]["type"] == "string" and model_name not in seen:
                seen.add(model_name)
                yield model_name, ours


def accepted_by_the_model(shape: dict[str, Any], text: str) -> bool:
    """Judge *text* by a reading of the model's pattern that owes nothing to `re`."""
    if not shape.get("min", 0) <= len(text) <= shape.get("max", len(text)):
        return False
    if text not in shape.get("enum", (text,)):
        return False
    pattern = shape.get("pattern")
    if pattern is None:
        return True
    first, between, _ = pattern.partition("( ")
    if between:
        assert pattern == f"{first}( {first})*", f"a new form of pattern: {pattern}"
        return all(word and all(map(character_class(first), word)) for word in text.split(" "))
    return (bool(text) or pattern.endswith("*")) and all(map(character_class(pattern), text))


def character_class(pattern: str) -> Callable[[str], bool]:
    """Return the predicate for a pattern that is one class of characters in brackets."""
    inside = re.fullmatch(r"\[(.*)\][+*]", pattern)
    assert inside, f"a new form of pattern: {pattern}"
    tokens = re.findall(r"\\u10FFFF|\\u10000|\\u[0-9A-F]{4}|\\x[0-9A-F]{2}|\\p\{\w\}|\\.|.", inside[1])
    tests: list[Callable[[str], bool]] = []
    while tokens:
        token = tokens.pop(0)
        if token == r"\w":
            tests.append(lambda c: c.isascii() and (c.isalnum() or c == "_"))
        elif token == r"\d":
            tests.append(lambda c: c.isascii() and c.isdigit())
        elif token.startswith(r"\p"):
            tests.append(lambda c, letter=token[3]: unicodedata.category(c)[0] == letter)
        elif len(tokens) > 1 and tokens[0] == "-":
            low, high = point(token), point(tokens[1])
            del tokens[:2]
            tests.append(lambda c, low=low, high=high: low <= ord(c) <= high)
        else:
            only = point(token)
            tests.append(lambda c, only=only: ord(c) == only)
    return lambda c: any(test(c) for test in tests)


def point(token: str) -> int:
    digits = re.fullmatch(r"\\[ux](.+)", token)
    return int(digits[1], base=16) if digits else ord(token[-1])


STRINGS = dict(string_members())
BORDERS = "\t\n\r\x1f\x20\x7e\x7f\x80\x84\x85\x86\x9f\xa0\xff\u0100\ud7ff\ue000\ufffd\ufffe\uffff\U00010000\U0010ffff"
ALPHABET = st.one_of(
    st.sampled_from("aZ09_+=,.@-:/\\"),
    st.sampled_from(BORDERS + "\x00\x0b é\u0661\u0967\u2028\u00b2\u01c5\uff21'\"<&%"),
    st.characters(codec="utf-8"),
)


@pytest.mark.parametrize("name", sorted(STRINGS))
@settings(max_examples=60)
@given(data=st.data())
def test_a_text_is_accepted_here_when_the_model_accepts_it(name: str, data: st.DataObject) -> None:
    r"""T7: `\w` of the model is ASCII, a trailing newline is a character, and lengths are in characters."""
    shape, member = MODEL_SHAPES[name], STRINGS[name]
    bounds = {shape.get("min", 0), shape.get("max", 40)}
    length = data.draw(st.sampled_from(sorted({0, 1, 7, *(max(0, b + d) for b in bounds for d in (-1, 0, 1))})))
    choice = data.draw(st.sampled_from([*shape.get("enum", ()), ""]))
    plain = data.draw(st.sampled_from("a7"))
    part = data.draw(st.text(ALPHABET if data.draw(st.booleans()) else st.sampled_from("a0"), max_size=9))
    text = (part + plain * length)[-length:] if length else ""
    text = data.draw(st.sampled_from([text, text[::-1], choice or text]))

    here = all(constraint.accepts(text) for constraint in member.constraints)

    assert here == (accepted_by_the_model(shape, text) and text in extra_choices(name, text))


def extra_choices(name: str, text: str) -> tuple[str, ...]:
    return ("RS256", "ES384") if name == "jwtAlgorithmType" else (text,)


@given(text=st.text())
@example("\U00010000" * 20)
@example("\ufffe" * 20)
@example("\n" * 20)
def test_the_range_beyond_sixteen_bits_is_read_as_it_is_meant(text: str) -> None:
    r"""The model writes ``\u10000-\u10FFFF``; read literally it is U+1000, a range from "0" to U+10FF, and "FF"."""
    arn = STRINGS["arnType"]
    text = (text + "a" * 20)[:2048]
    not_xml = any(unicodedata.category(c) == "Cc" and c not in "\t\n\r\x85" for c in text) or {*"\ufffe\uffff"} & {
        *text
    }

    assert all(constraint.accepts(text) for constraint in arn.constraints) == (not not_xml)


# Operations ----------------------------------------------------------------------------------------------------------


def test_the_table_has_the_operations_of_the_model_with_their_shapes() -> None:
    """Names, shapes and wrappers are what goes over the wire."""
    ours = {o.name: (o.request.__name__, o.response.__name__, f"{o.name}Result") for o in OPERATIONS}
    theirs = {
        name: (o["input"]["shape"], o["output"]["shape"], o["output"]["resultWrapper"])
        for name, o in MODEL["operations"].items()
    }

    assert differences(ours, theirs) == []
    assert [o.name for o in OPERATIONS] == [*MODEL["operations"]]
    assert [*BY_REQUEST.values()] == [*OPERATIONS]


def test_operations_list_the_model_s_errors_in_its_order() -> None:
    """They are what the docstrings of the coroutines are held against."""
    ours = {o.name: [error.__name__ for error in o.errors] for o in OPERATIONS}
    theirs = {name: [e["shape"] for e in o.get("errors", ())] for name, o in MODEL["operations"].items()}

    assert differences(ours, theirs) == []


def test_two_operations_are_not_signed_and_the_model_says_which() -> None:
    """Trap 6: a web identity call must never resolve credentials first."""
    ours = {o.name: o.signed for o in OPERATIONS}

    assert differences(ours, {name: o.get("authtype") != "none" for name, o in MODEL["operations"].items()}) == []


def test_every_operation_is_a_post_to_the_root_in_the_query_protocol() -> None:
    """The engine does nothing else."""
    metadata = MODEL["metadata"]

    assert {(o["http"]["method"], o["http"]["requestUri"]) for o in MODEL["operations"].values()} == {("POST", "/")}
    assert "query" in metadata.get("protocols", [metadata["protocol"]])
    assert (metadata["apiVersion"], metadata["endpointPrefix"]) == (API_VERSION, "sts")
    assert metadata["xmlNamespace"] == NAMESPACE


def test_the_lifetime_that_counts_unasked_is_one_that_can_be_asked_for() -> None:
    """F50: an absurd expiration is brought down to it. Scoped credentials end with the session that asks for them."""
    for operation in OPERATIONS:
        durations = [m for m in operation.request.__members__ if m.name == "duration_seconds"]
        if operation is GET_SCOPED_CREDENTIALS:
            durations = []

        assert (operation.default_duration is None) == (not durations)
        assert all(c.accepts(operation.default_duration) for m in durations for c in m.constraints)


# Errors --------------------------------------------------------------------------------------------------------------


def test_modelled_errors_have_the_model_s_codes_and_statuses() -> None:
    """Eight of the fifteen codes differ from the names of their shapes."""
    ours = {
        name: (cls.modelled_code, cls.modelled_status)
        for name, cls in vars(errors).items()
        if isinstance(cls, type) and issubclass(cls, ServiceError) and cls.modelled_code
    }
    theirs = {
        name: (shape["error"]["code"], shape["error"]["httpStatusCode"])
        for name, shape in MODEL_SHAPES.items()
        if shape.get("exception")
    }

    assert differences(ours, theirs) == []
    assert (
        differences(
            {code: cls.__name__ for code, cls in ServiceError.by_code.items()},
            {shape["error"]["code"]: name for name, shape in MODEL_SHAPES.items() if shape.get("exception")},
        )
        == []
    )


def test_the_fault_is_the_client_s_when_the_model_says_the_sender_s() -> None:
    """An answer without a Type has to come to the same."""
    ours = {
        code: cls("text", code=code, status=cls.modelled_status or 0).fault == "client"
        for code, cls in ServiceError.by_code.items()
    }
    theirs = {
        shape["error"]["code"]: shape["error"]["senderFault"]
        for shape in MODEL_SHAPES.values()
        if shape.get("exception")
    }

    assert differences(ours, theirs) == []
