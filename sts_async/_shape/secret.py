"""
Text and bytes with a hidden ``repr``: keys, tokens, assertions, and bodies that contain them.

Crash reporters print the local variables of each frame. They call ``repr``, but they also truncate long strings first,
and they iterate over every `Mapping`, ``dict`` and sequence. So each part of a `Secret` is a `Secret`, and the objects
that hold the environment or a document are not mappings at run time.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, ParamSpec, TypeVar

if TYPE_CHECKING:
    # For type checkers, these are mappings, so that functions that take a mapping accept them.
    _Text = Mapping[str, str]
    _Document = Mapping[str, Any]
else:
    _Text = _Document = object

TAKEN = "sts_async.taken"  # key in the metadata of a field: the accepted types, if they differ from the stored type
S = TypeVar("S", bound=type)
T = TypeVar("T")
P = ParamSpec("P")


def attempt(
    errors: type[Exception] | tuple[type[Exception], ...],
    function: Callable[P, T],
    /,
    *arguments: P.args,
    **named: P.kwargs,
) -> T | None:
    """
    Return what *function* returns, or None if it raises one of *errors*.

    Errors of parsers quote their input, and so do the frames in their tracebacks. The caller raises an error
    of its own after this call, outside of any handler. So the parser's error becomes neither its cause nor its context,
    which ``raise ... from None`` would only hide.
    """
    try:
        return function(*arguments, **named)
    except errors:
        return None


def redact(value: Any) -> Any:
    """Return text as a `Secret`, bytes as `SecretBytes`, and other values unchanged."""
    if isinstance(value, str):
        return value if type(value) is Secret else Secret(value)
    return SecretBytes(value) if isinstance(value, bytes) and type(value) is not SecretBytes else value


def redact_userinfo(url: Any) -> Any:
    """Return a URL as a `Secret` if it can contain a user and a password; else unchanged."""
    return redact(url) if isinstance(url, str) and "@" in url else url


class Unshown:
    """
    Placeholder for an argument of the wrong type, without its data, such as a token instead of a function.

    Attributes:
        kind: Name of the type.
    """

    __slots__ = ("kind",)

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __repr__(self) -> str:
        return f"<a {self.kind}>"


_DATA = (str, bytes, bytearray, Mapping, list, tuple, set, frozenset)


def without_data(value: Any) -> Any:
    """Return an `Unshown` for plain data, which can be a secret; return providers and callables unchanged."""
    is_data = isinstance(value, _DATA) and not callable(value) and not hasattr(value, "provide_credentials")
    return Unshown(type(value).__name__) if is_data else value


def kind_of(value: object) -> str:
    """Return the name of the type of *value*; for an `Unshown`, the type of the data that it replaces."""
    return value.kind if isinstance(value, Unshown) else type(value).__name__


def hiding(**hide: Callable[[Any], Any]) -> Callable[[T], T]:
    """
    Return a class decorator that hides arguments of the constructor, which must be keyword-only.

    A converter of attrs is too late: the frame of the constructor still has the original argument.

    Args:
        hide: The function that hides each argument, by the name of the argument.
    """

    def decorate(cls: T) -> T:
        constructor: Any = cls.__init__  # type: ignore[misc]
        show_declared_types(cls)

        @wraps(constructor)
        def hidden(self: Any, **named: Any) -> None:
            for name in hide.keys() & named.keys():
                named[name] = hide[name](named[name])
            constructor(self, **named)

        cls.__init__ = hidden  # type: ignore[misc]
        return cls

    return decorate


def show_declared_types(cls: Any) -> None:
    """
    Set the annotations of an attrs constructor to the types that the fields declare, or that their metadata accepts.

    attrs derives the annotation from the converter of a field, and the converters here accept any type.
    """
    import attrs  # a late import: the help of the command line imports this module, and must start fast

    for field in attrs.fields(cls) if attrs.has(cls) else ():
        if field.init and field.converter is not None:
            cls.__init__.__annotations__[field.alias] = field.metadata.get(TAKEN, field.type)


def cover(value: Any) -> Any:
    """
    Return text or bytes hidden that can contain a secret or be a part of one, such as a header or a URL.

    `redact` is for secrets themselves: the tests check that their text never appears in a message. A host, which
    `cover` hides as a part of a URL, can appear.
    """
    if isinstance(value, str):
        return value if type(value) is Secret else str.__new__(Secret, value)
    return bytes.__new__(SecretBytes, value) if isinstance(value, bytes) else value


_ONE = (
    "__add__ __getitem__ __mod__ __mul__ __rmod__ __rmul__ capitalize casefold center expandtabs format format_map "
    "join ljust lower lstrip removeprefix removesuffix replace rjust rstrip strip swapcase title translate upper zfill"
).split()
_SEVERAL = "partition rpartition rsplit split splitlines".split()
_OTHER = "decode encode hex".split()
_PLAIN = (
    "count endswith find fromhex index maketrans rfind rindex startswith".split()
)  # return no part; so does `is...`


def _hides_its_parts(cls: S) -> S:
    """Make the methods that *cls* inherits from ``str`` or ``bytes`` return hidden text and bytes."""
    base = cls.__base__
    hide_one = partial(base.__new__, cls)
    for names, hide in ((_ONE, hide_one), (_SEVERAL, partial(_each_hidden, hide_one)), (_OTHER, cover)):
        for name in names:
            if hasattr(base, name) and name not in vars(cls):
                setattr(cls, name, _hiding(getattr(base, name), hide))
    # An unknown method can be one of a later Python. Its parts are hidden until it is added to one of the lists.
    for name in {*dir(base)}.difference(_ONE, _SEVERAL, _OTHER, _PLAIN, vars(cls)):
        if not name.startswith(("_", "is")):
            setattr(cls, name, _hiding(getattr(base, name), _all_hidden))
    return cls


def _hiding(method: Callable[..., Any], hide: Callable[[Any], Any]) -> Callable[..., Any]:
    def hidden(self: Any, /, *arguments: Any, **named: Any) -> Any:
        return hide(method(self, *arguments, **named))

    hidden.__name__, hidden.__qualname__, hidden.__doc__ = method.__name__, method.__qualname__, method.__doc__
    return hidden


def _each_hidden(hide: Callable[[Any], Any], parts: Any) -> Any:
    return type(parts)(map(hide, parts))


def _all_hidden(found: Any) -> Any:
    return _each_hidden(cover, found) if isinstance(found, list | tuple) else cover(found)


@_hides_its_parts
class Secret(str):
    """
    A string with a hidden ``repr``; parts of it are hidden too.

    It works like the string for signing, sending and ``==``. Log lines with ``%r``, printed containers, and tracebacks
    with local variables show ``'***'``. ``str``, f-strings, ``json.dumps`` and ``"".join`` return the plain text.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"

    def __iter__(self) -> Iterator[str]:
        return map(cover, super().__iter__())

    def __radd__(self, other: str) -> Any:
        return cover(other.__add__(self)) if isinstance(other, str) else NotImplemented


@_hides_its_parts
class SecretBytes(bytes):
    """Bytes with a hidden ``repr``, for bodies that contain a secret; parts of them are hidden too."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"

    __str__ = __repr__

    def __getitem__(self, index: Any) -> Any:
        # Without `super`, to save a call: aiohttp slices each body that it sends.
        part = bytes.__getitem__(self, index)
        return SecretBytes(part) if isinstance(part, bytes) else part

    def __radd__(self, other: bytes) -> Any:
        return cover(other.__add__(self)) if isinstance(other, bytes) else NotImplemented


class HiddenDocument(_Document):
    """
    A JSON object with a hidden ``repr``, for local variables. The values that it returns are hidden too.

    It has no `items` and is not a `Mapping` at run time, because crash reporters iterate over mappings.
    """

    __slots__ = ("_members",)

    def __init__(self, members: Mapping[str, Any] = {}, /, **changes: Any) -> None:
        self._members: dict[str, Any] = {
            **(members._members if isinstance(members, HiddenDocument) else members),
            **changes,
        }

    def __getitem__(self, name: str) -> Any:
        member = self._members[name]
        return str.__new__(Secret, member) if isinstance(member, str) else _hidden(member)

    def get(self, name: str, default: Any = None) -> Any:
        """Return the member *name*, or *default*: text as a `Secret`, an object as a `HiddenDocument`."""
        member = self._members.get(name, default)
        return str.__new__(Secret, member) if isinstance(member, str) else _hidden(member)

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __or__(self, other: Mapping[str, Any]) -> "HiddenDocument":
        return HiddenDocument({**self._members, **HiddenDocument(other)._members})

    def __eq__(self, other: object) -> bool:
        return self._members == other._members if isinstance(other, HiddenDocument) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def reveal(self) -> dict[str, Any]:
        """Return the members in plain form, for JSON."""
        return self._members

    def __repr__(self) -> str:
        return f"<a document of {len(self)} members>"


def _hidden(value: Any) -> Any:
    return HiddenDocument(value) if isinstance(value, dict) else value if value is None else cover(value)


class HiddenMapping(_Text):
    """
    A view of a mapping, such as the environment, with a hidden ``repr``.

    It supports look-ups and iteration over names. It has no `items` and is not a `Mapping` at run time, because crash
    reporters iterate over mappings.
    """

    __slots__ = ("_hidden",)

    def __init__(self, hidden: Mapping[str, str]) -> None:
        self._hidden: Mapping[str, str] = hidden._hidden if isinstance(hidden, HiddenMapping) else hidden

    def __getitem__(self, name: str) -> str:
        return self._hidden[name]

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of *name*, or *default* if it is missing."""
        return self._hidden.get(name, default)

    def secrets(self, names: Iterable[str]) -> tuple[Secret | None, ...]:
        """Return the value of each name as a `Secret`, or None if it is missing."""
        found = map(self._hidden.get, names)
        return tuple([value if value is None else Secret(value) for value in found])

    def __contains__(self, name: object) -> bool:
        return name in self._hidden

    def __iter__(self) -> Iterator[str]:
        return iter(self._hidden)

    def __len__(self) -> int:
        return len(self._hidden)

    def __repr__(self) -> str:
        return f"<{len(self)} hidden items>"


class Unpicklable:
    """
    Base class of objects that hold secrets or connections and cannot be pickled.

    Attributes:
        _instead: What a program passes to another process instead, for the message.
    """

    __slots__ = ()

    _instead: ClassVar[str] = "its Credentials or Config"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} cannot be pickled: pass {self._instead}, and make one there")
