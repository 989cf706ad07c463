"""The rules of the house, read from the syntax tree: who may import whom, and what pure modules never touch."""

import ast
import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import sts_async

PACKAGE = Path(sts_async.__file__).parent
MODULES = {
    ".".join(["sts_async", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
MAX_LINES = 480

# The layer of each module, or of a whole room, by the longest prefix here. A module may import lower layers, and other
# modules of its own room. Within a room, no import goes round either.
LAYERS = {
    "_version": 0,
    "_wording": 0,
    "_runtime.defaults": 0,
    "_runtime.lazy_imports": 0,
    "_runtime.requirements": 0,
    "_shape": 1,
    "errors": 2,
    "_shape.arguments": 3,
    "shapes": 3,
    "events": 4,
    "handlers": 4,
    "operations": 4,
    "_protocol": 5,
    "_config": 6,
    "retries": 6,
    "sigv4": 6,
    "credentials._schedule": 6,
    "fleet._budget": 7,
    "fleet._due_times": 7,
    "fleet.caches._availability": 7,
    "fleet._queues": 7,
    "fleet._role_lines": 7,
    "fleet.caches._shares": 7,
    "credentials._tokens": 7,
    "_runtime": 8,
    "_config.shared_files": 9,
    "_http": 10,
    "config": 10,
    "protocols": 11,
    "_config.certificates": 11,
    "_engine": 12,
    "credentials": 12,
    "calls": 14,
    "_engine.lifecycle": 14,
    "client": 14,
    "doctor": 15,
    "fleet": 15,
    "testing": 15,
    "tokens": 15,
    "observers": 15,
    "bridges": 16,
    "agent": 17,
    "_cli": 18,
    "cli": 19,
    "__main__": 20,
    "": 20,
}
PURE = 7  # the highest layer of which every module is pure
IMPURE = {"asyncio", "aiohttp", "os", "time", "random", "secrets", "logging", "socket", "threading", "subprocess", "io"}
IMPURE |= {"pathlib", "tempfile", "uuid", "platform", "ssl", "yarl", "locale", "getpass", "signal"}
# What may import a module of its own layer that is not of its room.
OWN_LAYER = {"client": {"_engine.lifecycle", "calls"}}
THIRD_PARTY = {
    "attrs": None,  # anywhere
    "cattrs": {"_protocol.converter"},
    "lxml": {"_protocol.xml", "testing"},
    "aiohttp": {"bridges.aiohttp", "_engine", "agent", "_http", "cli", "client", "credentials", "testing"},
    "argcomplete": {"_cli.completion"},
    "multidict": {"_http.request"},
    "yarl": {"_http.request", "_http.transport", "testing"},
    "cryptography": {"credentials.login", "fleet.caches._encrypted_entries", "testing.signin"},
    "joserfc": {"credentials.login", "testing.signin"},
    "opentelemetry": {"observers.opentelemetry"},
    "prometheus_client": {"observers.prometheus"},
    "pytest": {"testing"},
    "pytest_asyncio": {"testing"},
    "redis": {"fleet.caches._redis_client"},
    "rich": {"_cli.fleet_table"},
}
SECRETS = """
    secret_access_key session_token token_code web_identity_token saml_assertion trade_in_token context_assertion
    encoded_message decoded_message delegated_access_token security_token signature proof signing_key password
""".split()


def layer(name: str) -> int:
    """Return the layer of a module, by its name without ``sts_async.``."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        found = LAYERS.get(".".join(parts[:length]))
        if found is not None:
            return found
    raise AssertionError(f"sts_async.{name} has no layer yet: give it one, in the table of this test")


def short(module: str) -> str:
    return module.removeprefix("sts_async").removeprefix(".")


def room(name: str) -> str:
    """Return the folder that a module is in, or the module itself at the top of the package."""
    return name.partition(".")[0]


def inside(name: str, places: set[str]) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


@functools.cache
def syntax(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@functools.cache
def imports(module: str) -> list[tuple[str, int]]:
    """Return the full name of each module that *module* imports, anywhere, with the line."""
    return list(found_imports(module))


def found_imports(module: str) -> Iterator[tuple[str, int]]:
    path = MODULES[module]
    for node in ast.walk(syntax(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *filter(None, [node.module])])
            for alias in node.names:
                whole = f"{source}.{alias.name}"
                yield (whole if whole in MODULES else source), node.lineno


def pure_files() -> list[str]:
    """Return the paths of the pure modules, from the root of the project; `.ci/run` has them covered completely."""
    pure = [path for name, path in MODULES.items() if layer(short(name)) <= PURE]
    return [path.relative_to(PACKAGE.parent).as_posix() for path in pure]


def each_module(rule: Callable[[str], None]) -> Callable[[], None]:
    """Return one test of a rule for all modules, which shows all that break it: 1,800 tests would take seconds."""

    def test() -> None:
        broken = {}
        for module in MODULES:
            try:
                rule(module)
            except AssertionError as error:
                broken[module] = str(error)
        assert broken == {}

    test.__name__, test.__qualname__, test.__doc__ = rule.__name__, rule.__qualname__, rule.__doc__
    return test


def test_the_modules_are_found() -> None:
    """An empty list would satisfy every rule."""
    assert {"sts_async", "sts_async._engine.loop", "sts_async._protocol.response", "sts_async.credentials.static"} <= {
        *MODULES
    }
    found = {name for name, _ in imports("sts_async._protocol.response")}
    assert {"sts_async._protocol.converter", "sts_async.errors", "sts_async._protocol.xml", "re"} <= found


@each_module
def test_a_module_imports_lower_layers_only(module: str) -> None:
    """So that a reader can start at any leaf, and no import goes round."""
    name = short(module)
    wrong = []
    for target, line in imports(module):
        if not target.startswith("sts_async"):
            continue
        other = short(target)
        allowed = (
            layer(other) < layer(name)
            or (layer(other) == layer(name) and room(other) == room(name))
            or other in OWN_LAYER.get(name, ())
        )
        if not allowed:
            wrong.append(f"line {line}: {target} (layer {layer(other)}) in layer {layer(name)}")

    assert wrong == []


def test_a_rule_names_each_module_that_breaks_it() -> None:
    """With what its assertion says."""

    @each_module
    def rule(module: str) -> None:
        assert "loop" not in module, module

    with pytest.raises(AssertionError, match=r"sts_async\._engine\.loop") as caught:
        rule()
    assert "sts_async.client'" not in str(caught.value)


def test_no_import_goes_round() -> None:
    """Checked over the whole graph, module by module, whatever the table says."""
    names = MODULES.keys() - {"sts_async"}
    graph = {module: {name for name, _ in imports(module) if name in names} - {module} for module in names}
    done: set[str] = set()
    while ready := {module for module, targets in graph.items() if module not in done and targets <= done}:
        done |= ready

    assert {module: sorted(graph[module] - done) for module in graph.keys() - done} == {}


@pytest.mark.parametrize("folder", sorted({path.parent for path in MODULES.values()}), ids=lambda path: path.name)
def test_every_room_says_what_belongs_there(folder: Path) -> None:
    """In its `__init__`: the first line names the subject, and a paragraph says what belongs there."""
    text = ast.get_docstring(syntax(folder / "__init__.py")) or ""

    assert len(text.splitlines()) >= 3


@each_module
def test_pure_modules_touch_nothing_outside(module: str) -> None:
    """They neither wait nor read a clock, a file or the environment, nor draw random numbers."""
    if layer(short(module)) > PURE:
        return
    tree = syntax(MODULES[module])
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}

    assert [(name, line) for name, line in imports(module) if name.partition(".")[0] in IMPURE] == []
    assert (
        calls & {"open", "print", "input", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"} == set()
    )
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef | ast.Await)]


@each_module
def test_other_packages_are_imported_where_they_belong(module: str) -> None:
    """Replacing one of them means reading one file."""
    wrong = []
    for name, line in imports(module):
        top = name.partition(".")[0]
        if top == "sts_async" or top in sys.stdlib_module_names:
            continue
        places = THIRD_PARTY.get(top, set())
        if places is not None and not inside(short(module), places):
            wrong.append(f"line {line}: {name}")

    assert wrong == []


@each_module
def test_no_secret_is_compared_with_an_operator(module: str) -> None:
    """T19: the time that `==` takes says how much of a guess was right; verifiers use `hmac.compare_digest`."""
    wrong = []
    for node in ast.walk(syntax(MODULES[module])):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            for operator, left, right in zip(node.ops, sides, sides[1:], strict=False):
                if isinstance(operator, ast.Eq | ast.NotEq) and any(map(is_secret, (left, right))):
                    wrong.append(f"line {node.lineno}: {ast.unparse(node)}")

    assert wrong == []


def is_secret(node: ast.expr) -> bool:
    """Say whether an expression is a name, attribute or item that is called like a secret."""
    name = {
        ast.Name: lambda: node.id,  # type: ignore[attr-defined]
        ast.Attribute: lambda: node.attr,  # type: ignore[attr-defined]
        ast.Subscript: lambda: getattr(node.slice, "value", ""),  # type: ignore[attr-defined]
    }.get(type(node), str)()
    return isinstance(name, str) and name.lower().replace("-", "_").removeprefix("x_amz_") in SECRETS


@pytest.mark.parametrize(
    ("expression", "secret"),
    [
        ("signature", True),
        ("self.session_token", True),
        ("headers['X-Amz-Signature']", True),
        ("member.name", False),
        ("'signature'", False),
        ("pairs[0]", False),
        ("f(signature)", False),
    ],
)
def test_the_rule_knows_a_secret_by_its_name(expression: str, secret: bool) -> None:
    """A rule that finds nothing would be satisfied by everything."""
    assert is_secret(ast.parse(expression, mode="eval").body) == secret


@each_module
def test_no_module_is_too_long_to_be_read(module: str) -> None:
    """What grows beyond this holds two things."""
    assert len(MODULES[module].read_text().splitlines()) <= MAX_LINES


@each_module
def test_every_module_says_what_it_is(module: str) -> None:
    """In its first line."""
    assert ast.get_docstring(syntax(MODULES[module]))


@each_module
def test_no_cancellation_is_swallowed(module: str) -> None:
    """F58: a handler that catches one raises it again, if it was meant for the task."""
    wrong = []
    for node in ast.walk(syntax(MODULES[module])):
        for handler in getattr(node, "handlers", ()) if isinstance(node, ast.Try) else ():
            caught = "BaseException" if handler.type is None else ast.unparse(handler.type)
            if not any(name in caught for name in ("BaseException", "CancelledError")):
                continue
            if not any(isinstance(inner, ast.Raise) and inner.exc is None for inner in ast.walk(handler)):
                wrong.append(f"line {handler.lineno}: except {caught}")
            if "CancelledError" in caught:
                break  # none comes as far as the handlers below

    assert wrong == []
