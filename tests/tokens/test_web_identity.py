"""JWTs of AWS for services outside AWS."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sts_async import AssumeRoleRequest, ParamValidationError, tokens
from sts_async.fleet import CredentialsFleet
from sts_async.testing import LocalSTS, VirtualClock

ROLE = "arn:aws:iam::123456789012:role/demo"


def part_of(token: tokens.Token, index: int) -> dict[str, Any]:
    part = token.value.split(".")[index]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def claims_of(token: tokens.Token) -> dict[str, Any]:
    return part_of(token, 1)


@pytest.mark.parametrize(("audience", "named"), [("api", "api"), (["api", "other"], ["api", "other"])])
async def test_a_token_is_for_its_audience_and_ends_as_sts_says(audience: Any, named: Any) -> None:
    clock = VirtualClock(1_767_225_600)
    async with LocalSTS(clock=clock) as server, server.client(clock=clock) as sts:
        token = await tokens.web_identity_token(sts, audience=audience, duration_seconds=timedelta(minutes=10))

    claims = claims_of(token)
    assert claims["aud"] in (named, [named])
    assert token.expiration == datetime(2026, 1, 1, 0, 10, tzinfo=UTC)
    assert claims["exp"] == token.expiration.timestamp()
    assert repr(token.value) == "'***'"


@pytest.mark.parametrize("algorithm", ["RS256", "ES384"])
async def test_the_algorithm_and_the_tags_are_sent(algorithm: str) -> None:
    async with LocalSTS() as server, server.client() as sts:
        token = await tokens.web_identity_token(sts, audience="api", signing_algorithm=algorithm, tags={"team": "a"})

    assert part_of(token, 0)["alg"] == algorithm
    assert '"team": "a"' in json.dumps(claims_of(token))


async def test_a_role_and_an_identity_of_a_fleet_are_named_in_their_tokens() -> None:
    """T42: each gets a token for itself."""
    request = AssumeRoleRequest(role_arn=ROLE, role_session_name="me")
    async with LocalSTS() as server, server.client() as sts, CredentialsFleet(sts) as fleet:
        by_user, by_role, by_fleet = [
            claims_of(await tokens.web_identity_token(source, audience="api"))["sub"]
            for source in (sts, sts.role(ROLE), fleet.provider(request))
        ]

    assert by_role == by_fleet == ROLE
    assert by_user != ROLE


async def test_an_invalid_argument_is_named_as_by_the_operation() -> None:
    async with LocalSTS() as server, server.client() as sts:
        with pytest.raises(ParamValidationError, match="signing_algorithm"):
            await tokens.web_identity_token(sts, audience="api", signing_algorithm="HS256")
        assert not server.requests
