"""
All errors that the library raises.

    STSError
      ConfigurationError               options contradict each other or are missing; the message names them
        InvalidRegion                  a region that is not a host label
        InvalidEndpoint                an endpoint URL that cannot be used
        InvalidConfigFile              a shared config or credentials file, or a profile in it, that cannot be used
      ParamValidationError             members of a request break constraints, all in one error (also a ValueError)
      CredentialsError                 a configured source of credentials failed
        CredentialsNotFound            a source has no credentials
        CredentialsExpired             a source has only expired credentials
          LoginRequired                the user must sign in again
      ClientClosedError                the client was used after `aclose` (also a RuntimeError)
      TransportError                   no complete response
        ConnectError                   no connection: refused, unknown host, unreachable
          ConnectTimeout               no connection within its time limit (also a TimeoutError)
          ProxyError                   the proxy is unreachable or refused the connection
        TLSError                       certificate verification or the TLS handshake failed; never retried
        ConnectionLost                 the connection ended before the complete response
        AttemptTimeout                 no complete response within attempt_timeout (also a TimeoutError)
        ResponseTooLarge               the response body exceeds max_response_bytes
      DeadlineExceeded                 the call exceeded its deadline (also a TimeoutError)
      ResponseParseError               the response is not a valid STS response
        RedirectRefused                a 3xx response; redirects are never followed
      ServiceError                     STS returned an error: code, message, status, fault, request_id
        ThrottlingError                the service is throttling
        ExpiredTokenException ...      the fifteen modelled errors, with the names of the API

Each modelled error is one statement at the end of this file. No message contains the value of a request member, a
header or a body.
"""

import re
from collections.abc import Iterable
from typing import Any, ClassVar, Literal

from ._shape.secret import Secret
from ._wording.printable import MAX_SHOWN_VIOLATIONS, MAX_VIOLATIONS, printable

CLIENT_CLOSED = "the client is closed: it cannot be used after `aclose`, or outside its `async with`"
MAX_MESSAGE = 2048  # characters of the service's message
MAX_CODE = 256  # characters of an error code or a request id

# Patterns are text: `re` compiles and caches them at first use, which keeps the import fast.
_ENCODED_MESSAGE = r"(?i)(encoded authorization failure message:)\s*(\S+)"
ELSEWHERE = "(in encoded_authorization_message)"  # replaces the encoded message in `message`
_KEY_NOT_RETRIEVED = r"(?is)(retriev|fetch|download|obtain).{0,40}\bkey"


class STSError(Exception):
    """The base class of all errors of this library."""

    retryable: bool = False
    """Whether the same request may succeed if it is sent again."""

    throttled: bool = False
    """Whether the service is throttling."""

    recoverable: bool = True
    """
    Whether the cause may pass without a change of configuration, policy or token.

    Cached credentials stay in use after a failed refresh in the mandatory window only if the error is recoverable.
    """

    skewed: bool = False
    """Whether the service refused the signing time. The next attempt is signed with the service's time."""

    retry_after: float | None = None
    """Seconds that the service asked to wait before a retry, or None."""

    attempts: int = 0
    """Number of times that the request was sent before this error was raised."""

    def __reduce__(self) -> tuple[Any, ...]:  # errors can be pickled whatever arguments their constructor takes
        return _rebuilt, (type(self), self.args), self.__dict__


def encoded_message_in(text: str) -> Secret | None:
    """Return the encoded authorization message that the text of an error contains, or None."""
    found = re.search(_ENCODED_MESSAGE, text)
    return None if found is None else Secret(found[2])


def _rebuilt(cls: type[STSError], args: tuple[Any, ...]) -> STSError:
    error = cls.__new__(cls, *args)
    error.args = args
    return error


class ConfigurationError(STSError):
    """Options contradict each other, are invalid, or a required one is missing."""

    recoverable = False


class InvalidRegion(ConfigurationError):
    """A region that is not a host label of lower-case letters, digits and hyphens, or that has no host at AWS."""


class InvalidEndpoint(ConfigurationError):
    """An endpoint URL is invalid or not allowed."""


class InvalidConfigFile(ConfigurationError):
    """A shared file or a profile in it is invalid. The message names the file, line, profile and key."""


class ParamValidationError(STSError, ValueError):
    """
    Members of a request violate constraints of the API.

    Attributes:
        shape: Name of the request shape, such as ``AssumeRoleRequest``.
        violations: One line for each of the first 1,000 violations: the member and the rule, never the value. The
            message has the first 20 of them.
    """

    recoverable = False

    def __init__(self, shape: str, violations: Iterable[str]) -> None:
        self.shape = shape
        self.violations = tuple(violations)
        super().__init__(shape, self.violations)

    def __str__(self) -> str:
        more = len(self.violations) - MAX_SHOWN_VIOLATIONS
        least = "at least " if len(self.violations) >= MAX_VIOLATIONS else ""
        end = f"; and {least}{more:,} more" if more > 0 else ""
        return f"{self.shape}: {'; '.join(self.violations[:MAX_SHOWN_VIOLATIONS])}{end}"


class CredentialsError(STSError):
    """A configured source of credentials failed."""


class CredentialsNotFound(CredentialsError):
    """
    A source has no credentials.

    Attributes:
        doubtful: Whether a default file that may contain credentials could not be read. A chain that falls through to
            a later source then searches again every 10 s.
    """

    doubtful: bool = False


class CredentialsExpired(CredentialsError):
    """A source has only expired credentials."""


class LoginRequired(CredentialsExpired):
    """The session of `aws sso login` or `aws login` has ended. The message has the command that signs in again."""

    recoverable = False


class ClientClosedError(STSError, RuntimeError):
    """The client was used after it was closed, or was closed during the call."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(args or (CLIENT_CLOSED,)))


class TransportError(STSError):
    """No complete response arrived. The service may or may not have processed the request."""

    retryable = True


class ConnectError(TransportError):
    """No connection could be opened, so nothing was sent."""


class ConnectTimeout(ConnectError, TimeoutError):
    """No connection could be opened within its time limit, so nothing was sent."""


class ProxyError(ConnectError):
    """
    The proxy is unreachable or refused the connection. The service received nothing.

    Attributes:
        status: HTTP status of the proxy's response, such as 407 if it requires authentication, or None.
        retryable: False if the proxy refused, True if it is unreachable or cannot reach the service.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retryable = status is None or status >= 500 or status in (408, 429)


class TLSError(TransportError):
    """Certificate verification or the TLS handshake failed. Nothing was sent."""

    retryable = False


class ConnectionLost(TransportError):
    """
    The connection ended before the response was complete.

    Attributes:
        stale: Whether a reused connection ended before the first byte of the response: the server had closed it while
            it was idle.
    """

    stale: bool = False


class AttemptTimeout(TransportError, TimeoutError):
    """The attempt did not complete within `attempt_timeout`."""


class ResponseTooLarge(TransportError):
    """The response body exceeds `max_response_bytes`; the rest was not read."""

    retryable = False


class DeadlineExceeded(STSError, TimeoutError):
    """The call exceeded its deadline. If an attempt failed before, the error of that attempt is raised instead."""


class ResponseParseError(STSError):
    """
    The response is not a valid STS response.

    Attributes:
        status: HTTP status of the response.
        retryable: True if a broken connection or a proxy can explain the response, False if another service sent it.
    """

    def __init__(self, message: str, *, status: int, retryable: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.retryable = retryable


class RedirectRefused(ResponseParseError):
    """The response is a redirect. Redirects are never followed: they would send keys and body to another host."""


Fault = Literal["client", "server"]


class ServiceError(STSError):
    """
    STS returned an error.

    Attributes:
        code: The error code as received, such as ``AccessDenied``. If the response has no code (a page of a proxy, an
            empty body), the HTTP status in digits.
        message: The message of the service, at most 2,048 characters, without an encoded authorization message.
        status: HTTP status.
        fault: ``client`` if the request caused the error, ``server`` if the service did.
        request_id: The request id, for AWS support; None if there is none.
        encoded_authorization_message: The argument for ``decode_authorization_message``; None if there is none.
        retryable: Whether the same request may succeed later.
        recoverable: False if only a change of role, policy, token or account setting helps.
        throttled: Whether the service is throttling.
    """

    by_code: ClassVar[dict[str, type["ServiceError"]]] = {}
    """The error class for each modelled error code."""

    modelled_code: ClassVar[str | None] = None
    """The code in the API model, for the fifteen modelled errors."""

    modelled_status: ClassVar[int | None] = None
    """The HTTP status in the API model, for the fifteen modelled errors."""

    def __init_subclass__(cls, *, code: str | None = None, status: int | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if code is not None:
            cls.modelled_code = code
            cls.modelled_status = status
            ServiceError.by_code[code] = cls

    def __init__(
        self,
        message: str,
        *,
        code: str,
        status: int,
        fault: Fault | None = None,
        request_id: str | None = None,
    ) -> None:
        encoded = encoded_message_in(message)
        if encoded:
            message = re.sub(_ENCODED_MESSAGE, rf"\1 {ELSEWHERE}", message)
        self.code = code[:MAX_CODE]
        self.message = message[:MAX_MESSAGE]
        self.status = status
        self.fault: Fault = fault or ("server" if status >= 500 else "client")
        self.request_id = request_id[:MAX_CODE] if request_id else None
        self.encoded_authorization_message = encoded
        self.retryable = self.retryable or self._is_transient()
        self.recoverable = self.retryable or FINAL_CODES.isdisjoint((self.code, self.code.removesuffix("Exception")))
        super().__init__(self.message)

    def _is_transient(self) -> bool:
        return self.status in TRANSIENT_STATUSES or self.code in TRANSIENT_CODES

    def __str__(self) -> str:
        request = f", request {printable(self.request_id)}" if self.request_id else ""
        said = f"{self.code}: {self.message}" if self.message.strip() else self.code
        return f"{printable(said)} (HTTP {self.status}{request})"

    def __repr__(self) -> str:
        shown = f"{printable(self.message)!r}, code={printable(self.code)!r}, status={self.status}"
        return f"{type(self).__name__}({shown})"

    def with_encoded_message(self, text: str) -> str:
        """
        Return *text*, which quotes this error, with the encoded authorization message put back.

        The message is not a credential: reading it needs permission for DecodeAuthorizationMessage. ``str(error)``
        omits it because it is long and names resources and policies that not every reader of a log may see.
        """
        encoded = self.encoded_authorization_message
        if encoded is None:
            return text
        if ELSEWHERE in text:
            return str(text.replace(ELSEWHERE, encoded, 1))
        return f"{text}; encoded authorization failure message: {encoded}"

    @classmethod
    def class_for(cls, code: str, status: int) -> type["ServiceError"]:
        """
        Return the narrowest class for an error code and an HTTP status.

        The status 429 means throttling, except with a modelled code, which is more specific.
        """
        if code in THROTTLING_CODES or (status == 429 and code not in cls.by_code):
            return ThrottlingError
        return cls.by_code.get(code, ServiceError)


# Source: AWS SDKs Reference Guide, "Retry behavior".
THROTTLING_CODES = frozenset(
    """
    Throttling ThrottlingException ThrottledException RequestThrottled RequestThrottledException
    TooManyRequestsException ProvisionedThroughputExceededException TransactionInProgressException
    RequestLimitExceeded BandwidthLimitExceeded LimitExceededException SlowDown PriorRequestNotComplete
    EC2ThrottledException
    """.split()
)
TRANSIENT_CODES = frozenset({"RequestTimeout", "RequestTimeoutException", "InternalFailure", "ServiceUnavailable"})
# With or without "Exception". Codes that refuse the caller's own session (ExpiredToken, InvalidSubjectCredentials,
# InsufficientSessionLifetime) are missing on purpose: a refresh may bring a new session.
# Sources: aws-sdk-go-v2, credentials/stscreds/nonrecoverable.go; for tokens and assertions, the API reference.
FINAL_CODES = frozenset(
    """
    AccessDenied ExpiredTokenException ExpiredTradeInTokenException IDPRejectedClaim InvalidContextAssertion
    InvalidIdentityToken MalformedPolicyDocument PackedPolicyTooLarge RegionDisabled
    """.split()
)
TRANSIENT_STATUSES = frozenset({500, 502, 503, 504})


class ThrottlingError(ServiceError):
    """The calling account exceeds its quota. The call is retried, more slowly. The status is 400, 403, 429 or 503."""

    retryable = True
    throttled = True


class ExpiredTokenException(ServiceError, code="ExpiredTokenException", status=400):
    """The web identity token or SAML assertion in the request has expired; get a new one."""


class ExpiredTradeInTokenException(ServiceError, code="ExpiredTradeInTokenException", status=400):
    """The trade-in token in the request has expired; get a new one."""


class IDPCommunicationErrorException(ServiceError, code="IDPCommunicationError", status=400):
    """STS could not reach the identity provider. The API reference advises to retry."""

    retryable = True


class IDPRejectedClaimException(ServiceError, code="IDPRejectedClaim", status=403):
    """The identity provider rejected the claim, or the claim has expired or was revoked."""


class InsufficientSessionLifetimeException(ServiceError, code="InsufficientSessionLifetime", status=400):
    """The credentials would outlive the caller's session. Request a shorter duration or omit it."""


class InvalidAuthorizationMessageException(ServiceError, code="InvalidAuthorizationMessageException", status=400):
    """The encoded message is invalid."""


class InvalidContextAssertionException(ServiceError, code="InvalidContextAssertion", status=400):
    """A context assertion is malformed, expired, or from an untrusted provider; get a new one."""


class InvalidIdentityTokenException(ServiceError, code="InvalidIdentityToken", status=400):
    """The token cannot be validated. Retryable only if STS could not retrieve the provider's verification key."""

    def _is_transient(self) -> bool:
        return super()._is_transient() or bool(re.search(_KEY_NOT_RETRIEVED, self.message))


class InvalidSubjectCredentialsException(ServiceError, code="InvalidSubjectCredentials", status=400):
    """The request is not signed with a valid session. Keys of an IAM user or the root user are not a session."""


class JWTPayloadSizeExceededException(ServiceError, code="JWTPayloadSizeExceededException", status=400):
    """The requested token would be too large; send fewer or shorter tags."""


class MalformedPolicyDocumentException(ServiceError, code="MalformedPolicyDocument", status=400):
    """The session policy is not a valid policy document."""


class OutboundWebIdentityFederationDisabledException(
    ServiceError, code="OutboundWebIdentityFederationDisabledException", status=403
):
    """Outbound web identity federation is not enabled for the account."""


class PackedPolicyTooLargeException(ServiceError, code="PackedPolicyTooLarge", status=400):
    """Session policies and tags together exceed the size of a session token."""


class RegionDisabledException(ServiceError, code="RegionDisabledException", status=403):
    """STS is not activated in this region for the account; use another region."""


class SessionDurationEscalationException(ServiceError, code="SessionDurationEscalationException", status=403):
    """The token would outlive the caller's session."""
