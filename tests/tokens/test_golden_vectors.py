"""Tokens, byte for byte. The vectors were made with botocore and with the packages of the vendors."""

import hashlib
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from tokens.cases import AT, CLUSTER, DB, LONG_TERM, REGION, TEMPORARY, url_in

from sts_async import Credentials, tokens

VENDOR = "aws-msk-iam-sasl-signer-python/1.0.2"


@attrs.frozen
class Vector:
    """
    A token of the oracle.

    Attributes:
        sign: The function.
        arguments: Its arguments.
        length: Characters of the token.
        digest: SHA-256 of the token, or None if only the signature is known.
        proof: The signature in the URL.
        url: Returns the URL from the token.
        credentials: The keys.
    """

    sign: Callable[..., tokens.Token]
    arguments: dict[str, Any]
    length: int | None
    digest: str | None
    proof: str
    url: Callable[[str], str] = str
    credentials: Credentials = TEMPORARY


def in_eks(token: str) -> str:
    return url_in(token, "k8s-aws-v1.")


def in_bedrock(token: str) -> str:
    return url_in(token, "bedrock-api-key-")


VECTORS = {
    "ElastiCache": Vector(
        tokens.sign_elasticache_token,
        {"cache": "my-cache", "user": "app", "region": REGION},
        361,
        "302d00d102f0c730e0f082ce9fb13b634fec7d38cac6ffea32451917cf042130",
        "2e83f2e1b8194d3fc490d17333540f5e06adb1933cc1c193db7aa0c3e4d1cc4d",
    ),
    "ElastiCache, serverless": Vector(
        tokens.sign_elasticache_token,
        {"cache": "my-cache", "user": "app", "region": REGION, "serverless": True},
        390,
        "0226f3cc18c1ad6b1abe44fdca28b51f5289b03378dcc5b7d558b9e6c94432e7",
        "8449a151fea085ad24ff1f3c3b2eecfbe8b94d0e8c6c5ab1f302f5136ba49e5a",
    ),
    "MemoryDB": Vector(
        tokens.sign_memorydb_token,
        {"cluster": "my-db", "user": "app", "region": REGION},
        355,
        "845807ba8f3583df0912f041527ec67f2a8d0d31a80864f712b54c847306b3b2",
        "c7b5b8cc276d624e9e015d7883e24680b36b3535c6ae5efcd097e2c15be54731",
    ),
    "DSQL": Vector(
        tokens.sign_dsql_token,
        {"host": CLUSTER},
        364,
        "17e5dbabd7284b94dbcaba3fde52c6ae257e41229a1912ec5eb03a17d619cfd3",
        "05ff3432b0f5bd685135f65b4b415770e6dc7cd08d4fbe20611f16a171794997",
    ),
    "DSQL, admin": Vector(
        tokens.sign_dsql_token,
        {"host": CLUSTER, "admin": True},
        369,
        "537412af4c06a2737b1a143ecf5a9ec8f3713dba4bf79bb8ccc1579f974d0bbf",
        "491dd888706c72f7bbcf2de7ac4c71416dc3229cb3efce84152a9b0a4a7cec4b",
    ),
    "MSK": Vector(
        tokens.sign_msk_token,
        {"region": REGION, "user_agent": VENDOR},
        599,
        "356a3bf538e61af325105198b0be7dcec41c32dd8ce998c1bb52a9308d75a6c2",
        "685a24be9658da2289694d76a2de74e51a9ca952f82c540516bd658809cf1df2",
        url_in,
    ),
    "Bedrock": Vector(
        tokens.sign_bedrock_api_key,
        {"region": REGION},
        532,
        "ef6ffdde97c1f90a7b34400aced1b0f732f7a8c3865bb360ade726f321e68e29",
        "46e47b3062e8b7eebc30fc60c349c6dacbe4314f67e6ec5e71cfdb99ad765300",
        in_bedrock,
    ),
    "EKS": Vector(
        tokens.sign_eks_token,
        {"cluster": "my-cluster", "region": REGION},
        563,
        "54528e415a7968bac4d7c3c4633a77eda0c7938e0901d742e4a0fc52fc63996c",
        "27136e836980d4bf81e7981178073ae9a00163debbe09e55c5a35a46d770cf8e",
        in_eks,
    ),
    "EKS, keys of a user": Vector(
        tokens.sign_eks_token,
        {"cluster": "my-cluster", "region": REGION},
        481,
        "8e4901a24a207725e67ee48eed71b3f7769497c1a75006930f1477fa59674181",
        "40851dec30bb8fb6885cff3c186700d16f9d29f95f04f830ddfebff330953692",
        in_eks,
        LONG_TERM,
    ),
    "RDS": Vector(
        tokens.sign_rds_token,
        {"host": DB, "port": 5432, "user": "app"},
        None,
        None,
        "beacfcd94f64bc49b2f0801163fc25529486f22267b8ab753988e6b8d102df72",
    ),
}


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS)
def test_a_token_is_that_of_the_golden_vector(vector: Vector) -> None:
    """One wrong byte makes the service refuse it, without a reason."""
    value = vector.sign(vector.credentials, **vector.arguments, at=AT).value

    assert f"X-Amz-Signature={vector.proof}" in vector.url(value)
    assert vector.length in (None, len(value))
    assert vector.digest in (None, hashlib.sha256(value.encode()).hexdigest())


def test_the_url_in_a_token_of_msk_and_of_bedrock_is_that_of_the_golden_vector() -> None:
    """Before the encoding, so that a mismatch names the step."""
    msk = url_in(tokens.sign_msk_token(TEMPORARY, region=REGION, user_agent=VENDOR, at=AT).value)
    bedrock = in_bedrock(tokens.sign_bedrock_api_key(TEMPORARY, region=REGION, at=AT).value)

    assert (len(msk), hashlib.sha256(msk.encode()).hexdigest()) == (
        449,
        "e66b4bcda0f69090c6f23453c05c61ef0852ffd3d9cd93a701a4015119dc3ab9",
    )
    assert (len(bedrock), hashlib.sha256(bedrock.encode()).hexdigest()) == (
        385,
        "f8813c867163b38be4c372d83b6611a692065ca5e73fd16882fd630515426472",
    )


def test_the_end_of_a_token_of_msk_is_that_of_the_golden_vector() -> None:
    """Kafka clients take it in milliseconds."""
    token = tokens.sign_msk_token(TEMPORARY, region=REGION, at=AT)

    assert int(token.expiration.timestamp() * 1000) == 1_767_226_500_000
