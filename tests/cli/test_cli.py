"""The command line: JSON on stdout, one line on stderr for every error, and help that imports next to nothing."""

import asyncio
import base64
import json
import logging
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support import ROLE

from sts_async import cli
from sts_async._cli.arguments import MAX_BYTES, Values
from sts_async._cli.commands import COMMANDS, client_options_of, parse
from sts_async._cli.members import in_options, request_of
from sts_async._cli.terminal import in_one_line
from sts_async._protocol.endpoints import LEGACY_GLOBAL_REGIONS
from sts_async._shape.constraints import Category, Member, Pattern
from sts_async._version import VERSION
from sts_async.calls import Calls
from sts_async.config import OPTIONS
from sts_async.operations import OPERATIONS, Operation
from sts_async.shapes import Tag
from sts_async.testing import LocalSTS

ROLE_OPTIONS = ["--role-arn", ROLE, "--role-session-name", "me"]
LOCAL = ["--local", "assume-role", *ROLE_OPTIONS]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    try:
        status = cli.main(arguments)
    except SystemExit as ended:  # argparse: help, version, usage
        status = ended.code if isinstance(ended.code, int) else 0
    out, err = capsys.readouterr()
    return status, out, err


def test_the_main_job_runs_against_the_local_sts(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, *LOCAL)

    answer = json.loads(out)
    assert (status, err) == (0, "")
    assert list(answer["Credentials"]) == ["AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"]
    assert answer["AssumedRoleUser"]["Arn"] == "arn:aws:sts::123456789012:assumed-role/demo/me"


def test_the_local_sts_is_reached_whatever_the_proxy(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """B7: a proxy of the environment is not used there, so it need not be usable."""
    monkeypatch.setenv("HTTPS_PROXY", "socks5h://user:SENTINEL@proxy.example:1080")
    monkeypatch.setenv("HTTP_PROXY", "socks5h://proxy.example:1080")

    status, out, err = run(capsys, "--local", "get-caller-identity")

    assert (status, err) == (0, "")
    assert json.loads(out)["Account"] == "123456789012"


@pytest.mark.parametrize(
    "arguments",
    [
        ["get-caller-identity", "--local"],
        ["assume-role", "--local", "--role-arn", ROLE, "--role-session-name", "me", "--duration-seconds", "900"],
        [*LOCAL, "--tags", "Key=team,Value=a b", "Key=cost,Value=1=2", "--transitive-tag-keys", "team", "cost"],
        [*LOCAL, "--policy-arns", "arn:aws:iam::aws:policy/ReadOnlyAccess", "arn=arn:aws:iam::aws:policy/Other"],
        [*LOCAL, "--provided-contexts", "ProviderArn=arn:aws:iam::aws:contextProvider/x,ContextAssertion=SENTINEL"],
        ["--local", "get-federation-token", "--name", "bob", "--policy", '{"Version": "2012-10-17", "Statement": []}'],
        ["--local", "get-session-token", "--region", "eu-west-1"],
        ["--local", "get-web-identity-token", "--audience", "a", "b", "--signing-algorithm", "ES384"],
        [
            *("--local", "assume-root", "--target-principal", "123456789012", "--task-policy-arn"),
            "arn:aws:iam::aws:policy/root-task/IAMAuditRootUserCredentials",
        ],
    ],
    ids=lambda arguments: " ".join(arguments)[:60],
)
def test_members_are_given_as_options(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    status, out, err = run(capsys, *arguments)

    assert (status, err) == (0, "")
    assert json.loads(out)


def test_long_term_keys_cannot_be_scoped_and_one_line_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """A1: the operation is there under the AWS CLI's name, and `--local` signs with the keys of a user."""
    status, out, err = run(capsys, "--local", "get-scoped-credentials", "--duration-seconds", "60")

    assert (status, out) == (1, "")
    assert err.startswith(
        "sts-async: InvalidSubjectCredentials: GetScopedCredentials can only be called with temporary"
    )
    assert err.count("\n") == 1


def test_a_value_can_be_read_from_a_file(
    capsys: pytest.CaptureFixture[str], write_file: Callable[[str, str], Path]
) -> None:
    """A secret on the command line is in the list of processes."""
    path = write_file("policy.json", "not a policy\n")

    (path.parent / "binary").write_bytes(b"\xffSENTINEL")
    _, _, binary = run(capsys, *LOCAL, "--policy", f"file://{path.parent}/binary")
    status, _, err = run(capsys, *LOCAL, "--policy", f"file://{path}")
    missing_status, _, missing = run(capsys, *LOCAL, "--policy", f"file://{path}.gone")

    assert (status, missing_status) == (1, 1)
    assert err.startswith("sts-async: MalformedPolicyDocument: ")
    assert "No such file or directory" in missing
    assert binary == f"sts-async: --policy: '{path.parent}/binary' is not text in UTF-8\n"


# -- Where values come from ------------------------------------------------------------------------------------------

AUDIENCE = ["--local", "get-web-identity-token", "--signing-algorithm", "RS256", "--audience"]


def audience(out: str) -> object:
    claims = json.loads(out)["WebIdentityToken"].split(".")[1]
    found = json.loads(base64.urlsafe_b64decode(claims + "=="))["aud"]
    return found if isinstance(found, list) else [found]


@pytest.mark.parametrize(
    ("scheme", "content", "value"),
    [("file", "a\r\n", "a"), ("fileb", "a", "a"), ("file", "é\n", "é"), ("fileb", "a b ", "a b ")],
)
def test_a_file_is_taken_without_its_last_line_break_or_exactly(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, scheme: str, content: str, value: str
) -> None:
    """G12: the schemes of the AWS CLI."""
    (tmp_path / "value").write_bytes(content.encode())

    _, out, err = run(capsys, *AUDIENCE, f"{scheme}://{tmp_path}/value")

    assert (audience(out), err) == ([value], "")


def test_the_home_directory_of_a_path_is_found(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the AWS CLI: no shell expands a tilde behind ``file://``."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "value").write_text("a")

    assert audience(run(capsys, *AUDIENCE, "file://~/value")[1]) == ["a"]


@pytest.mark.parametrize("path", ["/dev/zero", "{tmp}/large"])
@pytest.mark.parametrize("scheme", ["file", "fileb"])
def test_no_more_of_a_file_or_device_is_read_than_a_value_may_have(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, path: str, scheme: str
) -> None:
    """G12: ``file:///dev/zero`` had no end."""
    with (tmp_path / "large").open("wb") as stream:
        stream.truncate(1 << 40)  # a hole: nothing is on the disk
    path = path.format(tmp=tmp_path)

    status, out, err = run(capsys, *AUDIENCE, f"{scheme}://{path}")

    assert (status, out, err) == (1, "", f"sts-async: --audience: {path!r} is larger than {MAX_BYTES:,} bytes\n")


@pytest.mark.parametrize(
    ("path", "reason"), [("{tmp}", "Is a directory"), ("{tmp}/gone\x1b[2J", "No such file"), ("", "Is a directory")]
)
def test_a_file_that_cannot_be_read_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, path: str, reason: str
) -> None:
    """G12."""
    status, out, err = run(capsys, *AUDIENCE, "file://" + path.format(tmp=tmp_path))

    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("sts-async: --audience: '")
    assert reason in err
    assert err.rstrip("\n").isprintable()


async def piped(content: bytes, *arguments: str, shell: str = "") -> tuple[int | None, str, str]:
    """Run the command with *content* on its standard input."""
    environ = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]}
    command = shlex.join([sys.executable, "-m", "sts_async", *arguments]) + shell
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", command),
        env=environ,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(content)
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize("value", ["-", "file:///dev/stdin", "fileb:///dev/stdin"])
async def test_a_value_is_read_from_standard_input(value: str) -> None:
    """G12: then the secret is neither in the list of processes nor in a file."""
    status, out, err = await piped(b"abc", *AUDIENCE, value)

    assert (status, err, audience(out)) == (0, "", ["abc"])


async def test_a_value_is_read_from_the_output_of_another_process() -> None:
    """G12: as bash gives it with ``<(...)``, by the path of a pipe."""
    status, out, err = await piped(b"", *AUDIENCE, shell=" file://<(echo abc)")

    assert (status, err, audience(out)) == (0, "", ["abc"])


async def test_standard_input_is_read_up_to_the_size_of_a_value_and_once() -> None:
    """G12: the second `-` of a command would be empty, which is a mistake rather than a value."""
    status, _, err = await piped(b"x" * (MAX_BYTES + 1), *AUDIENCE, "-")
    twice = await piped(
        b"abc", "--local", "assume-role-with-saml", "--role-arn", "-", "--principal-arn", "x", "--saml-assertion", "-"
    )

    assert (status, err) == (1, f"sts-async: --audience: standard input is larger than {MAX_BYTES:,} bytes\n")
    assert twice == (
        1,
        "",
        "sts-async: standard input is already used by another option: use file://PATH for --saml-assertion\n",
    )


def test_a_hyphen_within_a_structure_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    """The value of a tag may be one."""
    status, _, err = run(capsys, *LOCAL, "--tags", "Key=-,Value=-")

    assert (status, err) == (0, "")


# -- What is not understood ------------------------------------------------------------------------------------------

TOKEN = "SENTINEL"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["get-session-token", "--token-cod", TOKEN],
            " get-session-token: unrecognized option --token-cod (did you mean --token-code?)",
        ),
        (
            ["get-session-token", f"--token-cod={TOKEN}"],
            " get-session-token: unrecognized option --token-cod (did you mean --token-code?)",
        ),
        (["get-session-token", "--token-code", "1", TOKEN], " get-session-token: unexpected positional argument"),
        (["get-session-token", f"--{TOKEN}"], " get-session-token: unrecognized option"),
        (["get-session-token", f"-{TOKEN}"], " get-session-token: unrecognized option"),
        (["get-session-token", f"--local={TOKEN}"], " get-session-token: --local takes no value"),
        (
            ["get-session-token", "--duration-seconds", TOKEN],
            " get-session-token: argument --duration-seconds: must be a whole number",
        ),
        (["get-session-token", "--token-code"], " get-session-token: argument --token-code: expected one argument"),
        (["eks-token", "--cluster-name"], " eks-token: argument --cluster-name/--cluster-id: expected one argument"),
        ([TOKEN, "get-session-token"], ": invalid OPERATION"),
        (
            ["--token-code", TOKEN, "get-session-token"],
            ": --token-code is an option of get-session-token: write it after get-session-token",
        ),
        (["--token-code", TOKEN, "doctor"], ": unrecognized option --token-code"),
        (["--reg", TOKEN, "doctor"], ": unrecognized option --reg (did you mean --region?)"),
        (
            ["--local", "--regon", "eu-west-1", "get-caller-identity"],
            ": unrecognized option --regon (did you mean --region?)",
        ),
        (
            ["assume-role", "--role-arn", TOKEN, "--role-sesion-name", TOKEN],
            " assume-role: unrecognized option --role-sesion-name (did you mean --role-session-name?)",
        ),
        (
            ["--region", "doctor", "assume-role", f"--rol-arn={TOKEN}"],
            " assume-role: unrecognized option --rol-arn (did you mean --role-arn?)",
        ),
        (["doctor", f"{TOKEN}'\n\x1b[2J"], " doctor: unexpected positional argument"),
        ([f"{TOKEN}'\n\x1b[2J"], ": invalid OPERATION"),
        (["get-caller-identiti"], ": invalid OPERATION (did you mean get-caller-identity?)"),
        (
            ["assume-role", "--role-arn", TOKEN],
            " assume-role: the following arguments are required: --role-session-name",
        ),
        (
            ["get-caller-identity", "--local", "--endpoint-url", TOKEN],
            ": --local and --endpoint-url cannot be combined",
        ),
    ],
    ids=str,
)
def test_the_message_of_an_invalid_command_repeats_no_value(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """G12: argparse repeats unknown arguments, and a token can follow a misspelt option."""
    status, out, err = run(capsys, *arguments)

    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"sts-async{message}. Run `sts-async")
    assert err.endswith(" --help` for usage.\n")
    assert TOKEN not in err


def test_help_contains_the_documentation_of_the_coroutine(capsys: pytest.CaptureFixture[str]) -> None:
    """The help of a command is complete, and does not mention values that are not text."""
    _, out, _ = run(capsys, "get-scoped-credentials", "--help")
    text = " ".join(out.split())

    assert "Needs temporary credentials: a user calls `get-session-token` first." in text
    assert "Give a policy, a duration, or both." in text
    assert "--policy TEXT JSON text of 1 to 2,048 characters." in text
    assert "mapping" not in text


def test_help_keeps_the_asterisks_of_values(capsys: pytest.CaptureFixture[str]) -> None:
    """Markup of a docstring is removed; an asterisk that users type or see is not."""
    assert cli.main(["help", "options"]) == 0

    told = " ".join(capsys.readouterr().out.split())
    assert "It can end with a port. * means all hosts." in told
    assert "Known secrets are replaced by ***;" in told
    assert "The rules of --config-file apply;" in told


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_no_help_speaks_of_values_that_are_not_text(
    capsys: pytest.CaptureFixture[str], operation: Operation[Any]
) -> None:
    name = next(name for name in cli.SUMMARIES if name.replace("-", "") == operation.name.lower())
    status, out, _ = run(capsys, name, "--help")

    assert status == 0
    assert "mapping" not in out
    assert "[--local]" in out


def test_help_says_where_values_may_come_from(capsys: pytest.CaptureFixture[str]) -> None:
    """G12."""
    _, out, _ = run(capsys, "assume-role-with-web-identity", "--help")

    assert "Secret: prefer file://PATH or -." in " ".join(out.split())
    assert all(form in out for form in ("file://PATH", "fileb://PATH", "value - is read from standard input"))


def test_a_warning_has_a_prefix_that_an_error_has_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Standard output has the answer alone."""
    monkeypatch.setenv("AWS_SDK_UA_APP_ID", "my shop")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SENTINEL")
    status, out, err = run(capsys, "get-caller-identity", "--endpoint-url", "http://127.0.0.1:1/")
    warning, error = err.splitlines()

    assert (status, out) == (1, "")
    assert warning == (
        "sts-async: warning: AWS_SDK_UA_APP_ID is sent as 'my-shop': "
        "invalid characters are replaced by '-' and the rest is truncated"
    )
    assert error.startswith(
        "sts-async: a signed operation needs a region as well as --endpoint-url: pass --region NAME or "
    )


def test_a_list_goes_on_when_its_option_comes_again(capsys: pytest.CaptureFixture[str]) -> None:
    """Dropping a session policy silently would widen what the session may do."""
    twice = ["--audience", "a", "--audience", "b", "c"]

    _, out, _ = run(capsys, "--local", "get-web-identity-token", *twice, "--signing-algorithm", "RS256")

    claims = json.loads(out)["WebIdentityToken"].split(".")[1]
    assert json.loads(base64.urlsafe_b64decode(claims + "=="))["aud"] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["get-caller-identity"], 1, "sts-async: no region: pass --region NAME, set AWS_REGION"),
        (
            ["get-caller-identity", "--region", "eu-west-1"],
            1,
            "sts-async: no credentials found (`sts-async doctor` explains why); environment",
        ),
        (["get-caller-identity", "--region", "evil.com#"], 1, "sts-async: "),
        (
            ["get-caller-identity", "--endpoint-url", "ftp://h/"],
            1,
            "sts-async: --endpoint-url must begin with https://",
        ),
        ([*LOCAL, "--role-session-name", "a b"], 1, "sts-async: --role-session-name must have only A-Z a-z 0-9 _ + ="),
        (
            ["--local", "get-session-token", "--token-code", "12"],
            1,
            "sts-async: --token-code must be six digits\n",
        ),
        ([*LOCAL, "--duration-seconds", "43201"], 1, "sts-async: --duration-seconds must be 900 to"),
        (["--local", "decode-authorization-message", "--encoded-message", "x"], 1, "sts-async: InvalidAuthorizationM"),
    ],
    ids=str,
)
def test_every_error_is_one_line_and_a_status(
    capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, message: str
) -> None:
    found, out, err = run(capsys, *arguments)

    assert (found, out) == (status, "")
    assert err.startswith(message)
    assert err.count("\n") == 1


# -- Structures, lists and documents ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        ['[{"Key": "team", "Value": "a"}, {"Key": "cost", "Value": "b"}]'],
        ['{"Key": "team", "Value": "a"}', "Key=cost,Value=b"],
        ["Key=\"team\",Value='a'", 'Key=cost,Value="b"'],
        ["file://tags.json"],
    ],
    ids=str,
)
def test_structures_are_taken_in_the_forms_of_the_aws_cli(given: list[str], tmp_path: Path) -> None:
    """Shorthand, in quotes or not, and JSON, also of a file."""
    (tmp_path / "tags.json").write_text(' [{"Key": "team", "Value": "a"}, {"Key": "cost", "Value": "b"}]\n')
    _, options = parse(
        ["assume-role", *ROLE_OPTIONS, "--tags", *[one.replace("//", f"//{tmp_path}/") for one in given]]
    )

    assert request_of(options, Values()).tags == (Tag(key="team", value="a"), Tag(key="cost", value="b"))


@given(st.lists(st.fixed_dictionaries({"Key": st.text(min_size=1), "Value": st.text()}), min_size=1))
@example([{"Key": "file://", "Value": "fileb://x"}])
def test_any_text_is_a_value_in_json_and_in_quotes(tags: list[dict[str, str]]) -> None:
    """A comma or a quote has no meaning there. In quotes, `file://` at the beginning still names a file."""
    expected = tuple(Tag(key=tag["Key"], value=tag["Value"]) for tag in tags)
    shorthand = [",".join(f"{name}={quoted(text)}" for name, text in tag.items()) for tag in tags]
    names_a_file = any(text.startswith(("file://", "fileb://")) for tag in tags for text in tag.values())

    for written in ([json.dumps(tags)], *([] if names_a_file else [shorthand])):
        _, options = parse(["assume-role", *ROLE_OPTIONS, "--tags", *written])

        assert request_of(options, Values()).tags == expected


def quoted(text: str) -> str:
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


def test_the_example_of_the_help_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "assume-role", "--help")
    example = re.search(r"such as (--tags '.*')", out)

    assert example
    _, options = parse(["assume-role", *ROLE_OPTIONS, *shlex.split(example[1])])
    assert request_of(options, Values()).tags == (Tag(key="team", value="a, b"),)


def test_a_list_of_texts_is_taken_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, err = run(capsys, *AUDIENCE, '["a", "b,c"]')

    assert (audience(out), err) == (["a", "b,c"], "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--tags", "team=SENTINEL"],
            "a value of --tags must look like Key=...,Value=..., with double quotes around a",
        ),
        (["--tags", "Key=a,Key=b,Value=c"], "a value of --tags must look like Key=...,Value=..., with double quotes"),
        (["--tags", "Key=SENTINEL"], "a value of --tags must look like Key=...,Value=..., with double quotes around a"),
        (["--tags", "Key=a,Value=b,SENTINEL"], "a value of --tags must look like Key=...,Value=..., with double quote"),
        (
            ["--tags", "Key=a,Value=b,"],
            "a value of --tags must look like Key=...,Value=..., with double quotes around ",
        ),
        (
            ["--tags", '[{"Key": "SENTINEL"}]'],
            'the JSON of --tags must be {"Key": "...", "Value": "..."}, with strings as',
        ),
        (
            ["--tags", '[{"Key": "a", "Value": 1}]'],
            'the JSON of --tags must be {"Key": "...", "Value": "..."}, with str',
        ),
        (
            ["--tags", "[1]"],
            'the JSON of --tags must be {"Key": "...", "Value": "..."}, with strings as values, or a list',
        ),
        (["--tags", '[{"SENTINEL'], "--tags looks like JSON, but is not valid JSON"),
        (["--transitive-tag-keys", "[1]"], "the JSON of --transitive-tag-keys must be a list of strings"),
        (["--policy", "policy.json"], "--policy must be JSON (did you mean file://policy.json?)"),
        (["--policy", "file:policy.json"], "--policy must be JSON (did you mean file://policy.json?)"),
        (["--policy", "/dir/policy.json"], "--policy must be JSON (did you mean file:///dir/policy.json?)"),
        (
            ["--policy", "SENTINEL"],
            "--policy must be JSON: write the text itself, or file://PATH for the text in",
        ),
    ],
    ids=str,
)
def test_a_value_in_a_wrong_form_is_usage_and_is_not_repeated(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    status, out, err = run(capsys, *LOCAL, *arguments)

    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"sts-async assume-role: {message}")
    assert err.endswith(". Run `sts-async assume-role --help` for usage.\n")
    assert TOKEN not in err


def test_a_file_is_read_as_the_refusal_of_its_path_says(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("narrow").write_text('{"Version": "2012-10-17", "Statement": []}')
    _, _, err = run(capsys, *LOCAL, "--policy", "narrow")
    advice = re.search(r"did you mean (\S+)\?\)", err)

    assert advice
    assert run(capsys, *LOCAL, "--policy", advice[1])[::2] == (0, "")


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_no_message_shows_a_pattern(operation: Operation[Any]) -> None:
    """An expression is no help to a person at a terminal."""
    rules = [
        rule.rule
        for member in members_of(operation.request)
        for rule in member.constraints
        if isinstance(rule, Pattern | Category)
    ]

    for rule in rules:
        assert in_options([f"name must {rule}"]) != f"--name must {rule}"


def members_of(shape: Any) -> Iterator[Member]:
    for member in shape.__members__:
        yield member
        for one in (member, member.items):
            if one is not None:
                yield one
                yield from members_of(one.kind) if hasattr(one.kind, "__members__") else ()


# -- Usage -----------------------------------------------------------------------------------------------------------


def test_the_help_lists_operations_and_commands_apart(capsys: pytest.CaptureFixture[str]) -> None:
    """A command is no operation of STS. Each has a topic."""
    _, out, _ = run(capsys, "--help")
    operations, _, commands = out.partition("\noperations:\n")[2].partition("\ncommands:\n")

    assert re.findall(r"^ {4}([a-z-]+)", operations, re.MULTILINE) == [*cli.SUMMARIES]
    assert re.findall(r"^ {2}([a-z-]+)", commands.partition("\n\n")[0], re.MULTILINE) == [*COMMANDS]
    assert {*parse(["doctor"])[0].commands()} == {*cli.SUMMARIES, *COMMANDS}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["get-caller-identity", "--query", "x"], "unrecognized option --query. Run"),
        (["get-caller-identity", "--no-sign-request"], "unrecognized option --no-sign-request. Run"),
        (["get-caller-identity", "--no-regions"], "unrecognized option --no-regions. Run"),
        (["local-server", "--local"], "unrecognized option --local. Run"),
        (["get-session-token", "--duration", "900"], "unrecognized option --duration (did you mean --duration-seconds"),
        (["assume-role", "--role", "x"], "unrecognized option --role. Run"),  # two begin with it
        (
            ["help", "option"],
            "help has no such topic (did you mean options?): the topics are the operations, the commands and `options`",
        ),
        (["help", "nonsense"], "help has no such topic: the topics are the operations, the commands and `options`"),
        (["--local", "--profile", "work", "get-caller-identity"], "--local and --profile cannot be combined"),
    ],
    ids=str,
)
def test_a_suggestion_is_near_and_of_the_same_meaning(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    status, out, err = run(capsys, *arguments)

    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_the_list_of_options_describes_the_command_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No words of Python, and no mark of a docstring that is a word by itself is lost."""
    monkeypatch.setenv("COLUMNS", "1000")  # so that no name is broken
    _, out, _ = run(capsys, "help", "options")
    text = " ".join(out.split())

    assert "replaced by ***; others" in text
    assert "* means all hosts" in text
    assert "--imds-v1-fallback, --no-imds-v1-fallback" in text
    assert "--time-offset SECONDS" in text
    assert "sets the default of --connect-timeout" in text
    assert all(region in text for region in LEGACY_GLOBAL_REGIONS)
    assert re.findall(r"\bNone\b|\bFalse\b|\bTrue\b|`|\brepr\b", text) == []
    variables = {name for known in OPTIONS.values() for name in known.variables}
    assert [name for name in {*OPTIONS} - variables if "_" in name and re.search(rf"\b{name}\b", text)] == []


@pytest.mark.parametrize(("option", "value"), [("--imds-v1-fallback", True), ("--no-imds-v1-fallback", False)])
def test_a_flag_is_not_inverted_though_its_variable_is(option: str, value: bool) -> None:
    _, options = parse(["get-caller-identity", option])

    assert client_options_of(options, Values()) == {"imds_v1_fallback": value}


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["assume-roll"],
        ["assume-role"],
        ["get-caller-identity", "--nonsense"],
        [*LOCAL, "--duration-seconds", "long"],
        [*LOCAL, "--endpoint-url", "https://sts.example/"],
    ],
    ids=str,
)
def test_an_invalid_command_is_a_usage_error(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    status, out, err = run(capsys, *arguments)

    assert (status, out) == (2, "")
    assert err.startswith("sts-async" if arguments else "usage: sts-async")
    assert err.count("\n") == 1 or not arguments


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_each_operation_has_a_command_with_its_members(
    capsys: pytest.CaptureFixture[str], operation: Operation[object]
) -> None:
    """Compared with the table: the module has its own names and summaries, so that help needs no import."""
    command = next(name for name in cli.SUMMARIES if name.replace("-", "") == operation.name.lower())

    status, out, err = run(capsys, command, "--help")

    assert (status, err) == (0, "")
    assert callable(getattr(Calls, command.replace("-", "_")))
    for member in operation.request.__members__:
        assert f"--{member.name.replace('_', '-')} " in out
    assert len(cli.SUMMARIES) == len(OPERATIONS)


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version") == (0, f"sts-async {VERSION}\n", "")


def test_help_does_not_import_the_heavy_packages() -> None:
    probe = (
        "import sys, contextlib, io\n"
        "from sts_async.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    main(['--help'])\n"
        "loaded = {'aiohttp', 'attrs', 'attr', 'cattrs', 'lxml', 'yarl'} & set(sys.modules)\n"
        "sys.exit(repr(loaded) if loaded else 0)\n"
    )

    subprocess.run([sys.executable, "-c", probe], check=True)


async def start(*arguments: str, **environ: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", "sts_async", *arguments),
        env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_the_module_runs_like_the_command_and_takes_keys_from_the_environment() -> None:
    async with LocalSTS() as server:
        process = await start(
            "get-caller-identity",
            AWS_ENDPOINT_URL_STS=server.url,
            AWS_REGION="us-east-1",
            AWS_ACCESS_KEY_ID=server.credentials.access_key_id,
            AWS_SECRET_ACCESS_KEY=server.credentials.secret_access_key,
        )
        out, err = await process.communicate()

    assert (process.returncode, err) == (0, b"")
    assert json.loads(out)["Arn"] == "arn:aws:iam::123456789012:user/developer"


def test_interrupting_ends_with_the_shells_status(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(coroutine: object) -> None:
        coroutine.close()  # type: ignore[attr-defined]
        raise KeyboardInterrupt

    monkeypatch.setattr(asyncio, "run", interrupted)

    assert run(capsys, *LOCAL) == (130, "", "")


def test_an_error_without_text_is_named_by_its_class() -> None:
    assert in_one_line(ValueError()) == "ValueError"
    assert in_one_line(ValueError("a\r\n b\t")) == "a b"
    assert in_one_line(ValueError("a\x1b[2J\x07\u202eb\udc80")) == "a\\x1b[2J\\x07\\u202eb\\udc80"
    assert logging.getLogger("sts_async").handlers == []
