"""The client of a server: the same on every machine."""

from pathlib import Path

import pytest

from sts_async import STSClient
from sts_async.config import VARIABLES, Config
from sts_async.errors import CredentialsNotFound
from sts_async.testing import LocalSTS

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


async def test_a_client_of_a_server_finds_no_credentials_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """C14: neither keys nor the metadata service, when the default chain is asked for in words."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAMACHINE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SENTINEL-machine")
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    async with LocalSTS() as server, server.client(credentials=None) as sts:
        with pytest.raises(CredentialsNotFound):
            await sts.get_credentials()


async def test_what_is_given_in_code_counts_for_the_client_of_a_server(tmp_path: Path) -> None:
    """C14: options are those of `STSClient`."""
    (tmp_path / "config").write_text("[profile here]\nregion = eu-west-3\n")
    config = Config(config_file=str(tmp_path / "config"))
    async with LocalSTS() as server, server.client(region=None, profile="here", config=config) as sts:
        await sts.get_caller_identity()

        assert isinstance(sts, STSClient)
        assert repr(sts).startswith("STSClient(")
        assert server.requests[0].region == "eu-west-3"
