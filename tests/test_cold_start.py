"""E13: what a program pays before its first call, in counts: modules, expressions, attrs classes, TLS contexts."""

import asyncio
import json
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme
from patience import PATIENCE
from support import KEYS, ROLE

from sts_async import Config, STSClient, errors
from sts_async._config import certificates
from sts_async._protocol.http_messages import HttpRequest
from sts_async.shapes import GetCallerIdentityRequest
from sts_async.testing import LocalSTS

COUNTED = """
import json, re._compiler, ssl, sys
{before}
import attrs
others = set(sys.modules)
compiled, contexts, written = [], [], []

def of_ours():
    frame = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename.endswith(("/re/__init__.py", "functools.py")):
        frame = frame.f_back
    return frame is not None and "sts_async" in frame.f_globals.get("__name__", "")

compile_expression, make_context = re._compiler.compile, ssl.create_default_context

def noting_expression(expression, *flags):
    if of_ours():
        compiled.append(str(expression))
    return compile_expression(expression, *flags)

def noting_context(*args, **options):
    contexts.append(options)
    return make_context(*args, **options)

define = attrs.define

def noting_class(cls=None, **options):
    if cls is not None:
        written.append(cls.__name__)
        return define(cls, **options)
    return lambda cls: noting_class(cls, **options)

re._compiler.compile, ssl.create_default_context, attrs.define = noting_expression, noting_context, noting_class
{program}
print(json.dumps([sorted(set(sys.modules) - others), compiled, len(contexts), written]))
"""
CALL = """
import asyncio, os
from sts_async import Credentials, STSClient

async def main():
    keys = Credentials(access_key_id=sys.argv[2], secret_access_key=sys.argv[3])
    async with STSClient(endpoint_url=sys.argv[1], region="us-east-1", credentials=keys) as sts:
        await sts.assume_role(role_arn="arn:aws:iam::123456789012:role/demo", role_session_name="me")

asyncio.run(main())
"""

COMMAND = """
import io
from sts_async import cli

shown, sys.stdout = sys.stdout, io.StringIO()
role = ["--role-arn", "arn:aws:iam::123456789012:role/demo", "--role-session-name", "me"]
status = cli.main(["assume-role", "--endpoint-url", sys.argv[1], "--region", "us-east-1", *role])
sys.stdout = shown
assert status == 0
"""


class Counted(NamedTuple):
    """
    What a program did.

    Attributes:
        modules: The modules that it imported, beyond aiohttp, attrs, cattrs and lxml.
        compiled: The expressions that this library compiled.
        contexts: How many TLS contexts were made.
        written: The classes for which attrs wrote methods, once for each time.
    """

    modules: list[str]
    compiled: list[str]
    contexts: int
    written: list[str]


async def counted(program: str, *arguments: str) -> Counted:
    """Run a program, and return what it did."""
    code = COUNTED.format(before="import asyncio, aiohttp, attrs, cattrs, lxml.etree", program=program)
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.stderr == ""
    return Counted(*json.loads(done.stdout))


async def test_the_package_is_imported_without_compiling_an_expression() -> None:
    """E13: each is compiled when it is needed, and most are for rare inputs."""
    found = await counted("from sts_async import STSClient, AssumeRoleProvider, Config")

    assert found.compiled == []
    assert found.contexts == 0


async def test_the_first_call_imports_and_compiles_little() -> None:
    """E13: what only some programs use is not there: other sources of credentials, observers, the kit for tests."""
    async with LocalSTS() as server:
        secret = str.__str__(server.credentials.secret_access_key)
        found = await counted(CALL, server.url, server.credentials.access_key_id, secret)

    rooms = {name.removeprefix("sts_async.") for name in found.modules if name.startswith("sts_async.")}
    sources = {name.removeprefix("credentials.") for name in rooms if name.startswith("credentials.")}
    assert len(server.requests) == 1
    assert len(found.modules) <= 102
    assert len(found.compiled) <= 21
    assert len(found.written) <= 70  # classes of attrs, at 0.3 to 0.6 ms each
    assert found.contexts == 0
    assert not {name for name in rooms if name.startswith(("testing", "observers"))}
    assert sources <= {"_account", "_schedule", "source", "static"}
    assert not rooms & {"_config.profile_grammar", "_config.profile_plans", "cli", "doctor"}
    assert "difflib" not in found.modules


async def test_a_command_imports_neither_the_fleet_nor_its_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """E13: only `sts-async fleet` does; of its parts, other commands import the options for the help."""
    async with LocalSTS() as server:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.credentials.access_key_id)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", str.__str__(server.credentials.secret_access_key))
        found = await counted(COMMAND, server.url)

    assert len(server.requests) == 1
    assert [name for name in found.modules if "fleet" in name] == ["sts_async._cli.fleet_options"]
    assert not {name for name in found.modules if name.partition(".")[0] == "rich" or "testing" in name}


class Reads:
    """Counts how often certificates are read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._trust_of = certificates.trust_of
        monkeypatch.setattr(certificates, "trust_of", self._read)

    def _read(self, config: Config) -> Any:
        self.count += 1
        return self._trust_of(config)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)


async def test_a_plain_endpoint_reads_no_certificates(reads: Reads) -> None:
    """E13: also where AWS_CA_BUNDLE names those of the whole system, whose reading takes longer than a call."""
    async with (
        LocalSTS() as server,
        STSClient(
            endpoint_url=server.url,
            region="us-east-1",
            credentials=server.credentials,
            config=Config(ca_bundle="/gone.pem"),
        ) as sts,
    ):
        await sts.assume_role(role_arn=ROLE, role_session_name="me")

    assert reads.count == 0


async def test_what_is_asked_over_tls_besides_a_plain_endpoint_must_prove_itself(reads: Reads, tmp_path: Path) -> None:
    """E13: by the authorities of the options, which are read once, before anything is sent."""
    ours, theirs = trustme.CA(), trustme.CA()
    bundle = tmp_path / "bundle.pem"
    ours.cert_pem.write_to_path(str(bundle))
    seen: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        writer.close()

    servers, urls = [], []
    for authority in (ours, theirs):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
        servers.append(server)
        urls.append(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    config = Config(ca_bundle=str(bundle))
    async with STSClient(endpoint_url="http://127.0.0.1:1", region="us-east-1", credentials=KEYS, config=config) as sts:
        context = (await sts._life.ready()).context
        before = reads.count
        good = [await context.send(HttpRequest("GET", urls[0], {})) for _ in range(2)]
        with pytest.raises(errors.TLSError):
            await context.send(HttpRequest("GET", urls[1], {}))

    for server in servers:
        server.close()

    assert (before, reads.count) == (0, 1)
    assert [bytes(one.body) for one in good] == [b"ok", b"ok"]
    assert len(seen) == 2


async def test_certificates_that_cannot_be_read_are_an_error_of_what_is_asked_over_tls(tmp_path: Path) -> None:
    """E13."""
    config = Config(ca_bundle=str(tmp_path / "gone.pem"))
    async with STSClient(endpoint_url="http://127.0.0.1:1", region="us-east-1", credentials=KEYS, config=config) as sts:
        context = (await sts._life.ready()).context
        with pytest.raises(errors.ConfigurationError, match=r"ca_bundle: '.*gone\.pem': No such file"):
            await context.send(HttpRequest("GET", "https://127.0.0.1:1/", {}))


async def test_certificates_are_read_once_before_the_first_connection_with_tls(reads: Reads, tmp_path: Path) -> None:
    """E13: not when the client starts, and not when it signs: a file that is missing harms no call without TLS."""
    gone, authority = tmp_path / "bundle.pem", trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with LocalSTS(ssl_context=context) as server:
        config = Config(endpoint_url=server.url, region="us-east-1", ca_bundle=str(gone), max_attempts=1)
        async with STSClient(credentials=server.credentials, config=config) as sts:
            assert (await sts.presign(GetCallerIdentityRequest())).reveal().startswith(server.url)
            before = reads.count
            with pytest.raises(errors.ConfigurationError, match=r"ca_bundle: '.*bundle\.pem': No such file"):
                await sts.get_caller_identity()
            failed = reads.count
            authority.cert_pem.write_to_path(str(gone))
            accounts = [one.account for one in await asyncio.gather(*[sts.get_caller_identity() for _ in range(3)])]

    assert (before, failed, reads.count) == (0, 1, 2)
    assert len(accounts) == len(server.requests) == 3
