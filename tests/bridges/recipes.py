"""The recipes of `bridges/recipes.md`, and how to run one."""

import ast
import importlib.util
import inspect
import re
from typing import Any

import pytest
from documents import DOCUMENTS, blocks

PAGE = DOCUMENTS["sts_async/bridges/recipes.md"]
MODULES = {
    "SQLAlchemy": "sqlalchemy",
    "opensearch-py": "opensearchpy",
    "requests": "requests_aws4auth",
    "Anthropic": "anthropic",
    "confluent-kafka": "confluent_kafka",
    "DuckDB": "duckdb",
}
"""The modules of libraries with another name."""


def recipes_in(text: str) -> dict[str, str]:
    """Return code by the name of its library, without the version."""
    return {
        title.partition(",")[0].rpartition(" ")[0] or title.partition(",")[0]: block
        for title, rest in re.findall(r"^### (.+?)\n(.+?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
        for block in blocks(rest, "python")
    }


RECIPES = recipes_in(PAGE)
THROUGH_THE_ENDPOINT = recipes_in(PAGE.partition("## Through the credentials endpoint")[2])
TESTED: set[str] = set()
"""The libraries of the tests that are marked with `of`."""


def of(library: str) -> pytest.MarkDecorator:
    """Mark the test of a recipe. It is skipped if the library is missing."""
    TESTED.add(library)
    module = MODULES.get(library, library)
    return pytest.mark.skipif(importlib.util.find_spec(module) is None, reason=f"{module} is not installed")


async def run_recipe(library: str, **names: Any) -> dict[str, Any]:
    """Run a recipe in this coroutine, and return its names."""
    code = compile(RECIPES[library], "recipes.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(code, names)  # the recipe is the subject of a test
    if inspect.isawaitable(result):
        await result
    return names
