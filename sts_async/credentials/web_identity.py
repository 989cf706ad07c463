"""
Credentials of a role, in exchange for a token of an OIDC or OAuth 2.0 provider: AssumeRoleWithWebIdentity.

Source: AWS SDKs and Tools Reference Guide, "Assume role credential provider", federation with web identity.
"""

import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from .. import shapes
from .._config.sections import with_remark
from .._protocol import arns
from .._protocol.endpoints import is_of_aws
from .._runtime import files
from .._runtime.file_reads import FILE_READS, FileTimeout
from .._shape.secret import HiddenMapping, Secret, without_data
from .._wording.os_errors import reason_of
from ..errors import (
    ConfigurationError,
    CredentialsError,
    CredentialsNotFound,
    ExpiredTokenException,
    InvalidIdentityTokenException,
    ParamValidationError,
)
from ..operations import ASSUME_ROLE_WITH_WEB_IDENTITY
from ..protocols import ProviderContext
from ._sts_providers import (
    TOKEN_PLACEHOLDER,
    IssuedProvider,
    NoSigner,
    ask_for_secret,
    check_callable,
    new_session_name,
)
from .cache import RefreshingProvider

TOKEN_FILE = "AWS_WEB_IDENTITY_TOKEN_FILE"  # noqa: S105 - the name of the variable
ROLE_ARN = "AWS_ROLE_ARN"
ROLE_SESSION_NAME = "AWS_ROLE_SESSION_NAME"

MAX_BYTES = 64 * 1024  # size limit of a token file; the API accepts 20,000 characters
JWT_START = "eyJ"  # the beginning of each JWT: {" in base64. Source: RFC 7515, section 3.1
JWT_DOTS = 2
REREAD_PAUSES = (0.05, 0.05, 0.05)  # s before each further read of a file that is missing or incomplete


class WebIdentityProvider(IssuedProvider):
    """
    Provide temporary credentials of a role for tokens of an OIDC provider, for example of a Kubernetes cluster.

    No other credentials are needed, because the request is not signed. A token file is read for each fetch, and again
    if STS refuses the token, because another program replaces such files from time to time.

    Args:
        role_arn: ARN of the role, such as ``arn:aws:iam::123456789012:role/path/name``, 20 to 2,048 characters; see
            *strict_arns*.
        token_file: Path of the file with the token. A leading ``~/`` is replaced by the home directory. A JSON web
            token that is incomplete is read again; any other text is used unchanged. Pass either this or *token*.
        token: A coroutine function without arguments that returns the token, 4 to 20,000 characters. It is called for
            each fetch, also in the background.
        role_session_name: Name of the sessions, 2 to 64 characters of ``A-Z a-z 0-9 _ + = , . @ -``; None for
            ``sts-async-`` and 16 random hexadecimal digits, which are the same for all sessions of this provider.
        provider_id: Host name of an OAuth 2.0 provider, 4 to 2,048 characters. Do not pass it for OIDC.
        policy_arns: ARNs of managed policies that limit the session, at most 10.
        policy: Session policy: JSON text, or a mapping that is sent as compact JSON; 1 to 2,048 characters.
        duration_seconds: Lifetime in seconds or as a `timedelta`, 900 to 43,200; the service's default is 3,600.
        minimum_session_token_size: Minimum size of the session token in bytes, 0 to 4,096; STS pads a shorter one.
        strict_arns: Whether *role_arn* must follow the grammar of IAM. Set it to False for servers other than AWS that
            name roles differently, such as Ceph RGW and Dell ECS.

    Raises:
        ParamValidationError: Arguments are missing or have the wrong type. The error lists all of them. Lengths, ranges
            and patterns are checked by the first fetch, unless the client has ``Config(validate_parameters=False)``.
        ConfigurationError: *role_arn* is not the ARN of a role. Both or neither of *token_file* and *token* are passed,
            or they are not a path or a coroutine function. The path begins with ``~/``, and the home directory is not
            known.

    Attributes:
        remark: Text that is added to errors about the token file, if its path comes from a config file.
    """

    operation = ASSUME_ROLE_WITH_WEB_IDENTITY

    def __init__(
        self,
        *,
        role_arn: str,
        token_file: str | os.PathLike[str] | None = None,
        token: Callable[[], Awaitable[str]] | None = None,
        role_session_name: str | None = None,
        provider_id: str | None = None,
        policy_arns: shapes.Policies = (),
        policy: shapes.PolicyDocument | None = None,
        duration_seconds: shapes.Seconds | None = None,
        minimum_session_token_size: int | None = None,
        strict_arns: bool = True,
    ) -> None:
        token = without_data(token)
        if (token_file is None) == (token is None):
            raise ConfigurationError("a web identity needs either token_file or token")
        if token is not None:
            check_callable(token, "token")
        request = shapes.AssumeRoleWithWebIdentityRequest(
            role_arn=role_arn,
            role_session_name=new_session_name() if role_session_name is None else role_session_name,
            web_identity_token=TOKEN_PLACEHOLDER,
            provider_id=provider_id,
            policy_arns=policy_arns,
            policy=policy,
            duration_seconds=duration_seconds,
            minimum_session_token_size=minimum_session_token_size,
        )
        super().__init__(request, name=f"web identity, role {role_arn!a}", strict_arns=strict_arns)
        self._file = None if token_file is None else _path(token_file)
        self._token = token
        self.remark = ""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> RefreshingProvider:
        """
        Return a provider for the web identity in environment variables.

        The variables are ``AWS_WEB_IDENTITY_TOKEN_FILE``, ``AWS_ROLE_ARN`` and ``AWS_ROLE_SESSION_NAME``. They are read
        for each fetch. A blank variable counts as unset. Without the first one, the provider is not configured: it
        raises `CredentialsNotFound`.

        Args:
            environ: The variables; None for the process environment.
        """
        return _EnvironmentWebIdentity(environ)

    async def fetch(self, context: ProviderContext) -> shapes.Credentials:
        """
        Read the token, and return new credentials.

        Raises:
            CredentialsError: The token cannot be read.
            ParamValidationError: The request breaks constraints of the API.
            STSError: The call failed.
        """
        self._check(context)
        engine = context.signed_by(NoSigner())
        token = await self._read(context)
        try:
            return await self._issue(engine, web_identity_token=token)
        except (ExpiredTokenException, InvalidIdentityTokenException) as error:
            newer = token if self._file is None else await self._read(context)
            if newer == token:
                # The failure is retryable if STS could not fetch the key of the identity provider. The token is valid.
                if self._file is not None and not error.retryable:
                    error.add_note(
                        f"{str(self._file)!a} still holds the token that was refused: the program that writes it must "
                        "renew the token"
                    )
                raise
        return await self._issue(engine, web_identity_token=newer)

    async def _read(self, context: ProviderContext) -> Secret:
        """Return the current token. An incomplete file is read up to 4 times, 50 ms apart."""
        if self._token is not None:
            return await ask_for_secret(self._token, name=f"token of {self!r}")
        assert self._file is not None  # noqa: S101 - one of the two is there
        pauses = iter(REREAD_PAUSES)
        while True:
            try:
                token, problem = await FILE_READS.run(self._file, _read_token, self._file)
            except FileTimeout as error:
                raise CredentialsError(f"no web identity token: {str(self._file)!a}: {reason_of(error)}") from None
            if token is not None:
                return token
            pause = next(pauses, None)
            if pause is None:
                problem = f"no web identity token: {str(self._file)!a} {problem}"
                raise CredentialsError(with_remark(problem, self.remark))
            await context.sleep(pause)


class _EnvironmentWebIdentity(RefreshingProvider):
    """The provider that `WebIdentityProvider.from_environment` returns."""

    name = "web identity of the environment"
    depends_on_client = False

    def __init__(self, environ: Mapping[str, str] | None) -> None:
        super().__init__()
        self._environ = HiddenMapping(os.environ if environ is None else environ)
        self._session_name = new_session_name()

    async def fetch(self, context: ProviderContext) -> shapes.Credentials:
        token_file, role_arn, session_name = (
            self._environ.get(name, "").strip() for name in (TOKEN_FILE, ROLE_ARN, ROLE_SESSION_NAME)
        )
        if not token_file:
            raise CredentialsNotFound(f"{TOKEN_FILE} is not set")
        if not role_arn:
            raise CredentialsError(f"{TOKEN_FILE} is set and {ROLE_ARN} is not: set {ROLE_ARN} to the role to assume")
        try:
            provider = WebIdentityProvider(
                role_arn=role_arn,
                token_file=files.expand(token_file, self._environ),
                role_session_name=session_name or self._session_name,
                strict_arns=False,  # checked below: that error names the variable
            )
            provider._check(context)
        except ParamValidationError as error:
            raise CredentialsError(f"{ROLE_ARN} or {ROLE_SESSION_NAME} cannot be used: {error}") from error
        if (context.endpoint is None or is_of_aws(context.endpoint)) and not arns.is_role(role_arn):
            raise CredentialsError(f"{ROLE_ARN} must be {arns.ROLE_RULE}")
        return await provider.fetch(context)

    def __repr__(self) -> str:
        return "WebIdentityProvider.from_environment()"


def _path(value: object) -> Path:
    path = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(path, str) or not path or "\0" in path:
        raise ConfigurationError("token_file must be the path of a file: a non-empty str, or an os.PathLike")
    return files.expand(path, os.environ)


def _is_incomplete(token: str) -> bool:
    """Return True if *token* is only the beginning of a JSON web token. Other tokens do not show where they end."""
    return JWT_START.startswith(token) or (
        token.startswith(JWT_START) and (token.count(".") < JWT_DOTS or token.endswith("."))
    )


def _read_token(path: Path) -> tuple[Secret | None, str]:
    """
    Return the token in a file and an empty text, or None and a problem that may be temporary.

    While another program replaces the file, it may be missing, empty or incomplete.

    Raises:
        CredentialsError: The file exists, and cannot be read.
    """
    try:
        data, _ = files.read(path, max_bytes=MAX_BYTES)
    except FileNotFoundError:
        return None, "does not exist"
    except OSError as error:
        reason = reason_of(error)
    else:
        token = Secret(data.decode("utf-8-sig", "replace").strip())
        if not token:
            return None, "is empty"
        if _is_incomplete(token):
            return None, "holds an incomplete JSON web token"
        return token, ""
    raise CredentialsError(f"no web identity token: {str(path)!a}: {reason}")
