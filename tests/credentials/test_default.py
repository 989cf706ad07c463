"""`STSClient()` without arguments: each source, over sockets, up to a response that names the signer."""

import asyncio
import base64
import json
import logging
import os
import shlex
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import attrs
import pytest
from patience import until
from support import Clocks

from sts_async import Config, STSClient
from sts_async.credentials import AssumeRoleProvider, DefaultChain, ProfileProvider, StaticProvider
from sts_async.doctor import Row, examine
from sts_async.errors import (
    CredentialsError,
    CredentialsNotFound,
    IDPCommunicationErrorException,
    InvalidConfigFile,
    LoginRequired,
    STSError,
)
from sts_async.testing import LocalContainer, LocalIMDS, LocalSignIn, LocalSSO, LocalSTS, Refuse, User

ROLE = "arn:aws:iam::123456789012:role/demo"
OTHER_ROLE = "arn:aws:iam::123456789012:role/other"
CLAIMS = {"iss": "https://idp.example", "sub": "me", "aud": "sts", "exp": 4_102_444_800}
JWT = ".".join(
    base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({"alg": "none"}, CLAIMS, {})
)


@attrs.define
class Place:
    """A machine: its environment, its home directory, and the services that it can reach."""

    server: LocalSTS
    home: Path
    monkeypatch: pytest.MonkeyPatch
    services: AsyncExitStack

    def variables(self, **variables: str) -> None:
        for name, value in variables.items():
            self.monkeypatch.setenv(name, value)

    def file(self, name: str, text: str) -> Path:
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def config(self, text: str) -> None:
        self.file(".aws/config", text)

    def session(self, name: str) -> Any:
        """Return credentials of the role that the server accepts, in a session of this name."""
        return self.server.issue(ROLE, session_name=name)


@pytest.fixture
async def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    monkeypatch.setenv("HOME", str(tmp_path))
    async with LocalSTS() as server, AsyncExitStack() as services:
        monkeypatch.setenv("AWS_REGION", server.region)
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.url)
        yield Place(server, tmp_path, monkeypatch, services)


def in_environment(keys: Any) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": keys.access_key_id,
        "AWS_SECRET_ACCESS_KEY": keys.secret_access_key,
        "AWS_SESSION_TOKEN": keys.session_token or "",
    }


def in_profile(keys: Any) -> str:
    return (
        f"aws_access_key_id = {keys.access_key_id}\naws_secret_access_key = {keys.secret_access_key}\n"
        f"aws_session_token = {keys.session_token or ''}\n"
    )


def in_document(keys: Any) -> str:
    return json.dumps(
        {
            "Version": 1,
            "AccessKeyId": keys.access_key_id,
            "SecretAccessKey": keys.secret_access_key,
            "SessionToken": keys.session_token,
            "Expiration": keys.expiration.isoformat(),
        }
    )


async def environment(place: Place) -> str:
    place.variables(**in_environment(place.session("me")))
    return "environment"


async def profile_keys(place: Place) -> str:
    place.file(".aws/credentials", f"[default]\n{in_profile(place.session('me'))}")
    return "profile 'default'"


async def named_profile(place: Place) -> str:
    place.config(f"[profile mine]\n{in_profile(place.session('me'))}")
    place.variables(AWS_PROFILE="mine")
    return "profile 'mine'"


async def role_of_a_profile(place: Place) -> str:
    place.config(f"[default]\nrole_arn = {ROLE}\nsource_profile = base\nrole_session_name = me\n")
    place.file(".aws/credentials", f"[base]\n{in_profile(place.server.credentials)}")
    return "profile 'default'"


async def chain_of_roles(place: Place) -> str:
    place.config(
        f"[default]\nrole_arn = {ROLE}\nsource_profile = middle\nrole_session_name = me\n"
        f"[profile middle]\nrole_arn = {OTHER_ROLE}\nsource_profile = last\n"
        f"[profile last]\n{in_profile(place.server.credentials)}"
    )
    return "profile 'default'"


async def role_of_the_environment(place: Place) -> str:
    """Return a role for which the keys in the environment are used; the environment itself has no session."""
    place.config(f"[profile mine]\nrole_arn = {ROLE}\ncredential_source = Environment\nrole_session_name = me\n")
    place.variables(**in_environment(place.server.credentials))
    return "profile 'mine'"


async def role_of_an_instance(place: Place) -> str:
    await instance(place)
    place.config(f"[default]\nrole_arn = {ROLE}\ncredential_source = Ec2InstanceMetadata\nrole_session_name = me\n")
    return "profile 'default'"


async def role_of_a_container(place: Place) -> str:
    await container(place)
    place.config(f"[default]\nrole_arn = {ROLE}\ncredential_source = EcsContainer\nrole_session_name = me\n")
    return "profile 'default'"


async def web_identity_of_a_profile(place: Place) -> str:
    token = place.file("token", JWT)
    place.config(f"[default]\nrole_arn = {ROLE}\nweb_identity_token_file = {token}\nrole_session_name = me\n")
    return "profile 'default'"


async def web_identity(place: Place) -> str:
    place.variables(
        AWS_WEB_IDENTITY_TOKEN_FILE=str(place.file("token", JWT)), AWS_ROLE_ARN=ROLE, AWS_ROLE_SESSION_NAME="me"
    )
    return "web identity of the environment"


async def sso_session(place: Place) -> str:
    sso = await place.services.enter_async_context(LocalSSO(credentials=place.session("me")))
    await asyncio.to_thread(sso.login, place.home / ".aws/sso/cache", session="corp")
    place.variables(**sso.environ)
    place.config(
        "[default]\nsso_session = corp\nsso_account_id = 123456789012\nsso_role_name = demo\n"
        f"[sso-session corp]\nsso_region = us-east-1\nsso_start_url = {sso.start_url}\n"
    )
    return "profile 'default'"


async def sso_legacy(place: Place) -> str:
    sso = await place.services.enter_async_context(LocalSSO(credentials=place.session("me")))
    await asyncio.to_thread(sso.login, place.home / ".aws/sso/cache", start_url=sso.start_url)
    place.variables(**sso.environ)
    place.config(
        "[default]\nsso_account_id = 123456789012\nsso_role_name = demo\n"
        f"sso_region = us-east-1\nsso_start_url = {sso.start_url}\n"
    )
    return "profile 'default'"


async def login_session(place: Place) -> str:
    signin = await place.services.enter_async_context(LocalSignIn(credentials=place.session("me")))
    await asyncio.to_thread(signin.login, place.home / ".aws/login/cache", login_session="arn:aws:iam::1:user/me")
    place.variables(**signin.environ)
    place.config("[default]\nlogin_session = arn:aws:iam::1:user/me\n")
    return "profile 'default'"


async def process(place: Place) -> str:
    answer = place.file("answer.json", in_document(place.session("me")))
    place.config(f"[default]\ncredential_process = cat {shlex.quote(str(answer))}\n")
    return "profile 'default'"


def beside_files(environ: dict[str, str]) -> dict[str, str]:
    """Return variables that leave the shared files of the machine in use."""
    return {name: value for name, value in environ.items() if value != os.devnull}


async def container(place: Place) -> str:
    agent = await place.services.enter_async_context(
        LocalContainer(token="SENTINEL-agent", credentials=place.session("me"))
    )
    place.variables(**beside_files(agent.environ))
    return "container endpoint"


async def instance(place: Place) -> str:
    metadata = await place.services.enter_async_context(LocalIMDS(credentials=place.session("me")))
    place.variables(**beside_files(metadata.environ))
    return "EC2 instance metadata"


SOURCES: list[Callable[[Place], Awaitable[str]]] = [
    environment,
    profile_keys,
    named_profile,
    role_of_a_profile,
    chain_of_roles,
    role_of_an_instance,
    role_of_a_container,
    web_identity_of_a_profile,
    web_identity,
    sso_session,
    sso_legacy,
    login_session,
    process,
    container,
    instance,
]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.__name__)
async def test_a_client_without_arguments_assumes_a_role(
    place: Place, source: Callable[[Place], Awaitable[str]]
) -> None:
    """It signs with the session of the source."""
    name = await source(place)

    async with STSClient() as sts:
        identity = await sts.get_caller_identity()
        response = await sts.assume_role(role_arn=OTHER_ROLE, role_session_name="main-job")
        report = await examine()

    assert identity.arn == "arn:aws:sts::123456789012:assumed-role/demo/me"
    assert response.assumed_role_user is not None
    assert response.assumed_role_user.arn == "arn:aws:sts::123456789012:assumed-role/other/main-job"
    assert [finding.source for finding in report.findings if finding.used] == [name]
    assert report.healthy
    assert place.server.region in str(report)
    assert "SENTINEL" not in f"{report}{report!r}"


async def test_keys_in_the_environment_come_before_a_profile_that_it_names(place: Place) -> None:
    place.config(f"[profile mine]\n{in_profile(place.session('of-the-profile'))}")
    place.variables(AWS_PROFILE="mine", **in_environment(place.session("of-the-environment")))

    async with STSClient() as sts:
        assert (await sts.get_caller_identity()).arn.endswith("/of-the-environment")


async def test_a_profile_in_code_takes_precedence_over_the_environment(place: Place) -> None:
    """This includes the web identity of the environment."""
    place.config(f"[profile mine]\n{in_profile(place.session('of-the-profile'))}")
    place.variables(AWS_WEB_IDENTITY_TOKEN_FILE="/nowhere", AWS_ROLE_ARN=ROLE)
    place.variables(**in_environment(place.session("of-the-environment")))

    async with STSClient(profile="mine") as sts:
        assert (await sts.get_caller_identity()).arn.endswith("/of-the-profile")


async def test_a_profile_with_a_named_source_may_use_the_environment(place: Place) -> None:
    await role_of_the_environment(place)

    async with STSClient(profile="mine") as sts:
        assert (await sts.get_caller_identity()).arn.endswith("/demo/me")


async def broken_environment(place: Place) -> type[STSError]:
    place.variables(AWS_ACCESS_KEY_ID="AKIAHALF")
    return CredentialsError


async def broken_file(place: Place) -> type[STSError]:
    place.config("[default\n")
    return InvalidConfigFile


async def broken_profile(place: Place) -> type[STSError]:
    place.config(f"[default]\nrole_arn = {ROLE}\nsource_profile = nobody\n")
    return InvalidConfigFile


async def broken_web_identity(place: Place) -> type[STSError]:
    """Return an environment whose call fails, as in the fleet that continued with the role of its nodes."""
    await web_identity(place)
    place.server.faults.add(Refuse("IDPCommunicationError", times=9))
    return IDPCommunicationErrorException


async def broken_sso(place: Place) -> type[STSError]:
    await sso_session(place)
    for path in (place.home / ".aws/sso/cache").iterdir():
        path.unlink()
    return LoginRequired


async def broken_process(place: Place) -> type[STSError]:
    place.config("[default]\ncredential_process = false SENTINEL\n")
    return CredentialsError


async def broken_container(place: Place) -> type[STSError]:
    await container(place)
    place.variables(AWS_CONTAINER_AUTHORIZATION_TOKEN="SENTINEL-of-another")
    return CredentialsError


@pytest.mark.parametrize(
    "broken",
    [
        broken_environment,
        broken_file,
        broken_profile,
        broken_web_identity,
        broken_sso,
        broken_process,
        broken_container,
    ],
    ids=lambda broken: broken.__name__,
)
async def test_a_source_that_is_configured_and_fails_ends_the_search(
    place: Place, broken: Callable[[Place], Awaitable[type[STSError]]]
) -> None:
    """The instance has a role that would have answered."""
    await instance(place)
    error = await broken(place)

    with pytest.raises(error) as caught:
        async with STSClient() as sts:
            await sts.get_caller_identity()
    assert not isinstance(caught.value, CredentialsNotFound)
    assert "GetCallerIdentity" not in [served.operation for served in place.server.requests]


async def test_without_credentials_the_error_says_what_was_searched(place: Place) -> None:
    async with STSClient() as sts:
        with pytest.raises(CredentialsNotFound) as caught:
            await sts.get_caller_identity()

    for looked_at in (
        "AWS_ACCESS_KEY_ID",
        "profile 'default'",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_EC2_METADATA_DISABLED",
    ):
        assert looked_at in str(caught.value)


async def test_an_examination_covers_all_sources_and_needs_no_region(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_ENDPOINT_URL_STS")
    await process(place)
    await container(place)
    report = await examine()
    lines = str(report).splitlines()

    assert not report.healthy
    assert [finding.outcome for finding in report.findings] == [
        "not configured",
        "found",
        "not configured",
        "found",
        "not configured",
    ]
    assert lines[0] == "profile           default (the default)"
    assert "region            none (the default)" in lines
    assert [row.name for row in report.rows if row.wrong] == ["endpoint"]
    assert [row.name for row in report.rows][-5:] == ["1.", "2.", "3.", "4.", "5."]
    assert " used " in lines[-4]


async def test_an_examination_says_where_region_and_endpoint_come_from(place: Place) -> None:
    place.config("[profile mine]\nregion = eu-west-1\n")
    place.variables(AWS_PROFILE="mine", AWS_REGION=" ")
    report = await examine()

    assert report.row("profile") == Row("profile", "mine (named by AWS_PROFILE)")
    assert report.row("endpoint") == Row("endpoint", f"{place.server.url}/ (AWS_ENDPOINT_URL_STS)")
    region = report.row("region")
    assert region is not None
    assert region.text.startswith("eu-west-1 (profile 'mine', key region (")
    assert report.row("nothing") is None


async def test_an_examination_with_an_invalid_option_asks_no_source(place: Place) -> None:
    place.variables(AWS_MAX_ATTEMPTS="many")
    report = await examine()

    assert [row.text.partition(" must")[0] for row in report.rows if row.wrong] == ["AWS_MAX_ATTEMPTS"]
    assert report.row("credentials") == Row("credentials", "not asked: correct what is WRONG above first")
    assert report.findings == ()


async def test_mfa_codes_come_from_the_program(place: Place) -> None:
    serial = place.server.user.mfa_serial
    place.config(
        f"[default]\nrole_arn = {ROLE}\nsource_profile = base\nmfa_serial = {serial}\nrole_session_name = me\n"
        f"[profile base]\n{in_profile(place.server.credentials)}"
    )
    asked = []

    async def ask(serial_number: str) -> str:
        asked.append(serial_number)
        return "123456"

    async with STSClient(credentials=DefaultChain(mfa_code=ask)) as sts:
        await asyncio.gather(*(sts.get_caller_identity() for _ in range(20)))
    assert asked == [serial]
    async with STSClient() as sts:
        with pytest.raises(CredentialsError, match=r"needs a code of its MFA device: pass mfa_code"):
            await sts.get_caller_identity()


async def test_a_profile_by_itself_takes_codes_from_the_program_too(place: Place) -> None:
    """C18: the message names this second way."""
    serial = place.server.user.mfa_serial
    place.config(
        f"[default]\nrole_arn = {ROLE}\nsource_profile = base\nmfa_serial = {serial}\nrole_session_name = me\n"
        f"[profile base]\n{in_profile(place.server.credentials)}"
    )

    async def ask(serial_number: str) -> str:
        return "123456"

    async with STSClient(credentials=ProfileProvider(mfa_code=ask)) as sts:
        assert (await sts.get_caller_identity()).arn.endswith("/demo/me")


async def test_a_search_without_sources_and_instance_does_not_wait(place: Place) -> None:
    """It waits for no time limit and no pause between attempts, by the clock of the event loop."""
    clock = asyncio.get_running_loop().time
    async with STSClient() as sts:
        begun = clock()
        with pytest.raises(CredentialsNotFound):
            await sts.get_caller_identity()

    assert clock() - begun < 1


# Profiles that change


async def test_keys_that_change_in_a_file_are_used_by_later_calls(
    place: Place, lend: Callable[..., Any], clocks: Clocks
) -> None:
    """If the file becomes invalid, the last valid keys stay in use."""
    context = lend(place.server.url, wall_clock=lambda: clocks.wall)
    chain = DefaultChain()
    first, second = (place.server.issue(ROLE, session_name=name) for name in ("first", "second"))
    place.config(f"[default]\n{in_profile(first)}")

    async def key() -> str:
        return (await chain.provide_credentials(context)).access_key_id

    async def look_again() -> str:
        clocks.advance(10)
        await key()
        await until(lambda: not context.tasks._running)  # the files are read in a thread
        return await key()

    assert await key() == first.access_key_id
    place.config(f"[default]\n{in_profile(second)}")
    assert await key() == first.access_key_id
    assert await look_again() == second.access_key_id
    place.config("[default\n")
    assert await look_again() == second.access_key_id
    place.config("")
    assert await look_again() == second.access_key_id
    place.config(f"[default]\n{in_profile(first)}")
    assert await look_again() == first.access_key_id


async def test_invalid_files_are_logged_once_and_valid_ones_again_once(
    place: Place, lend: Callable[..., Any], clocks: Clocks, caplog: pytest.LogCaptureFixture
) -> None:
    """G8: this also holds if they become invalid a second time in the same way."""
    context = lend(place.server.url, wall_clock=lambda: clocks.wall)
    profile, valid = ProfileProvider(), f"[default]\n{in_profile(place.server.issue(ROLE))}"
    place.config(valid)
    await profile.provide_credentials(context)
    with caplog.at_level(logging.INFO, logger="sts_async"):
        for text in ("[default\n", "[default\n", valid, valid, "[default\n"):
            place.config(text)
            clocks.advance(10)
            await profile.provide_credentials(context)
            await until(lambda: not context.tasks._running)

    told = [record.getMessage() for record in caplog.records if record.name == "sts_async"]
    assert [text.split(":")[1].split(";")[0] for text in told] == [
        " the files are invalid",
        " the files are valid again",
        " the files are invalid",
    ]


async def test_a_role_keeps_its_session_when_another_profile_changes(
    place: Place, lend: Callable[..., Any], clocks: Clocks
) -> None:
    context = lend(place.server.url)
    clocks.wall = context.wall_clock()
    chain = DefaultChain()
    await role_of_a_profile(place)
    text = (place.home / ".aws/config").read_text()
    context.wall_clock = context.shared.wall_clock = time.time
    first = await chain.provide_credentials(context)
    place.config(f"# edited\n{text}[profile other]\nregion = eu-west-1\n")
    for _ in range(3):
        clocks.monotonic += 10
        await chain.provide_credentials(context)
        await until(lambda: not context.tasks._running)

    assert await chain.provide_credentials(context) is first
    assert [served.operation for served in place.server.requests] == ["AssumeRole"]


async def test_refused_keys_of_a_file_are_read_again(place: Place, context: Any) -> None:
    """F16: this happens at once, not at the next check of the files."""
    chain = DefaultChain()
    old, new = place.server.issue(ROLE), place.server.issue(ROLE)
    place.config(f"[default]\n{in_profile(old)}")
    assert (await chain.provide_credentials(context)).access_key_id == old.access_key_id
    place.config(f"[default]\n{in_profile(new)}")
    chain.invalidate(old.access_key_id)

    assert (await chain.provide_credentials(context)).access_key_id == new.access_key_id


def test_the_constructor_of_a_chain_reads_nothing() -> None:
    probe = (
        "import sys\n"
        "from sts_async import DefaultChain\n"
        "DefaultChain\n"
        "seen = []\n"
        "sys.addaudithook(lambda event, _: seen.append(event))\n"
        "chain = DefaultChain()\n"
        "bad = [e for e in seen if e.split('.')[0] in ('open', 'socket', 'ssl', 'subprocess')]\n"
        "sys.exit(repr(bad) if bad else 0)\n"
    )
    subprocess.run([sys.executable, "-c", probe], check=True)


async def test_credentials_passed_to_a_client_prevent_the_search(place: Place) -> None:
    place.config(f"[default]\n{in_profile(place.session('of-the-profile'))}")
    given = StaticProvider(place.session("given"))

    async with STSClient(credentials=given, config=Config(max_attempts=1)) as sts:
        assert (await sts.get_caller_identity()).arn.endswith("/given")
    place.server.declare(User("other"))


async def test_a_role_without_a_source_uses_the_default_credentials_of_the_client(place: Place) -> None:
    """Profile and options of the client apply, even if only its role provider needs them."""
    place.config(f"[profile mine]\n{in_profile(place.server.credentials)}")
    place.variables(**in_environment(place.session("of-the-environment")))

    async with STSClient(profile="mine", credentials=AssumeRoleProvider(role_arn=ROLE)) as sts:
        await sts.get_caller_identity()
    assert place.server.requests[0].principal == "arn:aws:iam::123456789012:user/developer"
