"""The forms in which a program passes credentials or functions, and the errors for all other values."""

from typing import Any

import botocore.credentials
import pytest

from sts_async import STSClient, sigv4
from sts_async.credentials import AssumeRoleProvider, CachingProvider, StaticProvider, WebIdentityProvider
from sts_async.errors import ConfigurationError, CredentialsError
from sts_async.testing import LocalSTS


class Config:
    """A class of another library with the name of one of our classes."""


def test_a_class_of_another_library_is_shown_with_its_module() -> None:
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


async def test_a_response_instead_of_its_credentials_is_refused_with_advice() -> None:
    """E6: the test follows the advice."""
    async with LocalSTS() as server, server.client() as sts:
        response: Any = await sts.get_session_token()
        with pytest.raises(ConfigurationError, match=r"not a GetSessionTokenResponse: pass response\.credentials$"):
            sts.with_options(credentials=response)
        await sts.with_options(credentials=response.credentials).get_caller_identity()


def test_a_function_with_other_arguments_is_refused_at_once() -> None:
    """E7: the error must not come only when a person is waiting."""

    async def none() -> Any: ...

    async def one(what: str) -> Any: ...

    async def any_number(*what: str) -> Any: ...

    class Says:
        """A callable with a signature that cannot be read."""

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
