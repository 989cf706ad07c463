"""
Credentials of a role, in exchange for other credentials: AssumeRole.

Source: AWS SDKs and Tools Reference Guide, "Assume role credential provider".
"""

import re
from collections.abc import Collection

from .. import shapes
from .._protocol import arns
from .._shape.secret import without_data
from ..errors import ConfigurationError
from ..operations import ASSUME_ROLE
from ._sts_providers import SignedProvider, new_session_name
from .source import MFACode, Source

# A text, not a compiled pattern: `re` compiles it at first use, so that importing this module stays fast.
_ACCOUNT_ID = r"[0-9]{12}"


class AssumeRoleProvider(SignedProvider):
    """
    Provide temporary credentials of a role, and refresh them before they expire.

        STSClient(credentials=AssumeRoleProvider(role_arn="arn:aws:iam::123456789012:role/demo"))

    A role can be the source of another one. With an MFA device, *mfa_code* is called for each fetch, and again after a
    throttling error, so that no code is sent twice. Such a fetch never runs in the background. The same holds if the
    source asks a person for a code. A provider of the program reports this by a method ``is_attended``: see
    `protocols.CredentialsProvider`.

    Args:
        role_arn: ARN of the role, such as ``arn:aws:iam::123456789012:role/path/name``, 20 to 2,048 characters; see
            *strict_arns*.
        source: The credentials that assume the role: `Credentials`, a provider, or a coroutine function without
            arguments that returns `Credentials`; None for the credentials of the client that uses the provider.
        role_session_name: Name of the sessions, 2 to 64 characters of ``A-Z a-z 0-9 _ + = , . @ -``; None for
            ``sts-async-`` and 16 random hexadecimal digits, which are the same for all sessions of this provider.
        duration_seconds: Lifetime in seconds or as a `timedelta`, 900 to 43,200 and at most the role's maximum; the
            service's default is 3,600. A session that assumes a role gets at most 3,600.
        policy: Session policy: JSON text, or a mapping that is sent as compact JSON.
        policy_arns: ARNs of managed policies that limit the session, at most 10.
        tags: Session tags, such as ``{"team": "a"}``, or a list of `Tag`, at most 50; keys of 1 to 128 characters,
            values of at most 256.
        transitive_tag_keys: Keys of the tags that further sessions inherit, at most 50.
        external_id: External id that the trust policy of the role requires, 2 to 1,224 characters.
        serial_number: Serial number or ARN of the MFA device, 9 to 256 characters; requires *mfa_code*.
        mfa_code: A coroutine function that takes the serial number and returns the code that the device shows, 6
            digits. It is called again after a throttling error, at most 3 times for each fetch.
        source_identity: Name of the person or program that uses the session, 2 to 256 characters; further sessions
            inherit it.
        provided_contexts: Context assertions, 1 to 5 if not empty.
        minimum_session_token_size: Minimum size of the session token in bytes, 0 to 4,096; STS pads a shorter one.
        allowed_accounts: Ids of the accounts to which the role may belong, for role ARNs that users choose; None for
            any account.
        strict_arns: Whether *role_arn* must follow the grammar of IAM. Set it to False for servers other than AWS that
            name roles differently, such as Ceph RGW and Dell ECS.

    Raises:
        ParamValidationError: Arguments are missing or have the wrong type. The error lists all of them. Lengths, ranges
            and patterns are checked by the first fetch, unless the client has ``Config(validate_parameters=False)``.
        ConfigurationError: *role_arn* is not the ARN of a role, or its account is not in *allowed_accounts*. Only one
            of *serial_number* and *mfa_code* is passed. *source* has an invalid form.
    """

    operation = ASSUME_ROLE

    def __init__(
        self,
        *,
        role_arn: str,
        source: Source | None = None,
        role_session_name: str | None = None,
        duration_seconds: shapes.Seconds | None = None,
        policy: shapes.PolicyDocument | None = None,
        policy_arns: shapes.Policies = (),
        tags: shapes.Tags = (),
        transitive_tag_keys: Collection[str] = (),
        external_id: str | None = None,
        serial_number: str | None = None,
        mfa_code: MFACode | None = None,
        source_identity: str | None = None,
        provided_contexts: Collection[shapes.ProvidedContext] = (),
        minimum_session_token_size: int | None = None,
        allowed_accounts: Collection[str] | None = None,
        strict_arns: bool = True,
    ) -> None:
        source, mfa_code = without_data(source), without_data(mfa_code)
        request = shapes.AssumeRoleRequest(
            role_arn=role_arn,
            role_session_name=new_session_name() if role_session_name is None else role_session_name,
            duration_seconds=duration_seconds,
            policy=policy,
            policy_arns=policy_arns,
            tags=tags,
            transitive_tag_keys=transitive_tag_keys,
            external_id=external_id,
            serial_number=serial_number,
            source_identity=source_identity,
            provided_contexts=provided_contexts,
            minimum_session_token_size=minimum_session_token_size,
        )
        super().__init__(request, name=f"role {role_arn!a}", source=source, mfa_code=mfa_code, strict_arns=strict_arns)
        if allowed_accounts is not None:
            _check_account(role_arn, allowed_accounts)


def _check_account(role_arn: str, allowed: Collection[str]) -> None:
    # A str is a collection too, and would match any part of it.
    listed = isinstance(allowed, Collection) and not isinstance(allowed, str)
    if not listed or not all(isinstance(account, str) and re.fullmatch(_ACCOUNT_ID, account) for account in allowed):
        raise ConfigurationError("allowed_accounts must be a collection of account ids, of twelve digits each")
    account = arns.account_of_role(role_arn)
    if account is None:
        raise ConfigurationError(f"role_arn must be {arns.ROLE_RULE} where allowed_accounts is given")
    if account not in allowed:
        raise ConfigurationError("the account of role_arn is not one of allowed_accounts")
