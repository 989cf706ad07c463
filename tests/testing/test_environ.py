"""The variables of each server, in a process of its own that has no others, with a foreign client in it."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import botocore
import pytest

from sts_async.testing import LocalContainer, LocalIMDS, LocalSignIn, LocalSSO, LocalSTS

SERVERS = [LocalContainer, LocalIMDS, LocalSSO, LocalSTS, LocalSignIn]
LOGIN = "arn:aws:iam::123456789012:user/me"
NOWHERE = "http://127.0.0.1:9/"

IDENTITY = """
import boto3, json
answer = boto3.client("sts").get_caller_identity()
print(json.dumps(answer["Arn"]))
"""
CREDENTIALS = """
import boto3, json
found = boto3.Session().get_credentials()
print(json.dumps(None if found is None else [found.method, found.access_key]))
"""


async def run(script: str, environ: dict[str, str], home: Path) -> Any:
    """Return what *script* prints in a process with *environ*, an empty home directory and nothing else."""
    path = os.pathsep.join([str(Path(botocore.__file__).parent.parent), *filter(None, sys.path)])
    given = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": path, **environ}
    command = [sys.executable, "-c", script]
    ended = await asyncio.to_thread(subprocess.run, command, env=given, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr.splitlines()[-1]
    return json.loads(ended.stdout)


def traps(home: Path) -> None:
    """Give a home directory credentials that no server here is to be passed over for."""
    (home / ".aws").mkdir()
    (home / ".aws/credentials").write_text(
        "[default]\naws_access_key_id = AKIATRAP\naws_secret_access_key = SENTINEL-trap\n"
    )
    (home / ".aws/config").write_text(f"[default]\nregion = eu-north-1\nendpoint_url = {NOWHERE}\n")


async def test_boto3_calls_local_sts_by_its_variables_alone(tmp_path: Path) -> None:
    """D6: neither a region nor keys nor an endpoint has to be known, and files of the machine do not count."""
    traps(tmp_path)
    async with LocalSTS(region="ap-south-1") as server:
        arn = await run(IDENTITY, server.environ, tmp_path)

        assert arn == "arn:aws:iam::123456789012:user/developer"
        assert [(record.operation, record.region) for record in server.requests] == [
            ("GetCallerIdentity", "ap-south-1")
        ]


@pytest.mark.parametrize(
    ("kind", "method"), [(LocalIMDS, "iam-role"), (LocalContainer, "container-role")], ids=lambda value: str(value)
)
async def test_boto3_finds_credentials_by_the_variables_alone(kind: Any, method: str, tmp_path: Path) -> None:
    """D4, D6: the keys of the home directory are not taken in their place."""
    traps(tmp_path)
    async with LocalSTS() as sts, kind(credentials=sts.issue("arn:aws:iam::123456789012:role/demo")) as server:
        found = await run(CREDENTIALS, server.environ, tmp_path)

        assert found == [method, server.credentials.access_key_id]


@pytest.mark.parametrize("kind", [LocalSSO, LocalSignIn])
async def test_servers_that_a_profile_leads_to_leave_the_shared_files(kind: Any, tmp_path: Path) -> None:
    """D6: an SDK asks them only for a profile, so that turning off its file would turn them off."""
    async with kind() as server:
        environ = server.environ

    assert environ["AWS_EC2_METADATA_DISABLED"] == "true"
    assert not environ.keys() & {"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"}


async def test_boto3_logs_in_by_the_variables_of_local_sso(tmp_path: Path) -> None:
    """D6"""
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/config").write_text(
        "[default]\nregion = us-east-1\nsso_session = corp\nsso_account_id = 123456789012\nsso_role_name = Dev\n"
        "[sso-session corp]\nsso_region = us-east-1\nsso_start_url = https://demo.awsapps.com/start\n"
    )
    async with LocalSTS() as sts, LocalSSO(credentials=sts.issue("arn:aws:iam::123456789012:role/demo")) as server:
        await asyncio.to_thread(server.login, tmp_path / ".aws/sso/cache", session="corp")
        found = await run(CREDENTIALS, server.environ, tmp_path)

        assert found == ["sso", server.credentials.access_key_id]


@pytest.mark.parametrize("kind", SERVERS)
async def test_every_server_has_an_environment_that_leads_to_it(kind: Any) -> None:
    """D6: one rule for all of them."""
    async with kind() as server:
        environ = server.environ

        assert any(value.startswith(server.url) for value in environ.values())
        assert all(name.startswith("AWS_") for name in environ)


async def test_the_metadata_endpoint_ends_with_a_slash() -> None:
    """D4: the AWS CLI 2.9 appends ``latest/...`` as it is; the object_store crate appends ``/latest/...``."""
    async with LocalIMDS() as server:
        assert server.environ["AWS_EC2_METADATA_SERVICE_ENDPOINT"] == f"{server.url}/"
        assert server.environ["AWS_METADATA_ENDPOINT"] == server.url


async def test_a_printed_environment_has_no_secret() -> None:
    """D6: it is made for `subprocess` and `os.environ`, and test reports print it."""
    async with LocalSTS() as server:
        secret = str.__str__(server.credentials.secret_access_key)

        assert server.environ["AWS_SECRET_ACCESS_KEY"] == secret
        assert secret not in repr(server.environ)
