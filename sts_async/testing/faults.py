"""
Faults that a test injects into a local server. They are added to the script `faults` of the server.

    server.faults.add(Throttle(times=2), Reset(after="headers"), Skew(3600))

Each fault affects the next request, or the next *times* requests, in the order of the script. A fault with a *path* or
an *operation* affects only matching requests. Until one arrives, other requests take the later faults. Without a fault,
the server responds normally.
"""

from collections import deque
from collections.abc import Mapping
from threading import Lock
from typing import Any, ClassVar, Literal

import attrs

from ..errors import ServiceError
from ..operations import OPERATIONS


def _at_least(least: float) -> Any:
    def check(_: object, attribute: Any, value: float) -> None:
        if isinstance(value, bool) or not least <= value < float("inf"):
            raise ValueError(f"{attribute.name} must be at least {least}")

    return check


def _whole_times(_instance: object, attribute: Any, value: int | None) -> None:
    if value is not None:
        _at_least(1)(_instance, attribute, value)


def _valid_status(_instance: object, _attribute: object, value: int) -> None:
    if not 200 <= value <= 599:
        raise ValueError("status must be 200 to 599")


def _an_operation(_instance: object, _attribute: object, value: str) -> None:
    names = [operation.name for operation in OPERATIONS]
    if value not in names:
        raise ValueError(f"operation must be one of {', '.join(names)}, not {value!r}")


@attrs.frozen(kw_only=True)
class Fault:
    """
    Base class of faults.

    Attributes:
        times: Number of requests that it affects; None for all requests until the script is cleared.
        path: Prefix of the paths of these requests; None for any path.
        operation: Name of the STS operation of these requests, such as ``AssumeRole``; None for any request.
    """

    times: int | None = attrs.field(default=1, validator=_whole_times)
    path: str | None = None
    operation: str | None = attrs.field(default=None, validator=attrs.validators.optional(_an_operation))

    def concerns(self, path: str, operation: str | None = None) -> bool:
        """Return True if the fault affects a request with this path and operation."""
        return (self.path is None or path.startswith(self.path)) and self.operation in (None, operation)


def _code_of(error: str | type[ServiceError]) -> str:
    if isinstance(error, str):
        return error
    if error.modelled_code is None:
        raise ValueError(f"{error.__name__} has no error code of its own: pass the code as text")
    return error.modelled_code


def _modelled_status(refuse: "Refuse") -> int:
    return getattr(ServiceError.by_code.get(refuse.code), "modelled_status", None) or 400


@attrs.frozen
class Refuse(Fault):
    """
    The service returns an error, in its own format: XML from STS, JSON or HTML from other servers.

    Attributes:
        code: Error code in the response, or one of the modelled error classes.
        message: Text of the error.
        status: HTTP status. Default: the status in the API model, or 400. Other servers than STS replace 400 by the
            status of their own code.
    """

    code: str = attrs.field(converter=_code_of)
    message: str = attrs.field(default="Refused by the script of the test", kw_only=True)
    status: int = attrs.field(
        default=attrs.Factory(_modelled_status, takes_self=True), validator=_valid_status, kw_only=True
    )


@attrs.frozen
class Throttle(Fault):
    """The service throttles: with HTTP 400 from STS, and with HTTP 429 and another code from other servers."""

    code: ClassVar[str] = "Throttling"
    message: ClassVar[str] = "Rate exceeded"
    status: ClassVar[int] = 400


@attrs.frozen
class Unavailable(Fault):
    """The service is unavailable: HTTP 503."""

    code: ClassVar[str] = "ServiceUnavailable"
    message: ClassVar[str] = "The service is unavailable. Please try again shortly."
    status: ClassVar[int] = 503


@attrs.frozen
class Delay(Fault):
    """
    The response is delayed.

    Attributes:
        seconds: The delay, in seconds of the real time; stopping the server ends it.
    """

    seconds: float = attrs.field(validator=_at_least(0))


@attrs.frozen
class Reset(Fault):
    """
    The connection is reset (RST).

    Attributes:
        after: ``connect``: after the request, before the response; ``headers``: after the headers of the response.
    """

    after: Literal["connect", "headers"] = attrs.field(
        default="connect", validator=attrs.validators.in_(("connect", "headers"))
    )


@attrs.frozen
class Truncate(Fault):
    """
    The connection is closed (FIN) before the whole body is sent.

    Attributes:
        at_bytes: Number of bytes of the body that are sent.
    """

    at_bytes: int = attrs.field(validator=_at_least(0))


def _as_bytes(body: bytes | str) -> bytes:
    return body.encode() if isinstance(body, str) else body


@attrs.frozen
class Answer(Fault):
    """
    The server returns this response, as a proxy between client and service could.

    Attributes:
        status: HTTP status.
        body: The body.
        headers: The headers, without those that aiohttp adds.
    """

    status: int = attrs.field(validator=_valid_status)
    body: bytes = attrs.field(default=b"", converter=_as_bytes, repr=False)
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)


@attrs.frozen
class Skew(Fault):
    """
    The service's clock is wrong.

    Attributes:
        seconds: Seconds by which it is ahead; negative if it is behind.
    """

    seconds: float = attrs.field(validator=_at_least(-1e9))


class Script:
    """Queue of faults. A test adds faults while the thread of the server takes them."""

    def __init__(self) -> None:
        self._pending: deque[Fault] = deque()
        self._lock = Lock()

    def add(self, *faults: Fault) -> None:
        """
        Append faults to the script.

        Raises:
            ValueError: One of them is not a fault.
        """
        for fault in faults:
            if not isinstance(fault, Fault) or type(fault) is Fault:
                raise ValueError(f"a script takes faults such as Throttle(), not a {type(fault).__name__}")
        with self._lock:
            self._pending.extend(faults)

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._pending.clear()

    def take(self, path: str = "/", operation: str | None = None) -> Fault | None:
        """Return the fault for a request with this path and operation, or None for a normal response."""
        with self._lock:
            for index, fault in enumerate(self._pending):
                if fault.concerns(path, operation):
                    if fault.times == 1:
                        del self._pending[index]
                    elif fault.times is not None:
                        self._pending[index] = attrs.evolve(fault, times=fault.times - 1)
                    return fault
            return None

    def __len__(self) -> int:
        """Return the number of requests that the faults affect; ``times=None`` counts as 1."""
        with self._lock:
            return sum(fault.times or 1 for fault in self._pending)

    def __bool__(self) -> bool:
        return bool(self._pending)
