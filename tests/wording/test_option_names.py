"""How messages name options: for programs, and for the command line."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import sts_async
from sts_async import Config, ConfigurationError
from sts_async._cli.commands import CommandLine
from sts_async._wording import option_names
from sts_async._wording.option_names import GIVEN
from sts_async.config import OPTIONS


def test_a_program_reads_the_names_of_arguments() -> None:
    assert (
        option_names.option("max_attempts"),
        option_names.setting("region"),
        option_names.setting("verify", "False"),
    ) == (
        "max_attempts",
        "region=...",
        "verify=False",
    )
    assert (option_names.origin(GIVEN), option_names.origin("AWS_REGION")) == ("given in code", "AWS_REGION")


def test_the_command_line_reads_its_own_options() -> None:
    """D7: advice that cannot be followed is none."""
    with option_names.use_wording(CommandLine()):
        assert [
            option_names.setting(name) for name in ("region", "endpoint_url", "max_attempts", "connect_timeout")
        ] == [
            "--region NAME",
            "--endpoint-url URL",
            "--max-attempts N",
            "--connect-timeout SECONDS",
        ]
        assert (option_names.setting("allow_http", "True"), option_names.setting("verify", "False")) == (
            "--allow-http",
            "--no-verify",
        )
        assert option_names.setting("retry_mode", "standard") == "--retry-mode standard"
        assert (option_names.option("handlers"), option_names.setting("handlers", "[]")) == ("handlers", "handlers=[]")
        assert option_names.origin(GIVEN) == "on the command line"

    assert option_names.option("region") == "region"


def test_the_wording_ends_with_its_block_however_it_ends() -> None:
    """A program may call the command line's function, and read its own errors later."""

    def fail() -> None:
        with option_names.use_wording(CommandLine()):
            raise ValueError("any")

    with pytest.raises(ValueError, match="any"):
        fail()

    assert option_names.option("region") == "region"


@pytest.mark.parametrize("name", OPTIONS)
def test_a_wrong_value_is_refused_in_the_terms_of_the_reader(name: str) -> None:
    """D7: every option of the client, in one place."""
    wrong = {name: object()}
    with pytest.raises(ConfigurationError, match=f"^{name} must be "):
        Config(**wrong)  # type: ignore[arg-type]
    expected = name if name == "handlers" else f"--{name.replace('_', '-')}"
    with option_names.use_wording(CommandLine()), pytest.raises(ConfigurationError, match=f"^{expected} must be "):
        Config(**wrong)  # type: ignore[arg-type]


# -- Every message -----------------------------------------------------------------------------------------------------

PACKAGE = Path(sts_async.__file__).parent
# What only a program does, wherever its errors are read: these modules serve no command.
OF_PROGRAMS = {"testing", "observers"}
IN_PYTHON = re.compile(rf"(?<![\w(])(?:{'|'.join(OPTIONS)})=(?:True|False|None|\.\.\.|[0-9])|\bConfig\(")


def literals(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the texts of a module that are no docstrings, and no part of a `__repr__`."""
    tree = ast.parse(path.read_text())
    skipped = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == "__repr__":
            skipped |= {id(part) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.lineno, node.value


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(PACKAGE.rglob("*.py")) if not OF_PROGRAMS & {*path.parts}],
    ids=lambda path: path.name,
)
def test_no_message_gives_an_option_in_the_terms_of_python_alone(path: Path) -> None:
    """D7: `option_names.setting("allow_http", "True")` says it so that each reader can follow."""
    assert [(line, text) for line, text in literals(path) if IN_PYTHON.search(text)] == []
