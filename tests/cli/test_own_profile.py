"""`sts-async export-credentials` for profiles that run this command, and could be their own source."""

import shlex
from pathlib import Path

import pytest
from cli.exports import PROFILES, ROLE, Export, export

__all__ = ["export"]


def own_profile(export: Export, *arguments: str, name: str = "own") -> str:
    """Return the section of a profile that runs the command. A program in its place would fail."""
    return f"[profile {name}]\ncredential_process = /nowhere/sts-async export-credentials {shlex.join(arguments)}\n"


@pytest.mark.parametrize("variable", ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"])
def test_a_profile_that_runs_the_command_is_not_its_source(
    export: Export, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """An SDK that is started with AWS_PROFILE passes it on. The command started itself until its deadline."""
    arguments = ("--role-arn", ROLE, "--tags", "Key=a,Value=b c")
    default = PROFILES.replace("profile base", "default")
    export.write_config(default + own_profile(export, *arguments))
    monkeypatch.setenv(variable, "own")
    found = export(*arguments)

    assert export.principal(found.key).endswith(":assumed-role/demo/sts-async")
    assert export.calls == 1


def test_an_own_profile_leaves_the_other_variable(export: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    export.write_config(PROFILES + own_profile(export))
    monkeypatch.setenv("AWS_PROFILE", "own")
    monkeypatch.setenv("AWS_DEFAULT_PROFILE", "data")

    assert export.principal(export().key).endswith(":assumed-role/demo/sts-async")


def test_processes_of_another_profile_do_not_inherit_the_variable(
    export: Export, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Otherwise a profile of two commands, the second one the source of the first, would be its own source."""
    (tmp_path / "source").write_text(
        "#!/bin/sh\n"
        'echo "{\\"Version\\": 1, \\"AccessKeyId\\": \\"x${AWS_PROFILE}\\", \\"SecretAccessKey\\": \\"x\\"}"\n'
    )
    (tmp_path / "source").chmod(0o700)
    second = f"[profile second]\ncredential_process = {tmp_path}/source\n"
    export.write_config(second + own_profile(export, "--profile", "second"))
    monkeypatch.setenv("AWS_PROFILE", "own")

    assert export("--profile", "second").key == "x"


def test_a_named_profile_that_runs_the_command_is_an_error(export: Export) -> None:
    export.write_config(own_profile(export, "--profile", "own"))
    found = export("--profile", "own")

    assert (found.status, found.out, found.err.count("\n")) == (1, "", 1)
    assert "profile 'own' runs this command, so it cannot be its source: name another profile" in found.err
