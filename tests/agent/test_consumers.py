"""
Real consumers of the container credentials protocol, over sockets, with credentials that are replaced while they work.

Each runs in a process of its own with the environment of the endpoint, against a small S3 that computes each signature
again and refuses keys that have ended. The credentials live for a few seconds, so each consumer has to come back.

A consumer that is not installed is skipped. ``STS_ASYNC_PEERS`` names a Python with obstore, polars, s3fs,
the libraries of the recipes and the AWS CLI. ``STS_ASYNC_RCLONE`` names the program rclone, which uses
the SDK for Go. ``STS_ASYNC_NODE`` names a folder whose ``node_modules`` has ``@aws-sdk/client-sts``.
"""

import asyncio
import functools
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from bridges.recipes import MODULES, RECIPES, THROUGH_THE_ENDPOINT
from bridges.signed_server import SignedServer
from patience import PATIENCE, soon

from sts_async import ContainerProvider, Credentials
from sts_async.agent import CredentialsEndpoint, run_child, serve
from sts_async.credentials import RefreshingProvider
from sts_async.fleet import CredentialsFleet
from sts_async.protocols import ProviderContext
from sts_async.testing import LocalSTS

LIFE = 8.0  # s of credentials; new ones are there after the first half, and old ones are accepted for the second
ROUNDS = int(os.environ.get("STS_ASYNC_ROUNDS", "12"))  # uses of each consumer
PAUSE = 0.7  # s between them, so that credentials are replaced
PEERS = os.environ.get("STS_ASYNC_PEERS", "")
RCLONE = os.environ.get("STS_ASYNC_RCLONE", "")
NODE = os.environ.get("STS_ASYNC_NODE", "")
ARN = "arn:aws:iam::123456789012:role/demo"


class ShortLived(RefreshingProvider):
    """A source whose credentials end soon, at an STS that accepts them until then."""

    name = "short-lived credentials"
    depends_on_client = False

    def __init__(self, server: LocalSTS) -> None:
        super().__init__()
        self._server = server
        self.issued: list[Credentials] = []

    async def fetch(self, context: ProviderContext) -> Credentials:
        """Return new credentials of the server, with an end of our own."""
        credentials = self._server.issue(ARN, seconds=LIFE)
        self.issued.append(credentials)
        return credentials


@pytest.fixture
def s3() -> Iterator[tuple[LocalSTS, SignedServer]]:
    """Return an STS and an S3 on the time of this host, because consumers compare ends with it."""
    with LocalSTS() as server, SignedServer(server) as service:
        yield server, service


@asynccontextmanager
async def endpoint_of(server: LocalSTS) -> AsyncIterator[tuple[CredentialsEndpoint, ShortLived]]:
    source = ShortLived(server)
    async with (
        server.client() as sts,
        CredentialsFleet(sts) as fleet,
        serve(fleet, {"demo": source}) as endpoint,
    ):
        yield endpoint, source


async def use(s3: tuple[LocalSTS, SignedServer], command: list[str], **variables: str) -> list[str]:
    """Run a consumer, check that it used keys that were replaced, and return the codes of refused requests."""
    server, service = s3
    async with endpoint_of(server) as (endpoint, source):
        environ = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            "AWS_ACCESS_KEY_ID": "AKIAWRONG",
            "AWS_SECRET_ACCESS_KEY": "wrong",
            "S3": service.url,
            "STS": server.url,
            "ROUNDS": str(ROUNDS),
            "PAUSE": str(PAUSE),
            **variables,
        }
        assert await soon(run_child(endpoint, "demo", command, environ=environ)) == 0
    assert len(source.issued) >= 2
    assert len(service.keys) >= 2
    assert {*service.keys} <= {credentials.access_key_id for credentials in source.issued}
    return service.refused


@functools.cache
def has(python: str, module: str) -> bool:
    """Return True if a Python has a module."""
    if not python:
        return False
    code = f"import importlib.util as u; raise SystemExit(u.find_spec({module!r}) is None)"
    return subprocess.run([python, "-c", code], check=False, timeout=PATIENCE).returncode == 0


def python_with(module: str) -> str:
    """Return a Python that has a module; the test is skipped if there is none."""
    for python in (sys.executable, PEERS):
        if has(python, module):
            return python
    pytest.skip(f"{module} is not installed here; STS_ASYNC_PEERS can name a Python that has it")


LOOP = """
import os, time
rounds, pause, url = int(os.environ["ROUNDS"]), float(os.environ["PAUSE"]), os.environ["S3"]
def each(call):
    for number in range(rounds):
        call(number)
        time.sleep(pause)
"""

BOTO3 = """
import boto3
session = boto3.Session()
assert session.get_credentials().method == "container-role"
s3 = session.client("s3", endpoint_url=url)
def call(number):
    s3.put_object(Bucket="bucket", Key="key", Body=b"abc")
    assert s3.get_object(Bucket="bucket", Key="key")["Body"].read() == b"abc"
each(call)
"""

S3FS = """
import s3fs
files = s3fs.S3FileSystem(endpoint_url=url, use_listings_cache=False)
def call(number):
    files.pipe("bucket/key", b"abc")
    assert files.cat("bucket/key") == b"abc"
each(call)
"""

OBSTORE = """
import obstore
from obstore.store import S3Store
store = S3Store("bucket", endpoint=url, client_options={"allow_http": True}, virtual_hosted_style_request=False)
def call(number):
    obstore.put(store, "key", b"abc")
    assert bytes(obstore.get(store, "key").bytes()) == b"abc"
each(call)
"""

POLARS = """
import polars, urllib.request
options = {"aws_endpoint_url": url, "aws_allow_http": "true", "aws_virtual_hosted_style_request": "false"}
def call(number):
    found = polars.scan_csv("s3://bucket/table.csv", storage_options=options, credential_provider=None).collect()
    assert found["a"].to_list() == [1, 2]
each(call)
"""

RECIPE = """
import ast
*first, last = ast.parse(os.environ["RECIPE"]).body  # the last statement reads something
names = {}
exec(compile(ast.Module(first, []), "recipe", "exec"), names)
each(lambda number: exec(compile(ast.Module([last], []), "recipe", "exec"), names))
"""

PLACES = {
    "pyarrow": ('region="us-east-1"', 'region="us-east-1", endpoint_override="{host}", scheme="http"'),
    "deltalake": (
        'bucket/table"',
        'bucket/table", storage_options={{"AWS_ENDPOINT_URL": "{url}", "AWS_ALLOW_HTTP": "true"}}',
    ),
    "pyiceberg": ('metadata.json"', 'metadata.json", properties={{"s3.endpoint": "{url}", "s3.region": "us-east-1"}}'),
    "DuckDB": ("REFRESH auto", "REFRESH auto, ENDPOINT '{host}', URL_STYLE path, USE_SSL false"),
}
"""What each recipe is given to reach the server of a test: a text in it, and another for it."""
PRINTED = {"pyarrow": "6", "deltalake": "0", "pyiceberg": "table {", "DuckDB": "[(1,), (2,)]"}

DELTA_LOG = b"""\
{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}
{"metaData":{"id":"00000000-0000-0000-0000-000000000000","format":{"provider":"parquet","options":{}},"schemaString":"\
{\\"type\\":\\"struct\\",\\"fields\\":[{\\"name\\":\\"a\\",\\"type\\":\\"long\\",\\"nullable\\":true,\\"metadata\\":{}}]}"\
,"partitionColumns":[],"configuration":{},"createdTime":1767225600000}}
"""

ICEBERG = b"""\
{"format-version":2,"table-uuid":"00000000-0000-0000-0000-000000000000","location":"s3://bucket/iceberg",\
"last-sequence-number":0,"last-updated-ms":1767225600000,"last-column-id":1,"current-schema-id":0,\
"schemas":[{"type":"struct","schema-id":0,"fields":[{"id":1,"name":"a","required":false,"type":"long"}]}],\
"default-spec-id":0,"partition-specs":[{"spec-id":0,"fields":[]}],"last-partition-id":999,"default-sort-order-id":0,\
"sort-orders":[{"order-id":0,"fields":[]}]}
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "code"),
    [
        ("boto3", BOTO3),
        ("s3fs", S3FS),
        ("obstore", OBSTORE),
        ("polars", POLARS),
    ],
)
async def test_libraries_of_python_use_keys_that_are_replaced(
    s3: tuple[LocalSTS, SignedServer], module: str, code: str
) -> None:
    """Zero requests are refused while several lives of credentials pass."""
    python = python_with(module)
    s3[1].objects["/bucket/table.csv"] = b"a\n1\n2\n"

    assert await use(s3, [python, "-c", LOOP + code]) == []


@pytest.mark.slow
@pytest.mark.parametrize("library", THROUGH_THE_ENDPOINT)
async def test_recipes_use_keys_that_are_replaced(
    s3: tuple[LocalSTS, SignedServer], library: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """DuckDB alone has one request refused before it asks again, as its recipe says."""
    python = python_with(MODULES.get(library, library))
    if library == "DuckDB":
        if not has(python, "duckdb_ext"):
            pytest.skip("the extensions of DuckDB are not installed, and no test loads them from the network")
        extensions = Path(python).parent.parent.glob("lib/python*/site-packages/duckdb_ext/extensions")
        (tmp_path / ".duckdb").mkdir()
        (tmp_path / ".duckdb" / "extensions").symlink_to(next(extensions))
    service = s3[1]
    service.objects["/bucket/table.csv"] = b"a\n1\n2\n"
    service.objects["/bucket/table/_delta_log/00000000000000000000.json"] = DELTA_LOG
    service.objects["/bucket/iceberg/v1.metadata.json"] = ICEBERG
    text, other = PLACES[library]
    code = RECIPES[library]
    assert text in code
    rounds = ROUNDS + 4 * (library == "DuckDB")  # it comes back when it is refused, after a whole life
    place = other.format(url=service.url, host=urlsplit(service.url).netloc)

    refused = await use(
        s3,
        [python, "-c", LOOP + RECIPE],
        HOME=str(tmp_path),
        RECIPE=code.replace(text, place),
        ROUNDS=str(rounds),
    )

    printed = capfd.readouterr().out
    assert printed.count(PRINTED[library]) == rounds
    assert {*refused} <= ({"ExpiredToken"} if library == "DuckDB" else set())


@pytest.mark.slow
async def test_the_command_line_of_aws_uses_the_endpoint(s3: tuple[LocalSTS, SignedServer]) -> None:
    """Each call is a process of its own, which asks once."""
    program = shutil.which("aws", path=str(Path(PEERS).parent)) if PEERS else None
    if program is None:
        pytest.skip("there is no AWS CLI beside a Python that STS_ASYNC_PEERS names")
    s3[1].objects["/bucket/table.csv"] = b"a\n1\n2\n"
    copy = f'"{program}" --endpoint-url "$S3" s3 cp s3://bucket/table.csv -'

    assert await use(s3, ["/bin/sh", "-ec", f"for i in $(seq $ROUNDS); do {copy}; done"]) == []


RCLONE_CODE = """
import re, subprocess, sys, threading, urllib.request
command = [sys.argv[1], "serve", "http", "r:bucket", "--addr", "127.0.0.1:0", "--config", os.devnull]
with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
    place = next(found[0] for line in server.stderr if (found := re.search(r"http://127[^ /]+", line)))
    threading.Thread(target=server.stderr.read, daemon=True).start()
    def call(number):
        assert urllib.request.urlopen(f"{place}/table.csv").read() == b"a\\n1\\n2\\n"
    try:
        each(call)
    finally:
        server.terminate()
"""


@pytest.mark.slow
async def test_the_sdk_for_go_uses_keys_that_are_replaced(s3: tuple[LocalSTS, SignedServer]) -> None:
    """In rclone, as one process that serves a bucket."""
    if not RCLONE:
        pytest.skip("STS_ASYNC_RCLONE names no rclone")
    s3[1].objects["/bucket/table.csv"] = b"a\n1\n2\n"
    options = {"TYPE": "s3", "PROVIDER": "AWS", "ENV_AUTH": "true", "FORCE_PATH_STYLE": "true", "ENDPOINT": s3[1].url}
    variables = {f"RCLONE_CONFIG_R_{name}": value for name, value in options.items()}

    assert await use(s3, [sys.executable, "-c", LOOP + RCLONE_CODE, RCLONE], **variables) == []


NODE_CODE = """
import { createRequire } from "node:module";
const require = createRequire(process.env.FOLDER + "/");
const { STSClient, GetCallerIdentityCommand } = require("@aws-sdk/client-sts");
const sts = new STSClient({ region: "us-east-1", endpoint: process.env.STS });
const rounds = Number(process.env.ROUNDS), pause = 1000 * Number(process.env.PAUSE);
const keys = new Set();
for (let number = 0; number < rounds; number++) {
  const found = await sts.send(new GetCallerIdentityCommand({}));
  if (!found.Arn.includes("assumed-role/demo")) throw new Error(found.Arn);
  keys.add((await sts.config.credentials()).accessKeyId);
  await new Promise((done) => setTimeout(done, pause));
}
if (keys.size < 2) throw new Error("the keys were not replaced");
"""


@pytest.mark.slow
async def test_the_sdk_for_javascript_uses_keys_that_are_replaced(
    s3: tuple[LocalSTS, SignedServer], tmp_path: Path
) -> None:
    """It is the strictest reader: all members must be text, and it waits 1 s for an answer."""
    node = shutil.which("node")
    if (
        node is None
        or not NODE
        or shutil.which("package.json", os.F_OK, f"{NODE}/node_modules/@aws-sdk/client-sts") is None
    ):
        pytest.skip("STS_ASYNC_NODE names no folder with @aws-sdk/client-sts, or Node.js is not installed")
    script = tmp_path / "use.mjs"
    script.write_text(NODE_CODE)
    server, _ = s3
    async with endpoint_of(server) as (endpoint, source):
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": os.environ["HOME"],
            "FOLDER": NODE,
            "STS": server.url,
            "ROUNDS": str(ROUNDS),
            "PAUSE": str(PAUSE),
        }
        assert await soon(run_child(endpoint, "demo", [node, str(script)], environ=environ)) == 0
    assert {request.status for request in server.requests} == {200}
    assert len(source.issued) >= 2


async def test_our_own_provider_uses_keys_that_are_replaced(s3: tuple[LocalSTS, SignedServer]) -> None:
    """The client of this library and its endpoint understand each other."""
    server, _ = s3
    async with endpoint_of(server) as (endpoint, source):
        provider = ContainerProvider(environ=endpoint.environ("demo").for_child({}))
        async with server.client(credentials=provider) as sts:
            for _ in range(8):
                assert (await sts.get_caller_identity()).arn.endswith(":assumed-role/demo/local")
                await asyncio.sleep(PAUSE)
    assert {request.status for request in server.requests} == {200}
    assert len(source.issued) >= 2


async def test_the_provider_of_botocore_reads_the_answer(s3: tuple[LocalSTS, SignedServer]) -> None:
    """In this process, in a thread: with the end as it is, and with the account."""
    from botocore.credentials import ContainerProvider as Theirs

    server, _ = s3
    async with endpoint_of(server) as (endpoint, source):
        theirs = Theirs(environ=endpoint.environ("demo").for_child({}))
        found = await asyncio.to_thread(theirs.load)
        frozen = await asyncio.to_thread(found.get_frozen_credentials)

        latest = source.issued[-1]
        assert (frozen.access_key, frozen.secret_key, frozen.token) == (
            latest.access_key_id,
            latest.secret_access_key,
            latest.session_token,
        )
        assert found._expiry_time == latest.expiration.replace(microsecond=0)
