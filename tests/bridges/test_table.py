"""The table of `bridges/README.md`: each line runs, each bridge has one, and the versions are true."""

import ast
import asyncio
import importlib
import importlib.metadata
import inspect
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
from bridges.sources import ARN, ROWS
from bridges.vault_server import vault_server

from sts_async import STSClient, bridges, tokens
from sts_async.bridges import _consumers, _httpx_auth
from sts_async.errors import ConfigurationError
from sts_async.testing import LocalSTS

MODULES = {
    "opensearch-py": "opensearchpy",
    "obstore": "obstore.store",
    "kubernetes_asyncio": "kubernetes_asyncio.client",
}
URL = "https://sqs.us-east-1.amazonaws.com"


def functions() -> list[tuple[str, str]]:
    """Return the public functions of all bridges."""
    return [
        (name, function)
        for name in sorted(bridges.CONSUMERS)
        for function, value in vars(getattr(bridges, name)).items()
        if inspect.isfunction(value) and value.__module__ == f"sts_async.bridges.{name}" and function[0] != "_"
    ]


@pytest.fixture
async def server() -> AsyncIterator[LocalSTS]:
    """Run an STS with the clock of the machine: some libraries and services have no other."""
    async with LocalSTS() as running:
        yield running


@pytest.fixture
async def sts(server: LocalSTS) -> AsyncIterator[STSClient]:
    async with server.client() as sts:
        yield sts


def test_each_function_of_a_bridge_has_a_line() -> None:
    used = {match for _, _, line in ROWS for match in re.findall(r"bridges\.(\w+)\.(\w+)\(", line)}

    assert {*functions()} - used == {("openai", "sync_token_provider")}
    assert len(ROWS) == 19


@pytest.mark.parametrize(("library", "version", "line"), ROWS, ids=[f"{row[0]}-{at}" for at, row in enumerate(ROWS)])
async def test_each_line_runs(
    library: str, version: str, line: str, server: LocalSTS, sts: STSClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where its library is installed."""
    module = MODULES.get(library, library)
    pytest.importorskip(module, reason=f"{library} is not installed")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")  # for the URL of a client of OpenAI
    async with AsyncExitStack() as stack:
        top = module.partition(".")[0]
        names: dict[str, Any] = {
            "bridges": bridges,
            "role": sts.role(ARN),
            "url": URL,
            "stack": stack,
            "tokens": tokens,
            "asyncio": asyncio,
            top: importlib.import_module(top),
        }
        if "vault_login" in line:
            names["url"] = await stack.enter_async_context(vault_server(server))
            names["session"] = aiohttp.ClientSession()
            if library == "hvac":
                names["vault"] = names["hvac"].Client(names["url"])
                stack.callback(names["vault"].adapter.close)
        if library == "openai" and not hasattr(names["openai"], "AsyncBedrockOpenAI"):
            pytest.skip("this version of openai has no client for Bedrock")
        code = compile(line, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(code, names)
        if inspect.isawaitable(result):
            await result
        for name in {"session", "client"} & {*names}:
            close = getattr(names[name], "aclose", None) or names[name].close
            await close()
        if "vault_login" in line:
            token = (
                names["vault"].token if library == "hvac" else (await names["answer"].json())["auth"]["client_token"]
            )
            assert token.startswith("arn:aws:sts::123456789012:assumed-role/demo/")


ARGUMENTS: dict[str, dict[str, Any]] = {
    "auth": {"service": "sqs", "origins": URL},
    "elasticache": {"cache": "c", "user": "u"},
    "memorydb": {"cluster": "c", "user": "u"},
}
NOT_IMPORTED = {"openai", "kubernetes", "aiohttp"}
"""Bridges that do not import their library, or whose library is a dependency."""


@pytest.mark.parametrize(
    ("bridge", "function"), [found for found in functions() if found[0] not in NOT_IMPORTED], ids=lambda part: part
)
@pytest.mark.parametrize("installed", [None, "0.0.1"], ids=["missing", "too old"])
async def test_a_library_that_is_missing_or_too_old_is_named_with_its_version(
    bridge: str, function: str, installed: str | None, sts: STSClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest version is that of the table."""

    def version(package: str) -> str:
        if installed is None:
            raise importlib.metadata.PackageNotFoundError(package)
        return installed

    def refuse(module: str) -> Any:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    call = getattr(getattr(bridges, bridge), function)
    monkeypatch.setattr(_consumers.importlib.metadata, "version", version)
    monkeypatch.setattr(_consumers.importlib, "import_module", refuse)
    _consumers.consumer.cache_clear()
    for name in ("botocore", "aiobotocore", "redis", "aiokafka"):
        getattr(bridges, name)._classes.cache_clear()
    _httpx_auth.signing_auth.cache_clear()
    state = "is not installed" if installed is None else "0.0.1 is installed"
    with pytest.raises(ConfigurationError, match=rf"needs {bridge}>=[\d.]+, .*{state}; run: python -m pip") as caught:
        call(sts, **ARGUMENTS.get(function, {}))

    told = {row[1] for row in ROWS if row[0] == bridge}
    (minimum,) = re.findall(rf"needs {bridge}>=([\d.]+),", str(caught.value))
    assert {minimum.removesuffix(".0")} == {one.removesuffix(".0") for one in told}
