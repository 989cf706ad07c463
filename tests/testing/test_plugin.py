"""The fixtures, in a pytest of their own, as the tests of a user would see them."""

import subprocess
import sys
import textwrap
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import sts_async
from sts_async import STSClient
from sts_async.testing import LocalSTS, plugin

# pytest refuses to load a plugin twice, and loads it by itself where the library is installed.
LOAD = [] if entry_points(group="pytest11", name="sts_async") else ["-p", "sts_async.testing.plugin"]
AUTO = ["-o", "asyncio_mode=auto"]
STRICT = ["-o", "asyncio_mode=strict"]
NONE = ["-p", "no:asyncio"]

ASYNCHRONOUS = """
    import pytest

    {mark}
    async def test_the_client_is_of_the_server_{number}(sts_server, sts_client):
        sts_server.declare()
        await sts_client.get_caller_identity()

        assert sts_client.endpoint_url.rstrip("/") == sts_server.url
        assert [record.operation for record in sts_server.requests] == ["GetCallerIdentity"]

    {mark}
    async def test_each_test_has_its_own_{number}(sts_server, sts_client):
        assert not sts_server.requests
        await sts_client.get_caller_identity()
        await sts_client.get_caller_identity()
        assert len(sts_server.requests) == 2
"""
SYNCHRONOUS = """
    import asyncio
    import concurrent.futures

    import boto3

    def test_boto3(sts_server, sts_environ):
        assert boto3.client("sts").get_caller_identity()["Arn"].endswith(":user/developer")
        assert len(sts_server.requests) == 1

    def test_boto3_has_the_keys_of_another_server_now(sts_server, sts_environ):
        assert boto3.client("sts").get_caller_identity()["Arn"].endswith(":user/developer")
        assert len(sts_server.requests) == 1

    def test_asyncio_run(sts_client, sts_server):
        async def call():
            return (await sts_client.get_caller_identity()).account

        assert [asyncio.run(call()), asyncio.run(call())] == ["123456789012"] * 2
        assert len(sts_server.requests) == 2

    def test_an_application_whose_event_loop_is_in_another_thread(sts_client, sts_server):
        async def call():
            return (await sts_client.get_caller_identity()).account

        with concurrent.futures.ThreadPoolExecutor(1) as portal:
            assert portal.submit(asyncio.run, call()).result() == "123456789012"
"""

Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a file of tests in a process of its own, with warnings as errors."""
    monkeypatch.setenv("PYTHONPATH", str(Path(sts_async.__file__).parent.parent))

    def run_file(text: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(text)
        scope = [] if "no:asyncio" in options else ["-o", "asyncio_default_fixture_loop_scope=function"]
        return pytester.runpytest_subprocess(*LOAD, "-p", "no:cacheprovider", *scope, "-W", "error", *options)

    return run_file


async def test_the_fixtures_are_a_server_and_its_client(sts_server: LocalSTS, sts_client: STSClient) -> None:
    await sts_client.get_caller_identity()

    assert sts_client.endpoint_url == f"{sts_server.url}/"
    assert len(sts_server.requests) == 1


MARKS = ["", *(f'(loop_scope="{scope}")' for scope in ("class", "module", "package", "session"))]
SET_UPS = {
    "auto mode": ([""], AUTO),
    "auto mode in several processes": (["", ""], [*AUTO, "-n", "2"]),
    "strict mode with loops of every scope": ([f"@pytest.mark.asyncio{mark}" for mark in MARKS], STRICT),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SET_UPS)
def test_every_test_has_the_fixtures_in_every_set_up(run: Run, name: str) -> None:
    """
    E4: an asynchronous one, whatever its event loop belongs to, and a synchronous one, and nothing is left open.

    Synchronous are boto3, `asyncio.run`, and applications whose event loop is in another thread.
    """
    marks, options = SET_UPS[name]
    text = "".join(ASYNCHRONOUS.format(mark=mark, number=number) for number, mark in enumerate(marks))

    run(text + SYNCHRONOUS, *options).assert_outcomes(passed=2 * len(marks) + 4)


@pytest.mark.slow
@pytest.mark.parametrize("options", [STRICT, NONE], ids=["strict without a mark", "no plugin"])
def test_an_asynchronous_test_without_a_plugin_fails_at_once(run: Run, options: list[str]) -> None:
    """E4: by pytest, in its own words; the fixtures add no other error, and synchronous tests have them."""
    result = run(ASYNCHRONOUS.format(mark="", number=1) + SYNCHRONOUS, *options)

    result.assert_outcomes(failed=2, passed=4)
    result.stdout.fnmatch_lines(["*async def functions are not natively supported*"])
    result.stdout.no_fnmatch_line("*Warning*")


def test_a_program_can_have_one_server_for_all_its_tests(run: Run) -> None:
    """E4: the recipe in the documentation of the plugin."""
    recipe = textwrap.dedent((plugin.__doc__ or "").partition("For one server for many tests")[2].partition("\n\n")[2])
    text = f"""
import asyncio
import pytest
from sts_async.testing import LocalSTS

{recipe}
@pytest.mark.parametrize("number", [1, 2, 3])
def test_it(sts_server, sts_client, sts_environ, number):
    asyncio.run(sts_client.get_caller_identity())
    assert sts_environ["AWS_ENDPOINT_URL_STS"] == sts_server.url
    assert len(sts_server.requests) == number
"""
    run(text, *STRICT).assert_outcomes(passed=3)


def test_a_client_of_the_fixture_says_how_it_is_used_without_an_event_loop(run: Run) -> None:
    """E4: in one line, and at once."""
    result = run("def test_it(sts_client):\n    with sts_client: ...", *STRICT)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *TypeError: use `async with`: an STSClient is opened and closed in an event*"])


def test_the_environment_is_given_back_after_the_test(run: Run) -> None:
    """E4: with the variables that were taken away, and without a session of boto3 that has the keys of the server."""
    text = """
        import os
        import boto3

        def test_first(sts_environ):
            assert "AWS_PROFILE" not in os.environ
            assert "https_proxy" not in os.environ
            assert dict(os.environ) == {**os.environ, **sts_environ}
            boto3.client("sts")

        def test_then():
            assert os.environ["AWS_PROFILE"] == "mine"
            assert "AWS_ENDPOINT_URL_STS" not in os.environ
            assert boto3.DEFAULT_SESSION is None
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_PROFILE", "mine")
        patch.setenv("https_proxy", "http://127.0.0.1:9")
        run(text, *STRICT).assert_outcomes(passed=2)


def test_the_plugin_is_light() -> None:
    """It is imported by test runs that never ask for a server."""
    heavy = "{'aiohttp', 'lxml', 'cattrs', 'boto3'} & set(sys.modules)"
    script = f"import sys; sys.path[:0] = {sys.path!r}; import sts_async.testing.plugin; sys.exit(str({heavy} or ''))"

    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=False).stderr.strip() == b""
