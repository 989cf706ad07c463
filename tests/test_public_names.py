import ast
import re
from pathlib import Path
from typing import Any

import pytest
from support import modules_after

import sts_async
from sts_async import errors, observers, shapes, testing

TREE = ast.parse(Path(sts_async.__file__).read_text())


def typed_names() -> dict[str, str]:
    """Return what the block for type checkers imports, by name, with its module."""
    (block,) = [node for node in TREE.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    assert all(isinstance(node, ast.ImportFrom) for node in block.body)
    return {
        alias.asname or alias.name: f"sts_async.{node.module}"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def public_classes(module: Any) -> set[str]:
    return {
        name
        for name, cls in vars(module).items()
        if isinstance(cls, type) and cls.__module__ == module.__name__ and not name.startswith("_")
    }


def test_the_list_of_public_names_is_sorted_and_has_no_name_twice() -> None:
    """A reader looks names up in it."""
    assert sts_async.__all__ == sorted({*sts_async.__all__})


def test_type_checkers_see_the_same_names() -> None:
    """They read one list, `from sts_async import *` the other."""
    assert sorted({*typed_names()} | {"__version__"}) == sts_async.__all__


@pytest.mark.parametrize("name", sts_async.__all__)
def test_every_public_name_is_what_type_checkers_take_it_for(name: str) -> None:
    """The module that is searched first at run time has to be the one that is declared."""
    found = getattr(sts_async, name)
    if name != "__version__":
        home = typed_names()[name]

        assert found is getattr(__import__(home, fromlist=[name]), name)
        assert found.__doc__


@pytest.mark.parametrize("module", [errors, shapes], ids=lambda module: module.__name__)
def test_every_public_class_of_errors_and_shapes_is_a_public_name(module: Any) -> None:
    """Users annotate and catch them."""
    assert sorted(public_classes(module) - {*sts_async.__all__}) == []


def test_a_star_import_gives_all_of_them() -> None:
    names: dict[str, Any] = {}
    exec("from sts_async import *", names)

    assert {*sts_async.__all__} <= {*names}


@pytest.mark.parametrize("name", ["Nothing", "_HOMES_", "SecretBytes", "attrs", "asyncio", "__path", "Any_"])
def test_an_unknown_name_is_an_attribute_error(name: str) -> None:
    """What modules import for themselves is not public by accident."""
    with pytest.raises(AttributeError, match=name):
        getattr(sts_async, name)


def test_a_name_is_looked_up_once() -> None:
    assert sts_async.STSClient is sts_async.STSClient
    assert vars(sts_async)["STSClient"] is sts_async.STSClient


def test_the_package_alone_imports_nothing_heavy() -> None:
    """The help of the command line needs neither aiohttp nor lxml."""
    heavy = {"aiohttp", "attrs", "attr", "cattrs", "lxml", "asyncio"}

    assert modules_after("import sts_async; sts_async.__version__") & heavy == set()
    assert modules_after("import sts_async; sts_async.STSClient") >= heavy


def test_errors_can_be_caught_without_the_client() -> None:
    """A module that only handles errors pays for no HTTP client."""
    assert modules_after("from sts_async import STSError, ThrottlingError") & {"aiohttp", "cattrs", "lxml"} == set()


def test_the_map_in_the_docstring_names_modules_that_exist() -> None:
    """`help(sts_async)` begins with it."""
    package = Path(sts_async.__file__).parent
    rows = [line for line in (sts_async.__doc__ or "").splitlines() if re.match("[a-z0-9_]+ {2,}", line)]
    named = {row[start:].split()[0] for row in rows for start in (0, 57) if row[start:].strip()}

    assert {"client", "calls", "config", "operations", "shapes", "errors", "credentials", "retries", "sigv4"} <= named
    assert [name for name in named if not (package / f"{name}.py").exists() and not (package / name).is_dir()] == []


def test_the_names_are_listed_before_they_are_imported() -> None:
    """For `help`, and for whoever completes names at a prompt."""
    for module in (sts_async, observers, testing):
        assert set(module.__all__) <= set(dir(module))
