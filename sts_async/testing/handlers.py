"""One function for each operation, which returns the response or raises `Refusal`."""

import base64
import hashlib
import json
import secrets
import uuid
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any

import attrs

from .. import errors, shapes
from .._shape.secret import Secret, attempt
from . import rules
from .claims import Claims, opaque, read_jwt, read_saml
from .directory import ROLE_ARN, Directory, Principal, Role
from .keys import account_of_key
from .propagation import AWS_IDENTITY, ORIGIN_IDENTITY, check_scope, end_user
from .refusals import access_denied, invalid, modelled
from .sealed import unseal

TRADE_IN_TOKEN = "trade-in token"  # noqa: S105 - a purpose, see `sealed`
MAX_JWT_PAYLOAD = 8192  # bytes; our own limit, because AWS does not document one
_SIGNATURE_SIZES = {"RS256": 256, "ES384": 96}  # bytes


@attrs.frozen(kw_only=True)
class Call:
    """
    The context of a request for a handler.

    Attributes:
        directory: The state of the server; handlers add sessions.
        caller: The caller; `ANYBODY` if the operation is not signed.
        region: The signing region of the request.
        now: The time, in seconds since 1970.
    """

    directory: Directory
    caller: Principal
    region: str
    now: float

    def check_region(self, account: str) -> None:
        """Raise `Refusal` if STS is not active for *account* in the region."""
        found = self.directory.find_account(account)
        if found is not None and self.region in found.disabled_regions:
            raise modelled(
                errors.RegionDisabledException,
                f"STS is not activated in this region for account:{account}. "
                "Your account administrator can activate STS in this region using the IAM Console.",
            )


def assume_role(call: Call, request: shapes.AssumeRoleRequest) -> shapes.AssumeRoleResponse:
    """Answer AssumeRole."""
    caller = call.caller
    if caller.arn.endswith(":root"):
        raise access_denied("Roles may not be assumed by root accounts.")
    role = rules.existing_role(call.directory, request.role_arn)
    mfa = rules.proves_mfa(caller, serial_number=request.serial_number, token_code=request.token_code)
    source_identity = request.source_identity or caller.source_identity
    if (
        role is None
        or not (role.trusts is None or role.trusts & caller.names)
        or (role.external_id is not None and role.external_id != request.external_id)
        or (role.mfa_required and not mfa)
        or caller.source_identity not in (None, source_identity)
    ):
        raise rules.not_authorized(call.directory, caller, action="sts:AssumeRole", resource=request.role_arn)
    inherited = {key: caller.tags[key] for key in caller.transitive_tag_keys}
    given = rules.tags_of(request)
    if {key.casefold() for key in inherited} & {key.casefold() for key in given}:
        raise invalid("A tag that was passed on by an earlier session cannot be overridden.")
    if not given.keys() >= set(request.transitive_tag_keys):
        raise invalid("The specified transitive tag key must be included in the requested tags.")
    issued, user = _role_session(
        call,
        request,
        role,
        session_name=request.role_session_name,
        seconds=rules.role_duration(role, rules.seconds_of(request), chained=caller.kind == "assumed-role"),
        user=caller.user,
        mfa=mfa,
        source_identity=source_identity,
        tags={**inherited, **given},
        transitive_tag_keys=caller.transitive_tag_keys.union(request.transitive_tag_keys),
    )
    return shapes.AssumeRoleResponse(
        credentials=issued.credentials,
        assumed_role_user=user,
        packed_policy_size=issued.packed_policy_size,
        source_identity=source_identity,
        **issued.sizes,
    )


def _role_session(
    call: Call, request: Any, role: Role, *, session_name: str, seconds: float, **facts: Any
) -> tuple[rules.Issued, shapes.AssumedRoleUser]:
    """Issue and store the session of a role. *facts* are further attributes of the `Principal`."""
    parts = ROLE_ARN.fullmatch(role.arn)
    assert parts is not None  # noqa: S101 - `Role` checks it
    call.check_region(parts["account"])
    issued = rules.issue(request, account=parts["account"], expires_at=call.now + seconds)
    arn = f"arn:{parts['partition']}:sts::{parts['account']}:assumed-role/{parts['name']}/{session_name}"
    user_id = f"{call.directory.role_id(role.arn)}:{session_name}"
    call.directory.admit(
        Principal(
            kind="assumed-role",
            arn=arn,
            user_id=user_id,
            account=parts["account"],
            credentials=issued.credentials,
            role_arn=role.arn,
            **facts,
        )
    )
    return issued, shapes.AssumedRoleUser(assumed_role_id=user_id, arn=arn)


def assume_role_with_saml(call: Call, request: shapes.AssumeRoleWithSAMLRequest) -> shapes.AssumeRoleWithSAMLResponse:
    """Answer AssumeRoleWithSAML. The assertion is read, not verified."""
    claims = read_saml(request.saml_assertion)
    rules.check_claims(claims, now=call.now)
    provider = request.principal_arn
    if ":saml-provider/" not in provider:
        raise invalid("The principal ARN is invalid")
    action = "sts:AssumeRoleWithSAML"
    role = rules.federated_role(call.directory, request.role_arn, providers={provider}, action=action)
    if frozenset({role.arn, provider}) not in claims.roles:
        raise access_denied(f"Not authorized to perform {action}")
    seconds: float = rules.role_duration(role, rules.seconds_of(request) or claims.session_duration)
    if claims.session_ends_at is not None:
        seconds = min(seconds, claims.session_ends_at - call.now)
    # The issuer in the context would be a hash of the key that signed the assertion, which is not looked at here.
    context = _context(call, claims, issuer=None, provider_arn=provider, names=[provider])
    issued, user = _federated_session(
        call, request, role, claims, session_name=claims.session_name, seconds=seconds, context=context
    )
    qualifier = f"{claims.issuer}{role.arn.split(':')[4]}/{provider.rpartition('/')[2]}"
    return shapes.AssumeRoleWithSAMLResponse(
        credentials=issued.credentials,
        assumed_role_user=user,
        packed_policy_size=issued.packed_policy_size,
        subject=claims.subject,
        subject_type=claims.subject_type,
        issuer=claims.issuer,
        audience=claims.audience,
        name_qualifier=base64.b64encode(hashlib.sha1(qualifier.encode()).digest()).decode(),  # noqa: S324 - as documented
        source_identity=claims.source_identity,
        trusted_identity_propagation_context=context,
        **issued.sizes,
    )


def assume_role_with_web_identity(
    call: Call, request: shapes.AssumeRoleWithWebIdentityRequest
) -> shapes.AssumeRoleWithWebIdentityResponse:
    """
    Answer AssumeRoleWithWebIdentity. The token is read, not verified; with a provider id it is opaque.

    The session has identity context if a `ContextProvider` is declared for the provider of a JWT.
    """
    token, provider = request.web_identity_token, request.provider_id
    claims = read_jwt(token) if provider is None else opaque(token, provider=provider)
    rules.check_claims(claims, now=call.now)
    arn = f"{request.role_arn.partition(':role/')[0]}:oidc-provider/{claims.issuer}"
    names = {claims.issuer, f"https://{claims.issuer}", arn}
    role = rules.federated_role(
        call.directory, request.role_arn, providers=names, action="sts:AssumeRoleWithWebIdentity"
    )
    seconds = rules.role_duration(role, rules.seconds_of(request))
    context = None
    if provider is None:
        context = _context(call, claims, issuer=claims.issuer, provider_arn=arn, names=names)
    issued, user = _federated_session(
        call, request, role, claims, session_name=request.role_session_name, seconds=seconds, context=context
    )
    return shapes.AssumeRoleWithWebIdentityResponse(
        credentials=issued.credentials,
        subject_from_web_identity_token=claims.subject,
        assumed_role_user=user,
        packed_policy_size=issued.packed_policy_size,
        provider=claims.issuer,
        audience=claims.audience,
        source_identity=claims.source_identity,
        trusted_identity_propagation_context=context,
        **issued.sizes,
    )


def _context(
    call: Call, claims: Claims, *, issuer: str | None, provider_arn: str, names: Collection[str]
) -> shapes.TrustedIdentityPropagationContext | None:
    """Return the context for *claims*, or None if the identity provider has no context provider."""
    found = call.directory.find_context_provider(names)
    return None if found is None else found.context_of(claims, issuer=issuer, provider_arn=provider_arn)


def _federated_session(
    call: Call, request: Any, role: Role, claims: Claims, *, session_name: str, **facts: Any
) -> tuple[rules.Issued, shapes.AssumedRoleUser]:
    return _role_session(
        call,
        request,
        role,
        session_name=session_name,
        source_identity=claims.source_identity,
        tags=claims.tags,
        transitive_tag_keys=claims.transitive_tag_keys & claims.tags.keys(),
        **facts,
    )


def assume_root(call: Call, request: shapes.AssumeRootRequest) -> shapes.AssumeRootResponse:
    """Answer AssumeRoot."""
    if rules.task_policy_of(request) not in shapes.ROOT_TASK_POLICIES:
        raise invalid("TaskPolicyArn must be one of the policies for root tasks")
    account = rules.account_of(request.target_principal)
    root = f"arn:{call.directory.partition}:iam::{account}:root"
    if call.directory.find_account(account) is None:
        raise rules.not_authorized(call.directory, call.caller, action="sts:AssumeRoot", resource=root)
    call.check_region(account)
    seconds = 900 if rules.seconds_of(request) is None else rules.seconds_of(request)
    issued = rules.issue(request, account=account, expires_at=call.now + seconds)
    call.directory.admit(
        Principal(
            kind="assumed-root",
            arn=root,
            user_id=account,
            account=account,
            credentials=issued.credentials,
            source_identity=call.caller.source_identity,
        )
    )
    return shapes.AssumeRootResponse(
        credentials=issued.credentials, source_identity=call.caller.source_identity, **issued.sizes
    )


def decode_authorization_message(
    call: Call, request: shapes.DecodeAuthorizationMessageRequest
) -> shapes.DecodeAuthorizationMessageResponse:
    """Answer DecodeAuthorizationMessage."""
    key, message = call.directory.sealing_key, request.encoded_message
    content = attempt(ValueError, unseal, key, rules.AUTHORIZATION_MESSAGE, message)
    if content is None:
        raise modelled(errors.InvalidAuthorizationMessageException, "The message could not be decoded")
    return shapes.DecodeAuthorizationMessageResponse(decoded_message=json.dumps(content, separators=(",", ":")))


def get_access_key_info(call: Call, request: shapes.GetAccessKeyInfoRequest) -> shapes.GetAccessKeyInfoResponse:
    """Answer GetAccessKeyInfo, for keys of this server, and for ids that contain an existing account."""
    holder = call.directory.holder(request.access_key_id)
    account = account_of_key(request.access_key_id) if holder is None else holder.account
    if account is None or call.directory.find_account(account) is None:
        raise invalid("The access key id is not known")
    return shapes.GetAccessKeyInfoResponse(account=account)


def get_caller_identity(call: Call, request: shapes.GetCallerIdentityRequest) -> shapes.GetCallerIdentityResponse:
    """Answer GetCallerIdentity."""
    caller = call.caller
    return shapes.GetCallerIdentityResponse(user_id=caller.user_id, account=caller.account, arn=caller.arn)


def get_delegated_access_token(
    call: Call, request: shapes.GetDelegatedAccessTokenRequest
) -> shapes.GetDelegatedAccessTokenResponse:
    """Answer GetDelegatedAccessToken, for tokens of `LocalSTS.trade_in_token`."""
    content = attempt(ValueError, unseal, call.directory.sealing_key, TRADE_IN_TOKEN, request.trade_in_token)
    if content is None:
        raise access_denied("The trade-in token is not valid")
    if content["expires_at"] <= call.now:
        raise modelled(errors.ExpiredTradeInTokenException, "The trade-in token has expired")
    role = Role(content["role_arn"])
    issued, user = _role_session(
        call, request, role, session_name="delegated", seconds=3600, source_identity=call.caller.source_identity
    )
    return shapes.GetDelegatedAccessTokenResponse(credentials=issued.credentials, assumed_principal=user.arn)


def get_federation_token(call: Call, request: shapes.GetFederationTokenRequest) -> shapes.GetFederationTokenResponse:
    """Answer GetFederationToken."""
    caller = call.caller
    call.check_region(caller.account)
    ends = call.now + rules.key_duration(caller, rules.seconds_of(request))
    issued = rules.issue(request, account=caller.account, expires_at=ends)
    arn = f"arn:{call.directory.partition}:sts::{caller.account}:federated-user/{request.name}"
    user_id = f"{caller.account}:{request.name}"
    call.directory.admit(
        Principal(
            kind="federated-user",
            arn=arn,
            user_id=user_id,
            account=caller.account,
            credentials=issued.credentials,
            tags=rules.tags_of(request),
        )
    )
    return shapes.GetFederationTokenResponse(
        credentials=issued.credentials,
        federated_user=shapes.FederatedUser(federated_user_id=user_id, arn=arn),
        packed_policy_size=issued.packed_policy_size,
        **issued.sizes,
    )


def get_scoped_credentials(
    call: Call, request: shapes.GetScopedCredentialsRequest
) -> shapes.GetScopedCredentialsResponse:
    """
    Answer GetScopedCredentials: new keys for the caller's session. Policies are not evaluated, as in all operations.

    Long-term keys get InvalidSubjectCredentials. A lifetime beyond the end of the caller's session gets
    InsufficientSessionLifetime. A fourth policy gets AccessDenied, because the API reference says that it "is denied".
    A fourth session without a further policy is allowed.
    """
    caller = call.caller
    expires_at = rules.scoped_expiration(caller, rules.seconds_of(request), now=call.now)
    if request.policy is None and rules.seconds_of(request) is None:
        raise invalid("At least one of Policy and DurationSeconds must be specified")
    policies = rules.scope_policies(caller, request.policy)
    issued = rules.issue(request, account=caller.account, expires_at=expires_at, inherited=caller.scope_policies)
    call.directory.admit(attrs.evolve(caller, credentials=issued.credentials, scope_policies=policies))
    return shapes.GetScopedCredentialsResponse(
        credentials=issued.credentials,
        session_info=shapes.ScopedSession(scoped_session_id=caller.user_id, arn=caller.arn),
        scoped_policies_count=len(policies),
        source_identity=caller.source_identity,
        **issued.sizes,
    )


def get_session_token(call: Call, request: shapes.GetSessionTokenRequest) -> shapes.GetSessionTokenResponse:
    """Answer GetSessionToken."""
    caller = call.caller
    call.check_region(caller.account)
    mfa = rules.proves_mfa(caller, serial_number=request.serial_number, token_code=request.token_code)
    ends = call.now + rules.key_duration(caller, rules.seconds_of(request))
    issued = rules.issue(request, account=caller.account, expires_at=ends)
    call.directory.admit(attrs.evolve(caller, kind="session", credentials=issued.credentials, mfa=mfa))
    return shapes.GetSessionTokenResponse(credentials=issued.credentials, **issued.sizes)


def get_web_identity_token(
    call: Call, request: shapes.GetWebIdentityTokenRequest
) -> shapes.GetWebIdentityTokenResponse:
    """
    Answer GetWebIdentityToken with a JWT whose signature is random bytes, so that it cannot be verified.

    The claims `scope` and `subject_mode` are at the top level. The API reference does not document the place of the
    second.
    """
    caller, issued_at = call.caller, int(call.now)
    account = call.directory.find_account(caller.account)
    if account is not None and not account.outbound_web_identity:
        raise modelled(
            errors.OutboundWebIdentityFederationDisabledException,
            "Outbound web identity federation is not enabled for this account",
        )
    expires_at = issued_at + (300 if rules.seconds_of(request) is None else rules.seconds_of(request))
    ends = caller.credentials.expiration
    if ends is not None and expires_at > ends.timestamp():
        raise modelled(
            errors.SessionDurationEscalationException, "The token would outlive the session that asks for it"
        )
    mode = request.subject_mode or AWS_IDENTITY
    check_scope(request.scope, subject_mode=mode, audience=request.audience)
    principal = caller.role_arn or caller.arn
    chosen = {"subject_mode": mode} if mode == ORIGIN_IDENTITY else {}
    if request.scope is not None:
        chosen["scope"] = request.scope
    issuer = uuid.uuid5(uuid.NAMESPACE_DNS, caller.account)
    payload = {
        "iss": f"https://{issuer}.tokens.sts.global.api.aws",
        "sub": end_user(caller.context) if mode == ORIGIN_IDENTITY else principal,
        "aud": audience[0] if len(audience := [*request.audience]) == 1 else audience,
        "iat": issued_at,
        "exp": expires_at,
        "jti": str(uuid.uuid4()),
        **chosen,
        "https://sts.amazonaws.com/": {
            "aws_account": caller.account,
            "principal_id": principal,
            "request_tags": rules.tags_of(request),
        },
    }
    parts = [_json({"alg": request.signing_algorithm, "kid": str(issuer), "typ": "JWT"}), _json(payload)]
    if len(parts[1]) > MAX_JWT_PAYLOAD:
        raise modelled(errors.JWTPayloadSizeExceededException, "The requested token payload size exceeds the maximum")
    parts.append(secrets.token_bytes(_SIGNATURE_SIZES[request.signing_algorithm]))
    token = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
    return shapes.GetWebIdentityTokenResponse(
        web_identity_token=Secret(token), expiration=datetime.fromtimestamp(expires_at, UTC)
    )


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()


HANDLERS: dict[str, Callable[[Call, Any], shapes.Response]] = {
    "AssumeRole": assume_role,
    "AssumeRoleWithSAML": assume_role_with_saml,
    "AssumeRoleWithWebIdentity": assume_role_with_web_identity,
    "AssumeRoot": assume_root,
    "DecodeAuthorizationMessage": decode_authorization_message,
    "GetAccessKeyInfo": get_access_key_info,
    "GetCallerIdentity": get_caller_identity,
    "GetDelegatedAccessToken": get_delegated_access_token,
    "GetFederationToken": get_federation_token,
    "GetScopedCredentials": get_scoped_credentials,
    "GetSessionToken": get_session_token,
    "GetWebIdentityToken": get_web_identity_token,
}
