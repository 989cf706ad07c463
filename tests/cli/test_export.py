"""`sts-async export-credentials` in one process: which credentials it prints, and when it fetches new ones."""

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cli.exports import PROFILES, ROLE, Export, export
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sts_async import AssumeRoleRequest, CredentialsFleet, FileCache, STSClient
from sts_async._cli.export import _Noted
from sts_async._cli.export_quick_path import decides
from sts_async._runtime import files
from sts_async._runtime.file_contents import noting
from sts_async.testing import LocalSSO, LocalSTS, Throttle

__all__ = ["export"]

DATA = ("--profile", "data", "--max-attempts", "1")
THIRD = ROLE.replace("demo", "third")


def test_a_role_of_a_profile_is_fetched_once_and_printed_from_files(export: Export) -> None:
    first, second = export(*DATA).members, export(*DATA).members

    assert first == second
    assert list(first) == ["Version", "AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration", "AccountId"]
    assert (first["Version"], first["AccountId"], export.calls) == (1, "123456789012", 1)
    assert datetime.fromisoformat(first["Expiration"]).tzinfo == UTC
    assert export.principal(first["AccessKeyId"]).endswith(":assumed-role/demo/sts-async")
    assert {path.stat().st_mode & 0o777 for path in [*export.entries(), *export.shared()]} == {0o600}


def test_a_role_takes_the_members_of_assume_role(export: Export) -> None:
    members = (
        "--external-id",
        "x1",
        "--role-session-name",
        "me",
        "--duration-seconds",
        "900",
        "--tags",
        "Key=a,Value=b",
    )
    found = export("--profile", "base", "--role-arn", ROLE, *members)

    left = datetime.fromisoformat(found.members["Expiration"]) - datetime.now(UTC)
    assert export.principal(found.key).endswith(":assumed-role/demo/me")
    assert 800 < left.total_seconds() <= 900


def test_a_chain_of_roles_shares_each_of_them(export: Export) -> None:
    """The role in the middle is the one that another command has fetched."""
    export(*DATA)
    far = export("--profile", "far").key
    export("--profile", "far", "--format", "env")

    assert export.principal(far).startswith("arn:aws:sts::210987654321:assumed-role/far/")
    assert export.calls == 2


def test_keys_are_printed_and_never_kept(export: Export) -> None:
    found = export("--profile", "base").members

    assert list(found) == ["Version", "AccessKeyId", "SecretAccessKey"]
    assert (export.entries(), export.shared(), export.calls) == ([], [], 0)


def test_a_session_of_the_environment_is_not_kept_and_ends_with_its_variable(
    export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T48."""
    issued = export(*DATA).members
    for path in export.entries():
        path.unlink()
    for name, variable in (("AccessKeyId", "AWS_ACCESS_KEY_ID"), ("SecretAccessKey", "AWS_SECRET_ACCESS_KEY")):
        monkeypatch.setenv(variable, issued[name])
    monkeypatch.setenv("AWS_SESSION_TOKEN", issued["SessionToken"])
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", issued["Expiration"])
    found = export().members
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", "2020-01-01T00:00:00Z")
    late = export()

    assert found["Expiration"] == issued["Expiration"]
    assert export.entries() == []
    assert (late.status, late.out, late.err.count("\n")) == (1, "", 1)
    assert "expired" in late.err
    assert issued["SecretAccessKey"] not in late.err


def test_without_a_cache_each_command_asks(export: Export) -> None:
    keys = {export(*DATA, "--no-cache").key for _ in range(2)}

    assert len(keys) == export.calls == 2
    assert not export.cache.exists()


def test_another_directory_holds_its_own_credentials(export: Export, tmp_path: Path) -> None:
    keys = {export(*DATA, "--cache", str(tmp_path / "mine")).key for _ in range(2)} | {export(*DATA).key}

    assert (len(keys), export.calls) == (2, 2)


def test_local_credentials_are_not_kept(export: Export) -> None:
    found = export("--local", "--role-arn", ROLE)

    assert found.members["AccountId"] == "123456789012"
    assert (export.calls, export.cache.exists()) == (0, False)


# -- When new credentials are fetched --------------------------------------------------------------------------------


@pytest.mark.parametrize(("age", "calls"), [(2300, 1), (2500, 2), (3590, 2), (4000, 2)])
def test_credentials_of_an_hour_are_printed_until_20_minutes_before_their_end(
    export: Export, age: float, calls: int
) -> None:
    """An SDK calls the command for each request if it prints credentials with less than 15 minutes left."""
    export(*DATA)
    export.age(age)
    left = datetime.fromisoformat(export(*DATA).members["Expiration"]) - datetime.now(UTC)

    assert left.total_seconds() > 19 * 60
    assert export.calls == calls


def test_short_credentials_are_printed_until_their_last_minutes(export: Export) -> None:
    short = ("--profile", "base", "--role-arn", ROLE, "--duration-seconds", "900")
    export(*short)
    export.age(590)
    export(*short)
    calls = export.calls
    export.age(20)
    export(*short)

    assert (calls, export.calls) == (1, 2)


def test_old_credentials_are_printed_while_the_service_fails_and_it_is_left_alone(export: Export) -> None:
    """A failed refresh is tried again after 5 to 10 minutes, by the rules of the SDKs, and not by each command."""
    before = export(*DATA).key
    export.age(2500)
    export.server.faults.add(Throttle(times=100))
    during = export(*DATA).key
    calls = export.calls
    again = export(*DATA).key
    paused = export.calls
    export.age(601)
    later = export(*DATA).key

    assert before == during == again == later
    assert calls == paused < export.calls


def test_expired_credentials_are_never_printed(export: Export) -> None:
    export(*DATA)
    export.age(3590)
    export.server.faults.add(Throttle(times=100))
    found = export(*DATA)

    assert (found.status, found.out, found.err.count("\n")) == (1, "", 1)
    assert "Throttl" in found.err


def test_a_fleet_and_the_command_share_their_credentials(export: Export) -> None:
    async def fetch() -> str:
        keys = export.server.credentials
        async with (
            STSClient(endpoint_url=export.server.url, region="us-east-1", credentials=keys) as sts,
            CredentialsFleet(sts, cache=FileCache()) as fleet,
        ):
            request = AssumeRoleRequest(role_arn=ROLE, role_session_name="sts-async")
            return (await fleet.get(request)).access_key_id

    of_fleet = asyncio.run(fetch())

    assert export(*DATA).key == of_fleet
    assert export("--profile", "base", "--role-arn", ROLE).key == of_fleet
    assert export.calls == 1


@pytest.mark.parametrize("broken", ["what was printed", "both"])
def test_files_that_are_damaged_are_fetched_again(export: Export, broken: str) -> None:
    first = export(*DATA).key
    for path in [*export.entries(), *(export.shared() if broken == "both" else [])]:
        path.write_bytes(b"{")
    second = export(*DATA)

    assert second.status == 0
    assert (first == json.loads(second.out)["AccessKeyId"]) == (broken != "both")
    assert export(*DATA).key == json.loads(second.out)["AccessKeyId"]
    assert export.calls == (2 if broken == "both" else 1)


def test_a_code_is_asked_for_once_for_all_commands(export: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    """T46: and a person is asked as late as possible."""
    serial = f"mfa_serial = {export.server.user.mfa_serial}\n"
    export.write_config(PROFILES.replace("source_profile = base\n", f"source_profile = base\n{serial}", 1))
    first = export(*DATA, "--mfa-code", "123456").key
    export.age(3000)
    second = export(*DATA).key
    third = export(*DATA).key

    assert first == second == third
    assert export.calls == 1


# -- Sources ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def sso(export: Export, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalSSO]:
    with LocalSSO() as server:
        for name, value in server.environ.items():
            if not name.startswith("AWS_PROFILE"):
                monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", export.server.url)
        monkeypatch.delenv("AWS_CONFIG_FILE", raising=False)
        monkeypatch.delenv("AWS_SHARED_CREDENTIALS_FILE", raising=False)
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        server.login(export.home / ".aws/sso/cache", session="corp")
        export.write_config(
            f"[sso-session corp]\nsso_region = us-east-1\nsso_start_url = {server.start_url}\n"
            "[profile sso]\nsso_session = corp\nsso_account_id = 123456789012\nsso_role_name = ReadOnly\n"
        )
        yield server


def test_credentials_of_sso_are_kept_until_another_login(export: Export, sso: LocalSSO) -> None:
    keys = [export("--profile", "sso").key for _ in range(3)]
    asked = len(sso.requests)
    sso.login(export.home / ".aws/sso/cache", session="corp")
    other = export("--profile", "sso").key

    assert (len({*keys}), asked) == (1, 1)
    assert other not in keys


def test_a_process_is_asked_each_time(export: Export, tmp_path: Path) -> None:
    """T42: nobody knows whose credentials it returns next."""
    log = tmp_path / "log"
    document = json.dumps({"Version": 1, **dict.fromkeys(("AccessKeyId", "SecretAccessKey", "SessionToken"), "x")})
    (tmp_path / "source").write_text(f"#!/bin/sh\necho >> {log}\necho '{document}'\n")
    (tmp_path / "source").chmod(0o700)
    export.write_config(f"[profile p]\ncredential_process = {tmp_path}/source\n")
    for _ in range(2):
        export("--profile", "p")

    assert log.read_text() == "\n\n"
    assert export.entries() == []


CONFIGS = [
    PROFILES,
    PROFILES.replace("role/demo", "role/other"),
    PROFILES.replace("source_profile = base", "source_profile = base\nrole_session_name = me", 1),
    PROFILES.replace("[profile data]", "[profile data]\nexternal_id = x1"),
    PROFILES.replace("[profile data]", "[default]"),
]
SETTINGS: list[tuple[str, Any]] = [("config", text) for text in CONFIGS]
SETTINGS += [("AWS_PROFILE", name) for name in ("base", "data", "far", None)]
SETTINGS += [("arguments", words) for words in ((), DATA, ("--role-arn", THIRD), ("--role-arn", THIRD + "s"))]


@pytest.mark.slow
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from(SETTINGS), min_size=3, max_size=8))
def test_the_identity_is_the_one_without_a_cache(export: Export, steps: list[tuple[str, Any]]) -> None:
    """T42: whatever was printed before. The oracle is the same command without files."""
    arguments: tuple[str, ...] = ()
    for name, value in steps:
        if name == "config":
            export.write_config(value)
        elif name == "arguments":
            arguments = value
        elif value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
        wanted, found = export(*arguments, "--no-cache"), export(*arguments)

        assert (found.status, found.err) == (wanted.status, wanted.err)
        if wanted.status == 0:
            assert export.principal(found.key) == export.principal(wanted.key)
    os.environ.pop("AWS_PROFILE", None)


def test_the_command_reads_no_variable_that_does_not_decide(export: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    """T42: such a variable could change the result, and the files would not show it."""
    asked: set[str] = set()

    class Noting(dict[str, str]):
        def _note(self, name: str) -> None:
            frame = sys._getframe(2)
            path = frame.f_code.co_filename
            if "/sts_async/" in path and not path.endswith("/_cli/export_quick_path.py"):
                asked.add(name)

        def __getitem__(self, name: str) -> str:
            self._note(name)
            return super().__getitem__(name)

        def get(self, name: str, default: Any = None) -> Any:
            self._note(name)
            return super().get(name, default)

        def __contains__(self, name: object) -> bool:
            self._note(str(name))
            return super().__contains__(name)

    monkeypatch.setattr(os, "environ", Noting(os.environ))
    for arguments in (DATA, ("--profile", "base", "--role-arn", ROLE), ("--role-arn", THIRD)):
        export(*arguments)

    assert {"AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_ACCESS_KEY_ID", "HOME"} <= asked
    of_shells = {"_ARGCOMPLETE"}  # with it, the program completes a command line, and runs no command
    assert sorted(name for name in asked - of_shells if not decides(name)) == []


# -- Failures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--profile", "gone"), 1, "'gone'"),
        (("--role-arn", THIRD), 1, "no credentials"),
        (("--role-arn", "SENTINEL"), 2, "--role-arn must be an ARN such as arn:aws:iam::"),
        (("--external-id", "SENTINEL"), 2, "--external-id needs --role-arn"),
        (("--cache", "redis://SENTINEL@host"), 2, "--cache must be a directory"),
        (("--cache", "x", "--no-cache"), 2, "--cache and --no-cache cannot be combined"),
        (("--profile", "base", "--role-arn", ROLE, "--external-id", "S"), 1, "--external-id must"),
        (("--format", "SENTINEL"), 2, "--format must be one of process, env, env-no-export"),
    ],
)
def test_a_failure_is_one_line(export: Export, arguments: tuple[str, ...], status: int, message: str) -> None:
    found = export(*arguments)

    assert (found.status, found.out, found.err.count("\n")) == (status, "", 1)
    assert message in found.err
    assert "SENTINEL" not in found.err


def test_another_server_may_name_roles_differently(export: Export) -> None:
    """The local STS knows no such role; that it is asked is what the option changes."""
    odd = ("--profile", "base", "--role-arn", "urn:ceph:role/of/mine/x")
    refused, calls = export(*odd), export.calls
    export(*odd, "--any-arn")

    assert (refused.status, calls, export.calls) == (2, 0, 1)
    assert "--any-arn accepts those of other servers" in refused.err


def test_without_a_home_the_credentials_are_fetched(export: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = export.server.credentials
    monkeypatch.delenv("HOME")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", str.__str__(keys.secret_access_key))
    found = export("--role-arn", ROLE)

    assert found.status == 0
    assert json.loads(found.out)["AccountId"] == "123456789012"
    assert "the home directory, which is not known" in found.err


def test_a_directory_that_cannot_be_used_is_no_failure(export: Export, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = export(*DATA, "--cache", str(tmp_path / "file"))

    assert found.status == 0
    assert json.loads(found.out)["Version"] == 1


def test_a_relative_path_is_another_file_in_another_directory(
    export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T42."""
    found = []
    for name in ("demo", "other", "demo"):
        export.write_config(PROFILES.replace("role/demo", f"role/{name}"))
        (tmp_path / name).mkdir(exist_ok=True)
        (export.home / ".aws/config").rename(tmp_path / name / "config")
        monkeypatch.chdir(tmp_path / name)
        monkeypatch.setenv("AWS_CONFIG_FILE", "config")
        found.append(export(*DATA).key)

    assert found[0] == found[2]
    assert "/other/" in export.principal(found[1])
    assert export.calls == 2


def test_a_file_that_appears_decides(export: Export) -> None:
    """T42: the credentials file overrides the config file. It was not there when the search looked for it."""
    first = export(*DATA).key
    credentials = export.home / ".aws/credentials"
    credentials.write_text("[data]\nrole_arn = arn:aws:iam::123456789012:role/other\n")
    second = export(*DATA).key
    credentials.unlink()

    assert "/other/" in export.principal(second)
    assert export(*DATA).key == first


def test_a_result_that_depends_on_an_unreadable_file_is_not_kept(export: Export) -> None:
    """T42: the file could be readable the next time."""
    (export.home / ".aws/credentials").mkdir()
    found = export(*DATA)

    assert found.status == 0
    assert "cannot be read count as empty" in found.err
    assert export.entries() == []


def test_a_file_that_changes_during_the_search_leaves_no_entry(export: Export) -> None:
    """T42: nobody knows which of its contents decided."""
    path, noted = export.home / ".aws/config", _Noted()
    with noting(noted):
        files.read(path)
        unchanged = noted.complete
        path.write_text("[default]\n")
        files.read(path)

    assert unchanged
    assert not noted.complete


def test_two_servers_never_share(export: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    """T42: the endpoint is part of the identity."""
    first = export(*DATA).key
    with LocalSTS() as other:
        export.server = other
        export.write_config()
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", other.url)
        second = export(*DATA).key

        assert first != second
        assert len(other.requests) == 1
