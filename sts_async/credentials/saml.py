"""
Credentials of a role, in exchange for a SAML assertion: AssumeRoleWithSAML.

Source: AWS Security Token Service API Reference, "AssumeRoleWithSAML".
"""

from collections.abc import Awaitable, Callable

from .. import shapes
from .._shape.secret import without_data
from ..operations import ASSUME_ROLE_WITH_SAML
from ..protocols import ProviderContext
from ._sts_providers import TOKEN_PLACEHOLDER, IssuedProvider, NoSigner, ask_for_secret, check_callable


class SAMLProvider(IssuedProvider):
    """
    Provide temporary credentials of a role for SAML assertions, and refresh them before they expire.

    No other credentials are needed, because the request is not signed.

    Args:
        role_arn: ARN of the role, such as ``arn:aws:iam::123456789012:role/path/name``, 20 to 2,048 characters; see
            *strict_arns*.
        principal_arn: ARN of the SAML provider, such as ``arn:aws:iam::123456789012:saml-provider/name``, 20 to 2,048
            characters.
        assertion: A coroutine function without arguments that returns a new assertion in base64, 4 to 100,000
            characters, exactly as the identity provider sent it. It is called for each fetch, also in the background.
            An assertion is valid for about 5 minutes, so it is not kept.
        policy_arns: ARNs of managed policies that limit the session, at most 10.
        policy: Session policy: JSON text, or a mapping that is sent as compact JSON; 1 to 2,048 characters.
        duration_seconds: Lifetime in seconds or as a `timedelta`, 900 to 43,200; the service's default is 3,600. The
            assertion may shorten it.
        minimum_session_token_size: Minimum size of the session token in bytes, 0 to 4,096; STS pads a shorter one.
        strict_arns: Whether *role_arn* and *principal_arn* must follow the grammar of IAM. Set it to False for servers
            other than AWS that name them differently.

    Raises:
        ParamValidationError: Arguments are missing or have the wrong type. The error lists all of them. Lengths, ranges
            and patterns are checked by the first fetch, unless the client has ``Config(validate_parameters=False)``.
        ConfigurationError: *role_arn* or *principal_arn* is not such an ARN, or *assertion* is not a coroutine
            function.
    """

    operation = ASSUME_ROLE_WITH_SAML

    def __init__(
        self,
        *,
        role_arn: str,
        principal_arn: str,
        assertion: Callable[[], Awaitable[str]],
        policy_arns: shapes.Policies = (),
        policy: shapes.PolicyDocument | None = None,
        duration_seconds: shapes.Seconds | None = None,
        minimum_session_token_size: int | None = None,
        strict_arns: bool = True,
    ) -> None:
        assertion = without_data(assertion)
        check_callable(assertion, "assertion")
        request = shapes.AssumeRoleWithSAMLRequest(
            role_arn=role_arn,
            principal_arn=principal_arn,
            saml_assertion=TOKEN_PLACEHOLDER,
            policy_arns=policy_arns,
            policy=policy,
            duration_seconds=duration_seconds,
            minimum_session_token_size=minimum_session_token_size,
        )
        super().__init__(request, name=f"SAML, role {role_arn!a}", strict_arns=strict_arns)
        self._assertion = assertion

    async def fetch(self, context: ProviderContext) -> shapes.Credentials:
        """
        Ask the program for a new assertion, and return new credentials.

        Raises:
            CredentialsError: *assertion* failed, or returned something other than text.
            ParamValidationError: The request breaks constraints of the API.
            STSError: The call failed.
        """
        self._check(context)
        assertion = await ask_for_secret(self._assertion, name=f"assertion of {self!r}")
        return await self._issue(context.signed_by(NoSigner()), saml_assertion=assertion)
