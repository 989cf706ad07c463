"""Credentials that the program passes itself."""

from support import KEYS

from sts_async.credentials import StaticProvider


async def test_the_same_credentials_are_provided() -> None:
    assert await StaticProvider(KEYS).provide_credentials(None) is KEYS


def test_printing_shows_no_secret() -> None:
    shown = "access_key_id='AKIAIOSFODNN7EXAMPLE', secret_access_key='***', session_token='***'"

    assert repr(StaticProvider(KEYS)) == f"StaticProvider(Credentials({shown}))"
