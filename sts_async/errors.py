"""
Everything that the library raises.

    STSError
      ConfigurationError               contradictory or missing options; the message says which, and what to do
        InvalidRegion                  a region that is not a host label
        InvalidEndpoint                an endpoint URL that cannot be used
        InvalidConfigFile              a shared config or credentials file, or a profile in it, that cannot be used
      ParamValidationError             members of a request break constraints, all in one error (also a ValueError)
      CredentialsError                 a credentials source is configured and failed
        CredentialsNotFound            a source has nothing to offer
        CredentialsExpired             a source offers what is no longer valid
          LoginRequired                a person has to sign in again
      ClientClosedError                the client was used after `aclose` (also a RuntimeError)
      TransportError                   no answer
        ConnectError                   no connection: refused, no such host, unreachable
          ConnectTimeout               no connection in time (also a TimeoutError)
          ProxyError                   the proxy cannot be reached, or refused to connect
        TLSError                       the peer's certificate or handshake was refused; never retried
        ConnectionLost                 the connection ended before the whole answer had come
        AttemptTimeout                 a connection, but no whole answer in time (also a TimeoutError)
        ResponseTooLarge               an answer beyond the cap
      DeadlineExceeded                 the call's own time was over before any attempt had failed (also a TimeoutError)
      ResponseParseError               an answer that is not the protocol
        RedirectRefused                a 3xx; never followed
      ServiceError                     STS answered with an error: code, message, status, fault, request_id
        ThrottlingError                every code that means "slow down"
        ExpiredTokenException ...      the fifteen modelled errors, under the API's own names

Each modelled error is one statement at the end of this file. No message here ever carries the value of a request
member, a header or a body.
"""

import re
from collections.abc import Iterable
from typing import Any, ClassVar, Literal

from ._shape.secret import Secret
from ._wording.printable import MAX_SHOWN_VIOLATIONS, MAX_VIOLATIONS, printable

CLIENT_CLOSED = "the client is closed: it cannot be used after `aclose`, or outside its `async with`"
MAX_MESSAGE = 2048  # characters of a service's message that are kept
MAX_CODE = 256  # characters of its error code and request id

# Text, which `re` compiles at first use and keeps: importing is not the time for it.
_ENCODED_MESSAGE = r"(?i)(encoded authorization failure message:)\s*(\S+)"
ELSEWHERE = "(in encoded_authorization_message)"  # what stands in a message in place of the encoded one
_KEY_NOT_RETRIEVED = r"(?is)(retriev|fetch|download|obtain).{0,40}\bkey"


class STSError(Exception):
    """The root of every error of this library."""

    retryable: bool = False
    """Whether the same call may succeed when it is sent again."""

    throttled: bool = False
    """Whether the service asked to slow down."""

    recoverable: bool = True
    """
    Whether waiting may help, without anybody changing anything.

    Only then is what is cached kept in use beyond its last minute.
    """

    skewed: bool = False
    """Whether the service refused the time that the request was signed for; the next is signed for its own."""

    retry_after: float | None = None
    """Seconds after which the service asked to try again, or None."""

    attempts: int = 0
    """How many times the request had been sent when the error was raised."""

    def __reduce__(self) -> tuple[Any, ...]:  # an error crosses process borders, whatever its constructor asks for
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
    """Options contradict each other, or one that is needed is missing."""

    recoverable = False


class InvalidRegion(ConfigurationError):
    """A region that is not one host label of lower-case letters, digits and hyphens, or of which AWS has no host."""


class InvalidEndpoint(ConfigurationError):
    """An endpoint URL that cannot be used as it is given."""


class InvalidConfigFile(ConfigurationError):
    """A shared config or credentials file, or a profile in it, that cannot be used: says file, line, profile, key."""


class ParamValidationError(STSError, ValueError):
    """
    Members of a request break constraints of the API.

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
    """A source of credentials is configured and failed."""


class CredentialsNotFound(CredentialsError):
    """
    A source of credentials has nothing to offer.

    Attributes:
        doubtful: Whether a default file could not be read that may offer some. A chain that goes on then looks again
            every 10 s.
    """

    doubtful: bool = False


class CredentialsExpired(CredentialsError):
    """A source of credentials offers some that are no longer valid."""


class LoginRequired(CredentialsExpired):
    """A session of `aws sso login` or `aws login` has ended; the message says how to sign in again."""

    recoverable = False


class ClientClosedError(STSError, RuntimeError):
    """The client was used after it was closed, or closed while it was used."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(args or (CLIENT_CLOSED,)))


class TransportError(STSError):
    """No answer came. Whether the service has acted on the request is not known."""

    retryable = True


class ConnectError(TransportError):
    """No connection could be made, so nothing was sent."""


class ConnectTimeout(ConnectError, TimeoutError):
    """No connection could be made in time, so nothing was sent."""


class ProxyError(ConnectError):
    """
    The proxy cannot be reached, or refused to connect; the service got nothing.

    Attributes:
        status: HTTP status of the proxy's answer, such as 407 when it wants a user and a password, or None.
        retryable: False for a refusal, True for a proxy that is away, or cannot reach the service.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retryable = status is None or status >= 500 or status in (408, 429)


class TLSError(TransportError):
    """The peer could not prove its identity, or the handshake failed; nothing was sent."""

    retryable = False


class ConnectionLost(TransportError):
    """
    The connection ended before the whole answer had come.

    Attributes:
        stale: Whether the connection had served before, and ended before any of this answer had come: the server
            closed it while it was idle.
    """

    stale: bool = False


class AttemptTimeout(TransportError, TimeoutError):
    """The whole answer had not come in time."""


class ResponseTooLarge(TransportError):
    """The answer is larger than the cap; the rest was not read."""

    retryable = False


class DeadlineExceeded(STSError, TimeoutError):
    """The call's own time was over. Where an attempt had failed before, its error is raised instead."""


class ResponseParseError(STSError):
    """
    An answer that is not the protocol.

    Attributes:
        status: HTTP status of the answer.
        retryable: True for what a broken connection or a page of a proxy in between explains, False for an answer
            that another service has given.
    """

    def __init__(self, message: str, *, status: int, retryable: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.retryable = retryable


class RedirectRefused(ResponseParseError):
    """The answer points elsewhere. A redirect is never followed: it would take keys and body to another host."""


Fault = Literal["client", "server"]


class ServiceError(STSError):
    """
    STS answered with an error.

    Attributes:
        code: The error code as it was sent, such as ``AccessDenied``; the HTTP status in digits when the answer holds
            no code (a page of a proxy, an empty body).
        message: The service's text, at most 2,048 characters, without an encoded authorization message.
        status: HTTP status.
        fault: ``client`` when the request is to blame, ``server`` when the service is.
        request_id: The id that AWS support asks for, or None.
        encoded_authorization_message: What ``decode_authorization_message`` decodes, when the service sent one.
        retryable: Whether the same request may succeed later.
        recoverable: False for what only a change of role, policy, token or account setting cures.
        throttled: Whether the service asked to slow down.
    """

    by_code: ClassVar[dict[str, type["ServiceError"]]] = {}
    """The class for each error code that has one of its own."""

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
        Return *text*, which quotes this error, with its encoded authorization message whole, if it has one.

        The message is no credential: only who may call DecodeAuthorizationMessage can read it. It is left out of
        ``str(error)`` because it is long, and names resources and policies that not every reader of a log may know.
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

        The status 429 asks to slow down, except with a modelled code, which says more than the status.
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
# With or without "Exception". Refusals of the caller's own session are not in the list, since another session may be
# on its way: ExpiredToken, InvalidSubjectCredentials, InsufficientSessionLifetime.
# Sources: aws-sdk-go-v2, credentials/stscreds/nonrecoverable.go; for tokens and assertions, the API reference.
FINAL_CODES = frozenset(
    """
    AccessDenied ExpiredTokenException ExpiredTradeInTokenException IDPRejectedClaim InvalidContextAssertion
    InvalidIdentityToken MalformedPolicyDocument PackedPolicyTooLarge RegionDisabled
    """.split()
)
TRANSIENT_STATUSES = frozenset({500, 502, 503, 504})


class ThrottlingError(ServiceError):
    """The calling account sends too much: retried, more slowly. Comes as HTTP 400, 403, 429 or 503."""

    retryable = True
    throttled = True


class ExpiredTokenException(ServiceError, code="ExpiredTokenException", status=400):
    """The web identity token or SAML assertion in the request has expired; get a new one."""


class ExpiredTradeInTokenException(ServiceError, code="ExpiredTradeInTokenException", status=400):
    """The trade-in token in the request has expired; get a new one."""


class IDPCommunicationErrorException(ServiceError, code="IDPCommunicationError", status=400):
    """STS could not reach the identity provider. Its API text asks to try again."""

    retryable = True


class IDPRejectedClaimException(ServiceError, code="IDPRejectedClaim", status=403):
    """The identity provider rejected the claim, or the claim has expired or was revoked."""


class InsufficientSessionLifetimeException(ServiceError, code="InsufficientSessionLifetime", status=400):
    """The credentials would outlive the session that asks for them; ask for less, or name no duration."""


class InvalidAuthorizationMessageException(ServiceError, code="InvalidAuthorizationMessageException", status=400):
    """The message to decode is not one that the service encoded."""


class InvalidContextAssertionException(ServiceError, code="InvalidContextAssertion", status=400):
    """A context assertion is malformed, has expired, or is not of a trusted provider; get a new one."""


class InvalidIdentityTokenException(ServiceError, code="InvalidIdentityToken", status=400):
    """The token cannot be validated. Retryable only when STS could not get the provider's verification key."""

    def _is_transient(self) -> bool:
        return super()._is_transient() or bool(re.search(_KEY_NOT_RETRIEVED, self.message))


class InvalidSubjectCredentialsException(ServiceError, code="InvalidSubjectCredentials", status=400):
    """The request is not signed with a valid session. The keys of a user or of a root user have none."""


class JWTPayloadSizeExceededException(ServiceError, code="JWTPayloadSizeExceededException", status=400):
    """The token that was asked for would be too large; send fewer or shorter tags."""


class MalformedPolicyDocumentException(ServiceError, code="MalformedPolicyDocument", status=400):
    """The session policy is not a valid policy document."""


class OutboundWebIdentityFederationDisabledException(
    ServiceError, code="OutboundWebIdentityFederationDisabledException", status=403
):
    """Outbound web identity federation is not enabled for the account."""


class PackedPolicyTooLargeException(ServiceError, code="PackedPolicyTooLarge", status=400):
    """Session policies and tags do not fit into a session token together."""


class RegionDisabledException(ServiceError, code="RegionDisabledException", status=403):
    """STS is not activated for the account in this region; another region may serve."""


class SessionDurationEscalationException(ServiceError, code="SessionDurationEscalationException", status=403):
    """The token would outlive the session that asks for it."""
