"""
The client's own work, as opposed to a caller's call.

Work shared by many callers (fetching and refreshing credentials) uses the client's options, never those of the call
that triggered it: its deadline, region, headers, retries, handlers and observers.
Sources of credentials are given a `ClientContext`, and nothing else of a client. A call has no way to put its own
options in there: a context is made once, with the client's engine, and from what the client was made of.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from ._core.message import HttpRequest, HttpResponse
from ._core.secret import Unpicklable
from ._flight import Tasks
from ._meter import notify
from ._parts import CallOptions, Shared
from ._seams import CredentialsProvider, Invoker, RetryPolicy
from .events import Event


class ClientContext(Unpicklable):
    """What a client lends to the sources of its credentials; see `_seams.Lender`."""

    __slots__ = (
        "_engine",
        "_options",
        "default_credentials",
        "endpoint",
        "jitter",
        "monotonic",
        "shared",
        "sleep",
        "tasks",
        "wall_clock",
    )
    # Functions, but not methods, for which pyright takes a function in a class with slots.
    jitter: Any
    monotonic: Any
    sleep: Any
    wall_clock: Any

    def __init__(
        self,
        shared: Shared,
        options: CallOptions,
        *,
        engine: "Callable[[ClientContext, CallOptions], Invoker]",
        tasks: Tasks,
        default_credentials: Callable[[], CredentialsProvider] | None,
    ) -> None:
        self.shared = shared
        self.endpoint = options.endpoint
        self.wall_clock = shared.wall_clock
        self.monotonic = shared.monotonic
        self.sleep = shared.sleep
        self.jitter = shared.jitter
        self._options = options
        self._engine = engine
        self.tasks = tasks
        self.default_credentials = default_credentials

    def notify(self, event: Event) -> None:
        """Tell the client's observers."""
        notify(self._options.observers, event)

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Send *request* once over the client's connections."""
        return await self.shared.transport.send(request)

    def now(self) -> datetime:
        """Return the time by the service's clock, as far as it is known."""
        return self.shared.lasting_time()

    def signed_by(self, credentials: CredentialsProvider, *, retries: RetryPolicy | None = None) -> Invoker:
        """Return the client's engine with other credentials, and with other retries when they are given."""
        changed: dict[str, Any] = {"credentials": credentials}
        if retries is not None:
            changed["retries"] = retries
        return self._engine(self, self._options.replaced(**changed))
