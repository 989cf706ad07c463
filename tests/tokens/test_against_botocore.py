"""Tokens of any hosts, users, ports and regions, compared with those of botocore."""

import functools
import re
from datetime import UTC, datetime
from typing import Any

import botocore.loaders
import botocore.session
import pytest
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as TheirCredentials
from botocore.signers import RequestSigner
from hypothesis import given
from hypothesis import strategies as st
from tokens.cases import LONG_TERM, TEMPORARY, frozen, url_in

from sts_async import Credentials, tokens

# One region of each partition, and some that look unusual.
REGIONS = st.sampled_from(
    "eu-west-1 us-east-1 ap-southeast-7 cn-north-1 us-gov-west-1 eusc-de-east-1 us-iso-east-1 us-isob-east-1 "
    "eu-isoe-west-1 us-isof-south-1 mx-central-1 il-central-1 xx-new-9".split()
)
LABEL = st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
NAMES = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
PORTS = st.sampled_from([1, 80, 443, 3306, 5432, 65_535]) | st.integers(1, 65_535)
USERS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20) | st.sampled_from(
    ["app", "a b", "a+b", "a/b", "a@b:c", "a&b=c", "a%20b", "~._-", "?#[]", "ünï", "用户", "😀", "'\"<>", " "]
)
TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31)).map(lambda at: at.replace(tzinfo=UTC))
KEYS = st.sampled_from([LONG_TERM, TEMPORARY])


@functools.cache
def their_client(service: str, key_id: str, secret: str, token: str | None) -> Any:
    session = botocore.session.Session()
    session.set_credentials(key_id, secret, token)
    return session.create_client(service, region_name="us-east-1")


def theirs(service: str, keys: Credentials) -> Any:
    return their_client(service, keys.access_key_id, keys.secret_access_key, keys.session_token)


@functools.cache
def their_suffix(region: str) -> str:
    """Return the domain of the hosts in a region, of botocore's data."""
    partitions = botocore.loaders.create_loader().load_data("partitions")["partitions"]
    found = [one for one in partitions if re.match(one["regionRegex"], region)] or partitions[:1]
    return str(found[0]["outputs"]["dnsSuffix"])


@st.composite
def places(draw: st.DrawFn, form: str, form_cn: str) -> tuple[str, str]:
    """Draw a host and its region: a host of AWS or another one."""
    region = draw(REGIONS)
    if draw(st.booleans()):
        return draw(NAMES), region
    chosen = form_cn if region.startswith("cn-") else form
    return chosen.format(name=draw(LABEL), hash=draw(LABEL), region=region, suffix=their_suffix(region)), region


RDS_PLACES = places("{name}.{hash}.{region}.rds.{suffix}", "{name}.{hash}.rds.{region}.{suffix}")
DSQL_PLACES = places("{name}.dsql.{region}.on.aws", "{name}.dsql.{region}.{suffix}")


@given(place=RDS_PLACES, port=PORTS, user=USERS, at=TIMES, keys=KEYS)
def test_a_password_of_rds_is_that_of_botocore(
    place: tuple[str, str], port: int, user: str, at: datetime, keys: Credentials
) -> None:
    """Default ports included: they are in the URL, but not in the signed host."""
    host, region = place

    ours = tokens.sign_rds_token(keys, host=host, port=port, user=user, region=region, at=at)
    with frozen(at):
        expected = theirs("rds", keys).generate_db_auth_token(host, port, user, Region=region)

    assert ours.value == expected


@given(place=DSQL_PLACES, admin=st.booleans(), expires=st.integers(1, 604_800), at=TIMES, keys=KEYS)
def test_a_password_of_dsql_is_that_of_botocore(
    place: tuple[str, str], admin: bool, expires: int, at: datetime, keys: Credentials
) -> None:
    host, region = place

    ours = tokens.sign_dsql_token(keys, host=host, admin=admin, region=region, expires=expires, at=at)
    client = theirs("dsql", keys)
    function = client.generate_db_connect_admin_auth_token if admin else client.generate_db_connect_auth_token
    with frozen(at):
        expected = function(host, Region=region, ExpiresIn=expires)

    assert ours.value == expected


@given(region=REGIONS, cluster=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}", fullmatch=True), at=TIMES, keys=KEYS)
def test_a_token_of_eks_is_that_of_the_aws_cli(region: str, cluster: str, at: datetime, keys: Credentials) -> None:
    """The CLI adds the header to the request of a client of STS, and presigns it for 60 s."""
    client = theirs("sts", keys)
    their_keys = TheirCredentials(keys.access_key_id, keys.secret_access_key, keys.session_token)
    signer = RequestSigner(client.meta.service_model.service_id, region, "sts", "v4", their_keys, client.meta.events)
    request = {
        "method": "GET",
        "url": f"https://sts.{region}.{their_suffix(region)}/?Action=GetCallerIdentity&Version=2011-06-15",
        "body": {},
        "headers": {"x-k8s-aws-id": cluster},
        "context": {},
    }

    token = tokens.sign_eks_token(keys, cluster=cluster, region=region, at=at)
    with frozen(at):
        expected = signer.generate_presigned_url(
            request, region_name=region, expires_in=60, operation_name="", signing_name="sts"
        )

    assert url_in(token.value, "k8s-aws-v1.") == expected


@pytest.mark.parametrize("service", ["elasticache", "memorydb"])
@given(
    name=st.from_regex(r"[A-Za-z]([A-Za-z0-9-]{0,38}[A-Za-z0-9])?", fullmatch=True),
    user=USERS,
    region=REGIONS,
    at=TIMES,
    keys=KEYS,
    serverless=st.booleans(),
)
def test_a_password_of_a_cache_is_that_of_botocore(
    service: str, name: str, user: str, region: str, at: datetime, keys: Credentials, serverless: bool
) -> None:
    """The services sign the name in lower case, whatever its case was when it was made."""
    parameters = {"Action": "connect", "User": user}
    if service == "memorydb":
        token = tokens.sign_memorydb_token(keys, cluster=name, user=user, region=region, at=at)
    else:
        token = tokens.sign_elasticache_token(keys, cache=name, user=user, serverless=serverless, region=region, at=at)
        parameters |= {"ResourceType": "ServerlessCache"} if serverless else {}

    request = AWSRequest(method="GET", url=f"https://{name.lower()}/", params=parameters)
    their_keys = TheirCredentials(keys.access_key_id, keys.secret_access_key, keys.session_token)
    with frozen(at):
        SigV4QueryAuth(their_keys, service, region, expires=900).add_auth(request)

    assert token.value == request.url.removeprefix("https://")
