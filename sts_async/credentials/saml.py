"""
Credentials of a role, for a SAML assertion: AssumeRoleWithSAML.

Source: AWS Security Token Service API Reference, "AssumeRoleWithSAML".
"""

from collections.abc import Awaitable, Callable

from .. import shapes
from .._shape.secret import without_data
from ..operations import ASSUME_ROLE_WITH_SAML
from ..protocols import ProviderContext
from ._sts_providers import TO_COME, IssuedProvider, Nobody, ask, check_callable


class SAMLProvider(IssuedProvider):
    """
    Provide temporary credentials of a role for SAML assertions of an identity provider, and keep them fresh.

    No other credentials are needed: the call is not signed.

    Args:
        role_arn: ARN of the role, such as ``arn:aws:iam::123456789012:role/path/name``, 20 to 2,048 characters; see
            *strict_arns*.
        principal_arn: ARN of the SAML provider, such as ``arn:aws:iam::123456789012:saml-provider/name``, 20 to 2,048
            characters.
        assertion: A coroutine function without arguments that returns a new assertion as the identity provider sent
            it: base64, 4 to 100,000 characters. It is asked at each fetch, also in the background; an assertion lives
            about 5 minutes, and is not kept.
        policy_arns: Managed policies that narrow the session, by their ARNs, at most 10.
        policy: JSON text, or a mapping that is sent compactly, of 1 to 2,048 characters.
        duration_seconds: Lifetime in seconds, or a `timedelta`, 900 to 43,200; the service's default is 3,600. The
            assertion may shorten it.
        minimum_session_token_size: Pad the session token to this many bytes, 0 to 4,096.
        strict_arns: Whether *role_arn* and *principal_arn* must be of IAM's grammar. False for servers that are not of
            AWS and name them otherwise.

    Raises:
        ParamValidationError: Arguments are missing or of the wrong kind; all in one error. Lengths, ranges and patterns
            are checked by the first fetch, unless the client has ``Config(validate_parameters=False)``.
        ConfigurationError: *role_arn* or *principal_arn* is not such an ARN, or *assertion* is not a function.
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
            saml_assertion=TO_COME,
            policy_arns=policy_arns,
            policy=policy,
            duration_seconds=duration_seconds,
            minimum_session_token_size=minimum_session_token_size,
        )
        super().__init__(request, name=f"SAML, role {role_arn!a}", strict_arns=strict_arns)
        self._assertion = assertion

    async def fetch(self, context: ProviderContext) -> shapes.Credentials:
        """
        Return new credentials, for a new assertion.

        Raises:
            CredentialsError: The function that returns the assertion failed, or returned something else.
            STSError: The call failed.
        """
        self._check(context)
        assertion = await ask(self._assertion, name=f"assertion of {self!r}")
        return await self._issue(context.signed_by(Nobody()), saml_assertion=assertion)
