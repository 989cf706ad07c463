"""Input that could move a signature to another host or region is refused before anything is signed."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from tokens.cases import AT, CASES, CLUSTER, DB, REGION, TEMPORARY, Case, each_case, shown, sign_rds, url_in

from sts_async import ConfigurationError, CredentialsError, InvalidRegion, Secret, tokens
from sts_async.tokens._arguments import region_of

HOSTS = [
    "", "db/x", "db?x=1", "db#x", "user@db", "db:5432", "https://db", "db\\x", "db x", "db\n", "db\r\nX: 1", "db\0",
    "[::1]", "127.1", "0x7f000001", "-db", "db-", "db..x", ".db", "db.", "ünï", "%64b", "a" * 300, None, 5, b"db",
]  # fmt: skip


@pytest.mark.parametrize("host", HOSTS, ids=repr)
def test_a_host_that_is_not_a_plain_name_is_refused(host: Any) -> None:
    """T1, T3: a path, a user or a port in it would change what is signed."""
    for sign in (
        lambda: sign_rds(host=host, port=5432, user="app", region=REGION),
        lambda: tokens.sign_dsql_token(TEMPORARY, host=host, region=REGION, at=AT),
    ):
        with pytest.raises(ConfigurationError, match="host must be a host name") as caught:
            sign()
        assert len(str(caught.value)) < 200


@pytest.mark.parametrize("host", ["DB.Example.COM", "db_1.internal", "192.0.2.1", "localhost"])
def test_a_host_can_be_any_name_or_address_and_is_signed_in_lower_case(host: str) -> None:
    """Names of customers lead to databases, too. Servers compare the host in lower case."""
    token = sign_rds(host=host, port=5432, user="app", region=REGION)

    assert token.value.startswith(f"{host.lower()}:5432/?Action=connect&DBUser=app&")


@pytest.mark.parametrize("port", [0, -1, 65_536, True, 5432.0, "5432", None], ids=repr)
def test_a_port_is_a_whole_number_in_its_range(port: Any) -> None:
    with pytest.raises(ConfigurationError, match="port must be a whole number from 1 to 65535"):
        sign_rds(host=DB, port=port, user="app")


@pytest.mark.parametrize("user", ["", "a\nb", "a\0", "\x7f", "\ud800", "x" * 1025, None, b"app", 5], ids=repr)
def test_a_user_without_a_printable_name_is_refused(user: Any) -> None:
    for sign in (
        lambda: sign_rds(host=DB, port=5432, user=user),
        lambda: tokens.sign_elasticache_token(TEMPORARY, cache="c", user=user, region=REGION, at=AT),
        lambda: tokens.sign_memorydb_token(TEMPORARY, cluster="c", user=user, region=REGION, at=AT),
    ):
        with pytest.raises(ConfigurationError, match="user must be text of 1 to 1024 characters"):
            sign()


def test_a_user_cannot_add_a_parameter() -> None:
    """T6: every value is encoded."""
    token = tokens.sign_elasticache_token(
        TEMPORARY, cache="c", user="a&ResourceType=ServerlessCache", region=REGION, at=AT
    )

    assert "User=a%26ResourceType%3DServerlessCache&X-Amz-Algorithm" in token.value


@pytest.mark.parametrize(
    "name", ["", "my-cache.abc.euw1.cache.amazonaws.com", "a/b", "a:1", "a_b", "-a", "a-", "a b", "a" * 64, None, 5]
)
def test_a_cache_is_named_and_not_its_endpoint(name: Any) -> None:
    """A common mistake, which the service answers with a wrong password."""
    with pytest.raises(ConfigurationError, match="cache must be a name of 1 to 63 letters"):
        tokens.sign_elasticache_token(TEMPORARY, cache=name, user="app", region=REGION, at=AT)
    with pytest.raises(ConfigurationError, match="the host name of its endpoint is not accepted"):
        tokens.sign_memorydb_token(TEMPORARY, cluster=name, user="app", region=REGION, at=AT)


@pytest.mark.parametrize("cluster", ["", "-a", "a b", "a\n", "a\r\nx-other: 1", "é", "a" * 256, None, 5], ids=repr)
def test_a_cluster_of_eks_is_a_name_that_a_header_can_have(cluster: Any) -> None:
    """T5: it is the value of a signed header."""
    with pytest.raises(ConfigurationError, match="cluster must be the name of a cluster"):
        tokens.sign_eks_token(TEMPORARY, cluster=cluster, region=REGION, at=AT)


@pytest.mark.parametrize("cluster", ["a", "my-cluster_1", "k8s.example.com", "8b1f6a1c-0000-4000-8000-000000000000"])
def test_a_cluster_can_have_the_id_of_another_authenticator(cluster: str) -> None:
    assert tokens.sign_eks_token(TEMPORARY, cluster=cluster, region=REGION, at=AT).value.startswith("k8s-aws-v1.")


@pytest.mark.parametrize(
    "region", ["", "eu-west-1.evil.com/", "EU-WEST-1", "aws-global", "aws-cn-global", "fips-us-east-1", "a\n", "12", 5]
)
@pytest.mark.parametrize("name", [name for name in CASES if name != "vault"])
def test_a_region_is_one_plain_region(name: str, region: Any) -> None:
    """T1, T2: it becomes a part of a host, and of the scope of the signature."""
    case = CASES[name]

    with pytest.raises(InvalidRegion):
        case.sign(TEMPORARY, **{**case.arguments, "region": region}, at=AT)


@pytest.mark.parametrize(
    ("host", "region"),
    [
        (DB, "eu-west-1"),
        ("my.cluster-ro-abc.us-gov-west-1.rds.amazonaws.com", "us-gov-west-1"),
        ("my.abc.rds.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("us-east-1.abc.eu-west-1.rds.amazonaws.com", "eu-west-1"),
        ("abc.dsql.us-east-2.on.aws", "us-east-2"),
        ("my.global-abc.global.rds.amazonaws.com", None),
        ("db.eu-west-1.example.com", None),
        ("eu-west-1.eu-west-2.eu-west-3.rds.amazonaws.com", None),
        ("localhost", None),
    ],
)
def test_the_region_in_a_host_is_read(host: str, region: str | None) -> None:
    """The first label is the name that a customer chose, which can look like a region."""
    assert region_of(host) == region


@pytest.mark.parametrize("sign", [CASES["rds"], CASES["dsql"]], ids=["rds", "dsql"])
def test_a_region_that_contradicts_the_host_is_refused(sign: Case) -> None:
    """The database would refuse the token, and would not say why."""
    with pytest.raises(ConfigurationError, match="host is in eu-west-1, but region is us-east-1: omit region"):
        sign.sign(TEMPORARY, **sign.arguments, region="us-east-1", at=AT)
    with pytest.raises(ConfigurationError, match="no region: pass region"):
        sign.sign(TEMPORARY, **{**sign.arguments, "host": "db.example.com"}, at=AT)


@pytest.mark.parametrize(
    ("sign", "most"),
    [
        (lambda expires: tokens.sign_dsql_token(TEMPORARY, host=CLUSTER, expires=expires, at=AT), 604_800),
        (lambda expires: tokens.sign_bedrock_api_key(TEMPORARY, region=REGION, expires=expires, at=AT), 43_200),
    ],
    ids=["dsql", "bedrock"],
)
def test_a_lifetime_is_a_number_of_whole_seconds_in_its_range(sign: Callable[[Any], tokens.Token], most: int) -> None:
    """B12: booleans are no numbers."""
    for good, seconds in ((1, 1), (most, most), (timedelta(seconds=most), most)):
        assert sign(good).expiration == AT + timedelta(seconds=seconds)
    for bad in (0, -1, most + 1, True, 60.0, "60", None, timedelta(seconds=0.5), timedelta(days=8)):
        with pytest.raises(ConfigurationError, match=f"expires must be a whole number of seconds from 1 to {most}"):
            sign(bad)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("dsql", {"admin": "yes"}, "admin must be True or False"),
        ("elasticache", {"serverless": 1}, "serverless must be True or False"),
        ("eks", {"use_fips": 0}, "use_fips must be True or False"),
        ("msk", {"user_agent": "a\nb"}, "user_agent must be printable ASCII text"),
        ("msk", {"user_agent": ""}, "user_agent must be printable ASCII text"),
        ("vault", {"role": "a\nb"}, "role must be printable ASCII text"),
        ("vault", {"server_id": " "}, "server_id must be printable ASCII text"),
        ("vault", {"endpoint_url": "https://sts.example.com"}, "endpoint_url needs region"),
        ("vault", {"endpoint_url": "http://sts.example.com", "region": REGION}, "https"),
    ],
)
def test_an_invalid_argument_is_named(name: str, arguments: dict[str, Any], message: str) -> None:
    case = CASES[name]

    with pytest.raises(ConfigurationError, match=message):
        case.sign(TEMPORARY, **{**case.arguments, **arguments}, at=AT)


@each_case
@pytest.mark.parametrize("at", [datetime(2026, 1, 1), "20260101T000000Z", 1.0, None], ids=repr)
def test_the_time_of_signing_is_an_aware_datetime(case: Case, at: Any) -> None:
    with pytest.raises(ConfigurationError, match="aware datetime"):
        case.sign(TEMPORARY, **case.arguments, at=at)


@each_case
def test_a_time_in_another_zone_is_the_same_time(case: Case) -> None:
    """Fractions of a second are not in a signature."""
    elsewhere = AT.astimezone(timezone(timedelta(hours=-7))).replace(microsecond=999_999)
    ours, theirs = (case.sign(TEMPORARY, **case.arguments, at=at) for at in (AT, elsewhere))

    assert ours.expiration == theirs.expiration
    assert theirs.expiration.tzinfo is UTC
    assert getattr(ours, "value", None) == getattr(theirs, "value", None)


@each_case
@pytest.mark.parametrize(
    "credentials",
    ["SENTINEL-key", {"aws_secret_access_key": "SENTINEL-key"}, ("AKIA", "SENTINEL-key"), None],
    ids=["text", "dict", "tuple", "None"],
)
def test_data_in_place_of_credentials_is_refused_and_not_shown(case: Case, credentials: Any) -> None:
    """T15, T16: not even in a traceback with the local variables."""
    with pytest.raises(CredentialsError, match="credentials must be Credentials") as caught:
        case.sign(credentials, **case.arguments, at=AT)

    assert "SENTINEL" not in shown(caught)


def test_the_name_of_msk_clients_is_ours_unless_another_is_given() -> None:
    """Brokers can log it."""
    assert "&User-Agent=sts-async%2F" in url_in(tokens.sign_msk_token(TEMPORARY, region=REGION, at=AT).value)


def test_a_fips_token_of_eks_names_the_fips_host() -> None:
    """The cluster calls the host in the token."""
    url = url_in(
        tokens.sign_eks_token(TEMPORARY, cluster="c", region="us-east-1", use_fips=True, at=AT).value, "k8s-aws-v1."
    )

    assert url.startswith("https://sts-fips.us-east-1.amazonaws.com/?Action=GetCallerIdentity&")


@pytest.mark.parametrize("value", [Secret("x" * 20), "x" * 20], ids=["secret", "text"])
def test_a_token_hides_its_value(value: str) -> None:
    """T14: in every form in which an object is printed."""
    token = tokens.Token(value=value, expiration=AT)  # type: ignore[arg-type]

    assert "x" * 8 not in f"{token} {token!r} {[token]}"
    assert isinstance(token.value, Secret)
    assert str(token.value) == "x" * 20
