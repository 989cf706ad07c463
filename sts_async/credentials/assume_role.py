"""
Credentials of a role, for other credentials: AssumeRole.

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

# Text, which `re` compiles at first use and keeps.
_ACCOUNT_ID = r"[0-9]{12}"


class AssumeRoleProvider(SignedProvider):
    """
    Provide temporary credentials of a role, and keep them fresh.

        STSClient(credentials=AssumeRoleProvider(role_arn="arn:aws:iam::123456789012:role/demo"))

    A role can be the source of the next one. With an MFA device, the code is asked for at each fetch, never in the
    background, and again when STS asks to slow down: no code is sent twice. A role whose source asks for a code is not
    refreshed in the background, either. A provider of the program's own says so by a method ``is_attended``: see
    `protocols.CredentialsProvider`.

    Args:
        role_arn: ARN of the role, such as ``arn:aws:iam::123456789012:role/path/name``, 20 to 2,048 characters; see
            *strict_arns*.
        source: The credentials that assume the role: `Credentials`, a provider, or a coroutine function without
            arguments that returns `Credentials`; None for those of the client that it is used with.
        role_session_name: Name for the sessions, 2 to 64 of ``A-Z a-z 0-9 _ + = , . @ -``; None for ``sts-async-`` and
            16 random hexadecimal digits, the same for as long as the provider lives.
        duration_seconds: Lifetime in seconds, or a `timedelta`, 900 to 43,200 and at most the role's maximum; the
            service's default is 3,600. A session that assumes a role gets at most 3,600.
        policy: JSON text, or a mapping that is sent compactly, that narrows the session.
        policy_arns: Managed policies that narrow the session, by their ARNs, at most 10.
        tags: Session tags, such as ``{"team": "a"}``, or a list of `Tag`, at most 50; keys of 1 to 128 characters,
            values of at most 256.
        transitive_tag_keys: Keys of the tags that pass on to further sessions, at most 50.
        external_id: The external id that the trust policy of another account asks for, 2 to 1,224 characters.
        serial_number: MFA device, 9 to 256 characters; needs *mfa_code*.
        mfa_code: A coroutine function that is given the serial number and returns the code that the device shows, six
            digits. It is asked again when STS asks to slow down, at most 3 times for each fetch.
        source_identity: Name of the person or program that uses the session, 2 to 256 characters; it passes on to
            further sessions.
        provided_contexts: Context assertions, 1 to 5 when given.
        minimum_session_token_size: Pad the session token to this many bytes, 0 to 4,096.
        allowed_accounts: Ids of the accounts that the role may be in, for role ARNs that users choose; None for any.
        strict_arns: Whether *role_arn* must be of IAM's grammar. False for servers that are not of AWS and name
            roles otherwise, such as Ceph RGW and Dell ECS.

    Raises:
        ParamValidationError: Arguments are missing or of the wrong kind; all in one error. Lengths, ranges and patterns
            are checked by the first fetch, unless the client has ``Config(validate_parameters=False)``.
        ConfigurationError: *role_arn* is not that of a role, or not in one of *allowed_accounts*; one of
            *serial_number* and *mfa_code* came without the other; or *source* is not a source.
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
    listed = isinstance(allowed, Collection) and not isinstance(allowed, str)  # text would contain its parts
    if not listed or not all(isinstance(account, str) and re.fullmatch(_ACCOUNT_ID, account) for account in allowed):
        raise ConfigurationError("allowed_accounts must be a collection of account ids, of twelve digits each")
    account = arns.account_of_role(role_arn)
    if account is None:
        raise ConfigurationError(f"role_arn must be {arns.ROLE_RULE} where allowed_accounts is given")
    if account not in allowed:
        raise ConfigurationError("the account of role_arn is not one of allowed_accounts")
