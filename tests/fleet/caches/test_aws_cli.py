"""The cache of the AWS CLI: botocore reads what this library writes, and the other way round, under the same names."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import attrs
import pytest
from botocore.credentials import AssumeRoleCredentialFetcher
from botocore.credentials import Credentials as BotocoreCredentials
from botocore.utils import JSONFileCache
from fleet.caches.cases import KEY, TEXTS, files_in, issued, shapes_of, warnings_in
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import KEYS, ROLE

from sts_async import AssumeRoleRequest
from sts_async.fleet.caches import CachedCredentials, CacheKey, FileCache
from sts_async.fleet.caches.aws_cli import SECONDS_LEFT, AWSCLIFormat, assumed_role_arn, cache_name
from sts_async.fleet.identities import ISSUING

OTHERS = [operation.request for operation in ISSUING if operation.request is not AssumeRoleRequest]
TOKEN = "SENTINEL-token-of-botocore"
SESSION = "arn:aws:sts::123456789012:assumed-role/demo/me"


def as_botocore(value: Any) -> Any:
    """Return the arguments of botocore for a request, by the names of the API model. Written apart from the library."""
    if isinstance(value, tuple):
        return [as_botocore(item) for item in value]
    if attrs.has(type(value)):
        names = {"arn": "arn", "provider_arn": "ProviderArn", "context_assertion": "ContextAssertion"}
        names |= {"key": "Key", "value": "Value"}
        members = attrs.asdict(value, recurse=False)
        return {names[name]: as_botocore(part) for name, part in members.items() if part is not None}
    return str(value) if isinstance(value, str) else value


ARGUMENTS = {
    "role_session_name": "RoleSessionName", "policy_arns": "PolicyArns", "policy": "Policy",
    "duration_seconds": "DurationSeconds", "tags": "Tags", "transitive_tag_keys": "TransitiveTagKeys",
    "external_id": "ExternalId", "serial_number": "SerialNumber", "source_identity": "SourceIdentity",
    "provided_contexts": "ProvidedContexts", "minimum_session_token_size": "MinimumSessionTokenSize",
}  # fmt: skip


def fetcher(request: AssumeRoleRequest, directory: Path, *, answer: Any = None) -> AssumeRoleCredentialFetcher:
    """Return botocore's fetcher of the role, with botocore's cache in a directory, and with an answer of STS."""

    class STS:
        def assume_role(self, **given: Any) -> Any:
            assert answer is not None, "botocore asks STS, although the entry is in the cache"
            return answer

    given = {
        ARGUMENTS[name]: as_botocore(value)
        for name, value in attrs.asdict(request, recurse=False).items()
        if name in ARGUMENTS and value not in (None, ())
    }
    return AssumeRoleCredentialFetcher(
        client_creator=lambda *_, **__: STS(),
        source_credentials=BotocoreCredentials("AKIA", "x"),
        role_arn=str(request.role_arn),
        extra_args=given,
        mfa_prompter=lambda prompt: "123456",
        cache=JSONFileCache(str(directory)),
    )


REQUESTS = shapes_of(AssumeRoleRequest).filter(lambda request: request.role_session_name)
"""botocore chooses a session name if the given one is empty, which STS would refuse."""


def key_of(request: Any) -> CacheKey:
    return CacheKey(request=request, source="AKIA", endpoint="https://sts.amazonaws.com/")


@given(REQUESTS)
def test_the_name_of_a_file_is_that_of_botocore(request: AssumeRoleRequest) -> None:
    """For every member, those that a later API adds included: botocore passes all of them on."""
    assert cache_name(request) == fetcher(request, Path("/nonexistent"))._cache_key


def test_each_member_except_the_mfa_code_is_compared_with_botocore() -> None:
    """A member that the table above lacks would make the property above fail only by chance."""
    names = {member.name for member in AssumeRoleRequest.__members__}

    assert names == {*ARGUMENTS, "role_arn", "token_code"}


def test_an_mfa_code_does_not_change_the_name() -> None:
    """It is different each time."""
    request = AssumeRoleRequest(role_arn=ROLE, role_session_name="me", serial_number="123456789", token_code="123456")

    assert cache_name(request) == cache_name(attrs.evolve(request, token_code=None))  # type: ignore[misc]


def test_the_form_of_a_policy_does_not_change_the_name() -> None:
    """botocore parses it."""
    texts = ['{"b": 1, "a": [1, 2]}', '{"a":[1,2],"b":1}']
    names = {cache_name(AssumeRoleRequest(role_arn=ROLE, role_session_name="me", policy=text)) for text in texts}

    assert len(names) == 1


@pytest.mark.parametrize("policy", ["", "{", "[" * 100_000, "{'a': 1}"], ids=["empty", "half", "deep", "quotes"])
async def test_a_policy_that_is_no_json_has_no_entry(tmp_path: Path, policy: str) -> None:
    """botocore raises an error. Here STS refuses the policy."""
    cache = FileCache(tmp_path, aws_cli_format=True)
    key = key_of(AssumeRoleRequest(role_arn=ROLE, role_session_name="me", policy=policy))
    await cache.store(key, issued(at=datetime.now(UTC)))

    assert await cache.load(key) is None
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("shape", OTHERS, ids=lambda shape: shape.__name__)
@settings(max_examples=3)
@given(st.data())
def test_other_requests_have_no_entry(shape: Any, data: st.DataObject) -> None:
    """The AWS CLI has entries of other forms for some of them."""
    assert cache_name(data.draw(shapes_of(shape))) is None


def answer_for(request: AssumeRoleRequest, *, ends: datetime) -> dict[str, Any]:
    return {
        "Credentials": {
            "AccessKeyId": "ASIAIOSFODNN7EXAMPLE",
            "SecretAccessKey": "SENTINEL-key-of-botocore",
            "SessionToken": TOKEN,
            "Expiration": ends,
        },
        "AssumedRoleUser": {"AssumedRoleId": "AROAEXAMPLE:me", "Arn": assumed_role_arn(request) or "urn:other"},
        "ResponseMetadata": {"RequestId": "c6104cbe", "HTTPStatusCode": 200, "RetryAttempts": 0},
    }


ROLES = st.sampled_from([ROLE, "arn:aws-cn:iam::123456789012:role/a/b/demo", "urn:ecs:iam::namespace:role/name"])


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(request=REQUESTS, role=ROLES)
async def test_an_entry_of_botocore_is_loaded(tmp_path: Path, request: AssumeRoleRequest, role: str) -> None:
    request = attrs.evolve(request, role_arn=role)  # type: ignore[misc]
    # A directory for each example: two examples can be the same request.
    directory = Path(mkdtemp(dir=tmp_path))
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    fetched = fetcher(request, directory, answer=answer_for(request, ends=ends)).fetch_credentials()
    found = await FileCache(directory, aws_cli_format=True).load(key_of(request))

    assert found is not None
    assert found.credentials.access_key_id == fetched["access_key"]
    assert found.credentials.secret_access_key == fetched["secret_key"]
    assert found.credentials.session_token == fetched["token"]
    assert found.credentials.expiration == ends
    assert found.credentials.account_id == ("123456789012" if role.startswith("arn:") else None)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(request=REQUESTS, role=ROLES)
async def test_botocore_loads_an_entry_of_ours(tmp_path: Path, request: AssumeRoleRequest, role: str) -> None:
    request = attrs.evolve(request, role_arn=role)  # type: ignore[misc]
    stored = issued(at=datetime.now(UTC).replace(microsecond=0))
    cache = FileCache(tmp_path, aws_cli_format=True)
    await cache.store(key_of(request), stored)
    found = fetcher(request, tmp_path).fetch_credentials()

    assert found["access_key"] == stored.credentials.access_key_id
    assert found["secret_key"] == str(stored.credentials.secret_access_key)
    assert found["token"] == str(stored.credentials.session_token)
    assert datetime.fromisoformat(found["expiry_time"]) == stored.credentials.expiration
    assert found["account_id"] == ("123456789012" if role.startswith("arn:") else None)
    again = await cache.load(key_of(request))
    assert again is not None
    assert again.credentials == stored.credentials


@pytest.mark.parametrize(("left", "used"), [(SECONDS_LEFT + 60, True), (SECONDS_LEFT - 1, False), (-1, False)])
async def test_an_entry_is_used_while_botocore_would_use_it(tmp_path: Path, left: float, used: bool) -> None:
    """Source: botocore, which takes credentials with less than 15 min left for expired."""
    ends = datetime.now(UTC) + timedelta(seconds=left)
    request = AssumeRoleRequest(role_arn=ROLE, role_session_name="me")
    JSONFileCache(str(tmp_path))[cache_name(request)] = answer_for(request, ends=ends)
    found = await FileCache(tmp_path, aws_cli_format=True).load(key_of(request))

    assert (found is not None) == used
    assert (fetcher(request, tmp_path)._load_from_cache() is not None) == used


@pytest.mark.parametrize("age", [0.0, 600.0, -600.0])
async def test_the_time_of_the_file_is_the_time_of_issue(tmp_path: Path, age: float) -> None:
    """A file from a machine with another clock can seem to come from the future."""
    cache = FileCache(tmp_path, aws_cli_format=True)
    now = datetime.now(UTC).replace(microsecond=0)
    await cache.store(KEY, issued(at=now, seconds=3600))
    path = tmp_path / f"{cache_name(KEY.request)}.json"
    os.utime(path, (now.timestamp() - age,) * 2)
    found = await cache.load(KEY)

    assert found is not None
    assert found.issued == now - timedelta(seconds=age) if age >= 0 else found.issued <= datetime.now(UTC)


async def test_processes_with_different_sources_share_an_entry(tmp_path: Path) -> None:
    """The format has no place for the source. The docstring of `FileCache` warns of it."""
    cache = FileCache(tmp_path, aws_cli_format=True)
    stored = issued(at=datetime.now(UTC))
    await cache.store(KEY, stored)
    other = CacheKey(request=KEY.request, source=KEYS.access_key_id, endpoint="https://elsewhere.example/")
    found = await cache.load(other)

    assert found is not None
    assert found.credentials.access_key_id == stored.credentials.access_key_id


@pytest.mark.parametrize(
    "user",
    [
        None,
        "text",
        {},
        {"Arn": 5},
        {"Arn": SESSION.replace("demo", "admin")},
        {"Arn": SESSION.replace("/me", "/you")},
        {"Arn": SESSION.replace("123456789012", "210987654321")},
    ],
    ids=repr,
)
async def test_an_entry_of_another_session_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, user: object
) -> None:
    """T40: the file names a session, and it must be the one that was asked for."""
    cache = FileCache(tmp_path, aws_cli_format=True)
    await cache.store(KEY, issued(at=datetime.now(UTC)))
    path = tmp_path / f"{cache_name(KEY.request)}.json"
    document = json.loads(path.read_bytes())
    assert document["AssumedRoleUser"] == {"Arn": SESSION}
    path.write_text(json.dumps({**document, "AssumedRoleUser": user}))

    assert await cache.load(KEY) is None
    (warning,) = warnings_in(caplog)
    assert "it belongs to another identity: AssumedRoleUser differs" in warning


@pytest.mark.parametrize("text", ["", "{", "[]", '{"AssumedRoleUser": {"Arn": "%s"}}' % SESSION], ids=repr)  # noqa: UP031
async def test_an_invalid_entry_counts_as_missing(tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str) -> None:
    """F37."""
    cache = FileCache(tmp_path, aws_cli_format=True)
    path = tmp_path / f"{cache_name(KEY.request)}.json"
    path.write_text(text)
    path.chmod(0o600)

    assert await cache.load(KEY) is None
    assert len(warnings_in(caplog)) == 1


async def test_files_of_the_aws_cli_are_never_removed(tmp_path: Path) -> None:
    """The directory belongs to the AWS CLI, which keeps other files there."""
    cache = FileCache(tmp_path, aws_cli_format=True)
    request = AssumeRoleRequest(role_arn=ROLE, role_session_name="old")
    JSONFileCache(str(tmp_path))[cache_name(request)] = answer_for(request, ends=datetime(2020, 1, 1, tzinfo=UTC))
    (tmp_path / f"{'0' * 64}.json").write_text("{}")
    before = files_in(tmp_path)
    for _ in range(10):
        await cache.store(KEY, issued(at=datetime.now(UTC)))

    assert files_in(tmp_path) == sorted([*before, f"{cache_name(KEY.request)}.json"])


@given(session=TEXTS.filter(bool))
def test_the_session_that_a_role_gives_has_an_arn_for_roles_of_aws_only(session: str) -> None:
    def arn(role: str) -> str | None:
        return assumed_role_arn(AssumeRoleRequest(role_arn=role, role_session_name=session))

    assert arn("arn:aws:iam::123456789012:role/a/b/demo") == f"arn:aws:sts::123456789012:assumed-role/demo/{session}"
    assert arn("arn:aws:iam:::role/demo") is None


def test_an_entry_keeps_the_account_that_its_credentials_name() -> None:
    named = attrs.evolve(issued().credentials, account_id="210987654321")  # type: ignore[misc]
    data = AWSCLIFormat().encode(KEY, CachedCredentials(credentials=named, issued=issued().issued))

    assert json.loads(bytes(data))["Credentials"]["AccountId"] == "210987654321"
