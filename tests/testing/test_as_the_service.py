"""Rules and errors of STS that are not in its API model."""

import asyncio
import base64
import re
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import botocore.session
import pytest
import yarl
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from sts_async import Credentials, STSClient, shapes
from sts_async._shape.constraints import Member, violations
from sts_async._shape.shape import Shape
from sts_async.errors import STSError
from sts_async.operations import OPERATIONS
from sts_async.testing import LocalContainer, LocalIMDS, LocalSTS, Role, User
from sts_async.testing.keys import account_of_key, new_key_id
from sts_async.testing.validation import broken_constraints

Boto = Callable[..., Awaitable[Any]]
Client = Callable[..., STSClient]
ROLE = "arn:aws:iam::123456789012:role/demo"
IDENTITY = "Action=GetCallerIdentity&Version=2011-06-15"
accounts = st.integers(0, 10**12 - 1).map("{:012d}".format)


# -- signatures ---------------------------------------------------------------------------------------------------


class WithoutExpires(SigV4QueryAuth):  # type: ignore[misc]
    """Presigns as the Go SDK v2 and aws4 do: without X-Amz-Expires."""

    def _modify_request_before_signing(self, request: Any) -> None:
        super()._modify_request_before_signing(request)
        request.url = re.sub("&X-Amz-Expires=[0-9]+", "", request.url)


def signed(server: LocalSTS, kind: Any, request: AWSRequest) -> AWSRequest:
    keys = ReadOnlyCredentials(server.credentials.access_key_id, server.credentials.secret_access_key, None)
    kind(keys, "sts", server.region).add_auth(request)
    return request


async def answer_to(request: AWSRequest) -> tuple[int, str]:
    url, headers = yarl.URL(request.url, encoded=True), dict(request.headers)
    async with (
        aiohttp.ClientSession(skip_auto_headers=["content-type"]) as session,
        session.request(request.method, url, headers=headers, data=request.data or None) as response,
    ):
        return response.status, await response.text()


async def test_a_url_that_says_nothing_of_its_end_comes_in() -> None:
    """D1."""
    async with LocalSTS() as server:
        request = signed(server, WithoutExpires, AWSRequest(method="GET", url=f"{server.url}/?{IDENTITY}"))
        status, text = await answer_to(request)

    assert "X-Amz-Expires" not in request.url
    assert (status, ":user/developer</Arn>" in text) == (200, True)


@pytest.mark.parametrize("honor", [False, True])
async def test_a_url_without_x_amz_expires_is_valid_for_15_minutes(honor: bool, clock: Any) -> None:
    """D1: with an option that has URLs end as they say, too."""
    async with LocalSTS(honor_expires=honor, clock=clock) as server:
        request = signed(server, WithoutExpires, AWSRequest(method="GET", url=f"{server.url}/?{IDENTITY}"))
        clock.move(840)
        assert (await answer_to(request))[0] == 200
        clock.move(120)
        assert (await answer_to(request))[0] == 403


async def test_a_request_signed_with_its_date_header_alone_comes_in() -> None:
    """D5: botocore signs in this way when a request has one already."""
    async with LocalSTS() as server:
        request = AWSRequest(method="POST", url=f"{server.url}/", data=IDENTITY, headers={"Date": "today"})
        signed(server, SigV4Auth, request)
        status, text = await answer_to(request)

    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} [0-9:]{8} -0000", request.headers["Date"])
    assert "X-Amz-Date" not in request.headers
    assert (status, ":user/developer</Arn>" in text) == (200, True)


@pytest.mark.parametrize(
    "date", ["Wed, 32 Jan 2026 00:00:00 GMT", "today", "Thu, 01 Jan 1970 00:00:00 GMT", "99999999"]
)
async def test_another_date_header_is_refused(date: str) -> None:
    """D5."""
    async with LocalSTS() as server:
        request = AWSRequest(method="POST", url=f"{server.url}/", data=IDENTITY, headers={"Date": "today"})
        signed(server, SigV4Auth, request)
        del request.headers["Date"]
        request.headers["Date"] = date

        assert (await answer_to(request))[0] in (400, 403)


# -- tags ---------------------------------------------------------------------------------------------------------

TAGS = [{"Key": "Team", "Value": "a"}, {"Key": "team", "Value": "b"}]


@pytest.mark.parametrize(
    ("operation", "parameters"),
    [
        ("assume_role", {"RoleArn": ROLE, "RoleSessionName": "me"}),
        ("get_federation_token", {"Name": "bob"}),
        ("get_web_identity_token", {"Audience": ["app"], "SigningAlgorithm": "RS256"}),
    ],
)
@pytest.mark.parametrize("tags", [TAGS, [TAGS[0], TAGS[0]]], ids=["another case", "the same"])
async def test_tag_keys_that_differ_only_in_case_are_refused(
    boto: Boto, operation: str, parameters: dict[str, Any], tags: list[dict[str, str]]
) -> None:
    """D5: and a key that comes twice."""
    with pytest.raises(ClientError) as caught:
        await boto(operation, Tags=tags, **parameters)

    assert caught.value.response["Error"]["Message"].startswith("Duplicate tag keys found.")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


async def test_a_tag_that_was_passed_on_is_not_overridden_in_another_case(server: LocalSTS, client: Client) -> None:
    """D5."""
    first = await client().assume_role(
        role_arn=ROLE, role_session_name="me", tags=[shapes.Tag(key="Team", value="a")], transitive_tag_keys=["Team"]
    )
    with pytest.raises(STSError, match="cannot be overridden"):
        await client(credentials=first.credentials).assume_role(
            role_arn=ROLE, role_session_name="me", tags=[shapes.Tag(key="team", value="b")]
        )


# -- validation ---------------------------------------------------------------------------------------------------

LONG = "x" * 65
WORDS = [
    ({"role_session_name": LONG}, f"Value '{LONG}' at 'roleSessionName'", "have length less than or equal to 64"),
    ({"role_session_name": "x"}, "Value 'x' at 'roleSessionName'", "have length greater than or equal to 2"),
    (
        {"role_session_name": "a b"},
        "Value 'a b' at 'roleSessionName'",
        r"satisfy regular expression pattern: [\w+=,.@-]*",
    ),
    ({"duration_seconds": 899}, "Value '899' at 'durationSeconds'", "have value greater than or equal to 900"),
    ({"duration_seconds": 43201}, "Value '43201' at 'durationSeconds'", "have value less than or equal to 43200"),
    (
        {"tags": [shapes.Tag(key="a", value="b"), shapes.Tag(key="ü!", value="c")]},
        "Value 'ü!' at 'tags.2.member.key'",
        r"satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]+",
    ),
    (
        {"tags": [shapes.Tag(key="a", value="!")]},
        "Value '!' at 'tags.1.member.value'",
        r"satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]*",
    ),
    (
        {"tags": [shapes.Tag(key=f"k{n}", value="v") for n in range(51)]},
        "Value at 'tags'",
        "have length less than or equal to 50",
    ),
    ({"token_code": "123"}, "Value at 'tokenCode'", "have length greater than or equal to 6"),
]


@pytest.mark.parametrize(("arguments", "what", "rule"), WORDS, ids=[rule[2] for rule in WORDS])
async def test_a_broken_constraint_is_refused_in_the_words_of_the_service(
    client: Client, arguments: dict[str, Any], what: str, rule: str
) -> None:
    """D5: programs, and people who search for an error, know these words."""
    with pytest.raises(STSError) as caught:
        await client().assume_role(**{"role_arn": ROLE, "role_session_name": "me", **arguments})

    message = f"1 validation error detected: {what} failed to satisfy constraint: Member must {rule}"
    assert message in str(caught.value)


async def test_a_choice_and_a_missing_member_are_refused_in_the_words_of_the_service(server: LocalSTS) -> None:
    """D5."""
    parameters = "Action=GetWebIdentityToken&Version=2011-06-15&SigningAlgorithm=HS256"
    request = AWSRequest(method="POST", url=f"{server.url}/", data=parameters)
    _, text = await answer_to(signed(server, SigV4Auth, request))

    assert "<Message>2 validation errors detected: Value null at 'audience' failed" in text
    assert (
        "Value 'HS256' at 'signingAlgorithm' failed to satisfy constraint: Member must satisfy enum value set: " in text
    )


def test_patterns_are_those_of_the_model_of_the_api() -> None:
    """D5."""
    model = botocore.session.Session().get_service_model("sts")
    tag = shapes.Tag(key="!", value="!")
    wanted = [model.shape_for(name).metadata["pattern"] for name in ("tagKeyType", "tagValueType")]

    assert [sentence.rpartition(": ")[2] for sentence in broken_constraints(tag)] == wanted


def members_of(shape: Any) -> list[Member]:
    found = []
    for member in shape.__members__:
        found.append(member)
        kind = member.items.kind if member.kind is list else member.kind
        if isinstance(kind, type) and issubclass(kind, Shape):
            found += members_of(kind)
    return found


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_the_value_of_a_secret_member_is_not_repeated(operation: Any) -> None:
    """D5, T14: every member that is secret, with a value that breaks each rule that it has."""
    for member in members_of(operation.request):
        broken = list(broken_constraints(_Only(member, "SENTINEL !\n" * 100_000)))

        assert ("SENTINEL" in " ".join(broken)) <= (not member.secret), member.name
        assert broken or not member.secret or not member.constraints, member.name


class _Only:
    """A request with one member."""

    def __init__(self, member: Member, value: object) -> None:
        self.__members__ = (member,)
        self._value = value

    def _values(self) -> tuple[object, ...]:
        return (self._value,)


@given(
    name=st.text(max_size=70),
    seconds=st.one_of(st.none(), st.integers(-1, 50_000)),
    tags=st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), max_size=3),
)
def test_the_service_rejects_the_same_requests_as_the_client(
    name: str, seconds: int | None, tags: list[tuple[str, str]]
) -> None:
    """D5: the words are written twice, the rules once."""
    request = shapes.AssumeRoleRequest(
        role_arn=ROLE,
        role_session_name=name,
        duration_seconds=seconds,
        tags=[shapes.Tag(key=key, value=value) for key, value in tags],
    )

    assert len(list(broken_constraints(request))) == len(list(violations(request)))


# -- key ids ------------------------------------------------------------------------------------------------------


def decoded(key_id: str) -> str:
    """Return the account in a key id, by the published calculation."""
    head = int.from_bytes(base64.b32decode(key_id[4:])[:6], "big")
    return f"{(head & 0x7FFFFFFFFF80) >> 7:012d}"


@given(account=accounts, prefix=st.sampled_from(["AKIA", "ASIA"]))
def test_a_key_id_contains_its_account(account: str, prefix: str) -> None:
    """D5: to whom it is read by the published calculation, and to us."""
    key_id = new_key_id(prefix, account)

    assert re.fullmatch(f"{prefix}[A-Z2-7]{{16}}", key_id)
    assert decoded(key_id) == account
    assert account_of_key(key_id) == account


def test_key_ids_that_were_published_tell_their_account() -> None:
    """D5: those of the article, and of the documentation of AWS, which has an old one."""
    assert account_of_key("ASIAY34FZKBOKMUTVV7A") == "609629065308"
    assert account_of_key("AKIAIOSFODNN7EXAMPLE") is None
    assert account_of_key("AKIDEXAMPLE") is None
    assert account_of_key("AKIA7777777777777777") is None


def test_no_key_id_comes_twice() -> None:
    """D5: a second session would take the place of the first. Random ids would meet in so many."""
    assert len({new_key_id("ASIA", "123456789012") for _ in range(100_000)}) == 100_000


@given(account=accounts, other=accounts)
@settings(max_examples=20)
def test_get_access_key_info_agrees_with_the_key_id(account: str, other: str) -> None:
    """D5: for users, whichever account they are in, and for the sessions of roles."""

    async def ask() -> list[str]:
        user = User("bob", account=other)
        async with LocalSTS(account=account, users=[user]) as server, server.client() as sts:
            session = server.issue(f"arn:aws:iam::{other}:role/demo")
            keys: list[Credentials] = [server.credentials, user.credentials, session]
            ids = [str.__str__(one.access_key_id) for one in keys]
            found = [(await sts.get_access_key_info(access_key_id=key_id)).account or "" for key_id in ids]
            assert found == [decoded(key_id) for key_id in ids]
            return found

    assert asyncio.run(ask()) == [account, other, other]


async def test_get_access_key_info_reads_a_key_that_it_does_not_know(sts: STSClient) -> None:
    """D5: as the service does, which needs no key of that id."""
    assert (await sts.get_access_key_info(access_key_id="ASIAY34FZKBOKMUTVV7A")).account == "609629065308"
    with pytest.raises(STSError, match="not known"):
        await sts.get_access_key_info(access_key_id="AKIAIOSFODNN7EXAMPLE")


async def test_get_access_key_info_knows_no_account_that_does_not_exist() -> None:
    """D5."""
    async with LocalSTS(roles=[Role(ROLE)]) as server, server.client() as sts:
        with pytest.raises(STSError, match="not known"):
            await sts.get_access_key_info(access_key_id="ASIAY34FZKBOKMUTVV7A")


def test_key_ids_of_the_local_servers_contain_the_account() -> None:
    """D5."""
    vended = [
        LocalIMDS(account_id="609629065308")._vend(account="609629065308", now=0),
        LocalContainer(account_id="609629065308")._vend(account="609629065308", now=0),
        LocalContainer()._vend(account=None, now=0),
    ]

    assert [account_of_key(one.access_key_id) for one in vended] == ["609629065308"] * 2 + ["123456789012"]
