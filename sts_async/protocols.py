"""
The seams of a client, as protocols: transport, credentials provider, retry policy, and what a client lends.

Whatever has these methods can be put in.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol, TypeVar

from ._config.services import ClientSettings
from ._protocol.endpoints import Endpoint
from ._protocol.http_messages import HttpRequest, HttpResponse
from ._runtime.single_flight import BackgroundTasks
from .errors import STSError
from .events import Event
from .operations import Operation
from .shapes import Credentials, Request, Response

R = TypeVar("R", bound=Response)


class Transport(Protocol):
    """Sends a request once."""

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Return the whole answer, or raise a `TransportError`."""
        ...


class Invoker(Protocol):
    """Calls STS, at an endpoint."""

    endpoint: Endpoint | None

    async def invoke(self, operation: Operation[R], request: Request[R]) -> R:
        """Return the answer, or raise what `errors` lists."""
        ...


class ProviderContext(Transport, Protocol):
    """
    What a client lends to the sources of its credentials: its connections, its STS, its clocks.

    All of it is the client's own. Nothing of the call that happens to need credentials is in it, because what a source
    provides is shared by all callers.

    Attributes:
        endpoint: The STS that the client calls; None without a region.
        settings: What the client's options say about every service that a source calls.
        tasks: Where work begins that ends with the client.
        client_credentials: What a provider takes that signs and was given no source. For a view with other
            credentials: those of the client that it was made from. For a client: what the default chain finds. None
            where nothing finds credentials.
        credentials_key: Tells whose credentials `client_credentials` are among those of this client and its views.
        wall_clock: Returns seconds since 1970.
        monotonic: Returns seconds that no setting of a clock changes.
        sleep: Waits for some seconds.
        jitter: Returns a random number in [0, 1).
    """

    endpoint: Endpoint | None
    settings: ClientSettings
    tasks: BackgroundTasks
    client_credentials: "CredentialsProvider | None"
    credentials_key: tuple[object, ...]
    wall_clock: Callable[[], float]
    monotonic: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    jitter: Callable[[], float]

    @property
    def client(self) -> object:
        """The client that lends, whichever view asks: an object that can be weakly referenced."""
        ...

    def notify(self, event: Event) -> None:
        """Tell the client's observers."""
        ...

    def now(self) -> datetime:
        """Return the time by the service's clock, as far as it is known."""
        ...

    def signed_by(self, credentials: "CredentialsProvider", *, retries: "RetryPolicy | None" = None) -> "Invoker":
        """Return the client's engine with other credentials, and with other retries when they are given."""
        ...


class Clock(Protocol):
    """What tells the time and waits; `testing.VirtualClock` is one that a test moves."""

    def time(self) -> float:
        """Return seconds since 1970."""
        ...

    def monotonic(self) -> float:
        """Return seconds from some moment on, which no setting of a clock changes."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait until `monotonic` has moved by this many seconds."""
        ...


class CredentialsProvider(Protocol):
    """Finds credentials, and refreshes them when it must: asked anew before every attempt."""

    async def provide_credentials(self, context: ProviderContext, /) -> Credentials:
        """
        Return credentials that are valid now; *context* has a coroutine ``send``, for sources that answer over HTTP.

        Raises:
            CredentialsNotFound: There are none here.
            CredentialsError: There should be, but they cannot be had.
        """
        ...


class RetryPolicy(Protocol):
    """
    Decides whether and when to send again. Never sleeps.

    *scope* is whose limit a request counts against: the calling account and the region, "" for what is not signed.
    *now* is monotonic, in seconds.
    """

    def admit(self, *, scope: str, now: float) -> float:
        """Return 0 for a request that may be sent, or the seconds after which to ask again."""
        ...

    def after_success(self, *, scope: str, attempt: int, after: STSError | None, now: float) -> None:
        """Learn that attempt number *attempt* succeeded, and what ended the one before."""
        ...

    def after_failure(self, error: STSError, *, scope: str, attempt: int, now: float, jitter: float) -> float | None:
        """Return the seconds to wait before the next attempt, or None to give up; *jitter* is random in [0, 1)."""
        ...

    def after_unsent(self, error: STSError, *, scope: str, now: float) -> None:
        """Learn that the retry after *error*, for which `after_failure` returned a delay, will not be sent."""
        ...
