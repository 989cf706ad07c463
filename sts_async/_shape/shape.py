"""
Shapes: frozen attrs classes with wire names, constraints and hidden secrets.

The annotations (`Annotated`) contain the constraints and are read at run time. So modules that define shapes must not
use ``from __future__ import annotations``.
"""

import collections.abc
import types
from collections.abc import Mapping
from operator import attrgetter
from typing import Annotated, Any, ClassVar, TypeVar, Union, dataclass_transform, get_args, get_origin

import attrs

from .constraints import Member
from .forms import Form, bring_into_form, form_of
from .frozen_map import FrozenMap
from .secret import redact, show_declared_types

T = TypeVar("T")


class Shape:
    """
    Base class of all shapes: redacted printing, comparison and hashing.

    This one implementation halves the import time of about thirty shapes. attrs would compile the methods for each
    class.
    """

    __slots__ = ("_hash",)
    __members__: ClassVar[tuple[Member, ...]] = ()
    _forms: ClassVar[tuple[Form, ...]] = ()
    _read_values: ClassVar[Any] = staticmethod(lambda shape: ())
    _hash: int

    def __repr__(self) -> str:
        shown = ", ".join(f"{member.name}={_shown(member, value)}" for member, value in self._given())
        return f"{type(self).__name__}({shown})"

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        read = self._read_values
        return bool(read(self) == read(other))

    def __hash__(self) -> int:
        # A request is the key of its credentials, and each use of them looks it up.
        try:
            return self._hash
        except AttributeError:
            computed = hash((type(self), self._values()))
            object.__setattr__(self, "_hash", computed)
            return computed

    def _has_secret(self) -> bool:
        """Return True if this shape or a nested one has a secret member with a value."""
        nested = [item for _, value in self._given() for item in _items_of(value)]
        return any(member.secret for member, _ in self._given()) or any(
            item._has_secret() for item in nested if isinstance(item, Shape)
        )

    def _values(self) -> tuple[Any, ...]:
        """Return the values of all members, in their order."""
        values: tuple[Any, ...] = self._read_values(self)
        return values

    def _given(self) -> list[tuple[Member, Any]]:
        """Return the members that have values, with the values."""
        both = zip(self.__members__, self._values(), strict=True)
        return [(member, value) for member, value in both if value is not None and value != ()]


_STRUCTURES = (Shape, FrozenMap)


def _shown(member: Member, value: Any) -> str:
    """Return *value* as text for ``repr``. A secret structure does not even show its members."""
    return "'***'" if member.secret and isinstance(value, _STRUCTURES) else repr(value)


def _items_of(value: Any) -> Any:
    """Return the items of a list or the values of a map; for any other value, a tuple with the value."""
    if isinstance(value, FrozenMap):
        return value.values()
    return value if isinstance(value, tuple) else (value,)


def member(*, default: Any = attrs.NOTHING, wire: str | None = None, flattened: bool = False) -> Any:
    """
    Declare a member with a wire name that does not follow the rule (``role_arn`` -> ``RoleArn``), or a flattened map.

    A flattened map is encoded as ``Name.1.key``, other maps as ``Name.entry.1.key``.
    """
    return attrs.field(default=default, metadata={"wire": wire, "flattened": flattened})


def secret(*, default: Any = attrs.NOTHING, wire: str | None = None) -> Any:
    """Declare a member with a hidden value. More members are secret than in the model, which omits session tokens."""
    return attrs.field(default=default, converter=redact, metadata={"wire": wire, "secret": True})


def document(*, default: Any = attrs.NOTHING) -> Any:
    """Declare a member that is JSON text. A mapping is converted to compact JSON; text is sent unchanged."""
    return attrs.field(default=default, metadata={"document": True})


def extra(*, default: Any) -> Any:
    """Declare a field that is not a member of the API shape. It is not compared, printed, encoded or decoded."""
    return attrs.field(default=default, metadata={"extra": True})


@dataclass_transform(
    frozen_default=True,
    kw_only_default=True,
    eq_default=True,
    field_specifiers=(attrs.field, member, secret, document, extra),
)
def shape(cls: type[T]) -> type[T]:
    """Return *cls* as a shape: an attrs class with members from its annotations."""
    members: list[Member] = []
    forms: list[Form] = []

    def transform(unfinished: Any, fields: list[Any]) -> list[Any]:
        found = [_with_member(field, members) for field in fields]
        forms.extend(form for member in members if (form := form_of(member)) is not None)
        # One call converts all members. A shape without forms gets no call. attrs looks for the hook after this.
        if forms:
            unfinished.__attrs_post_init__ = bring_into_form
        return found

    made = attrs.define(frozen=True, slots=True, kw_only=True, eq=False, repr=False, field_transformer=transform)(cls)
    made.__members__ = tuple(members)  # type: ignore[attr-defined]
    made._forms = tuple(forms)  # type: ignore[attr-defined]
    made._read_formed = staticmethod(_reader_of([form.name for form in forms]))  # type: ignore[attr-defined]
    show_declared_types(made)
    made._read_values = staticmethod(_reader_of([m.name for m in members]))  # type: ignore[attr-defined]
    return made


def _reader_of(names: list[str]) -> Any:
    if len(names) > 1:
        return attrgetter(*names)
    return lambda shape: tuple([getattr(shape, name) for name in names])


def _with_member(field: Any, members: list[Member]) -> Any:
    """Add the member that *field* declares to *members*, and return the field; a map gets a converter."""
    if field.metadata.get("extra"):
        return field
    wire = field.metadata.get("wire") or "".join(part.capitalize() for part in field.name.split("_"))
    found = _read_annotation(
        field.type,
        field.name,
        wire,
        required=field.default is attrs.NOTHING,
        secret=field.metadata.get("secret", False),
        flattened=field.metadata.get("flattened", False),
        document=field.metadata.get("document", False),
    )
    members.append(found)
    if found.kind is FrozenMap:
        return field.evolve(converter=_as_hidden_map if found.secret else _as_map)
    return field


def _read_annotation(annotation: Any, name: str, wire: str, **traits: bool) -> Member:
    """
    Return the member that an annotation describes.

    The annotation is ``Annotated[...]``, optional, a collection or map of these, or a plain type.
    """
    options = [option for option in _options(annotation) if option is not types.NoneType]
    constraints: list[Any] = []
    if get_origin(options[0]) is Annotated:
        core, *constraints = get_args(options[0])
        options = [*_options(core)]
    # A union has one type that is stored; values of the other types are converted to it.
    core = next((option for option in options if _is_kept(option)), options[0])
    items = None
    if get_origin(core) is FrozenMap:
        items = _read_annotation(get_args(core)[0], "", "value")
        core = FrozenMap
    elif get_origin(core) is not None:  # Collection[X], Sequence[X]
        items = _read_annotation(get_args(core)[0], "", "member")
        core = list
    return Member(name, wire, core, constraints=tuple(constraints), items=items, **traits)


def _is_kept(option: Any) -> bool:
    return get_origin(option) is collections.abc.Collection or (isinstance(option, type) and issubclass(option, Shape))


def _options(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _as_map(value: Any) -> Any:
    """Return a mapping as a `FrozenMap`, which is hashable. Other values stay unchanged, for `violations` to report."""
    return FrozenMap(value) if isinstance(value, Mapping) else value


def _as_hidden_map(value: Any) -> Any:
    """Return a mapping as a `FrozenMap` with hidden keys and values."""
    if isinstance(value, Mapping | FrozenMap):
        return FrozenMap({redact(key): redact(item) for key, item in value.items()})
    return redact(value)
