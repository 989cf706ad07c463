"""
What can go wrong between a client and a service, as values. ``faults`` of each server here takes them, in order.

    server.faults.add(Throttle(times=2), Reset(after="headers"), Skew(3600))

Each takes the next request, or the next *times* of them; then service is normal again. One with a *path* or an
*operation* waits for the next such request, and those behind it do not wait for it.
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
    Something that goes wrong.

    Attributes:
        times: How many requests it takes; None for all of them, until the script is cleared.
        path: What the paths of those requests begin with; None for any request.
        operation: Name of the STS operation that those requests call, such as ``AssumeRole``; None for any request.
    """

    times: int | None = attrs.field(default=1, validator=_whole_times)
    path: str | None = None
    operation: str | None = attrs.field(default=None, validator=attrs.validators.optional(_an_operation))

    def concerns(self, path: str, operation: str | None = None) -> bool:
        """Return True if it takes requests of *path* that call *operation*."""
        return (self.path is None or path.startswith(self.path)) and self.operation in (None, operation)


def _code_of(error: str | type[ServiceError]) -> str:
    if isinstance(error, str):
        return error
    if error.modelled_code is None:
        raise ValueError(f"{error.__name__} has no error code of its own: give the code")
    return error.modelled_code


def _modelled_status(refuse: "Refuse") -> int:
    return getattr(ServiceError.by_code.get(refuse.code), "modelled_status", None) or 400


@attrs.frozen
class Refuse(Fault):
    """
    The service refuses, with an error document of its own kind: XML from STS, JSON or HTML from others.

    Attributes:
        code: Error code on the wire, or one of the modelled error classes.
        message: Text of the error.
        status: HTTP status; that of the API model, or 400, when it is left out. Servers other than STS know the
            statuses of their own codes, and take 400 for left out.
    """

    code: str = attrs.field(converter=_code_of)
    message: str = attrs.field(default="Refused by the script of the test", kw_only=True)
    status: int = attrs.field(
        default=attrs.Factory(_modelled_status, takes_self=True), validator=_valid_status, kw_only=True
    )


@attrs.frozen
class Throttle(Fault):
    """The caller sends too much: HTTP 400, as STS does it; other servers have a code of their own, and HTTP 429."""

    code: ClassVar[str] = "Throttling"
    message: ClassVar[str] = "Rate exceeded"
    status: ClassVar[int] = 400


@attrs.frozen
class Unavailable(Fault):
    """The service is not there: HTTP 503."""

    code: ClassVar[str] = "ServiceUnavailable"
    message: ClassVar[str] = "The service is unavailable. Please try again shortly."
    status: ClassVar[int] = 503


@attrs.frozen
class Delay(Fault):
    """
    The answer comes late.

    Attributes:
        seconds: How late; the server stops without waiting for it.
    """

    seconds: float = attrs.field(validator=_at_least(0))


@attrs.frozen
class Reset(Fault):
    """
    The connection is reset (RST).

    Attributes:
        after: ``connect``: when the request has come, before anything is answered; ``headers``: when the headers of
            the answer are sent.
    """

    after: Literal["connect", "headers"] = attrs.field(
        default="connect", validator=attrs.validators.in_(("connect", "headers"))
    )


@attrs.frozen
class Truncate(Fault):
    """
    The connection is closed (FIN) before the whole body is sent.

    Attributes:
        at_bytes: How much of the body is sent.
    """

    at_bytes: int = attrs.field(validator=_at_least(0))


def _as_bytes(body: bytes | str) -> bytes:
    return body.encode() if isinstance(body, str) else body


@attrs.frozen
class Answer(Fault):
    """
    Anything at all is answered, as a proxy in between would.

    Attributes:
        status: HTTP status.
        body: The body.
        headers: The headers, without those that HTTP needs.
    """

    status: int = attrs.field(validator=_valid_status)
    body: bytes = attrs.field(default=b"", converter=_as_bytes, repr=False)
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)


@attrs.frozen
class Skew(Fault):
    """
    The service's clock is wrong.

    Attributes:
        seconds: How far it is ahead; negative when it is behind.
    """

    seconds: float = attrs.field(validator=_at_least(-1e9))


class Script:
    """Faults that wait for requests. A test adds to them while the server takes them, in another thread."""

    def __init__(self) -> None:
        self._waiting: deque[Fault] = deque()
        self._lock = Lock()

    def add(self, *faults: Fault) -> None:
        """
        Put faults at the end of the script.

        Raises:
            ValueError: One of them is not a fault.
        """
        for fault in faults:
            if not isinstance(fault, Fault) or type(fault) is Fault:
                raise ValueError(f"a script takes faults such as Throttle(), not a {type(fault).__name__}")
        with self._lock:
            self._waiting.extend(faults)

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._waiting.clear()

    def take(self, path: str = "/", operation: str | None = None) -> Fault | None:
        """Return the fault of the next request, of *path* and *operation*, or None for normal service."""
        with self._lock:
            for index, fault in enumerate(self._waiting):
                if fault.concerns(path, operation):
                    if fault.times == 1:
                        del self._waiting[index]
                    elif fault.times is not None:
                        self._waiting[index] = attrs.evolve(fault, times=fault.times - 1)
                    return fault
            return None

    def __len__(self) -> int:
        """Return how many requests the faults take; one with ``times=None`` counts as 1."""
        with self._lock:
            return sum(fault.times or 1 for fault in self._waiting)

    def __bool__(self) -> bool:
        return bool(self._waiting)
