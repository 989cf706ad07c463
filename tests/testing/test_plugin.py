"""The fixtures, in a pytest of their own, as the tests of a user would see them."""

import importlib.util
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

import sts_async
from sts_async import STSClient
from sts_async.testing import LocalSTS, plugin

# pytest refuses to load a plugin twice, and loads it by itself where the library is installed.
LOAD = [] if entry_points(group="pytest11", name="sts_async") else ["-p", "sts_async.testing.plugin"]

TESTS = """
    import pytest

    {mark}

    async def test_the_client_is_of_the_server(sts_server, sts_client):
        sts_server.declare()
        await sts_client.get_caller_identity()

        assert sts_client.endpoint_url.rstrip("/") == sts_server.url
        assert [record.operation for record in sts_server.requests] == ["GetCallerIdentity"]

    async def test_each_test_has_its_own(sts_server):
        assert not sts_server.requests
"""


async def test_the_fixtures_are_a_server_and_its_client(sts_server: LocalSTS, sts_client: STSClient) -> None:
    await sts_client.get_caller_identity()

    assert sts_client.endpoint_url == f"{sts_server.url}/"
    assert len(sts_server.requests) == 1


@pytest.mark.parametrize(("mode", "mark"), [("auto", ""), ("strict", "pytestmark = pytest.mark.asyncio")])
def test_the_fixtures_work_in_both_modes(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, mode: str, mark: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(sts_async.__file__).parent.parent))
    pytester.makepyfile(TESTS.format(mark=mark))
    options = ["-o", f"asyncio_mode={mode}", "-o", "asyncio_default_fixture_loop_scope=function", "-W", "error"]

    pytester.runpytest_subprocess(*LOAD, "-p", "no:cacheprovider", *options).assert_outcomes(passed=2)


def test_without_pytest_asyncio_the_fixtures_say_so(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading the plugin never fails: every pytest loads it where the library is installed."""
    spec = importlib.util.spec_from_file_location("sts_async.testing.plugin_alone", plugin.__file__)
    assert spec is not None
    assert spec.loader is not None
    alone: Any = importlib.util.module_from_spec(spec)
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "pytest_asyncio", None)
        spec.loader.exec_module(alone)
    monkeypatch.setitem(sys.modules, "plugin_alone", alone)
    pytester.makepyfile("from plugin_alone import sts_client\ndef test_it(sts_client): ...")

    scope = "asyncio_default_fixture_loop_scope=function"
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-o", scope)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*need pytest-asyncio: pip install pytest-asyncio*"])


def test_the_plugin_is_light() -> None:
    """It is imported by test runs that never ask for a server."""
    heavy = "{'aiohttp', 'lxml', 'cattrs'} & set(sys.modules)"
    script = f"import sys; sys.path[:0] = {sys.path!r}; import sts_async.testing.plugin; sys.exit(str({heavy} or ''))"

    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=False).stderr.strip() == b""
