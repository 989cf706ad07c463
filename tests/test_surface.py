"""
The public surface is closed: a program can import every type that it is given, gives or annotates.

A type is public if a documented place lists it: the package itself, or one of its public modules. Their signatures are
walked from there: parameters, results, attributes of classes. Types of the standard library and of declared
dependencies have documented places of their own.
"""

import ast
import importlib
import inspect
import sys
import tomllib
import types
import typing
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import attrs
import pytest

import sts_async
from sts_async import protocols

PACKAGE = Path(sts_async.__file__).parent
PLACES = sorted(
    {"sts_async"}
    | {f"sts_async.{path.stem}" for path in PACKAGE.glob("[a-z]*.py")}
    | {f"sts_async.{path.parent.name}" for path in PACKAGE.glob("[a-z]*/__init__.py")}
    - {"sts_async.cli"}  # a program, which nobody imports
)
CALLED = {"__init__", "__new__", "__call__", "__aenter__", "__aexit__", "__enter__", "__exit__"}


def listed(place: str) -> dict[str, Any]:
    """Return what a documented place has, by name: its ``__all__``, or what it defines without an underscore."""
    module = importlib.import_module(place)
    names = getattr(module, "__all__", None)
    if names is None:
        names = [
            name
            for name, value in vars(module).items()
            if not name.startswith("_") and getattr(value, "__module__", None) == place
        ]
    return {name: getattr(module, name) for name in names}


PUBLIC = {place: listed(place) for place in PLACES}
KNOWN = {id(value) for values in PUBLIC.values() for value in values.values()}


def declared_packages() -> set[str]:
    """Return the packages that pyproject.toml names, as they are imported."""
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    names = {line.partition(";")[0].split("[")[0].split("=")[0].split(">")[0].split("<")[0].strip() for line in lines}
    return {name.partition("-api")[0].partition("-sdk")[0].replace("-", "_") for name in names}


ALLOWED = {"attr", *declared_packages()}  # the module of some classes of attrs is `attr`


@cache
def names_for_type_checkers(module: str) -> dict[str, Any]:
    """Return what a module imports for type checkers alone."""
    source = Path(sys.modules[module].__file__ or "").read_text()
    found: dict[str, Any] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            block = ast.unparse(ast.Module([one for one in node.body if isinstance(one, ast.ImportFrom)], []))
            exec(block, {"__package__": _package_of(module)}, found)
    return found


def _package_of(module: str) -> str:
    return module if hasattr(sys.modules[module], "__path__") else module.rpartition(".")[0]


def hints(thing: Any) -> dict[str, Any]:
    """Return the types in a signature, or of the attributes of a class, by name; without those that are private."""
    owners = thing.__mro__ if isinstance(thing, type) else [thing]
    names: dict[str, Any] = {}
    for owner in owners:
        if owner.__module__.startswith("sts_async"):
            # The generated constructor of an attrs class does not see the names of its module.
            names |= vars(sys.modules[owner.__module__]) | names_for_type_checkers(owner.__module__)
    found = typing.get_type_hints(thing, localns=names)
    return {name: kind for name, kind in found.items() if not name.startswith("_")}


def signatures(place: str, name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield each type that stands in a public signature of *value*, with where it stands."""
    if isinstance(value, type):
        yield from ((f"{place}.{name}.{attribute}", kind) for attribute, kind in hints(value).items())
        for method in dir(value):
            if method.startswith("_") and method not in CALLED:
                continue
            function = inspect.getattr_static(value, method)
            function = getattr(function, "__func__", function)
            function = function.fget if isinstance(function, property) else function
            function = inspect.unwrap(function) if isinstance(function, types.FunctionType) else function
            if isinstance(function, types.FunctionType) and function.__module__.startswith("sts_async"):
                for argument, kind in hints(function).items():
                    yield f"{place}.{name}.{method}({argument})", kind
    elif isinstance(value, types.FunctionType):
        yield from ((f"{place}.{name}({argument})", kind) for argument, kind in hints(value).items())
    elif typing.get_origin(value) is not None or isinstance(value, types.UnionType):
        yield f"{place}.{name}", value
    else:
        yield f"{place}.{name}", type(value)


def classes_in(kind: Any) -> Iterator[type]:
    """Yield each class in a type: ``list[A | None]`` has three."""
    if isinstance(kind, list | tuple):
        for part in kind:
            yield from classes_in(part)
    elif isinstance(kind, typing.TypeVar):
        yield from classes_in([kind.__bound__, kind.__constraints__])
    elif typing.get_origin(kind) is typing.Literal:
        return
    elif typing.get_origin(kind) is typing.Annotated:
        yield from classes_in(typing.get_args(kind)[0])
    elif typing.get_origin(kind) is not None:
        yield from classes_in([typing.get_origin(kind), typing.get_args(kind)])
    elif isinstance(kind, type):
        yield kind


def is_public(cls: type) -> bool:
    """Return True if a program can import *cls* from a documented place."""
    top = cls.__module__.partition(".")[0]
    return id(cls) in KNOWN if top == "sts_async" else top in sys.stdlib_module_names or top in ALLOWED


def private_types(place: str) -> list[str]:
    """Return the private types in the signatures of a place, with where they stand."""
    return [
        f"{where}: {cls.__module__}.{cls.__qualname__}"
        for name, value in PUBLIC[place].items()
        for where, kind in signatures(place, name, value)
        for cls in classes_in(kind)
        if not is_public(cls)
    ]


def test_the_documented_places_are_found() -> None:
    """An empty list would satisfy every rule."""
    words = "calls client config credentials doctor errors events handlers observers operations protocols retries"

    assert {f"sts_async.{word}" for word in f"{words} shapes sigv4 testing".split()} <= {*PLACES}
    assert all(PUBLIC.values())


@pytest.mark.parametrize("place", PLACES)
def test_every_type_in_a_public_signature_is_public(place: str) -> None:
    """A program that writes such code needs no private import for its annotations or its values."""
    assert private_types(place) == []


class _Private:
    pass


@attrs.frozen
class Careless:
    """A public class with private types at each place that is walked."""

    attribute: dict[str, list[_Private]]

    @property
    def read(self) -> _Private | None:
        return None

    def method(self, argument: typing.Annotated[_Private, "checked"]) -> None: ...

    @classmethod
    def make(cls) -> "typing.Callable[[_Private], int]":
        raise NotImplementedError


def test_a_private_type_is_seen_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """A walk that sees nothing would be satisfied with everything."""
    for cls in (_Private, Careless):
        monkeypatch.setattr(cls, "__module__", "sts_async.imagined")
    for function in (Careless.__init__, Careless.read.fget, Careless.method, Careless.make.__func__):  # type: ignore[attr-defined]
        monkeypatch.setattr(function, "__module__", "sts_async.imagined")
    imagined = types.ModuleType("sts_async.imagined")
    imagined.__file__ = __file__
    monkeypatch.setitem(sys.modules, "sts_async.imagined", imagined)
    vars(imagined).update(typing=typing, _Private=_Private)
    monkeypatch.setitem(PUBLIC, "sts_async.imagined", {"Careless": Careless})

    seen = {line.partition(":")[0].rpartition(".")[2] for line in private_types("sts_async.imagined")}

    assert {"attribute", "__init__(attribute)", "read(return)", "method(argument)", "make(return)"} <= seen


@pytest.mark.parametrize("name", protocols.__all__)
def test_each_name_of_protocols_says_what_it_is(name: str) -> None:
    """It is the reference of a program that writes a part of its own: all that a part is given is described there."""
    value = getattr(protocols, name)
    methods = [
        method
        for method, function in vars(value).items()
        if not method.startswith("_") and isinstance(function, types.FunctionType | property)
    ]
    described = inspect.getdoc(value) or ""
    undescribed = [method for method in methods if not inspect.getdoc(vars(value)[method])]

    assert len(described) > 20
    assert undescribed == []
    if isinstance(value, type):
        attributes = [name for name in vars(value).get("__annotations__", {}) if not name.startswith("_")]
        assert [name for name in attributes if f"{name}:" not in described] == []


def test_the_list_of_names_of_protocols_is_sorted_and_has_no_name_twice() -> None:
    assert protocols.__all__ == sorted({*protocols.__all__})
