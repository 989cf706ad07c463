"""The forms of exported credentials: variables that shells read back, and profiles that SDKs read."""

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import botocore.configloader
import pytest
from cli.exports import PROFILES, ROLE, Export, export
from hypothesis import given, settings
from hypothesis import strategies as st
from patience import PATIENCE

from sts_async._cli.export_forms import CONFIG, FORMS, VARIABLES, render

__all__ = ["export"]

# What no environment can hold is left out: NUL, and what is no text in UTF-8.
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
ODD = ["'", '"', "$HOME", "`x`", "a b", "\\", "\n", "#", "!", "*", "~", "-n", "é", "a=b", ";", "&&", "%PATH%"]
NEEDED = {"AccessKeyId": "ASIA", "SecretAccessKey": "a/b+c=", "SessionToken": "t", "Expiration": "2030-01-01T00:00:00Z"}


def read_back(script: str, *, shell: str, given: str = "") -> list[str]:
    """Return the values of all variables after a shell has evaluated a script; ``-`` for those that are not set."""
    shown = " ".join(f'"${{{name}--}}"' for name in VARIABLES.values())
    code = f"{given}\n{script}\nprintf '%s\\0' {shown}\n"
    done = subprocess.run(
        [shell, "-c", code], capture_output=True, timeout=PATIENCE, check=True, env={"HOME": "/", "LC_ALL": "C.UTF-8"}
    )
    assert done.stderr == b""
    return done.stdout.decode().split("\0")[:-1]


@settings(max_examples=40)
@given(values=st.lists(TEXT | st.sampled_from(ODD), min_size=5, max_size=5))
def test_a_shell_reads_every_value_back(values: list[str]) -> None:
    members = dict(zip(VARIABLES, values, strict=True))

    assert read_back(render("env", members), shell="sh") == values
    assert read_back(render("env-no-export", members), shell="sh") == values


def test_variables_of_other_credentials_are_removed() -> None:
    """A session token of another key would make each request fail."""
    old = "\n".join(f"export {name}=old" for name in VARIABLES.values())
    keys = {"AccessKeyId": "AKIA", "SecretAccessKey": "s"}

    assert read_back(render("env", keys), shell="sh", given=old) == ["AKIA", "s", "-", "-", "-"]
    assert read_back(render("env", NEEDED), shell="sh", given=old) == [*NEEDED.values(), "-"]


@pytest.mark.parametrize("quote", "'\u2018\u2019\u201a\u201b")
def test_powershell_gets_no_quote_that_ends_a_value(quote: str) -> None:
    """It reads typographic quotes as plain ones, so a value could otherwise contain commands."""
    line = render("powershell", {"AccessKeyId": f"a{quote}; calc; {quote}b"}).splitlines()[0]

    assert line == f"$Env:AWS_ACCESS_KEY_ID='a{quote}{quote}; calc; {quote}{quote}b'"


def test_exported_variables_reach_a_command() -> None:
    done = subprocess.run(
        ["sh", "-c", f"{render('env', NEEDED)}\nexec {shlex.quote(sys.executable)} -c 'import os; print(os.environ)'"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={},
    )

    assert all(repr(value) in done.stdout for value in NEEDED.values())


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_reads_every_value_back() -> None:
    for value in ODD:
        script = f"{render('fish', {**NEEDED, 'SessionToken': value})}\nprintf %s $AWS_SESSION_TOKEN"
        done = subprocess.run(["fish", "-c", script], capture_output=True, timeout=PATIENCE, check=True)
        assert done.stdout.decode() == value


def test_each_form_quotes_in_its_own_way() -> None:
    members = {"AccessKeyId": "A'\\$b"}

    assert render("powershell", members).splitlines()[0] == "$Env:AWS_ACCESS_KEY_ID='A''\\$b'"
    assert render("powershell", members).splitlines()[1] == "Remove-Item Env:AWS_SECRET_ACCESS_KEY -ErrorAction Ignore"
    assert render("fish", members).splitlines()[:2] == [
        "set -gx AWS_ACCESS_KEY_ID 'A\\'\\\\$b'",
        "set -e AWS_SECRET_ACCESS_KEY",
    ]
    assert render("windows-cmd", members).splitlines()[:2] == [
        'set "AWS_ACCESS_KEY_ID=A\'\\$b"',
        'set "AWS_SECRET_ACCESS_KEY="',
    ]
    assert json.loads(render("process", NEEDED)) == {"Version": 1, **NEEDED}


def test_a_value_that_cmd_cannot_quote_fits_another_form() -> None:
    members = {"AccessKeyId": "%PATH%SENTINEL"}
    with pytest.raises(ValueError, match=r"cmd\.exe cannot quote: use another --format") as caught:
        render("windows-cmd", members)

    assert "SENTINEL" not in str(caught.value)
    assert render("powershell", members).startswith("$Env:AWS_ACCESS_KEY_ID='%PATH%SENTINEL'")


def test_no_form_has_another_member() -> None:
    for form in FORMS:
        assert "other" not in render(form, {**NEEDED, "Other": "other"})


# -- The profile -----------------------------------------------------------------------------------------------------


def profile_in(out: str, path: Path) -> tuple[str, list[str]]:
    """Return the name and the command of a profile, as botocore reads them."""
    path.write_text(out)
    ((name, section),) = botocore.configloader.load_config(str(path))["profiles"].items()
    assert (list(section), section["region"]) == (["credential_process", "region"], "us-east-1")
    command = shlex.split(section["credential_process"])
    assert command[-2:] == ["--region", "us-east-1"]  # of AWS_REGION
    return name, command[:-2]


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ([], "sts-async-default"),
        (["--profile", "data"], "sts-async-data"),
        (["--profile", "a b"], "sts-async-default"),
        (["--role-arn", ROLE, "--external-id", 'it\'s "x" $HOME é'], "sts-async-demo"),
        (["--role-arn", ROLE.replace("demo", "path/to/deep"), "--duration-seconds=900"], "sts-async-deep"),
        (["--tags", "Key=a,Value=b c", "Key=d,Value=e", "--role-arn", ROLE], "sts-async-demo"),
    ],
)
@pytest.mark.parametrize("place", ["first", "last", "joined"])
def test_the_profile_runs_the_same_command(
    export: Export, tmp_path: Path, arguments: list[str], name: str, place: str
) -> None:
    export.write_config(f'{PROFILES}[profile "a b"]\nregion = us-east-1\n')
    form = [f"--format={CONFIG}"] if place == "joined" else ["--format", CONFIG]
    found = export(*(form + arguments if place == "first" else arguments + form))

    assert (found.status, found.err, export.calls) == (0, "", 0)
    assert profile_in(found.out, tmp_path / "config") == (
        name,
        [sys.executable, "-m", "sts_async", "export-credentials", *arguments],
    )


def test_a_program_is_named_by_its_path(export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sts-async").write_text("")
    monkeypatch.chdir(tmp_path)
    export("--format", CONFIG)
    from sts_async._cli import export_profile

    monkeypatch.setattr(sys, "argv", ["./sts-async", "export-credentials"])

    assert export_profile._program() == [str(tmp_path / "sts-async")]


def test_a_file_is_named_by_its_path(export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An SDK starts the command in any directory."""
    (tmp_path / "policy.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    found = export("--role-arn", ROLE, "--policy", "file://policy.json", "--format", CONFIG)
    joined = export("--role-arn", ROLE, "--policy=file://policy.json", "--format", CONFIG)
    at_home = export("--role-arn", ROLE, "--policy", "file://~/policy.json", "--format", CONFIG)

    assert profile_in(found.out, tmp_path / "config")[1][-1] == f"file://{tmp_path}/policy.json"
    assert profile_in(joined.out, tmp_path / "config")[1][-1] == f"--policy=file://{tmp_path}/policy.json"
    assert profile_in(at_home.out, tmp_path / "config")[1][-1] == "file://~/policy.json"


def test_what_variables_decide_is_written(export: Export, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An SDK has AWS_PROFILE=sts-async-demo when it runs the command, and looks for a region in this profile."""
    monkeypatch.setenv("AWS_PROFILE", "data")
    named = profile_in(export("--role-arn", ROLE, "--format", CONFIG).out, tmp_path / "config")
    chosen = profile_in(export("--role-arn", ROLE, "--profile", "base", "--format", CONFIG).out, tmp_path / "config")

    assert named[1][-4:] == ["--role-arn", ROLE, "--profile", "data"]
    assert chosen[1][-4:] == ["--role-arn", ROLE, "--profile", "base"]


def test_the_profile_has_the_region_of_its_source(export: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REGION")
    export.write_config("[default]\nregion = eu-west-1\n")
    found = export("--role-arn", ROLE, "--format", CONFIG).out
    export.write_config("")
    without = export("--role-arn", ROLE, "--format", CONFIG).out
    given = export("--role-arn", ROLE, "--region", "eu-west-3", "--format", CONFIG).out

    assert found == f"{without}region = eu-west-1\n"
    assert without.endswith(f" --role-arn {ROLE}\n")
    assert given.endswith(f" --role-arn {ROLE} --region eu-west-3\nregion = eu-west-3\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mfa-code", "123456"], "--mfa-code cannot be used with --format config: a code is valid once"),
        (["--local"], "--local cannot be used with --format config: the local STS ends with this command"),
        (["--role-arn", ROLE, "--external-id", "-"], "no value can come from standard input"),
        (["--role-arn", ROLE, "--external-id=-"], "no value can come from standard input"),
        (["--role-arn", ROLE, "--external-id", "a\nb"], "neither line breaks nor # or ; after a space"),
        (["--role-arn", ROLE, "--external-id", "a #b"], "neither line breaks nor # or ; after a space"),
        (["--role-arn", ROLE, "--external-id", "a ;b"], "neither line breaks nor # or ; after a space"),
    ],
)
def test_a_command_that_an_sdk_could_not_run_is_refused(export: Export, arguments: list[str], message: str) -> None:
    found = export(*arguments, "--format", CONFIG)

    assert (found.status, found.out, found.err.count("\n")) == (2, "", 1)
    assert message in found.err
