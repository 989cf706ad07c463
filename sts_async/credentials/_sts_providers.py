"""What the sources share that call STS: their request, whose credentials sign it, and what people are asked for."""

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

CODES_ASKED = 3  # MFA codes for one fetch, at most: a new one after each time that STS asks to slow down
ARNS = (("role_arn", arns.is_role, arns.ROLE_RULE), ("principal_arn", arns.is_saml_provider, arns.SAML_PROVIDER_RULE))
TO_COME = "0000"  # in place of a token that each fetch gets anew: the shortest that the API takes


class IssuedProvider(RefreshingProvider):
    """
    Provide what STS issues for a request.

    Attributes:
        name: What messages call the source.
    """

    operation: ClassVar[Operation[Any]]
    name: str
    depends_on_client = False

    def __init__(self, request: Request[Any], *, name: str, strict_arns: bool = True) -> None:
        super().__init__()
        self.name = name
        self._request = request
        check(request, bounds=False)  # whether the others count is for the client to say that asks
        check_arns(request, strict=strict_arns)

    def _check(self, context: ProviderContext) -> None:
        """Refuse the request before anything is asked or read for it, if the client checks requests."""
        if context.validates:
            check(self._request, bounds=True)

    async def _issue(self, engine: Invoker, **proof: Secret) -> Credentials:
        """Return what STS issues for the request together with a member that is new each time, such as a token."""
        request: Any = self._request
        if (role_arn := getattr(request, "role_arn", None)) is not None:
            check_partition(engine.endpoint, role_arn=role_arn)
        response = await engine.invoke(self.operation, attrs.evolve(request, **proof))
        user = getattr(response, "assumed_role_user", None) or getattr(response, "federated_user", None)
        account_id = arns.account_of(getattr(user, "arn", None)) or arns.account_of(role_arn)
        return in_account(response.credentials, account_id)

    def __repr__(self) -> str:
        request = getattr(self, "_request", None)  # a crash reporter may show one that could not be made
        subject = getattr(request, "role_arn", None) or getattr(request, "name", None)
        return f"{type(self).__name__}({'' if subject is None else ascii(subject)})"


@attrs.frozen
class _Device:
    """An MFA device, and what asks for its codes."""

    serial_number: str
    ask_for_code: MFACode


class SignedProvider(IssuedProvider):
    """
    Provide what STS issues to the holder of other credentials.

    A provider without a source works with the credentials of the client that it is used with: see `STSClient`. It
    keeps apart what it has obtained with the credentials of each.

    Args:
        request: What is asked for, without an MFA code.
        source: Whose credentials sign; None for those of the client.
        mfa_code: Asked for the code of the request's MFA device, before each fetch.
        strict_arns: Whether ARNs must be of IAM's grammar.

    Where a person is asked for a code, here or by the source, nothing is refreshed in the background (T46).
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
        self._device: _Device | None = None
        serial_number: str | None = getattr(request, "serial_number", None)
        if serial_number is not None and mfa_code is not None:
            check_callable(mfa_code, "mfa_code", number=1, called="with the serial number")
            self._device = _Device(serial_number, mfa_code)
            self.schedule = _schedule.ATTENDED
        elif serial_number is not None or mfa_code is not None:
            raise ConfigurationError(
                "serial_number and mfa_code belong together: the MFA device, and what asks for its code"
            )
        if is_attended(self._source):
            self.schedule = _schedule.ATTENDED

    async def fetch(self, context: ProviderContext) -> Credentials:
        """
        Return new credentials.

        Raises:
            CredentialsError: The source has no credentials, or what asks for the MFA code fails.
            STSError: The call failed.
        """
        signing = context.client_credentials if self._source is None else self._source
        if signing is None:
            raise ConfigurationError(f"{self!r} needs source=...: nothing here finds credentials by default")
        self._check(context)
        source = _SourceOfFetch(signing, context, of=repr(self))
        if self._device is not None:
            return await self._fetch_attended(self._device, source, context)
        issued = await self._issue(context.signed_by(source))
        if is_attended(signing, context):  # what a profile or a chain asks for is known only now
            self._cache_of(context).schedule = _schedule.ATTENDED  # nothing is refreshed in the background (T46)
        return self._of_signer(issued, source.account_id)

    def _of_signer(self, issued: Credentials, account_id: str | None) -> Credentials:
        """Return what was issued with the account of what signed, where that is the same: for all but roles."""
        return issued if hasattr(self._request, "role_arn") else in_account(issued, account_id)

    async def _fetch_attended(self, device: _Device, source: "_SourceOfFetch", context: ProviderContext) -> Credentials:
        """Return new credentials; each time that the request is sent, it has another code (T46)."""
        policy = StandardRetries(max_attempts=CODES_ASKED)
        sent: list[Secret] = []
        failure: STSError | None = None
        while True:
            # The source first: a code does not wait for it, and is not asked for in vain.
            credentials = StaticProvider(await source.provide_credentials(context))
            code = await ask(device.ask_for_code, device.serial_number, name=f"mfa_code of {self!r}")
            if failure is not None and code in sent:
                failure.add_note("mfa_code returned a code again that had been sent; each is good for one request")
                raise failure
            sent.append(code)
            try:
                issued = await self._issue(context.signed_by(credentials, retries=NoRetries()), token_code=code)
                return self._of_signer(issued, source.account_id)
            except STSError as error:
                failure = error
            delay = None
            if failure.throttled:  # after any other failure the code may have been used, and the person knows why
                delay = policy.after_failure(
                    failure, scope="", attempt=len(sent), now=context.monotonic(), jitter=context.jitter()
                )
            if delay is None:
                raise failure
            await context.sleep(delay)


class _SourceOfFetch:
    """Whose credentials sign one fetch: the source, asked with the context of that fetch."""

    def __init__(self, source: CredentialsProvider, context: ProviderContext, *, of: str) -> None:
        self._source = source
        self._context = context
        self._of = of
        self.account_id: str | None = None  # of what signed last

    async def provide_credentials(self, _: ProviderContext) -> Credentials:
        # With the context that was lent, not the view of it that asks: its retries are not those of the source.
        try:
            credentials = await self._source.provide_credentials(self._context)
        except CredentialsNotFound as error:
            # Said otherwise, or a chain would pass over what is configured.
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
        """Have the source fetch anew, if it can, after the service refused *access_key_id* (F16)."""
        invalidate(self._source, access_key_id)


class Nobody:
    """What "signs" a call that is not signed: asking it would have a chain ask itself."""

    async def provide_credentials(self, context: ProviderContext) -> NoReturn:
        """Raise a `CredentialsError`."""
        raise CredentialsError("a call that is not signed asked for credentials")


def check(request: Request[Any], *, bounds: bool) -> None:
    """
    Refuse a request that breaks constraints of the API.

    Args:
        request: The request.
        bounds: See `violations`. What is no request at all shows when a provider is made. Whether lengths, ranges and
            patterns count, a client says (`Config.validate_parameters`), before its first fetch asks anybody.

    Raises:
        ParamValidationError: It does; all violations in one error.
    """
    broken = first_violations(request, bounds=bounds)
    if broken:
        raise ParamValidationError(type(request).__name__, broken)


def check_arns(request: Request[Any], *, strict: bool) -> None:
    """
    Refuse ARNs that are none (T43): the API's own constraint takes any text of 20 characters, line breaks included.

    Args:
        request: The request; only what it has is checked.
        strict: Whether they must be of IAM's grammar, or only printable.

    Raises:
        ConfigurationError: One is not; the message says which, and not what it is.
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
    Refuse what cannot be asked.

    Raises:
        ConfigurationError: *function*, the argument *name*, is not a function, or cannot be *called* so.
    """
    function = without_data(function)
    if isinstance(function, type) or not callable(function):
        kind = function.__name__ if isinstance(function, type) else f"a {kind_of(function)}"
        raise ConfigurationError(f"{name} must be a coroutine function, not {kind}")
    check_arguments(function, name, number=number, called=called)


async def ask(function: Callable[..., Awaitable[str]], *arguments: str, name: str) -> Secret:
    """
    Return what a coroutine function of the program's own returns, hidden.

    Args:
        function: What is asked.
        arguments: What it is given.
        name: What messages call it.

    Raises:
        CredentialsError: It failed, or returned something other than text.
    """
    try:
        answer: object = redact(function(*arguments))
        waits = inspect.isawaitable(answer)
        if inspect.isawaitable(answer):
            answer = redact(await answer)
    except CredentialsNotFound as error:
        raise CredentialsError(f"{name}: {error}") from error  # as for a source: this was asked, and has nothing
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
    raise CredentialsError(f"{name} returned no text but a {kind}")


def new_session_name() -> str:
    """Return a name for the sessions of one source: ``sts-async-`` and 16 random hexadecimal digits."""
    return f"sts-async-{secrets.token_hex(8)}"


def _failed(name: str, error: Exception) -> CredentialsError:
    # The type alone: the program's own errors may quote what it was asked for.
    return CredentialsError(f"{name} failed with {type(error).__name__}")
