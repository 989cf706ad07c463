"""
The page `coming_from_boto3.md`: for each task, the other library and this one print the same.

boto3 and aiobotocore need different versions of botocore. So each runs where it is installed.
"""

import ast
import importlib.util
import inspect
import logging
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from bridges.signed_server import SignedServer
from credentials.test_web_identity import jwt
from documents import DOCUMENTS, blocks
from patience import soon

from sts_async import errors
from sts_async.testing import LocalSSO, LocalSTS, Role, Unavailable

pytestmark = pytest.mark.slow
PAGE = DOCUMENTS["sts_async/coming_from_boto3.md"]
LIBRARIES = ("boto3", "aiobotocore", "sts_async")
TASKS = {
    title: {
        library: block
        for library, text in re.findall(r"^(\w+):\n\n(```python\n.+?\n```)$", body, re.MULTILINE | re.DOTALL)
        for block in blocks(text, "python")
    }
    for title, body in re.findall(r"^## (.+?)\n(.+?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    if "```" in body
}
"""The blocks of each task, by the name of the library."""
PREAMBLE, *_ = blocks(PAGE, "python")
PAIRS = [(title, library) for title, found in TASKS.items() for library in found if library != "sts_async"]
ROLE = "arn:aws:iam::123456789012:role/demo"
SSO = "arn:aws:iam::123456789012:role/AWSReservedSSO_Dev_0123456789abcdef"
CLOSED = "arn:aws:iam::123456789012:role/closed"
PROFILES = """\
[profile work]
role_arn = arn:aws:iam::123456789012:role/demo
role_session_name = work
source_profile = base
[profile base]
aws_access_key_id = {key}
aws_secret_access_key = {secret}
[profile sso]
sso_session = corp
sso_account_id = 123456789012
sso_role_name = Dev
[sso-session corp]
sso_region = us-east-1
sso_start_url = https://demo.awsapps.com/start
"""


def test_every_block_is_run() -> None:
    assert len(blocks(PAGE, "python")) == 1 + sum(map(len, TASKS.values()))
    assert all("sts_async" in found and len(found) > 1 and {*found} <= {*LIBRARIES} for found in TASKS.values())


def test_the_errors_of_the_table_exist() -> None:
    exceptions = pytest.importorskip("botocore.exceptions")
    rows = re.findall(r"^\| (`.+) \| (`.+) \|$", PAGE, re.MULTILINE)

    assert rows
    for theirs, ours in rows:
        assert [name for name in re.findall(r"`(\w+)`", theirs) if not hasattr(exceptions, name)] == []
        assert [name for name in re.findall(r"`(\w+)`", ours) if not hasattr(errors, name)] == []


@pytest.fixture
def service(
    task: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> Iterator[LocalSTS]:
    """Run an STS, an S3 and an SSO for one task, with what it needs: profiles, a login, a token."""
    caplog.set_level(logging.INFO, "aiobotocore")  # it shows secrets at DEBUG
    monkeypatch.chdir(tmp_path)
    cache = Path.home() / ".aws/sso/cache"
    for module, name in (("credentials", "SSOProvider"), ("tokens", "SSOTokenProvider")):
        if library := sys.modules.get(f"botocore.{module}"):  # it looked for HOME when it was imported
            monkeypatch.setattr(getattr(library, name), "_SSO_TOKEN_CACHE_DIR", str(cache))
    if "boto3" in sys.modules:
        monkeypatch.setattr(sys.modules["boto3"], "DEFAULT_SESSION", None)  # it keeps the keys of an earlier test
    with LocalSTS() as server, SignedServer(server) as s3, LocalSSO(credentials=lambda: server.issue(SSO)) as sso:
        server.declare(Role(CLOSED, trusts=["111111111111"]))
        keys = server.credentials
        settings = {
            "AWS_ACCESS_KEY_ID": keys.access_key_id,
            "AWS_SECRET_ACCESS_KEY": str(keys.secret_access_key),
            "AWS_ENDPOINT_URL_STS": server.url,
            "AWS_ENDPOINT_URL_S3": s3.url,
            "AWS_ENDPOINT_URL_SSO": sso.url,
            "AWS_ENDPOINT_URL_SSO_OIDC": sso.url,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        for name, value in settings.items():
            if task != "Tests":  # moto serves only the hosts of AWS
                monkeypatch.setenv(name, value)
        if task in ("A profile", "SSO"):
            sso.login(cache, session="corp")
            text = PROFILES.format(key=keys.access_key_id, secret=str(keys.secret_access_key))
            (cache.parent.parent / "config").write_text(text)
        if task == "Web identity":
            (tmp_path / "token.jwt").write_text(jwt(expires_at=time.time() + 3600))
        yield server


async def printed_by(code: str) -> str:
    """Run a block, and return what it prints; or what its web service answers."""
    lines: list[str] = []
    names: dict[str, Any] = {"__name__": "page", "print": lambda *values: lines.append(" ".join(map(str, values)))}
    for part in (PREAMBLE, code):
        compiled = compile(part, "coming_from_boto3.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(compiled, names)  # the block is the subject of the test
        if inspect.isawaitable(result):
            await result
    if "app" in names:
        runner = web.AppRunner(names["app"])
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/identity"
        async with ClientSession() as session, session.get(url) as response:
            lines.append(await response.text())
        await runner.cleanup()
    return "\n".join(lines)


@pytest.mark.parametrize(("task", "library"), PAIRS)
async def test_both_print_the_same(service: LocalSTS, task: str, library: str) -> None:
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed: it needs another version of botocore")
    found = []
    for name in (library, "sts_async"):
        if task == "Retries and time limits":
            service.faults.add(Unavailable())
        found.append(await soon(printed_by(TASKS[task][name])))

    theirs, ours = found
    assert theirs == ours
    assert ours
