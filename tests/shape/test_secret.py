import copy
import inspect
import json
import pickle
import pprint
import traceback
from collections.abc import Mapping, Sequence, Set
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sts_async._shape import secret as secret_module
from sts_async._shape.secret import (
    HiddenDocument,
    HiddenMapping,
    Secret,
    SecretBytes,
    _hides_its_parts,
    attempt,
    hiding,
    kind_of,
    redact,
    redact_userinfo,
    without_data,
)
from sts_async.errors import ParamValidationError

SENTINEL = "SENTINEL-71aa"


@given(st.text())
def test_a_secret_is_its_text_for_everything_but_printing(text: str) -> None:
    """Signing, sending and comparing need no unwrapping, so it cannot be forgotten."""
    secret = Secret(text)

    assert secret == text
    assert hash(secret) == hash(text)
    assert secret + "x" == text + "x"
    assert {secret: 1} == {text: 1}
    assert repr(secret) == "'***'"


# -- The parts of a secret ----------------------------------------------------------------------------------------

ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "__add__": ("x",),
    "__getitem__": (slice(0, 80),),
    "__mod__": ((),),
    "__mul__": (2,),
    "__radd__": ("x",),
    "__rmod__": ("%s",),
    "__rmul__": (2,),
    "center": (40,),
    "format": (),
    "format_map": ({},),
    "join": (("a", "b"),),
    "ljust": (40,),
    "partition": ("-",),
    "removeprefix": ("SE",),
    "removesuffix": ("aa",),
    "replace": ("7", "8"),
    "rjust": (40,),
    "rpartition": ("-",),
    "translate": ({},),
    "zfill": (40,),
}
"""Arguments for the methods that need some; for bytes, text becomes bytes."""
TELLING = {"__str__", "__format__", "__getnewargs__", "__repr__", "__doc__", "__bytes__"}
"""Methods that give plain text, on purpose or because it tells nothing."""


def parts_of(value: Any, base: Any) -> dict[str, list[Any]]:
    """Return the text and bytes that each method of *base*, and iterating, makes of *value*."""
    made: dict[str, Any] = {"iteration": list(value)}
    for name in sorted({*vars(base), "__radd__"} - TELLING - {"__new__"}):
        arguments = ARGUMENTS.get(name, ())
        if base is bytes:
            arguments = {"__rmod__": (b"%b",), "translate": (None,)}.get(name) or as_bytes(arguments)
        try:
            made[name] = getattr(value, name)(*arguments)
        except (TypeError, AttributeError):
            assert name not in ARGUMENTS or not hasattr(value, name), name
    listed = {name: part if isinstance(part, list | tuple) else [part] for name, part in made.items()}
    return {name: parts for name, parts in listed.items() if isinstance(parts[0], str | bytes)}


def as_bytes(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(as_bytes, value))
    return value.encode() if isinstance(value, str) else value


@pytest.mark.parametrize("plain", [SENTINEL * 9, SENTINEL.encode() * 9], ids=["text", "bytes"])
def test_each_part_of_a_secret_is_hidden_and_equals_the_part_of_plain_text(plain: str | bytes) -> None:
    """G6: rich and structlog show ``value[:80]!r``. Each method of the base class is called, those to come too."""
    made = parts_of(redact(plain), type(plain))

    assert len(made) > 25
    for name, parts in made.items():
        assert {type(part) for part in parts} <= {Secret, SecretBytes}, name
        assert SENTINEL[:4] not in repr(parts), name
    assert made == parts_of(plain, type(plain)) | {
        "__radd__": [as_bytes("x") + plain if isinstance(plain, bytes) else "x" + plain]
    }


def test_a_secret_joined_to_plain_text_hides_the_whole() -> None:
    """G6: what fails with text fails with a secret."""
    secret, body = Secret("ab-cd"), SecretBytes(b"ab-cd")

    assert [type(one) for one in ("x" + secret, secret + "x", secret * 2, 2 * secret)] == [Secret] * 4
    assert type("%s" % secret) is Secret  # noqa: UP031 - the operator is what is tested
    assert [type(one) for one in (b"x" + body, body + b"x", body[1:], body.decode())] == [SecretBytes] * 3 + [Secret]
    assert (body[0], [*body]) == (97, [97, 98, 45, 99, 100])
    assert bytearray(b"x") + body == b"xab-cd"
    assert (type(secret.encode()), type(body.hex())) == (SecretBytes, Secret)
    assert json.loads(json.dumps([secret])) == ["ab-cd"]
    assert "".join([secret, secret]) == f"{secret}{secret:5}" == "ab-cdab-cd"
    for fails in (lambda: 5 + secret, lambda: secret + 5, lambda: 5 + body, lambda: secret[9]):  # type: ignore[operator]
        with pytest.raises((TypeError, IndexError)):
            fails()


@given(st.binary())
def test_secret_bytes_print_their_length_only(content: bytes) -> None:
    """`str` too: there is no decoding that anybody wants by accident."""
    secret = SecretBytes(content)

    assert secret == content
    assert hash(secret) == hash(content)
    assert repr(secret) == str(secret) == f"{secret}" == f"{secret!s}" == f"<{len(content)} bytes>"


@pytest.mark.parametrize("secret", [Secret(SENTINEL), SecretBytes(SENTINEL.encode())], ids=["text", "bytes"])
def test_containers_and_tracebacks_show_asterisks(secret: object) -> None:
    """T14, T16: what holds a secret does not have to know."""

    def fail(held: object) -> None:
        raise ValueError

    with pytest.raises(ValueError) as caught:
        fail({"key": [secret]})

    shown = [f"{[secret]}", f"{secret!r}", pprint.pformat({"key": (secret,)}), pprint.pformat(secret)]
    shown += traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()
    assert any("held" in line for line in shown)
    assert not any(SENTINEL in line for line in shown)


@pytest.mark.parametrize("secret", [Secret(SENTINEL), SecretBytes(SENTINEL.encode())], ids=["text", "bytes"])
def test_a_secret_stays_one_when_it_is_copied_or_pickled(secret: object) -> None:
    """T18: workers get credentials through pipes."""
    for same in (copy.copy(secret), copy.deepcopy(secret), pickle.loads(pickle.dumps(secret))):
        assert same == secret
        assert type(same) is type(secret)


def test_concealing_changes_text_only() -> None:
    """Values of another type stay for the check of the request to report."""
    assert type(redact("a")) is Secret
    assert redact("a") == "a"
    assert redact(None) is None
    assert redact(5) == 5


def test_a_mapping_is_hidden_and_can_be_read() -> None:
    hidden = HiddenMapping({"AWS_SECRET_ACCESS_KEY": "SENTINEL-secret"})

    assert "SENTINEL" not in f"{hidden!r} {hidden} {[hidden]}"
    assert hidden["AWS_SECRET_ACCESS_KEY"] == hidden.get("AWS_SECRET_ACCESS_KEY") == "SENTINEL-secret"
    assert hidden.get("AWS_PROFILE", "none") == "none"
    assert "AWS_SECRET_ACCESS_KEY" in hidden
    assert "AWS_PROFILE" not in hidden
    assert [*hidden] == ["AWS_SECRET_ACCESS_KEY"]
    assert len(hidden) == 1


def test_a_document_is_hidden_and_stays_hidden_when_it_is_merged() -> None:
    merged = HiddenDocument(a="SENTINEL", b=1) | {"a": "SENTINEL-2", "c": {"d": "SENTINEL-3"}}

    assert merged.reveal() == {"a": "SENTINEL-2", "b": 1, "c": {"d": "SENTINEL-3"}}
    assert merged == HiddenDocument(merged)
    assert f"{merged!r} {merged}" == "<a document of 3 members> <a document of 3 members>"
    assert repr([merged["a"], merged.get("b"), merged["c"], merged["c"].get("d"), merged.get("e")]) == (
        "['***', 1, <a document of 1 members>, '***', None]"
    )
    assert "c" in merged
    assert "e" not in merged
    assert [*merged] == ["a", "b", "c"]


@pytest.mark.parametrize("hidden", [HiddenMapping({"a": "SENTINEL"}), HiddenDocument(a="SENTINEL")], ids=["m", "d"])
def test_hidden_objects_are_not_iterated_by_crash_reporters(hidden: object) -> None:
    """G6: Sentry walks through each Mapping, set and sequence, rich through each dict and list, by their types."""
    assert not isinstance(hidden, (Mapping, Set, Sequence))
    assert not {"items", "keys", "values"} & set(dir(hidden))


# -- Arguments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown"),
    [("https://h/", "'https://h/'"), (f"https://u:{SENTINEL}@h/", "'***'"), (None, "None"), (5, "5")],
)
def test_a_url_is_hidden_when_it_may_have_a_password(url: Any, shown: str) -> None:
    """G6: a URL without one is what a reader of a traceback wants to see."""
    assert redact_userinfo(url) == url
    assert repr(redact_userinfo(url)) == shown


class CallableList(list):  # type: ignore[type-arg]
    def __call__(self) -> None: ...


@pytest.mark.parametrize("data", [SENTINEL, SENTINEL.encode(), {"a": SENTINEL}, [SENTINEL], (SENTINEL,), {SENTINEL}])
def test_data_that_was_given_by_mistake_leaves_its_type_only(data: Any) -> None:
    """G6: a dict of boto3 where credentials are wanted, a token where a function is wanted that returns one."""
    left = without_data(data)

    assert repr(left) == f"<a {kind_of(data)}>"
    assert kind_of(left) == type(data).__name__
    assert SENTINEL not in repr([getattr(left, name) for name in type(left).__slots__])


@pytest.mark.parametrize(
    "source", [print, CallableList(), None, object()], ids=["function", "callable", "none", "object"]
)
def test_providers_are_returned_unchanged(source: Any) -> None:
    assert without_data(source) is source


def test_a_constructor_sees_its_arguments_hidden() -> None:
    """G6: the frame of a constructor that attrs writes has the argument, whatever a converter makes of it."""
    seen = []

    @hiding(proxy=redact)
    class Options:
        def __init__(self, *, proxy: str | None = None, other: str = "") -> None:
            """Options."""
            seen.append((proxy, other))

    Options(proxy=SENTINEL, other="x")
    Options()

    assert repr(seen) == "[('***', 'x'), (None, '')]"
    assert str(inspect.signature(Options)) == "(*, proxy: str | None = None, other: str = '') -> None"
    assert Options.__init__.__doc__ == "Options."


def test_an_attempt_that_fails_leaves_no_trace_of_what_was_read() -> None:
    """The error that is raised in its place has no context, which would quote the text and show the parser's frames."""

    def read(text: str) -> int:
        if (number := attempt(ValueError, int, text)) is None:
            raise ParamValidationError("X", ["must be a number"])
        return number

    with pytest.raises(ParamValidationError) as caught:
        read("SENTINEL")

    assert (caught.value.__context__, caught.value.__cause__) == (None, None)
    assert read("3") == 3
    assert attempt((ValueError, KeyError), int, "ff", base=16) == 255
    with pytest.raises(TypeError):
        attempt(ValueError, len, 3)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [str, bytes])
def test_a_method_of_a_later_python_hides_its_parts(kind: type[Any]) -> None:
    """A list of methods that is not complete any more must not show a secret."""

    class Later(kind):  # type: ignore[misc]
        def halves(self) -> list[Any]:
            return [self[:4], self[4:]]

        def first(self) -> Any:
            return self[:4]

        def number(self) -> int:
            return 5

    @_hides_its_parts
    class Hidden(Later):
        def __repr__(self) -> str:
            return "***"

    given = Hidden(SENTINEL if kind is str else SENTINEL.encode())

    assert "SENT" not in f"{given.halves()!r}{given.first()!r}"
    assert (given.number(), len(given.halves()), given.first() + given[4:]) == (5, 2, given)


@pytest.mark.parametrize("kind", [Secret, SecretBytes])
def test_every_method_that_text_or_bytes_have_is_known(kind: type[Any]) -> None:
    """In each supported Python: an unknown one would be slower, and hidden in a general way."""
    own = {name for name in vars(kind) if not name.startswith("_")}
    plain = {*secret_module._PLAIN} | {name for name in dir(kind) if name.startswith("is")}

    assert {name for name in dir(kind.__base__) if not name.startswith("_")} <= own | plain
    assert own <= {*secret_module._ONE, *secret_module._SEVERAL, *secret_module._OTHER}
