"""
The common part of the sources that call STS: the request, the credentials that sign it, and the MFA codes for it.

`IssuedProvider` holds the request and sends it. `SignedProvider` adds the signing credentials and the MFA device. The
public classes, one for each operation, only build the request.

Each attempt with MFA asks for a new code. `_engine.mfa_sent_once` keeps a code from being sent twice.
"""

import inspect
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, NoReturn

import attrs

from .._protocol import arns
from .._protocol.endpoints import check_partition
from .._shape.arguments import check_arguments, check_flag, not_credentials
from .._shape.constraints import first_violations
from .._shape.secret import Secret, kind_of, redact, without_data
from ..errors import ConfigurationError, CredentialsError, CredentialsNotFound, ParamValidationError, STSError
from ..operations import Operation
from ..protocols import CredentialsProvider, Invoker, ProviderContext, invalidate, is_attended
from ..retries import NoRetries, StandardRetries
from ..shapes import Credentials, Request
from . import _schedule
from ._account import in_account
from ._cache_per_client import depends_on_client
from .cache import RefreshingProvider
from .source import MFACode, Source, provider_of
from .static import StaticProvider

MAX_MFA_CODES = 3  # per fetch: after each throttling error, the program is asked for a new code
ARNS = (("role_arn", arns.is_role, arns.ROLE_RULE), ("principal_arn", arns.is_saml_provider, arns.SAML_PROVIDER_RULE))
TOKEN_PLACEHOLDER = "0000"  # noqa: S105 - the shortest token that the API accepts; each fetch replaces it


class IssuedProvider(RefreshingProvider):
    """
    Provide the credentials that STS issues for a request.

    Attributes:
        name: Name of the source in messages.
    """

    operation: ClassVar[Operation[Any]]
    name: str
    depends_on_client = False

    def __init__(self, request: Request[Any], *, name: str, strict_arns: bool = True) -> None:
        super().__init__()
        self.name = name
        self._request = request
        # Lengths, ranges and patterns are checked by the first fetch: the option of the client is not known before.
        check(request, bounds=False)
        check_arns(request, strict=strict_arns)

    def _check(self, context: ProviderContext) -> None:
        """Check the request before a token or a code is asked for, if the client validates parameters."""
        if context.validates:
            check(self._request, bounds=True)

    async def _issue(self, engine: Invoker, **secret_members: Secret) -> Credentials:
        """Send the request with members that are new for each fetch, such as a token. Return the new credentials."""
        request: Any = self._request
        return await issue(engine, self.operation, attrs.evolve(request, **secret_members))

    def __repr__(self) -> str:
        # A crash reporter may show an object whose constructor failed.
        request = getattr(self, "_request", None)
        subject = getattr(request, "role_arn", None) or getattr(request, "name", None)
        return f"{type(self).__name__}({'' if subject is None else ascii(subject)})"


async def issue(engine: Invoker, operation: Operation[Any], request: Any) -> Credentials:
    """
    Send a request that issues credentials. Return them, with their account.

    Raises:
        ConfigurationError: The role is in another partition than the endpoint.
        STSError: The call failed.
    """
    role_arn = getattr(request, "role_arn", None)
    if role_arn is not None:
        check_partition(engine.endpoint, role_arn=role_arn)
    response = await engine.invoke(operation, request)
    user = getattr(response, "assumed_role_user", None) or getattr(response, "federated_user", None)
    account_id = arns.account_of(getattr(user, "arn", None)) or arns.account_of(role_arn)
    return in_account(response.credentials, account_id)


@attrs.frozen
class _MFADevice:
    """An MFA device, and the function that asks for its codes."""

    serial_number: str
    ask_for_code: MFACode


class SignedProvider(IssuedProvider):
    """
    Provide the credentials that STS issues for a signed request.

    Without a source, the request is signed with the credentials of the client that uses the provider (see `STSClient`).
    The provider then has a separate cache for each client.

    If a fetch asks a person for a code, here or in the source, it never runs in the background (T46).

    Args:
        request: The request, without an MFA code.
        name: Name of the source in messages.
        source: Provides the signing credentials; None for those of the client.
        mfa_code: Called before each fetch for a code of the MFA device in the request.
        strict_arns: Whether ARNs must follow the grammar of IAM.

    Raises:
        ConfigurationError: The MFA device or the function is missing, or *source* or an ARN is invalid.
        ParamValidationError: The request lacks members, or has some of the wrong type.
    """

    def __init__(
        self,
        request: Request[Any],
        *,
        name: str,
        source: Source | None,
        mfa_code: MFACode | None = None,
        strict_arns: bool = True,
    ) -> None:
        source, mfa_code = without_data(source), without_data(mfa_code)
        super().__init__(request, name=name, strict_arns=strict_arns)
        self._source = None if source is None else provider_of(source, what="source")
        self.depends_on_client = self._source is None or depends_on_client(self._source)
        self._device: _MFADevice | None = None
        serial_number: str | None = getattr(request, "serial_number", None)
        if serial_number is not None and mfa_code is not None:
            check_callable(mfa_code, "mfa_code", number=1, called="with the serial number")
            self._device = _MFADevice(serial_number, mfa_code)
            self.schedule = _schedule.ATTENDED
        elif serial_number is not None or mfa_code is not None:
            raise ConfigurationError(
                "serial_number and mfa_code must be passed together: the MFA device, and the function that returns its "
                "code"
            )
        if is_attended(self._source):
            self.schedule = _schedule.ATTENDED

    async def fetch(self, context: ProviderContext) -> Credentials:
        """
        Return new credentials.

        Raises:
            ConfigurationError: Neither the provider nor the client has credentials to sign with.
            CredentialsError: The source has no credentials, or *mfa_code* failed.
            STSError: The call failed.
        """
        signing = context.client_credentials if self._source is None else self._source
        if signing is None:
            raise ConfigurationError(f"{self!r} needs source=...: there are no default credentials here")
        self._check(context)
        source = SigningSource(signing, context, of=repr(self))
        if self._device is not None:
            return await self._fetch_attended(self._device, source, context)
        issued = await self._issue(context.signed_by(source))
        # Only after the fetch is it known whether a profile or a chain asks a person (T46).
        if is_attended(signing, context):
            self._cache_of(context).schedule = _schedule.ATTENDED
        return self._with_account_of_signer(issued, source.account_id)

    def _with_account_of_signer(self, issued: Credentials, account_id: str | None) -> Credentials:
        """Add the account of the signing credentials, unless a role was assumed, which may be in another account."""
        return issued if hasattr(self._request, "role_arn") else in_account(issued, account_id)

    async def _fetch_attended(
        self, device: _MFADevice, source: "SigningSource", context: ProviderContext
    ) -> Credentials:
        """Return new credentials. Each attempt asks for a new code, because a code is valid only once (T46)."""
        policy = StandardRetries(max_attempts=MAX_MFA_CODES)
        sent: list[Secret] = []
        failure: STSError | None = None
        while True:
            # The source comes first: if it fails, no code is asked for, and a code does not age while it is slow.
            credentials = StaticProvider(await source.provide_credentials(context))
            code = await ask_for_secret(device.ask_for_code, device.serial_number, name=f"mfa_code of {self!r}")
            if failure is not None and code in sent:
                failure.add_note("mfa_code returned a code that had already been sent; a code is valid for one request")
                raise failure
            sent.append(code)
            try:
                issued = await self._issue(context.signed_by(credentials, retries=NoRetries()), token_code=code)
                return self._with_account_of_signer(issued, source.account_id)
            except STSError as error:
                failure = error
            delay = None
            # After any other failure, STS may have used the code up. The person decides whether to try again.
            if failure.throttled:
                delay = policy.after_failure(
                    failure, scope="", attempt=len(sent), now=context.monotonic(), jitter=context.jitter()
                )
            if delay is None:
                raise failure
            await context.sleep(delay)


class SigningSource:
    """The signing credentials of one fetch: the source, asked with the context of that fetch."""

    def __init__(self, source: CredentialsProvider, context: ProviderContext, *, of: str) -> None:
        self._source = source
        self._context = context
        self._of = of
        self.account_id: str | None = None  # account of the last signing credentials

    async def provide_credentials(self, _: ProviderContext) -> Credentials:
        # The argument is the context of the request that is being signed. Its retry policy is not meant for the source.
        try:
            credentials = await self._source.provide_credentials(self._context)
        except CredentialsNotFound as error:
            # As CredentialsNotFound, the error would make a chain skip a source that is configured.
            raise CredentialsError(f"the source of {self._of} has no credentials: {error}") from error
        except STSError:
            raise
        except Exception as error:
            raise _failed(f"the source of {self._of}", error) from error
        if not isinstance(credentials, Credentials):
            credentials = without_data(credentials)
            raise CredentialsError(f"the source of {self._of} {not_credentials(credentials)}")
        self.account_id = credentials.account_id
        return credentials

    def invalidate(self, access_key_id: str) -> None:
        """Tell the source that the service refused *access_key_id*, so that it fetches again if it can (F16)."""
        invalidate(self._source, access_key_id)


class NoSigner:
    """The provider for calls that are not signed. Otherwise a chain could ask itself for credentials."""

    async def provide_credentials(self, context: ProviderContext) -> NoReturn:
        """
        Raise an error: the call needs no credentials.

        Raises:
            CredentialsError: Always.
        """
        raise CredentialsError("a call that is not signed asked for credentials")


def check(request: Request[Any], *, bounds: bool) -> None:
    """
    Check a request against the constraints of the API.

    Args:
        request: The request.
        bounds: Whether to check lengths, ranges and patterns as well. The constructor of a provider checks only names
            and types. The first fetch checks the rest, if the client has ``Config.validate_parameters``.

    Raises:
        ParamValidationError: The request breaks constraints. The error lists all of them.
    """
    broken = first_violations(request, bounds=bounds)
    if broken:
        raise ParamValidationError(type(request).__name__, broken)


def check_arns(request: Request[Any], *, strict: bool) -> None:
    """
    Check the ARNs of a request (T43). The API itself accepts any text of 20 characters, including line breaks.

    Args:
        request: The request. Members that it does not have are not checked.
        strict: Whether ARNs must follow the grammar of IAM. Otherwise they must only be printable.

    Raises:
        ConfigurationError: An ARN is invalid. The message names the member and does not contain the value.
    """
    check_flag("strict_arns", strict)
    for name, accepts, rule in ARNS:
        arn = getattr(request, name, None)
        if arn is None or (strict and accepts(arn)) or (not strict and arns.is_plain(arn)):
            continue
        if strict:
            raise ConfigurationError(f"{name} must be {rule}; give strict_arns=False for a server that is not of AWS")
        raise ConfigurationError(f"{name} must be {arns.PLAIN_RULE}")


def check_callable(function: object, name: str, *, number: int = 0, called: str = "without arguments") -> None:
    """
    Check that an argument is a function that can be called.

    Args:
        function: The value of the argument.
        name: Name of the argument, for messages.
        number: Number of positional arguments that it is called with.
        called: Text for messages: with which arguments it is called.

    Raises:
        ConfigurationError: *function* is not a function, or does not accept these arguments.
    """
    function = without_data(function)
    if isinstance(function, type) or not callable(function):
        kind = function.__name__ if isinstance(function, type) else f"a {kind_of(function)}"
        raise ConfigurationError(f"{name} must be a coroutine function, not {kind}")
    check_arguments(function, name, number=number, called=called)


async def ask_for_secret(function: Callable[..., Awaitable[str]], *arguments: str, name: str) -> Secret:
    """
    Call a coroutine function of the program, and return its text as a secret.

    Args:
        function: The coroutine function.
        arguments: Its arguments.
        name: Name of the function in messages.

    Raises:
        CredentialsError: The function failed, is not a coroutine function, or returned something other than text.
        STSError: The function raised it.
    """
    try:
        answer: object = redact(function(*arguments))
        waits = inspect.isawaitable(answer)
        if inspect.isawaitable(answer):
            answer = redact(await answer)
    except CredentialsNotFound as error:
        # As CredentialsNotFound, the error would make a chain skip a source that is configured.
        raise CredentialsError(f"{name}: {error}") from error
    except STSError:
        raise
    except Exception as error:
        raise _failed(name, error) from error
    if waits and isinstance(answer, Secret):
        return answer
    kind = "str" if isinstance(answer, Secret) else type(answer).__name__
    if inspect.iscoroutine(answer):
        answer.close()
    del answer
    if not waits:
        raise CredentialsError(f"{name} must be a coroutine function: it returned a {kind}, which cannot be awaited")
    raise CredentialsError(f"{name} must return text, not a {kind}")


def new_session_name() -> str:
    """Return a session name for one source: ``sts-async-`` and 16 random hexadecimal digits."""
    return f"sts-async-{secrets.token_hex(8)}"


def _failed(name: str, error: Exception) -> CredentialsError:
    # Only the type is shown: the text of the program's own error may contain the secret.
    return CredentialsError(f"{name} failed with {type(error).__name__}")
