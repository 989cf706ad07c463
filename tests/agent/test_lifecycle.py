"""The life of an endpoint: its start, its end, and what it leaves behind."""

import asyncio
import os
import pickle
import socket
import stat
import sys
import tempfile
from pathlib import Path

import pytest
from agent.endpoints import DEMO, ask, open_endpoint
from fleet.fleets import Service, open_fleet, role
from hypothesis import given, settings
from hypothesis import strategies as st
from patience import accepts, in_a_thread, until

from sts_async.agent import CredentialsEndpoint, serve
from sts_async.agent._directory import PREFIX, TokenDirectory
from sts_async.errors import ClientClosedError, ConfigurationError
from sts_async.testing import VirtualClock


@pytest.fixture(autouse=True)
def _temporary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep temporary directories of other processes out of the way."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))


def directories() -> list[Path]:
    return list(Path(tempfile.gettempdir()).glob(f"{PREFIX}*"))


async def test_token_files_are_private_and_go_with_the_endpoint(watched: None, clock: VirtualClock) -> None:
    """T39: under any umask, and nothing is left."""
    before = os.umask(0)
    try:
        async with open_endpoint(Service(clock), clock) as (_, endpoint):
            path = endpoint.token_file("demo")
            modes = [stat.S_IMODE(found.stat().st_mode) for found in (path, path.parent)]

            assert modes == [0o600, 0o700]
            assert sorted(path.parent.iterdir()) == [path]
    finally:
        os.umask(before)
    assert directories() == []
    assert not accepts(endpoint.port)


async def test_a_directory_of_the_program_keeps_its_other_files(
    watched: None, clock: VirtualClock, tmp_path: Path
) -> None:
    """With it and a port, a service has the same addresses after each start, and new tokens."""
    directory = tmp_path / "state" / "endpoint"
    async with open_endpoint(Service(clock), clock, directory=directory) as (_, endpoint):
        (directory / "other").write_text("x")
        first = (directory / "demo.token").read_text()
    assert sorted(path.name for path in directory.iterdir()) == ["other"]

    async with open_endpoint(Service(clock), clock, directory=directory, port=endpoint.port) as (_, second):
        assert second.url("demo") == f"http://127.0.0.1:{endpoint.port}/role/demo"
        assert second.token_file("demo") == directory / "demo.token"
        assert (directory / "demo.token").read_text() != first


async def test_a_directory_that_others_may_write_to_is_refused(
    watched: None, clock: VirtualClock, tmp_path: Path
) -> None:
    """T39: another user could put a token of his own in place of the file."""
    directory = tmp_path / "open"
    directory.mkdir()
    directory.chmod(0o777)
    with pytest.raises(ConfigurationError, match="others may write to it"):
        async with open_endpoint(Service(clock), clock, directory=directory):
            raise AssertionError
    assert list(directory.iterdir()) == []


async def test_a_port_in_use_is_a_clear_error(watched: None, clock: VirtualClock) -> None:
    """Before anything is fetched or written."""
    service = Service(clock)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"port {port} of 127\.0\.0\.1 is not available: "):
            async with open_endpoint(service, clock, port=port):
                raise AssertionError
    assert service.sent.total() == 0
    assert directories() == []


async def test_nothing_listens_before_the_credentials_are_there(watched: None, clock: VirtualClock) -> None:
    """A program that has the address gets an answer from memory."""
    service = Service(clock)
    service.gate = asyncio.Event()
    async with open_fleet(service, clock) as fleet:
        endpoint = serve(fleet, {"demo": DEMO})
        entering = asyncio.create_task(endpoint.__aenter__())
        await until(lambda: service.running)
        port = endpoint.port

        assert port
        assert not accepts(port)
        with pytest.raises(ClientClosedError, match="not open"):
            endpoint.environ("demo")
        service.gate.set()
        await entering
        assert accepts(port)
        await endpoint.aclose()


@pytest.mark.parametrize("turns", range(0, 40, 3))
async def test_a_start_that_is_cancelled_leaves_nothing(watched: None, clock: VirtualClock, turns: int) -> None:
    """At whatever point."""
    async with open_fleet(Service(clock), clock) as fleet:
        endpoint = serve(fleet, {"demo": DEMO})
        entering = asyncio.create_task(endpoint.__aenter__())
        for _ in range(turns):
            await asyncio.sleep(0)
        entering.cancel()
        await asyncio.wait([entering])
        if not entering.cancelled():
            await endpoint.aclose()

    assert directories() == []


async def test_closing_again_does_nothing_and_use_after_it_is_a_clear_error(watched: None, clock: VirtualClock) -> None:
    """An environment with a token file that is gone would make the SDKs look elsewhere for credentials."""
    async with open_endpoint(Service(clock), clock) as (_, endpoint):
        assert "http://127.0.0.1:" in repr(endpoint)
        await endpoint.aclose()
        await endpoint.aclose()

        for use in (endpoint.environ, endpoint.url, endpoint.token_file):
            with pytest.raises(ClientClosedError, match="the endpoint is not open"):
                use("demo")
        with pytest.raises(ClientClosedError, match="entered once"):
            await endpoint.__aenter__()
        assert "not open" in repr(endpoint)


async def test_open_connections_end_with_the_endpoint(watched: None, clock: VirtualClock) -> None:
    """Also those that have sent nothing, or wait for a fetch."""
    service = Service(clock)
    async with open_endpoint(service, clock) as (_, endpoint):
        reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.port)
        service.gate = asyncio.Event()
        clock.advance(7200)
        asking = asyncio.create_task(ask(endpoint))
        await until(lambda: service.running)
        await endpoint.aclose()

        assert await reader.read() == b""
        writer.close()
        await asyncio.wait([asking])
        assert asking.exception() is not None or asking.result().status == 503
        service.gate.set()


async def test_a_fleet_that_is_not_open_is_a_clear_error(watched: None, clock: VirtualClock) -> None:
    """Before and after its life."""
    async with open_fleet(Service(clock), clock) as fleet:
        await fleet.aclose()
        with pytest.raises(ClientClosedError, match="the fleet is closed"):
            async with serve(fleet, {"demo": DEMO}):
                raise AssertionError
    assert directories() == []


async def test_an_endpoint_runs_in_the_event_loop_of_its_fleet(watched: None, clock: VirtualClock) -> None:
    """Its answers come from the memory of the fleet."""
    async with open_fleet(Service(clock), clock) as fleet:

        async def enter() -> None:
            async with serve(fleet, {"demo": DEMO}):
                raise AssertionError

        with pytest.raises(ConfigurationError, match="event loop of its fleet"):
            await asyncio.to_thread(asyncio.run, enter())


def test_a_closed_event_loop_is_a_clear_error() -> None:
    """The program has ended the loop without closing the endpoint. Its files go with the object."""
    clock = VirtualClock(start=1_767_225_600.0)

    async def opened() -> CredentialsEndpoint:
        sts = Service(clock).client()
        from sts_async.fleet import CredentialsFleet

        fleet = await CredentialsFleet(sts).__aenter__()
        return await serve(fleet, {"demo": DEMO}).__aenter__()

    loop = asyncio.new_event_loop()
    endpoint = loop.run_until_complete(opened())
    assert len(directories()) == 1
    listening = endpoint._socket
    loop.close()

    with pytest.raises(ClientClosedError, match="the event loop of the endpoint is closed"):
        endpoint.environ("demo")
    asyncio.run(endpoint.aclose())
    assert listening is not None
    assert listening.fileno() == -1
    assert directories() == []


async def test_it_can_be_closed_in_another_event_loop(watched: None, clock: VirtualClock) -> None:
    """As the fleet can."""
    async with open_endpoint(Service(clock), clock) as (_, endpoint):
        await asyncio.to_thread(asyncio.run, endpoint.aclose())

        assert not accepts(endpoint.port)
        assert directories() == []


async def test_the_path_of_a_token_file_is_absolute(
    watched: None, clock: VirtualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command may run in another directory."""
    monkeypatch.chdir(tmp_path)
    async with open_endpoint(Service(clock), clock, directory="tokens") as (_, endpoint):
        assert endpoint.token_file("demo") == tmp_path / "tokens" / "demo.token"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
async def test_a_forked_child_owns_nothing_of_the_endpoint(watched: None, clock: VirtualClock) -> None:
    """It neither listens, nor removes the files of its parent, and says so."""
    async with open_endpoint(Service(clock), clock) as (_, endpoint):
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                text = "no error"
                try:
                    endpoint.environ("demo")
                except ClientClosedError as error:
                    text = str(error)
                endpoint._directory.remove()
                os.write(writer, f"{text}|{endpoint._socket}".encode())
            finally:
                os._exit(0)
        os.close(writer)
        text = in_a_thread(os.read, reader, 1000).decode()
        os.close(reader)
        in_a_thread(os.waitpid, pid, 0)

        assert text == "the endpoint belongs to the parent of this process|None"
        assert endpoint.token_file("demo").exists()
        assert (await ask(endpoint)).status == 200


@pytest.mark.parametrize(
    "names", [[], [""], ["-x"], ["."], [".."], ["a/b"], ["a b"], ["a%2fb"], ["x" * 129], ["é"], ["Demo", "demo"]]
)
async def test_names_that_are_no_path_and_no_file_are_refused(
    watched: None, clock: VirtualClock, names: list[str]
) -> None:
    """They come from a configuration, but a name such as `..` would be another path."""
    async with open_fleet(Service(clock), clock) as fleet:
        with pytest.raises(ConfigurationError):
            serve(fleet, {name: role(number) for number, name in enumerate(names)})


@pytest.mark.parametrize("port", [-1, 65536, True, "80", 8.0])
async def test_other_ports_are_refused(watched: None, clock: VirtualClock, port: int) -> None:
    """With the range in the message."""
    async with open_fleet(Service(clock), clock) as fleet:
        with pytest.raises(ConfigurationError, match="port must be 0 to 65535"):
            serve(fleet, {"demo": DEMO}, port=port)


@pytest.mark.slow
@settings(max_examples=20)
@given(st.from_regex(r"(?!-)[A-Za-z0-9_+=,.@-]{1,128}", fullmatch=True).filter(lambda name: name.strip(".")))
async def test_every_name_of_a_file_of_roles_can_be_asked_for(name: str) -> None:
    """Its path is one segment, for each client."""
    clock = VirtualClock(start=1_767_225_600.0)
    async with open_endpoint(Service(clock), clock, {name: DEMO}) as (_, endpoint):
        path = endpoint.url(name).removeprefix(f"http://127.0.0.1:{endpoint.port}")

        assert (await ask(endpoint, path=path, token=endpoint.token_file(name).read_text())).status == 200


async def test_nothing_shows_a_token(watched: None, clock: VirtualClock) -> None:
    """T14: neither a repr, nor a pickle."""
    async with open_endpoint(Service(clock), clock) as (_, endpoint):
        token = endpoint.token_file("demo").read_text()
        shown = [repr(endpoint), repr(endpoint.environ("demo")), repr(endpoint._served), repr(vars(endpoint))]

        assert [text for text in shown if token in text] == []
        with pytest.raises(TypeError):
            pickle.dumps(endpoint)


def test_a_directory_is_not_written_after_its_end(tmp_path: Path) -> None:
    """A thread that writes may be late."""
    directory = TokenDirectory(tmp_path / "x")
    directory.create({"demo": "token"})
    directory.remove()
    with pytest.raises(OSError, match="the endpoint has ended"):
        directory.write("late", b"x")
    assert list((tmp_path / "x").iterdir()) == []


def test_a_directory_is_not_made_after_its_end() -> None:
    """For the same reason."""
    directory = TokenDirectory(None)
    directory.remove()
    with pytest.raises(OSError, match="the endpoint has ended"):
        directory.create({"demo": "token"})
    assert directories() == []


async def test_the_files_go_at_the_end_of_a_process_that_closes_nothing(watched: None) -> None:
    """A program that ends with an exception outside of its blocks leaves no token behind."""
    code = (
        "import asyncio, sys\n"
        "from sts_async import *\nfrom sts_async.agent import serve\nfrom sts_async.fleet import CredentialsFleet\n"
        "from sts_async.testing import LocalSTS\n"
        "async def main():\n"
        "    server = await LocalSTS().__aenter__()\n"
        "    sts = server.client()\n"
        "    fleet = await CredentialsFleet(sts).__aenter__()\n"
        "    role = AssumeRoleRequest(role_arn='arn:aws:iam::123456789012:role/demo', role_session_name='me')\n"
        "    endpoint = await serve(fleet, {'demo': role}).__aenter__()\n"
        "    print(endpoint.token_file('demo'), endpoint.token_file('demo').exists(), flush=True)\n"
        "    sys.exit(3)\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    path, existed = out.decode().split()

    assert process.returncode == 3
    assert existed == "True"
    assert not Path(path).parent.exists()
