"""
Text and bytes that do not show themselves: keys, tokens, assertions, and bodies that carry them.

Crash reporters print the local variables of each frame. They call ``repr``, but they also cut long strings before
that, and they walk through every `Mapping`, ``dict`` and sequence. So a part of a `Secret` is a `Secret`, and what
holds the environment or a document is no mapping at run time.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar

if TYPE_CHECKING:
    # For type checkers these are mappings: a function that looks up names takes them as it takes a dict.
    _Text = Mapping[str, str]
    _Document = Mapping[str, Any]
else:
    _Text = _Document = object

TAKEN = "sts_async.taken"  # key of the metadata of a field: the types that it takes, where it keeps fewer
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

    Errors of parsers quote what they were given, and so do the frames in their tracebacks. The caller raises an error
    of its own after this call, outside of any handler. So the parser's error becomes neither its cause nor its context,
    which ``raise ... from None`` would only hide.
    """
    try:
        return function(*arguments, **named)
    except errors:
        return None


def redact(value: Any) -> Any:
    """Return *value* hidden when it is text, or bytes by mistake, and unchanged when it is neither."""
    if isinstance(value, str):
        return value if type(value) is Secret else Secret(value)
    return SecretBytes(value) if isinstance(value, bytes) and type(value) is not SecretBytes else value


def redact_userinfo(url: Any) -> Any:
    """Return a URL hidden when it may have a user and password in it, and unchanged when it has none."""
    return redact(url) if isinstance(url, str) and "@" in url else url


class Unshown:
    """
    The type of data that was given by mistake, without the data: a token in place of a function that returns one.

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
    """Return *value* when something can be asked for what it holds, and an `Unshown` in place of plain data."""
    is_data = isinstance(value, _DATA) and not callable(value) and not hasattr(value, "provide_credentials")
    return Unshown(type(value).__name__) if is_data else value


def kind_of(value: object) -> str:
    """Return the name of the type of *value*, of the data that it was when it is an `Unshown`."""
    return value.kind if isinstance(value, Unshown) else type(value).__name__


def hiding(**hide: Callable[[Any], Any]) -> Callable[[T], T]:
    """
    Return a decorator of a class whose constructor takes only keywords, for the arguments that may hold secrets.

    A converter of attrs comes too late: the frame of the constructor still has the argument as it was given.
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
    Have `help` show what the fields of an attrs class are declared as, or take where their metadata says that.

    Of a field with a converter, attrs shows what the converter takes, and ours take anything.
    """
    import attrs  # here: the command line's help imports this module, and nothing that takes long

    for field in attrs.fields(cls) if attrs.has(cls) else ():
        if field.init and field.converter is not None:
            cls.__init__.__annotations__[field.alias] = field.metadata.get(TAKEN, field.type)


def cover(value: Any) -> Any:
    """
    Return text or bytes hidden that may be a part of a secret, or have one in it: a header, a URL.

    `redact` is for what *is* secret. The tests watch that no text so marked appears in a message; a host may.
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
    """Have the methods that *cls* inherits from ``str`` or ``bytes`` return hidden text and bytes."""
    base = cls.__base__
    hide_one = partial(base.__new__, cls)
    for names, hide in ((_ONE, hide_one), (_SEVERAL, partial(_each_hidden, hide_one)), (_OTHER, cover)):
        for name in names:
            if hasattr(base, name) and name not in vars(cls):
                setattr(cls, name, _hiding(getattr(base, name), hide))
    # A method that is not known here may be one of a later Python: its parts are hidden until somebody looks at it.
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
    A string that its ``repr`` hides, and the ``repr`` of each part of it.

    It *is* the string for everything that needs the value (signing, sending, ``==``), but a log line with ``%r``, a
    printed container or a traceback that shows local variables has three asterisks in its place. ``str``, f-strings,
    ``json.dumps`` and ``"".join`` give the plain text.
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
    """Bytes that their ``repr`` hides, and that of each part of them, for bodies that carry a secret somewhere."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"

    __str__ = __repr__

    def __getitem__(self, index: Any) -> Any:
        part = bytes.__getitem__(self, index)  # no `super`, and one call less: aiohttp slices each body that it sends
        return SecretBytes(part) if isinstance(part, bytes) else part

    def __radd__(self, other: bytes) -> Any:
        return cover(other.__add__(self)) if isinstance(other, bytes) else NotImplemented


class HiddenDocument(_Document):
    """
    A JSON object that hides itself, and what is read out of it: it is in local variables while it is read.

    It has no `items`, and is no `Mapping` at run time: crash reporters walk through those.
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
        """Return the members as they are, for JSON."""
        return self._members

    def __repr__(self) -> str:
        return f"<a document of {len(self)} members>"


def _hidden(value: Any) -> Any:
    return HiddenDocument(value) if isinstance(value, dict) else value if value is None else cover(value)


class HiddenMapping(_Text):
    """
    A view of a mapping, such as the environment, that hides itself.

    It has names, and looks them up. It has no `items`, and is no `Mapping` at run time: crash reporters walk through
    those.
    """

    __slots__ = ("_hidden",)

    def __init__(self, hidden: Mapping[str, str]) -> None:
        self._hidden: Mapping[str, str] = hidden._hidden if isinstance(hidden, HiddenMapping) else hidden

    def __getitem__(self, name: str) -> str:
        return self._hidden[name]

    def get(self, name: str, default: Any = None) -> Any:
        """Return what is there under *name*, or *default*."""
        return self._hidden.get(name, default)

    def secrets(self, names: Iterable[str]) -> tuple[Secret | None, ...]:
        """Return what is there under each name, as a `Secret`, or None where nothing is."""
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
    """What holds secrets or connections and does not go to another process; `Credentials` and `Config` do."""

    __slots__ = ()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} cannot be pickled: pass its Credentials or Config, and make one there"
        )
