"""The state that all calls of one client share: its transport, its clocks, and its caches."""

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from .._protocol.clock_skew import ServiceClock
from .._runtime.timeouts import TimeLimits
from ..config import Config
from ..protocols import Transport

if TYPE_CHECKING:
    from .._runtime.semaphore import FifoSemaphore
    from ..shapes import ResponseMetadata


class ClientState:
    """
    The state that all engines of one client share.

    Attributes:
        transport: Sends HTTP requests.
        validate: Whether requests are validated before they are sent.
        config: The resolved options.
        given: The options that were given in code.
        clock: The clock of the service.
        time_limits: The deadlines of the running calls.
        closed: Whether the client is closed.
        queues: Semaphores for requests queued by the retry policy, by event loop, policy and scope.
        metadata: The metadata of the last responses, by the digest of the request.
        wall_clock: Returns seconds since 1970.
        monotonic: Returns monotonic seconds.
        sleep: Waits for some seconds.
        jitter: Returns a random number in [0, 1).
    """

    __slots__ = (
        "__weakref__",
        "clock",
        "closed",
        "config",
        "given",
        "jitter",
        "metadata",
        "monotonic",
        "queues",
        "sleep",
        "time_limits",
        "transport",
        "validate",
        "wall_clock",
    )
    # Functions, but not methods, for which pyright takes a function in a class with slots.
    jitter: Any
    monotonic: Any
    sleep: Any
    wall_clock: Any

    def __init__(
        self,
        *,
        transport: Transport,
        validate: bool = True,
        config: Config | None = None,
        given: Config | None = None,
        clock: ServiceClock | None = None,
        time_limits: TimeLimits | None = None,
        wall_clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.transport = transport
        self.validate = validate
        self.config = config or Config()
        self.given = given or Config()
        self.clock = clock or ServiceClock()
        self.time_limits = time_limits or TimeLimits()
        self.closed = False
        self.queues: dict[object, FifoSemaphore] = {}
        self.metadata: OrderedDict[str, ResponseMetadata] = OrderedDict()
        self.wall_clock = wall_clock
        self.monotonic = monotonic
        self.sleep = sleep
        self.jitter = jitter

    def lasting_time(self) -> datetime:
        """Return the time for presigned URLs and expiry: the offset counts only after several responses confirm it."""
        return datetime.fromtimestamp(self.wall_clock() + self.clock.confirmed, UTC)
