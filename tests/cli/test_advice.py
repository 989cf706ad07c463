"""Advice in errors of the command line: each test takes the advice from a message and follows it."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from commands import run_here
from support import ROLE

from sts_async.testing import LocalSTS, Refuse

CALL = "get-caller-identity"


@pytest.fixture
async def server() -> AsyncIterator[LocalSTS]:
    async with LocalSTS() as server:
        yield server


def environ(server: LocalSTS, **more: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": os.environ["HOME"],
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ACCESS_KEY_ID": server.credentials.access_key_id,
        "AWS_SECRET_ACCESS_KEY": server.credentials.secret_access_key,
        **more,
    }


def beyond_this_host(server: LocalSTS) -> str:
    """Return a URL of the server that is not taken for one of this host, though its connections stay on it."""
    return f"http://[::ffff:127.0.0.1]:{urlsplit(server.url).port}/"


@pytest.mark.parametrize("place", ["option", "variable", "variable of STS", "profile"])
async def test_a_url_without_tls_is_reached_with_the_option_that_the_refusal_names(
    server: LocalSTS, place: str, write_file: Callable[[str, str], Path]
) -> None:
    """D7: as http://localstack:4566 is, wherever it is named."""
    url = beyond_this_host(server)
    arguments = ["--endpoint-url", url] if place == "option" else []
    variables = {"variable": "AWS_ENDPOINT_URL", "variable of STS": "AWS_ENDPOINT_URL_STS"}
    here = environ(server, AWS_REGION=server.region, **({variables[place]: url} if place in variables else {}))
    if place == "profile":
        here["AWS_CONFIG_FILE"] = str(write_file("config", f"[default]\nendpoint_url = {url}\n"))

    status, out, err = await run_here(here, *arguments, CALL)
    advice = re.search(r"use https, or pass (\S+)$", err.rstrip())

    assert (status, out) == (1, "")
    assert advice
    for order in ([advice[1], *arguments, CALL], [*arguments, CALL, advice[1]]):
        status, out, err = await run_here(here, *order)

        assert (status, err) == (0, "")
        assert json.loads(out)["Account"] == "123456789012"


@pytest.mark.parametrize("command", [CALL, "doctor"])
async def test_a_missing_region_is_given_as_the_message_says(server: LocalSTS, command: str) -> None:
    """D7: the option and the variable; with a custom endpoint, too."""
    here = environ(server)
    _, out, err = await run_here(here, command)

    assert "no region: pass --region NAME, set AWS_REGION or AWS_DEFAULT_REGION, or set region" in out + err
    for arguments, more in (([], {"AWS_REGION": "us-east-1"}), (["--region", "us-east-1"], {})):
        status, out, err = await run_here({**here, **more}, command, *arguments, "--endpoint-url", server.url)

        assert (status, err) == (0, "")


async def test_the_advice_about_a_region_with_an_endpoint_helps(server: LocalSTS) -> None:
    """D7."""
    here = environ(server)
    _, _, err = await run_here(here, CALL, "--endpoint-url", server.url)

    assert err.endswith("needs a region as well as --endpoint-url: pass --region NAME or set AWS_REGION\n")
    assert (await run_here(here, CALL, "--endpoint-url", server.url, "--region", server.region))[0] == 0


async def test_options_that_need_each_other_are_named_as_they_are_given(server: LocalSTS) -> None:
    """D7."""
    status, _, err = await run_here(
        environ(server, AWS_REGION="us-east-1", AWS_ENDPOINT_URL=server.url), CALL, "--client-key", "x"
    )

    assert (status, err) == (1, "sts-async: --client-key needs --client-certificate\n")


async def test_a_custom_endpoint_without_fips_is_reached(server: LocalSTS) -> None:
    """D7."""
    arguments = ["--region", "us-east-1", "--endpoint-url", server.url, "--use-fips-endpoint"]
    status, _, err = await run_here(environ(server), CALL, *arguments)

    assert (status, "FIPS" in err) == (1, True)
    assert (await run_here(environ(server), CALL, *arguments[:-1], "--no-use-fips-endpoint"))[0] == 0


async def test_an_option_of_the_client_is_checked_by_its_own_rule(server: LocalSTS) -> None:
    """D7: the value is not repeated, the option is named."""
    _, _, err = await run_here(environ(server), CALL, "--max-attempts", "SENTINEL")
    assert err == "sts-async: --max-attempts must be a whole number of at least 1\n"

    here = environ(server, AWS_REGION="us-east-1", AWS_ENDPOINT_URL=server.url)
    assert (await run_here(here, CALL, "--max-attempts", "2", "--retry-mode", "standard"))[0] == 0


async def test_a_proxy_is_read_from_a_file(server: LocalSTS, tmp_path: Path) -> None:
    """D7: with its password, which the list of processes does not show then."""
    (tmp_path / "proxy").write_text("socks5://u:SENTINEL@h:1\n")
    here = environ(server, AWS_REGION="us-east-1")
    status, _, err = await run_here(here, CALL, "--https-proxy", f"file://{tmp_path}/proxy")

    assert status == 1
    assert err.startswith("sts-async: --https-proxy must be an http:// or https:// URL")
    assert "SENTINEL" not in err


async def test_a_second_value_is_read_from_a_file_instead_of_standard_input(server: LocalSTS, tmp_path: Path) -> None:
    """C18, G12: as the message says, which names the option that came second."""
    here = environ(server, AWS_REGION="us-east-1", AWS_ENDPOINT_URL=server.url)
    status, _, err = await run_here(
        here, "assume-role", "--role-arn", "-", "--role-session-name", "-", given=ROLE.encode()
    )
    advice = re.search(r"already used by another option: use file://PATH for (\S+)$", err.rstrip())

    assert status == 1
    assert advice
    (tmp_path / "name").write_text("me")
    role = ["assume-role", "--role-arn", "-", advice[1], f"file://{tmp_path}/name"]
    status, out, err = await run_here(here, *role, given=ROLE.encode())

    assert (status, err) == (0, "")
    assert json.loads(out)["AssumedRoleUser"]["Arn"].endswith("/me")


@pytest.mark.parametrize("member", ["--role-arn", "--role-session-name", "--duration-seconds", "--tags"])
async def test_violated_constraints_name_the_options(server: LocalSTS, member: str) -> None:
    """E7: the names of Python are not those that were given."""
    wrong = {"--role-arn": "x", "--role-session-name": "_ _", "--duration-seconds": "1", "--tags": "Key=,Value=x"}
    right = {"--role-arn": ROLE, "--role-session-name": "me"}
    here = environ(server, AWS_REGION="us-east-1", AWS_ENDPOINT_URL=server.url)
    given = [word for pair in {**right, member: wrong[member]}.items() for word in pair]

    status, _, err = await run_here(here, "assume-role", *given)

    assert status == 1
    assert err.startswith(f"sts-async: {member}")
    assert "AssumeRoleRequest" not in err
    assert (await run_here(here, "assume-role", *[word for pair in right.items() for word in pair]))[0] == 0


# -- Encoded messages ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("separator", "shown"), [(" ", " "), ("\n", "\\x0a")])
async def test_the_encoded_message_of_a_refusal_is_whole_and_can_be_piped_to_its_decoder(
    server: LocalSTS, separator: str, shown: str
) -> None:
    """E5: the other command accepts the unchanged error."""
    content = {"allowed": False, "explicitDeny": True, "context": {"action": "sts:AssumeRole", "x": "y" * 3000}}
    encoded = str(server.encode_authorization_message(content))
    server.faults.add(
        Refuse(
            "AccessDenied",
            message=f"You are not authorized.{separator}Encoded authorization failure message: {encoded}",
            status=403,
        )
    )
    here = environ(server, AWS_REGION="us-east-1", AWS_ENDPOINT_URL=server.url)
    command = f"{sys.executable} -m sts_async"
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c"),
        f"{command} get-caller-identity 2>&1 >/dev/null | tee /dev/stderr |"
        f" {command} decode-authorization-message --encoded-message -",
        env=here,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()

    said = f"You are not authorized.{shown}Encoded authorization failure message: {encoded} (HTTP 403"
    assert err.decode().startswith(f"sts-async: AccessDenied: {said}")
    assert err.count(b"\n") == 1
    assert json.loads(json.loads(out)["DecodedMessage"]) == content
