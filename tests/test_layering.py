"""The rules of the house, read from the syntax tree: who may import whom, and what pure modules never touch."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import sts_async

PACKAGE = Path(sts_async.__file__).parent
MODULES = {
    ".".join(["sts_async", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
MOST_LINES = 480

# Layer of each module, by its longest prefix here; a module may import those of lower layers only, and of its own
# where that is said below.
LAYERS = {
    "_version": 0,
    "_lazy": 0,
    "_requirements": 0,
    "_core": 0,  # the package, which is empty
    "_core.secret": 0,
    "_core.constraints": 0,
    "_core.exchange": 0,
    "_core.forms": 0,
    "_core.maps": 0,
    "_core.message": 0,
    "_core.propagation": 0,
    "_core.shape": 0,
    "_core.scalars": 0,
    "_core.system": 0,
    "_core.timestamps": 0,
    "_core.wording": 0,
    "_core.words": 0,
    "_core.redaction": 1,
    "errors": 1,
    "shapes": 1,
    "operations": 2,
    "events": 2,
    "_core.headers": 2,
    "_core.canonical": 2,
    "_core.arns": 2,
    "_core.checks": 2,
    "_core.signable": 2,
    "handlers": 2,
    "sigv4": 3,
    "retries": 3,
    "_core.query": 3,
    "_core.xml": 3,
    "_core.endpoints": 3,
    "_core.profile": 3,
    "_core.sections": 3,
    "_core.freshness": 3,
    "_core.lifetime": 3,
    "_core.limiter": 3,
    "_core.convert": 3,
    "_core.documents": 3,
    "_core.hosts": 2,
    "_core.options": 3,
    "_core.plans": 3,
    "_core.proxies": 3,
    "_core.regions": 0,
    "_core.resolution": 3,
    "_core.refusals": 3,
    "_core.scope": 3,
    "_core.services": 3,
    "_core.skew": 3,
    "_core.tokens": 3,
    "_core.answer": 3,
    "fleet.schedule": 3,
    "_clock": 4,
    "_files": 4,
    "_file_reads": 4,
    "_flight": 4,
    "_forks": 4,
    "_connector": 4,
    "_failures": 4,
    "_limits": 4,
    "_loop_end": 4,
    "_process": 4,
    "_resolver": 4,
    "_shared": 4,
    "_threads": 4,
    "_transport": 4,
    "_meter": 4,
    "_call": 4,
    "_seams": 5,
    "_terminal": 5,
    "_parts": 5,
    "_context": 5,
    "_signing": 5,
    "_engine": 5,
    "_lifecycle": 8,
    "config": 5,
    "_assembly": 6,
    "_certificates": 6,
    "credentials": 7,
    "calls": 8,
    "client": 8,
    "fleet": 9,
    "testing": 9,
    "observers": 9,
    "_arguments": 6,
    "_commands": 9,
    "_members": 8,
    "_local_server": 9,
    "_env_file": 6,
    "doctor": 9,
    "cli": 9,
    "__main__": 10,
    "": 10,
}
PURE = 3  # the highest layer of which every module is pure
IMPURE = {"asyncio", "aiohttp", "os", "time", "random", "secrets", "logging", "socket", "threading", "subprocess", "io"}
IMPURE |= {"pathlib", "tempfile", "uuid", "platform", "ssl", "yarl", "locale", "getpass", "signal"}
OWN_LAYER = {
    # One grammar, one set of words, one reader: these build on each other in this order.
    "_core.forms": {"_core.maps"},
    "_core.constraints": {"_core.forms", "_core.maps", "_core.words"},
    "_core.shape": {"_core.constraints", "_core.forms", "_core.maps", "_core.secret"},
    "_core.exchange": {"_core.shape"},
    "_core.scalars": {"_core.constraints"},
    "_core.propagation": {"_core.maps", "_core.shape"},
    "_core.message": {"_core.secret"},
    "_core.answer": {"_core.convert", "_core.lifetime", "_core.refusals", "_core.xml"},
    "_core.options": {"_core.endpoints", "_core.proxies"},
    "_core.plans": {"_core.endpoints", "_core.sections", "_core.services"},
    "_core.profile": {"_core.sections"},
    "_core.refusals": {"_core.documents"},
    "_core.resolution": {"_core.endpoints", "_core.options", "_core.profile", "_core.sections", "_core.services"},
    "_core.scope": {"_core.endpoints"},
    "_core.services": {"_core.endpoints", "_core.options", "_core.sections"},
    "shapes": {"errors"},
    "_core.signable": {"_core.canonical", "_core.checks", "_core.headers", "_core.hosts"},
    "_core.tokens": {"_core.documents"},
    "retries": {"_core.limiter"},
    "_files": {"_forks"},
    "_process": {"_forks", "_threads"},
    "_failures": {"_resolver"},
    "_resolver": {"_threads"},
    "_file_reads": {"_forks", "_limits", "_threads"},
    "_shared": {"_file_reads", "_files", "_flight", "_threads"},
    "_threads": {"_forks"},
    "_transport": {"_connector", "_failures", "_forks", "_limits", "_loop_end"},
    "_connector": {"_resolver"},
    "_call": {"_meter"},
    "_flight": {"_limits"},
    "_parts": {"_seams"},
    "_context": {"_parts", "_seams"},
    "_signing": {"_parts"},
    "_engine": {"_context", "_parts", "_seams", "_signing"},
    "_assembly": {"_certificates"},
    "client": {"_lifecycle", "calls"},
    "_members": {"calls"},
    "_local_server": {"testing", "testing.base"},
}
SIBLINGS = ("credentials", "fleet", "observers", "testing")  # packages whose modules may import each other
THIRD_PARTY = {
    "attrs": None,  # anywhere
    "cattrs": {"_core.convert"},
    "lxml": {"_core.xml", "testing"},
    "aiohttp": {
        "_assembly",
        "_connector",
        "_failures",
        "_lifecycle",
        "_transport",
        "client",
        "testing",
        "credentials",
        "fleet",
        "cli",
    },
    "yarl": {"_transport", "testing"},
    "cryptography": {"credentials.login", "testing.signin"},
    "opentelemetry": {"observers.opentelemetry"},
    "prometheus_client": {"observers.prometheus"},
    "pytest": {"testing"},
    "pytest_asyncio": {"testing"},
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
        if found is not None and (length == len(parts) or parts[0] != "_core"):
            return found
    raise AssertionError(f"sts_async.{name} has no layer yet: give it one, in the table of this test")


def short(module: str) -> str:
    return module.removeprefix("sts_async").removeprefix(".")


def inside(name: str, places: set[str]) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


def imports(module: str) -> Iterator[tuple[str, int]]:
    """Yield the full name of each module that *module* imports, anywhere, with the line."""
    path = MODULES[module]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *filter(None, [node.module])])
            for alias in node.names:
                whole = f"{source}.{alias.name}"
                yield (whole if whole in MODULES else source), node.lineno


each_module = pytest.mark.parametrize("module", MODULES, ids=lambda module: short(module) or "sts_async")


def test_the_modules_are_found() -> None:
    """An empty list would satisfy every rule."""
    assert {"sts_async", "sts_async._engine", "sts_async._core.answer", "sts_async.credentials.static"} <= {*MODULES}
    found = {name for name, _ in imports("sts_async._core.answer")}
    assert {"sts_async._core.convert", "sts_async.errors", "sts_async._core.xml", "datetime"} <= found


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
            or other in OWN_LAYER.get(name, ())
            or any(inside(name, {package}) and inside(other, {package}) for package in SIBLINGS)
            or (name == "cli" and layer(other) <= 9)
        )
        if not allowed:
            wrong.append(f"line {line}: {target} (layer {layer(other)}) in layer {layer(name)}")

    assert wrong == []


def node(module: str) -> str:
    """Return the module, or the package of siblings that it is in."""
    return next((f"sts_async.{package}" for package in SIBLINGS if inside(short(module), {package})), module)


def test_no_import_goes_round() -> None:
    """Checked over the whole graph, whatever the table says; siblings count as one."""
    graph: dict[str, set[str]] = {node(module): set() for module in MODULES if module != "sts_async"}
    for module in MODULES.keys() - {"sts_async"}:
        graph[node(module)] |= {node(name) for name, _ in imports(module) if name in MODULES} - {node(module)}
    done: set[str] = set()
    while ready := {
        module for module, targets in graph.items() if module not in done and targets - {"sts_async"} <= done
    }:
        done |= ready

    assert {module: sorted(graph[module] - done) for module in graph.keys() - done} == {}


@each_module
def test_pure_modules_touch_nothing_outside(module: str) -> None:
    """They neither wait nor read a clock, a file or the environment, nor draw random numbers."""
    if layer(short(module)) > PURE:
        return
    tree = ast.parse(MODULES[module].read_text())
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
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
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
    assert len(MODULES[module].read_text().splitlines()) <= MOST_LINES


@each_module
def test_every_module_says_what_it_is(module: str) -> None:
    """In its first line."""
    assert ast.get_docstring(ast.parse(MODULES[module].read_text()))


@each_module
def test_no_cancellation_is_swallowed(module: str) -> None:
    """F58: a handler that catches one raises it again, if it was meant for the task."""
    wrong = []
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        for handler in getattr(node, "handlers", ()) if isinstance(node, ast.Try) else ():
            caught = "BaseException" if handler.type is None else ast.unparse(handler.type)
            if not any(name in caught for name in ("BaseException", "CancelledError")):
                continue
            if not any(isinstance(inner, ast.Raise) and inner.exc is None for inner in ast.walk(handler)):
                wrong.append(f"line {handler.lineno}: except {caught}")
            if "CancelledError" in caught:
                break  # none comes as far as the handlers below

    assert wrong == []
