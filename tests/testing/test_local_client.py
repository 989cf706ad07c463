"""The client of a server: the same on every machine."""

from pathlib import Path

import pytest

from sts_async import AssumeRoleProvider, STSClient
from sts_async.config import VARIABLES, Config
from sts_async.testing import LocalSTS, User

ROLE = "arn:aws:iam::123456789012:role/demo"
ODD = ["gone", "true", "-1", "~/gone", "http://127.0.0.1:9", "\udce9"]
"""Values of which each variable refuses some, and others lead away from the server."""


@pytest.mark.parametrize("variable", VARIABLES)
async def test_no_variable_has_a_say_in_the_client_of_a_server(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """C14: neither a value that is in the way nor one that is refused."""
    monkeypatch.delenv("HOME")
    async with LocalSTS() as server:
        for value in ODD:
            monkeypatch.setenv(variable, value)
            async with server.client() as sts:
                assert (await sts.get_caller_identity()).arn == "arn:aws:iam::123456789012:user/developer"
                assert sts.region == "us-east-1"


async def test_no_file_has_a_say_in_the_client_of_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """C14: neither the usual files nor those that a variable names, even if they cannot be read."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/config").write_text("[default\nthis is no config file")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path))
    async with LocalSTS() as server, server.client() as sts:
        assert (await sts.get_caller_identity()).account == "123456789012"


@pytest.mark.parametrize("source", [None, AssumeRoleProvider(role_arn=ROLE)], ids=["default chain", "role without one"])
async def test_the_default_chain_of_the_client_of_a_server_finds_its_user(
    source: AssumeRoleProvider | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C14: and neither keys nor the metadata service of the machine."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAMACHINE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SENTINEL-machine")
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    async with LocalSTS() as server, server.client(credentials=source) as sts:
        await sts.get_caller_identity()

        assert server.requests[0].principal == "arn:aws:iam::123456789012:user/developer"


async def test_a_client_of_a_server_does_not_show_its_environment() -> None:
    """C14: it has keys in it, like any other."""
    async with LocalSTS() as server, server.client() as sts:
        assert server.credentials.secret_access_key not in repr(vars(sts))


async def test_options_in_code_apply_to_the_client_of_a_server(tmp_path: Path) -> None:
    """C14: options are those of `STSClient`: a profile that is given in code comes before the user of the server."""
    ann = User("ann")
    keys = ann.credentials
    (tmp_path / "config").write_text(
        f"[profile ann]\naws_access_key_id = {keys.access_key_id}\naws_secret_access_key = {keys.secret_access_key}\n"
    )
    config = Config(config_file=str(tmp_path / "config"), region="eu-west-3")
    async with LocalSTS(users=[ann]) as server:
        async with server.client(credentials=None, region=None, profile="ann", config=config) as sts:
            await sts.get_caller_identity()

        assert isinstance(sts, STSClient)
        assert repr(sts).startswith("STSClient(")
        assert server.requests[0].principal == "arn:aws:iam::123456789012:user/ann"
        assert server.requests[0].region == "eu-west-3"
