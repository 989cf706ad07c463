"""Where credentials come from: the first group of lines."""

import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import botocore.credentials
import botocore.session
import pytest
from credentials import cases
from credentials.cases import FAILS, JWT, OTHER_ROLE, SECRET, Case, Fails, Session, environment, keys, profiles, role
from credentials.test_botocore import Oracle, Place, of_botocore, of_ours
from differences.conftest import Boto
from differences.lines import given, line
from patience import other_than
from support import ROLE

from sts_async import AssumeRoleProvider, ConfigurationError, Credentials, STSClient, WebIdentityProvider
from sts_async._runtime.name_lookups import Address, LookUps
from sts_async.credentials import ProcessProvider, process
from sts_async.errors import CredentialsError
from sts_async.testing import LocalSTS, Unavailable, VirtualClock

Compare = Callable[[Case], Awaitable[None]]

SOURCE = Case("", Session("demo/me", "user/base"))
"""A role, assumed with keys that are not all that its source has."""


@line("a web identity in the environment, and a profile")
@given("process and web identity of the environment", "SSO and web identity of the environment")
async def test_the_profile_comes_before_a_web_identity_in_the_environment(case: Case, compare: Compare) -> None:
    await compare(case)


@line("a web identity of which the profile has one half and the environment the other")
@given(
    "a web identity in the profile, another role in the environment",
    "a web identity in the profile, another name for its sessions in the environment",
    "a token file in the profile, the role in the environment",
)
async def test_a_web_identity_stands_in_one_place(case: Case, compare: Compare) -> None:
    await compare(case)


@line("keys in the config file, and `login_session` or `credential_process` in the same profile")
@given("config file and login", "config file and process")
async def test_keys_of_a_profile_count_alike_in_either_file(case: Case, compare: Compare) -> None:
    await compare(case)


@line("keys in a `source_profile` that has SSO or a web identity, too")
@given(
    attrs.evolve(
        SOURCE,
        name="a source with keys and SSO",
        botocore=Session("demo/me", "demo/sso"),
        config=profiles(default=role("source_profile = b"), b=f"sso_session = corp\n{cases.SSO}{keys('AKIABASE')}")
        + cases.sso_session(),
        servers={"sso": {}},
    ),
    attrs.evolve(
        SOURCE,
        name="a source with keys and a web identity",
        botocore=Session("demo/me", "nobody", "other/me"),
        config=profiles(
            default=role("source_profile = b"),
            b=role("web_identity_token_file = <home>/token", OTHER_ROLE, keys("AKIABASE")),
        ),
        files=cases.TOKEN,
    ),
)
async def test_keys_end_a_chain_of_profiles(case: Case, compare: Compare) -> None:
    await compare(case)


@line("`AWS_PROFILE` and `AWS_DEFAULT_PROFILE`, both set")
@given("AWS_PROFILE and AWS_DEFAULT_PROFILE")
async def test_the_variable_that_every_sdk_reads_comes_first(case: Case, compare: Compare) -> None:
    await compare(case)


@line("`AWS_SESSION_TOKEN` and `AWS_SECURITY_TOKEN`, both set; the same for the keys of a profile")
@given("keys with two tokens", "two tokens in a profile")
async def test_the_token_of_the_current_name_is_used(case: Case, compare: Compare) -> None:
    await compare(case)


@line("a blank variable or key")
@given(
    "a blank AWS_PROFILE",
    "keys of white space",
    "empty keys in a profile",
    "a role with an empty source beside another",
    "a role with an empty ARN",
    "a white AWS_WEB_IDENTITY_TOKEN_FILE",
    "an empty token file variable",
    "an empty relative URI",
    "an empty full URI",
)
async def test_a_blank_variable_or_key_counts_as_unset(case: Case, compare: Compare) -> None:
    await compare(case)


@line("white space around the value of a variable")
@given("keys in white space")
async def test_white_space_around_a_variable_is_removed(case: Case, compare: Compare) -> None:
    await compare(case)


@line("`~/` in the path of a token file")
@given(
    Case(
        "a token file below the home directory",
        Session("demo/me", "nobody"),
        botocore=FAILS,
        files=cases.TOKEN,
        environ={**cases.WEB, "AWS_WEB_IDENTITY_TOKEN_FILE": "~/token"},
    )
)
async def test_a_token_file_may_be_below_the_home_directory(case: Case, compare: Compare) -> None:
    await compare(case)


@line("`duration_seconds` in a profile with `web_identity_token_file`")
async def test_a_web_identity_has_the_duration_of_its_profile(
    boto: Boto, server: LocalSTS, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Path.home()
    (home / "token").write_text(JWT)
    (home / ".aws").mkdir()
    asked = f"role_arn = {ROLE}\nweb_identity_token_file = {home}/token\nduration_seconds = 7200\n"
    (home / ".aws/config").write_text(f"[default]\nregion = {server.region}\n{asked}")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.url)

    def ends() -> datetime:
        found = botocore.session.Session().get_credentials()
        found.get_frozen_credentials()
        return found._expiry_time  # type: ignore[no-any-return]

    theirs = await boto.run(ends)
    async with STSClient() as sts:
        ours = (await sts.get_credentials()).expiration
    assert ours is not None
    assert timedelta(minutes=59) < ours - theirs < timedelta(minutes=61)


@line("a secret key without an access key id")
@given("a secret alone", "a secret alone in a profile")
async def test_half_a_pair_of_keys_is_an_error(case: Case, compare: Compare) -> None:
    await compare(case)


@line("`AWS_CREDENTIAL_EXPIRATION` in seconds since 1970")
@given("keys that end at a time in seconds")
async def test_an_expiration_in_seconds_is_read(case: Case, compare: Compare) -> None:
    await compare(case)


@line("a source that is configured, and fails in a way that botocore takes for absence")
@given("a role that EC2 may not assume", "an instance that answers 500")
async def test_a_source_that_is_there_and_fails_ends_the_search(case: Case, compare: Compare) -> None:
    await compare(case)


@line("IMDSv1, when version 2 gives no token")
@given("an instance with version 1 only")
async def test_version_1_of_the_metadata_service_is_not_asked(case: Case, compare: Compare) -> None:
    await compare(case)


@line("`ec2_metadata_v1_disabled`, when version 2 gives no token")
@given("an instance with version 1, which is disabled")
async def test_an_instance_without_tokens_is_none_when_version_1_is_disabled(case: Case, compare: Compare) -> None:
    await compare(case)


@line("the token file of a container ends with a line break")
@given("a token file that ends with a line break")
async def test_the_last_line_break_of_a_container_token_is_removed(case: Case, compare: Compare) -> None:
    await compare(case)


@line("a container endpoint refuses with HTTP 4xx")
async def test_a_refusing_container_endpoint_is_asked_once(place: Place, oracle: Oracle, lend: Any) -> None:
    case = Case(
        "refused", FAILS, servers=cases.WITH_TOKEN, environ={"AWS_CONTAINER_AUTHORIZATION_TOKEN": "SENTINEL-wrong"}
    )
    await place.start(case)
    requests = place.running["container"].requests

    assert isinstance(await of_botocore(place, case, oracle), Fails)
    assert len(requests) == 3
    assert isinstance(await of_ours(place, case, lend), Fails)
    assert len(requests) == 4


@line("a container endpoint with `http://` under a name of this host")
async def test_a_container_endpoint_may_have_a_name_of_this_host(
    place: Place, oracle: Oracle, lend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def addresses(_: LookUps, host: str, port: int, **__: Any) -> list[Address]:
        assert host == "agent.example"
        return [Address("127.0.0.1", port, socket.AF_INET, 6)]

    monkeypatch.setattr(LookUps, "addresses", addresses)
    case = Case("a name", FAILS, servers={"container": {}})
    await place.start(case)
    url = place.running["container"].environ[cases.FULL].replace("127.0.0.1", "agent.example")
    case = attrs.evolve(case, environ={cases.FULL: url})

    assert await of_botocore(place, case, oracle) == Fails("ValueError")
    assert await of_ours(place, case, lend) == cases.CONTAINER


@line("a fraction of a second in `AWS_METADATA_SERVICE_TIMEOUT`")
@given(
    Case(
        "a fraction of a second",
        Session("demo/imds"),
        botocore=FAILS,
        servers={"imds": {}},
        environ={"AWS_METADATA_SERVICE_TIMEOUT": "9.5"},
    )
)
async def test_a_timeout_may_have_a_fraction(case: Case, compare: Compare) -> None:
    await compare(case)


@line("a metadata service that answers 429 or 5xx once")
@given(
    Case(
        "an instance that answers 503 once",
        Session("demo/imds"),
        botocore=cases.NOTHING,
        servers={"imds": {}},
        faults={"imds": Unavailable()},
    )
)
async def test_a_metadata_service_that_is_busy_is_asked_again(case: Case, compare: Compare) -> None:
    await compare(case)


@line("`AWS_EC2_INSTANCE_PROFILE_NAME`")
@given(
    Case(
        "the name of a role that the instance does not have",
        cases.NOTHING,
        botocore=Session("demo/imds"),
        servers={"imds": {}},
        environ={"AWS_EC2_INSTANCE_PROFILE_NAME": "other"},
    )
)
async def test_the_role_of_an_instance_can_be_named(case: Case, compare: Compare) -> None:
    await compare(case)


@line("files of boto 2 and of the old EC2 tools")
@given("~/.boto", "AWS_CREDENTIAL_FILE")
async def test_old_files_are_not_read(case: Case, compare: Compare) -> None:
    await compare(case)


@line("keys that change in the environment of the running process")
async def test_new_keys_in_the_environment_are_used(boto: Boto, monkeypatch: pytest.MonkeyPatch) -> None:
    async def seen() -> tuple[str, str]:
        found = await boto.run(session.get_credentials)
        return found.access_key, (await sts.get_credentials()).access_key_id

    for name, value in environment("AKIAOLD").items():
        monkeypatch.setenv(name, value)
    session = botocore.session.Session()
    async with STSClient(region="eu-west-1") as sts:
        assert await seen() == ("AKIAOLD", "AKIAOLD")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIANEW")

        assert await seen() == ("AKIAOLD", "AKIANEW")


@line("shared files that change while the process runs")
async def test_changed_files_are_read_again(boto: Boto) -> None:
    path = Path.home() / ".aws/credentials"
    path.parent.mkdir()
    path.write_text("[default]\n" + keys("AKIAOLD"))
    clock = VirtualClock()
    session = botocore.session.Session()
    async with STSClient(region="eu-west-1", clock=clock) as sts:
        assert (await boto.run(session.get_credentials)).access_key == "AKIAOLD"
        first = await sts.get_credentials()
        assert first.access_key_id == "AKIAOLD"
        path.write_text("[default]\n" + keys("AKIANEWER"))
        clock.advance(11)
        found = await other_than(first, sts.get_credentials)  # the files are looked at in the background

        assert found.access_key_id == "AKIANEWER"
        assert (await boto.run(session.get_credentials)).access_key == "AKIAOLD"


@line("the limits of a `credential_process`")
async def test_a_process_is_bounded_and_has_no_standard_input(boto: Boto, tmp_path: Path) -> None:
    made: list[dict[str, Any]] = []

    class Process:
        """What botocore starts, and how it waits for it."""

        returncode = 0

        def __init__(self, command: list[str], **options: Any) -> None:
            made.append(options)

        def communicate(self, **options: Any) -> tuple[bytes, bytes]:
            made.append(options)
            return cases.document("AKIAA").encode(), b""

    profile = {"profiles": {"default": {"credential_process": "x"}}}
    botocore.credentials.ProcessProvider("default", lambda: profile, popen=Process).load()
    assert "stdin" not in made[0]
    assert "timeout" not in made[1]

    answer = tmp_path / "answer"
    answer.write_text(cases.document("AKIAA"))
    async with STSClient(region="eu-west-1", credentials=ProcessProvider(f"sh -c 'cat; cat {answer}'")) as sts:
        assert (await sts.get_credentials()).access_key_id == "AKIAA"
    async with STSClient(region="eu-west-1", credentials=ProcessProvider("sleep 600", seconds=0.1)) as sts:
        with pytest.raises(CredentialsError, match=r"timed out after 0\.1 s"):
            await sts.get_credentials()
    assert process.SECONDS == 60


@line("what a failing `credential_process` writes to standard error")
async def test_standard_error_of_a_process_is_not_shown(boto: Boto) -> None:
    command = "sh -c 'echo SENTINEL >&2; false'"
    profile = {"profiles": {"default": {"credential_process": command}}}
    error = await boto.run(botocore.credentials.ProcessProvider("default", lambda: profile).load)

    assert "SENTINEL" in str(error)
    async with STSClient(region="eu-west-1", credentials=ProcessProvider(command)) as sts:
        with pytest.raises(CredentialsError, match="ended with exit code 1") as caught:
            await sts.get_credentials()
    assert "SENTINEL" not in str(caught.value)


@line("`Version` in the output of a process")
@given("a process with Version 1.0")
async def test_the_version_of_a_process_is_the_whole_number_1(case: Case, compare: Compare) -> None:
    await compare(case)


@line("a role with `mfa_serial`")
async def test_mfa_codes_are_asked_by_the_program_and_sessions_are_renewed(
    boto: Boto,
) -> None:
    asked: list[str] = []

    async def code(serial: str) -> str:
        asked.append(serial)
        return "123456"

    refresh = botocore.credentials.create_mfa_serial_refresher(lambda: asked.append("first"))
    refresh()
    error = await boto.run(refresh)
    assert type(error).__name__ == "RefreshWithMFAUnsupportedError"
    assert asked.pop() == "first"

    clock = VirtualClock()
    async with LocalSTS(clock=clock) as server:
        role = AssumeRoleProvider(
            role_arn=ROLE, source=server.credentials, serial_number=server.user.mfa_serial, mfa_code=code
        )
        async with server.client(credentials=role, clock=clock) as sts:
            first = await sts.get_credentials()
            clock.advance(3600)
            assert await sts.get_credentials() != first
    assert asked == [server.user.mfa_serial] * 2


@line("the name of a role's sessions, when none is given")
async def test_names_of_sessions_are_random(boto: Boto, server: LocalSTS) -> None:
    def botocores() -> str:
        made = botocore.credentials.AssumeRoleCredentialFetcher(
            lambda *_, **__: None, botocore.credentials.Credentials("a", "b"), ROLE
        )
        return made._role_session_name  # type: ignore[no-any-return]

    first = await boto.run(botocores)
    assert first.removeprefix("botocore-session-").isdigit()
    names = set()
    for _ in range(2):
        async with server.client(credentials=AssumeRoleProvider(role_arn=ROLE, source=server.credentials)) as sts:
            arn = (await sts.get_caller_identity()).arn
            names.add(str(arn).rpartition("/")[2])
    assert len(names) == 2
    assert all(name.startswith("sts-async-") and len(name) == 26 for name in names)


@line("a chain of more than 16 roles")
@given(
    Case(
        "a chain of 17 roles",
        Fails("InvalidConfigFile"),
        botocore=Session("demo/me", "user/base", *["demo/me"] * 16),
        config=profiles(
            default=role("source_profile = p1"), **{f"p{n}": role(f"source_profile = p{n + 1}") for n in range(1, 17)}
        )
        + f"[profile p17]\n{keys('AKIABASE')}",
    )
)
async def test_chains_have_a_greatest_length(case: Case, compare: Compare) -> None:
    await compare(case)


@line("a role ARN that IAM cannot have made")
async def test_what_is_no_role_is_refused_before_it_is_sent(boto: Boto) -> None:
    wrong = "arn:aws:iam::123456789012:role/../admin *"
    client = boto.client(region_name="eu-west-1")
    await boto.run(client.assume_role, RoleArn=wrong, RoleSessionName="me")

    assert len(client.sent) == 1
    with pytest.raises(ConfigurationError):
        AssumeRoleProvider(role_arn=wrong)
    with pytest.raises(ConfigurationError):
        WebIdentityProvider(role_arn=wrong, token_file="x")


@line("a role of another partition than the endpoint's")
async def test_a_role_of_another_partition_is_not_asked_for(boto: Boto) -> None:
    abroad = "arn:aws-cn:iam::123456789012:role/demo"
    client = boto.client(region_name="eu-west-1")
    await boto.run(client.assume_role, RoleArn=abroad, RoleSessionName="me")

    assert len(client.sent) == 1
    role = AssumeRoleProvider(role_arn=abroad, source=Credentials(access_key_id="AKIAA", secret_access_key=SECRET))
    async with STSClient(region="eu-west-1", credentials=role) as sts:
        with pytest.raises(ConfigurationError, match="partition aws-cn"):
            await sts.get_credentials()


@line("a web identity token file that is missing while it is replaced")
async def test_a_missing_token_file_is_looked_for_again(boto: Boto, server: LocalSTS, tmp_path: Path) -> None:
    path = tmp_path / "token"

    class Replacing(VirtualClock):
        async def sleep(self, seconds: float) -> None:
            path.write_text(JWT)
            await super().sleep(seconds)

    with pytest.raises(FileNotFoundError):
        await boto.run(botocore.utils.FileWebIdentityTokenLoader(str(path)))
    role = WebIdentityProvider(role_arn=ROLE, token_file=path)
    async with server.client(credentials=role, clock=Replacing()) as sts:
        assert (await sts.get_credentials()).access_key_id.startswith("ASIA")


SSO = Case(
    "SSO",
    FAILS,
    botocore=Session("demo/sso"),
    config=f"[default]\nsso_session = corp\n{cases.SSO}{cases.sso_session()}",
    servers={"sso": {}},
)


@pytest.fixture
def other_files(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[Path], None]], None]]:
    """Return a function that takes another one, which changes each token file once it is written."""
    log_in = Place.log_in

    def change(function: Callable[[Path], None]) -> None:
        def changed(self: Place, home: Path) -> None:
            log_in(self, home)
            for path in (home / ".aws").glob("*/cache/*.json"):
                function(path)

        monkeypatch.setattr(Place, "log_in", changed)

    yield change
    monkeypatch.undo()


@line("a token file of `aws sso login` or `aws login` that others may write")
@pytest.mark.skipif(os.name == "nt", reason="modes of files are those of POSIX")
async def test_a_token_file_that_others_may_write_is_not_used(other_files: Any, compare: Compare) -> None:
    other_files(lambda path: path.chmod(0o666))

    await compare(attrs.evolve(SSO, gives=Fails("CredentialsError")))


@line("a token file that says another start URL or region than the profile")
async def test_a_token_file_of_another_portal_is_not_used(other_files: Any, compare: Compare) -> None:
    other_files(lambda path: path.write_text(path.read_text().replace('"us-east-1"', '"eu-west-9"')))

    await compare(attrs.evolve(SSO, gives=Fails("LoginRequired")))


@line("when the token of an sso-session is renewed")
async def test_a_token_is_renewed_when_five_minutes_are_left(place: Place, oracle: Oracle, lend: Any) -> None:
    case = attrs.evolve(SSO, servers={"sso": {"login_seconds": 600}})
    await place.start(case)
    requests = place.running["sso"].requests

    assert await of_botocore(place, case, oracle) == Session("demo/sso")
    assert [request.path for request in requests] == ["/token", "/federation/credentials"]
    requests.clear()
    assert await of_ours(place, case, lend) == Session("demo/sso")
    assert [request.path for request in requests] == ["/federation/credentials"]
