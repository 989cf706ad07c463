"""
Credentials of a role, for the token of an OIDC or OAuth 2.0 provider: AssumeRoleWithWebIdentity.

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
    ServiceError,
)
from ..operations import ASSUME_ROLE_WITH_WEB_IDENTITY
from ..protocols import ProviderContext
from ._sts_providers import TO_COME, IssuedProvider, Nobody, ask, check_callable, new_session_name
from .cache import RefreshingProvider

TOKEN_FILE = "AWS_WEB_IDENTITY_TOKEN_FILE"  # noqa: S105 - the name of the variable
ROLE_ARN = "AWS_ROLE_ARN"
ROLE_SESSION_NAME = "AWS_ROLE_SESSION_NAME"

MAX_BYTES = 64 * 1024  # of a token file; the API takes 20,000 characters
JWT_START = "eyJ"  # a JSON object in base64: {" begins it. Source: RFC 7515, 3.1
JWT_DOTS = 2
READ_AGAIN = (0.05, 0.05, 0.05)  # s before each further look at a file that is missing or half written


class WebIdentityProvider(IssuedProvider):
    """
    Provide temporary credentials of a role for tokens of an OIDC provider, such as that of a Kubernetes cluster.

    No other credentials are needed: the call is not signed. A token file is read at each fetch, and again when STS
    refuses the token, because such files are replaced from time to time.

    Args:
        role_arn: ARN of the role, such as ``arn:aws:iam::123456789012:role/path/name``, 20 to 2,048 characters; see
            *strict_arns*.
        token_file: Path of the file with the token, where a leading ``~/`` is the home directory; it or *token*. A JSON
            web token is used only when it is whole; any other text is passed on.
        token: A coroutine function without arguments that returns the token, 4 to 20,000 characters; asked at each
            fetch, also in the background.
        role_session_name: Name for the sessions, 2 to 64 of ``A-Z a-z 0-9 _ + = , . @ -``; None for ``sts-async-`` and
            16 random hexadecimal digits, the same for as long as the provider lives.
        provider_id: Host name of an OAuth 2.0 provider, 4 to 2,048 characters; not for OIDC.
        policy_arns: Managed policies that narrow the session, by their ARNs, at most 10.
        policy: JSON text, or a mapping that is sent compactly, of 1 to 2,048 characters.
        duration_seconds: Lifetime in seconds, or a `timedelta`, 900 to 43,200; the service's default is 3,600.
        minimum_session_token_size: Pad the session token to this many bytes, 0 to 4,096.
        strict_arns: Whether *role_arn* must be of IAM's grammar. False for servers that are not of AWS and name
            roles otherwise, such as Ceph RGW and Dell ECS.

    Raises:
        ParamValidationError: Arguments are missing or of the wrong kind; all in one error. Lengths, ranges and patterns
            are checked by the first fetch, unless the client has ``Config(validate_parameters=False)``.
        ConfigurationError: *role_arn* is not that of a role. Both or neither of *token_file* and *token* are given, or
            they are not a path or a function. The home directory is needed and not known.

    Attributes:
        remark: The end of errors about the token file: a remark about its path as it stands in a file.
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
            raise ConfigurationError("a web identity needs one of token_file and token, and not both")
        if token is not None:
            check_callable(token, "token")
        request = shapes.AssumeRoleWithWebIdentityRequest(
            role_arn=role_arn,
            role_session_name=new_session_name() if role_session_name is None else role_session_name,
            web_identity_token=TO_COME,
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
        Return a provider that does what ``AWS_WEB_IDENTITY_TOKEN_FILE``, ``AWS_ROLE_ARN`` and
        ``AWS_ROLE_SESSION_NAME`` say at each fetch. A blank variable counts as unset; without the first there is
        nothing to provide (`CredentialsNotFound`).

        Args:
            environ: Where to look; the process environment when it is None.
        """
        return _FromEnvironment(environ)

    async def fetch(self, context: ProviderContext) -> shapes.Credentials:
        """
        Return new credentials, for the present token.

        Raises:
            CredentialsError: The token cannot be read.
            STSError: The call failed.
        """
        self._check(context)
        engine = context.signed_by(Nobody())
        token = await self._read(context)
        try:
            return await self._issue(engine, web_identity_token=token)
        except (ExpiredTokenException, InvalidIdentityTokenException) as error:
            failure: ServiceError = error
        if self._file is not None:
            newer = await self._read(context)
            if newer != token:
                return await self._issue(engine, web_identity_token=newer)
            if not failure.retryable:  # which it is when STS could not fetch the key that verifies the token
                failure.add_note(
                    f"{str(self._file)!a} still holds the token that was refused: whoever writes it must renew it"
                )
        raise failure

    async def _read(self, context: ProviderContext) -> Secret:
        """Return the token of now."""
        if self._token is not None:
            return await ask(self._token, name=f"token of {self!r}")
        assert self._file is not None  # noqa: S101 - one of the two is there
        pauses = iter(READ_AGAIN)
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


class _FromEnvironment(RefreshingProvider):
    """What `WebIdentityProvider.from_environment` returns."""

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
            raise CredentialsError(f"{TOKEN_FILE} is set and {ROLE_ARN} is not: the role to assume is missing")
        try:
            provider = WebIdentityProvider(
                role_arn=role_arn,
                token_file=files.expand(token_file, self._environ),
                role_session_name=session_name or self._session_name,
                strict_arns=False,  # this error names the variable
            )
            provider._check(context)
        except ParamValidationError as error:
            raise CredentialsError(f"{ROLE_ARN} or {ROLE_SESSION_NAME} cannot be used: {error}") from error
        if (context.endpoint is None or is_of_aws(context.endpoint)) and not arns.is_role(role_arn):
            raise CredentialsError(f"{ROLE_ARN} must be {arns.ROLE_RULE}")
        return await provider.fetch(context)

    def __repr__(self) -> str:
        return "WebIdentityProvider.from_environment()"


def _path(given: object) -> Path:
    path = os.fspath(given) if isinstance(given, str | os.PathLike) else None
    if not isinstance(path, str) or not path or "\0" in path:
        raise ConfigurationError("token_file must be the path of a file: text that is not empty, or an os.PathLike")
    return files.expand(path, os.environ)


def _is_half(token: str) -> bool:
    """Say whether this is the beginning of a JSON web token. Tokens of other kinds do not tell how long they are."""
    return JWT_START.startswith(token) or (
        token.startswith(JWT_START) and (token.count(".") < JWT_DOTS or token.endswith("."))
    )


def _read_token(path: Path) -> tuple[Secret | None, str]:
    """
    Return the token in a file, or None and what is wrong, which may pass: a file is missing, empty or half a token
    while it is being replaced.

    Raises:
        CredentialsError: The file cannot be read.
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
        if _is_half(token):
            return None, "does not hold a whole JSON web token"
        return token, ""
    raise CredentialsError(f"no web identity token: {str(path)!a}: {reason}")
