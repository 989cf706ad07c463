"""The role that a command works with: its options are the members of AssumeRole, and its client signs as the role."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support import ROLE

from sts_async import CredentialsError
from sts_async._cli.arguments import Parser, UsageError, Values
from sts_async._cli.command_client import client_with_role
from sts_async._cli.role_options import add_role, request_of
from sts_async.shapes import AssumeRoleRequest, Tag
from sts_async.testing import LocalSTS

DEVICE = "arn:aws:iam::123456789012:mfa/developer"


def read(*arguments: str) -> AssumeRoleRequest | None:
    parser = Parser(prog="x")
    add_role(parser)
    return request_of(parser.parse_args(arguments), Values())


def test_each_member_has_an_option_but_the_code_of_a_device() -> None:
    """A code comes from `--mfa-code` or from the terminal, for a role as for a profile."""
    parser = Parser(prog="x")
    add_role(parser)

    options = {name.removeprefix("--").replace("-", "_") for name in parser._option_string_actions if name[:2] == "--"}
    assert options - {"help"} == {member.name for member in AssumeRoleRequest.__members__} - {"token_code"}


def test_the_options_become_a_request(write_file: Callable[[str, str], Path]) -> None:
    policy = json.dumps({"Version": "2012-10-17", "Statement": []})
    path = write_file("policy.json", policy)

    request = read(
        *("--role-arn", ROLE, "--duration-seconds", "900", "--tags", "Key=team,Value=a", "--policy", f"file://{path}"),
        *("--external-id", "x1", "--role-session-name", "me"),
    )

    assert request == AssumeRoleRequest(
        role_arn=ROLE,
        role_session_name="me",
        duration_seconds=900,
        tags=[Tag(key="team", value="a")],
        policy=policy,
        external_id="x1",
    )


def test_without_a_role_there_is_no_request_and_with_one_its_session_has_a_name() -> None:
    assert read() is None
    assert read("--role-arn", ROLE) == AssumeRoleRequest(role_arn=ROLE, role_session_name="sts-async")


def test_an_option_of_a_role_needs_the_role() -> None:
    """It would have no effect."""
    with pytest.raises(UsageError, match="--external-id needs --role-arn"):
        read("--external-id", "x1")


async def asked(serial_number: str) -> str:
    assert serial_number == DEVICE
    return "123456"


async def nobody(serial_number: str) -> str:
    raise CredentialsError("no code for this test")


async def test_the_client_signs_as_the_role_with_a_code_if_there_is_a_device() -> None:
    async with LocalSTS() as server:
        options = {"region": server.region, "endpoint_url": server.url}
        role = read("--role-arn", ROLE, "--serial-number", DEVICE)
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.credentials.access_key_id)
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", str.__str__(server.credentials.secret_access_key))
            async with client_with_role(options, local=False, role=role, mfa_code=asked) as sts:
                arn = (await sts.get_caller_identity()).arn
            async with client_with_role(options, local=False, role=read("--role-arn", ROLE), mfa_code=nobody) as sts:
                await sts.get_caller_identity()
            async with client_with_role(options, local=False, role=None, mfa_code=nobody) as sts:
                user = (await sts.get_caller_identity()).arn

    assert arn == "arn:aws:sts::123456789012:assumed-role/demo/sts-async"
    assert ":user/" in user
    assert [request.operation for request in server.requests].count("AssumeRole") == 2
