"""
The API: one coroutine for each operation of STS, in the order of `operations`.

Each makes its request shape and sends it; `_engine.loop` does the rest. Secret arguments are hidden first, so that
a traceback that shows local variables does not show them. A test holds the signatures against the shapes.
"""

from collections.abc import Collection, Coroutine
from inspect import iscoroutinefunction
from typing import Any, Protocol, TypeVar

from . import shapes
from ._shape.secret import redact

R = TypeVar("R", bound=shapes.Response)


class Calls(Protocol):
    """The twelve coroutines, over whatever has a `send`."""

    def send(self, request: shapes.Request[R]) -> Coroutine[Any, Any, R]:
        """Send a prepared request, and return the response of its type."""
        ...

    async def assume_role(
        self,
        *,
        role_arn: str,
        role_session_name: str,
        policy_arns: shapes.Policies = (),
        policy: shapes.PolicyDocument | None = None,
        duration_seconds: shapes.Seconds | None = None,
        tags: shapes.Tags = (),
        transitive_tag_keys: Collection[str] = (),
        external_id: str | None = None,
        serial_number: str | None = None,
        token_code: str | None = None,
        source_identity: str | None = None,
        provided_contexts: Collection[shapes.ProvidedContext] = (),
        minimum_session_token_size: int | None = None,
    ) -> shapes.AssumeRoleResponse:
        """
        Return temporary credentials for a role.

        Args:
            role_arn: ARN of the role, 20 to 2,048 characters.
            role_session_name: Name for the session, 2 to 64 of ``A-Z a-z 0-9 _ + = , . @ -``.
            policy_arns: ARNs of managed policies that restrict the session, at most 10.
            policy: Session policy that restricts the session: JSON text, or a mapping, which is sent as compact JSON.
            duration_seconds: Lifetime in seconds, or a `timedelta`, 900 to 43,200 and at most the role's maximum; the
                service's default is 3,600. A session that assumes a role gets at most 3,600.
            tags: Session tags, such as ``{"team": "a"}``, or a list of `Tag`, at most 50; keys of 1 to 128 characters,
                values of at most 256.
            transitive_tag_keys: Keys of the tags that chained sessions inherit, at most 50.
            external_id: External id that the trust policy of another account requires, 2 to 1,224 characters.
            serial_number: Serial number or ARN of the MFA device, 9 to 256 characters.
            token_code: MFA code of the device, six digits.
            source_identity: Identity of the person or program behind the session, 2 to 256 characters; chained sessions
                inherit it.
            provided_contexts: Context assertions, at most 5.
            minimum_session_token_size: Pad the session token to this many bytes, 0 to 4,096.

        Raises:
            MalformedPolicyDocumentException: The session policy is not a valid policy document.
            PackedPolicyTooLargeException: Policies and tags together exceed the size of a session token.
            RegionDisabledException: STS is not activated in this region for the account.
            ExpiredTokenException: A context assertion has expired.
            InvalidContextAssertionException: A context assertion is malformed, expired, or from an untrusted provider.

        Source: STS API Reference, AssumeRole.
        """
        token_code = redact(token_code)
        request = shapes.AssumeRoleRequest(
            role_arn=role_arn,
            role_session_name=role_session_name,
            policy_arns=policy_arns,
            policy=policy,
            duration_seconds=duration_seconds,
            tags=tags,
            transitive_tag_keys=transitive_tag_keys,
            external_id=external_id,
            serial_number=serial_number,
            token_code=token_code,
            source_identity=source_identity,
            provided_contexts=provided_contexts,
            minimum_session_token_size=minimum_session_token_size,
        )
        return await self.send(request)

    async def assume_role_with_saml(
        self,
        *,
        role_arn: str,
        principal_arn: str,
        saml_assertion: str,
        policy_arns: shapes.Policies = (),
        policy: shapes.PolicyDocument | None = None,
        duration_seconds: shapes.Seconds | None = None,
        minimum_session_token_size: int | None = None,
    ) -> shapes.AssumeRoleWithSAMLResponse:
        """
        Return temporary credentials for a role, for a SAML assertion. Needs no credentials: the call is not signed.

        Args:
            role_arn: ARN of the role, 20 to 2,048 characters.
            principal_arn: ARN of the SAML provider in IAM, 20 to 2,048 characters.
            saml_assertion: The assertion as the identity provider sent it, base64, 4 to 100,000 characters.
            policy_arns: ARNs of managed policies that restrict the session, at most 10.
            policy: JSON text, or a mapping that is sent compactly, of 1 to 2,048 characters.
            duration_seconds: Lifetime in seconds, or a `timedelta`, 900 to 43,200; the service's default is 3,600. The
                assertion may shorten it.
            minimum_session_token_size: Pad the session token to this many bytes, 0 to 4,096.

        Raises:
            MalformedPolicyDocumentException: The session policy is not a valid policy document.
            PackedPolicyTooLargeException: The policies together exceed the size of a session token.
            IDPRejectedClaimException: The identity provider rejected the claim.
            InvalidIdentityTokenException: The assertion cannot be validated.
            ExpiredTokenException: The assertion has expired.
            RegionDisabledException: STS is not activated in this region for the account.

        Source: STS API Reference, AssumeRoleWithSAML.
        """
        saml_assertion = redact(saml_assertion)
        request = shapes.AssumeRoleWithSAMLRequest(
            role_arn=role_arn,
            principal_arn=principal_arn,
            saml_assertion=saml_assertion,
            policy_arns=policy_arns,
            policy=policy,
            duration_seconds=duration_seconds,
            minimum_session_token_size=minimum_session_token_size,
        )
        return await self.send(request)

    async def assume_role_with_web_identity(
        self,
        *,
        role_arn: str,
        role_session_name: str,
        web_identity_token: str,
        provider_id: str | None = None,
        policy_arns: shapes.Policies = (),
        policy: shapes.PolicyDocument | None = None,
        duration_seconds: shapes.Seconds | None = None,
        minimum_session_token_size: int | None = None,
    ) -> shapes.AssumeRoleWithWebIdentityResponse:
        """
        Return temporary credentials for a role, for an OIDC token. Needs no credentials: the call is not signed.

        Args:
            role_arn: ARN of the role, 20 to 2,048 characters.
            role_session_name: Name for the session, 2 to 64 of ``A-Z a-z 0-9 _ + = , . @ -``.
            web_identity_token: The token as the identity provider sent it, 4 to 20,000 characters.
            provider_id: Host name of an OAuth 2.0 provider, 4 to 2,048 characters; not for OIDC.
            policy_arns: ARNs of managed policies that restrict the session, at most 10.
            policy: JSON text, or a mapping that is sent compactly, of 1 to 2,048 characters.
            duration_seconds: Lifetime in seconds, or a `timedelta`, 900 to 43,200; the service's default is 3,600.
            minimum_session_token_size: Pad the session token to this many bytes, 0 to 4,096.

        Raises:
            MalformedPolicyDocumentException: The session policy is not a valid policy document.
            PackedPolicyTooLargeException: The policies together exceed the size of a session token.
            IDPRejectedClaimException: The identity provider rejected the claim.
            IDPCommunicationErrorException: STS could not reach the identity provider; retried.
            InvalidIdentityTokenException: The token cannot be validated.
            ExpiredTokenException: The token has expired.
            RegionDisabledException: STS is not activated in this region for the account.

        Source: STS API Reference, AssumeRoleWithWebIdentity.
        """
        web_identity_token = redact(web_identity_token)
        request = shapes.AssumeRoleWithWebIdentityRequest(
            role_arn=role_arn,
            role_session_name=role_session_name,
            web_identity_token=web_identity_token,
            provider_id=provider_id,
            policy_arns=policy_arns,
            policy=policy,
            duration_seconds=duration_seconds,
            minimum_session_token_size=minimum_session_token_size,
        )
        return await self.send(request)

    async def assume_root(
        self,
        *,
        target_principal: str,
        task_policy_arn: str | shapes.PolicyDescriptorType,
        duration_seconds: shapes.Seconds | None = None,
        minimum_session_token_size: int | None = None,
    ) -> shapes.AssumeRootResponse:
        """
        Return short-lived root credentials of a member account, for one task. Not on the global endpoint.

        Args:
            target_principal: ARN or id of the member account, 12 to 2,048 characters.
            task_policy_arn: The policy of the task, under ``arn:aws:iam::aws:policy/root-task/``:
                IAMAuditRootUserCredentials, IAMCreateRootUserPassword, IAMDeleteRootUserCredentials,
                S3UnlockBucketPolicy or SQSUnlockQueuePolicy.
            duration_seconds: Lifetime in seconds, or a `timedelta`, 0 to 900; the service's default is 900.
            minimum_session_token_size: Pad the session token to this many bytes, 0 to 4,096.

        Raises:
            RegionDisabledException: STS is not activated in this region for the account.
            ExpiredTokenException: The caller's session has expired.

        Source: STS API Reference, AssumeRoot.
        """
        return await self.send(
            shapes.AssumeRootRequest(
                target_principal=target_principal,
                task_policy_arn=task_policy_arn,
                duration_seconds=duration_seconds,
                minimum_session_token_size=minimum_session_token_size,
            )
        )

    async def decode_authorization_message(self, *, encoded_message: str) -> shapes.DecodeAuthorizationMessageResponse:
        """
        Return why a request was refused, as JSON text.

        Args:
            encoded_message: The encoded message that came with the refusal, 1 to 10,240 characters; for a refusal by
                STS it is `ServiceError.encoded_authorization_message`.

        Raises:
            InvalidAuthorizationMessageException: The message is not one that the service encoded.

        Source: STS API Reference, DecodeAuthorizationMessage.
        """
        encoded_message = redact(encoded_message)
        request = shapes.DecodeAuthorizationMessageRequest(encoded_message=encoded_message)
        return await self.send(request)

    async def get_access_key_info(self, *, access_key_id: str) -> shapes.GetAccessKeyInfoResponse:
        """
        Return the account that an access key belongs to, whether or not the key is active.

        Args:
            access_key_id: The key's id, 16 to 128 of ``A-Z a-z 0-9 _``.

        Source: STS API Reference, GetAccessKeyInfo.
        """
        return await self.send(shapes.GetAccessKeyInfoRequest(access_key_id=access_key_id))

    async def get_caller_identity(self) -> shapes.GetCallerIdentityResponse:
        """
        Return who signs the requests: user id, account and ARN. Needs no permission, and no policy can deny it.

        Source: STS API Reference, GetCallerIdentity.
        """
        return await self.send(shapes.GetCallerIdentityRequest())

    async def get_delegated_access_token(self, *, trade_in_token: str) -> shapes.GetDelegatedAccessTokenResponse:
        """
        Return temporary credentials in exchange for a trade-in token. AWS documents it as not for general use.

        Args:
            trade_in_token: The token to exchange.

        Raises:
            ExpiredTradeInTokenException: The token has expired.
            RegionDisabledException: STS is not activated in this region for the account.
            PackedPolicyTooLargeException: The delegated policies do not fit into a token.

        Source: STS API Reference, GetDelegatedAccessToken.
        """
        trade_in_token = redact(trade_in_token)
        request = shapes.GetDelegatedAccessTokenRequest(trade_in_token=trade_in_token)
        return await self.send(request)

    async def get_federation_token(
        self,
        *,
        name: str,
        policy: shapes.PolicyDocument | None = None,
        policy_arns: shapes.Policies = (),
        duration_seconds: shapes.Seconds | None = None,
        tags: shapes.Tags = (),
        minimum_session_token_size: int | None = None,
    ) -> shapes.GetFederationTokenResponse:
        """
        Return temporary credentials of a federated user. Needs the long-term credentials of an IAM user.

        Args:
            name: Name of the federated user, 2 to 32 of ``A-Z a-z 0-9 _ + = , . @ -``.
            policy: JSON text, or a mapping that is sent compactly, of 1 to 2,048 characters. Without policies the
                session has no permissions.
            policy_arns: Managed policies, by their ARNs, at most 10.
            duration_seconds: Lifetime in seconds, or a `timedelta`, 900 to 129,600; the service's default is 43,200,
                and root users get at most 3,600.
            tags: Session tags, such as ``{"team": "a"}``, or a list of `Tag`, at most 50.
            minimum_session_token_size: Pad the session token to this many bytes, 0 to 4,096.

        Raises:
            MalformedPolicyDocumentException: The session policy is not a valid policy document.
            PackedPolicyTooLargeException: Policies and tags together exceed the size of a session token.
            RegionDisabledException: STS is not activated in this region for the account.

        Source: STS API Reference, GetFederationToken.
        """
        return await self.send(
            shapes.GetFederationTokenRequest(
                name=name,
                policy=policy,
                policy_arns=policy_arns,
                duration_seconds=duration_seconds,
                tags=tags,
                minimum_session_token_size=minimum_session_token_size,
            )
        )

    async def get_scoped_credentials(
        self,
        *,
        policy: shapes.PolicyDocument | None = None,
        duration_seconds: shapes.Seconds | None = None,
        minimum_session_token_size: int | None = None,
        scoped_session_description: str | None = None,
    ) -> shapes.GetScopedCredentialsResponse:
        """
        Return temporary credentials of the caller, with narrower permissions or for a shorter time.

        Needs temporary credentials: a user calls `get_session_token` first. The identity stays the caller's. Give a
        policy, a duration, or both. Not on the global endpoint.

        Args:
            policy: JSON text, or a mapping that is sent compactly, of 1 to 2,048 characters. The permissions are those
                that both the calling session and this policy allow. A session takes at most 3 such policies, those of
                the sessions that it comes from included.
            duration_seconds: Lifetime in seconds, or a `timedelta`, 1 to 129,600 and at most what is left of the
                calling session; without it the credentials expire when that session does.
            minimum_session_token_size: Pad the session token to this many bytes, 0 to 4,096.
            scoped_session_description: What the credentials are for, 2 to 256 characters. CloudTrail records it.

        Raises:
            MalformedPolicyDocumentException: The session policy is not a valid policy document.
            PackedPolicyTooLargeException: The policies together exceed the size of a session token.
            InsufficientSessionLifetimeException: The credentials would outlive the calling session.
            InvalidSubjectCredentialsException: The request is not signed with a valid session.

        Source: STS API Reference, GetScopedCredentials.
        """
        return await self.send(
            shapes.GetScopedCredentialsRequest(
                policy=policy,
                duration_seconds=duration_seconds,
                minimum_session_token_size=minimum_session_token_size,
                scoped_session_description=scoped_session_description,
            )
        )

    async def get_session_token(
        self,
        *,
        duration_seconds: shapes.Seconds | None = None,
        serial_number: str | None = None,
        token_code: str | None = None,
        minimum_session_token_size: int | None = None,
    ) -> shapes.GetSessionTokenResponse:
        """
        Return temporary credentials of the calling IAM user, usually to prove MFA.

        Args:
            duration_seconds: Lifetime in seconds, or a `timedelta`, 900 to 129,600; the service's default is 43,200,
                and root users get at most 3,600.
            serial_number: Serial number or ARN of the MFA device, 9 to 256 characters.
            token_code: MFA code of the device, six digits.
            minimum_session_token_size: Pad the session token to this many bytes, 0 to 4,096.

        Raises:
            RegionDisabledException: STS is not activated in this region for the account.

        Source: STS API Reference, GetSessionToken.
        """
        token_code = redact(token_code)
        request = shapes.GetSessionTokenRequest(
            duration_seconds=duration_seconds,
            serial_number=serial_number,
            token_code=token_code,
            minimum_session_token_size=minimum_session_token_size,
        )
        return await self.send(request)

    async def get_web_identity_token(
        self,
        *,
        audience: Collection[str],
        duration_seconds: shapes.Seconds | None = None,
        signing_algorithm: str,
        scope: str | None = None,
        subject_mode: str | None = None,
        tags: shapes.Tags = (),
    ) -> shapes.GetWebIdentityTokenResponse:
        """
        Return a JWT, signed by AWS, that proves the caller to a service outside AWS. Not on the global endpoint.

        Args:
            audience: Who the token is for, 1 to 10 names of 1 to 1,000 characters.
            duration_seconds: Lifetime in seconds, or a `timedelta`, 60 to 3,600; the service's default is 300.
            signing_algorithm: ``RS256`` or ``ES384``.
            scope: OAuth 2.0 scopes for the token's ``scope`` claim, joined by single spaces, 1 to 256 characters; no
                scope twice. Only with the subject mode ``OriginIdentity`` and one audience.
            subject_mode: Whom the token's ``sub`` claim names: ``AWSIdentity``, the service's default, for the caller,
                or ``OriginIdentity`` for the end user in the session's trusted identity propagation context.
            tags: Claims to add, such as ``{"team": "a"}``, or a list of `Tag`, at most 50.

        Raises:
            SessionDurationEscalationException: The token would outlive the caller's session.
            OutboundWebIdentityFederationDisabledException: The account has not enabled it.
            JWTPayloadSizeExceededException: The token would be too large.

        Source: STS API Reference, GetWebIdentityToken.
        """
        return await self.send(
            shapes.GetWebIdentityTokenRequest(
                audience=audience,
                duration_seconds=duration_seconds,
                signing_algorithm=signing_algorithm,
                scope=scope,
                subject_mode=subject_mode,
                tags=tags,
            )
        )


for _name, _coroutine in [*vars(Calls).items()]:
    if iscoroutinefunction(_coroutine):
        # Python's message about a wrong argument names the class that people use.
        _coroutine.__qualname__ = f"STSClient.{_name}"
