"""Values of labels and attributes: outcomes, error codes, operations and sources, each from a bounded set."""

from .. import errors
from .._wording.printable import printable
from ..errors import FINAL_CODES, THROTTLING_CODES, TRANSIENT_CODES, ServiceError, STSError
from ..operations import OPERATIONS

SUCCESS = "success"
OTHER = "other"
FRESH = "fresh"
FAILURE_STATES = frozenset({"stale", "failing"})
KNOWN_STATES = FAILURE_STATES | {"waiting", FRESH, "paused"}  # of an identity; those of `fleet.IdentityState`
REMOVED = "removed"
AVAILABLE = {True: "available", False: "unavailable"}  # states of a cache that processes share
MAX_NAMES = 1000  # names of credentials sources, or of caches; a program can have one for each customer

# Seconds. Source: OpenTelemetry semantic conventions, rpc.client.call.duration.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)

# Source: STS API Reference, "Common Error Types", current and former edition, and undocumented codes of STS.
COMMON_CODES = frozenset(
    """
    AccessDeniedException ExpiredToken IncompleteSignature InternalError InternalServerError InvalidAction
    InvalidClientTokenId InvalidParameterCombination InvalidParameterValue InvalidQueryParameter InvalidToken
    MalformedHttpRequestException MalformedInput MalformedQueryString MissingAction MissingAuthenticationToken
    MissingAuthenticationTokenException MissingParameter NotAuthorized OptInRequired RequestAbortedException
    RequestEntityTooLargeException RequestExpired RequestTimeoutException ServiceUnavailable SignatureDoesNotMatch
    UnrecognizedClientException UnknownOperationException ValidationError ValidationException
    """.split()
)
KNOWN_CODES = COMMON_CODES | THROTTLING_CODES | TRANSIENT_CODES | FINAL_CODES | frozenset(ServiceError.by_code)
KNOWN_OPERATIONS = frozenset(operation.name for operation in OPERATIONS)
STATUSES = {3: "http_3xx", 4: "http_4xx", 5: "http_5xx"}


def error_type(error: STSError) -> str:
    """Return the service's error code on one line; without a code, the name of the error's class."""
    return printable(error.code) if isinstance(error, ServiceError) else type(error).__name__


def outcome(error: STSError | None) -> str:
    """
    Return the outcome of a call or an attempt. The set of values is bounded, so a server cannot create metric series.

    Returns:
        ``success``, a known error code, ``http_4xx`` or similar for an unknown code, or the name of an `errors` class.
    """
    if error is None:
        return SUCCESS
    if isinstance(error, ServiceError):
        return error.code if error.code in KNOWN_CODES else STATUSES.get(error.status // 100, OTHER)
    return next(cls.__name__ for cls in type(error).__mro__ if cls.__module__ == errors.__name__)


def known_code(code: str) -> str:
    """Return *code* if it is known, else ``other``."""
    return code if code in KNOWN_CODES else OTHER


def known_operation(name: str) -> str:
    """Return *name* if it is one of the twelve operations, else ``other``."""
    return name if name in KNOWN_OPERATIONS else OTHER


def known_state(state: str) -> str:
    """Return *state* if it is a state of an identity, else ``other``."""
    return state if state in KNOWN_STATES else OTHER


class Names:
    """Set of the first thousand names, for instance of credentials sources; later names are replaced by ``other``."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def known(self, name: str) -> str:
        """Return *name* if it is one of the first thousand names, else ``other``."""
        if name not in self._names:
            if len(self._names) >= MAX_NAMES:
                return OTHER
            self._names.add(name)
        return name
