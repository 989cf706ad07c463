"""What a program gives where credentials or a function are wanted, and what it is told of everything else."""

from typing import Any

import botocore.credentials
import pytest

from sts_async import STSClient, sigv4
from sts_async.credentials import AssumeRoleProvider, CachingProvider, StaticProvider, WebIdentityProvider
from sts_async.errors import ConfigurationError, CredentialsError
from sts_async.testing import LocalSTS


class Config:
    """A class of another library that has the name of one of ours."""


def test_a_class_of_another_library_is_said_with_its_module() -> None:
    """E6: "must be a Config, not a Config" helps no reader."""
    theirs: Any = Config()
    keys: Any = botocore.credentials.Credentials("AKID", "SENTINEL")

    with pytest.raises(ConfigurationError, match=rf"^config must be a Config, not a {__name__}\.Config$"):
        STSClient(config=theirs)
    for make in (lambda: STSClient(credentials=keys), lambda: StaticProvider(keys)):
        with pytest.raises(ConfigurationError, match=r"not a botocore\.credentials\.Credentials$"):
            make()
    with pytest.raises(CredentialsError, match=r"not a botocore\.credentials\.Credentials$"):
        sigv4.Signer(keys, method="GET", url="https://example.com", headers={}, service="s3", region="eu-west-1")


async def test_a_response_in_place_of_its_credentials_is_told() -> None:
    """E6: the advice is tried."""
    async with LocalSTS() as server, server.client() as sts:
        response: Any = await sts.get_session_token()
        with pytest.raises(ConfigurationError, match=r"not a GetSessionTokenResponse: pass response\.credentials$"):
            sts.with_options(credentials=response)
        await sts.with_options(credentials=response.credentials).get_caller_identity()


def test_a_function_says_how_it_is_called() -> None:
    """E7: at once, and not when a person is waited for."""

    async def none() -> Any: ...

    async def one(what: str) -> Any: ...

    async def any_number(*what: str) -> Any: ...

    class Says:
        """A callable whose signature cannot be read."""

        __signature__ = 5

        async def __call__(self) -> Any: ...

    arn = "arn:aws:iam::123456789012:role/demo"
    device: dict[str, Any] = {"role_arn": arn, "serial_number": "GAHT12345678"}
    wrong: Any = one

    with pytest.raises(ConfigurationError, match=r"^mfa_code is called with the serial number, which its parameters"):
        AssumeRoleProvider(mfa_code=none, **device)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"^credentials is called without arguments, which its parameters"):
        STSClient(credentials=wrong)
    with pytest.raises(ConfigurationError, match="one is called without arguments, which its parameters"):
        CachingProvider(wrong)
    with pytest.raises(ConfigurationError, match=r"^token is called without arguments, which its parameters"):
        WebIdentityProvider(role_arn=arn, token=wrong)
    AssumeRoleProvider(mfa_code=one, **device)
    AssumeRoleProvider(mfa_code=any_number, **device)
    STSClient(credentials=none)
    CachingProvider(Says())
