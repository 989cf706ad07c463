"""
The protocols of the parts that a program can replace, and every type that such parts need.

A class implements a protocol by having its methods. It need not inherit from it.

Transport            sends one HTTP request               `STSClient(transport=...)`
CredentialsProvider  finds credentials                    `STSClient(credentials=...)`
RetryPolicy          decides about retries                `STSClient(retries=...)`
Clock                returns the time and waits           `STSClient(clock=...)`
Observer             receives events, see `events`        `STSClient(observers=[...])`
RequestHandler       adds headers, see `handlers`         `Config(handlers=[...])`

The other names are types of their arguments and results. A provider that fetches credentials is best a subclass of
`credentials.RefreshingProvider`, which caches and refreshes them by its `Schedule`.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol, TypeVar

from ._protocol.endpoints import Endpoint
from ._protocol.http_messages import HttpRequest, HttpResponse
from ._runtime.single_flight import BackgroundTasks
from ._shape.secret import Secret, SecretBytes
from .config import Config
from .credentials._schedule import Schedule
from .errors import STSError
from .events import Event, Observer
from .handlers import OutgoingRequest, RequestHandler
from .operations import Operation
from .shapes import Credentials, Request, Response

__all__ = [
    "BackgroundTasks",
    "Clock",
    "CredentialsProvider",
    "Endpoint",
    "HttpRequest",
    "HttpResponse",
    "Invoker",
    "Observer",
    "Operation",
    "OutgoingRequest",
    "ProviderContext",
    "RequestHandler",
    "RetryPolicy",
    "Schedule",
    "Secret",
    "SecretBytes",
    "Transport",
    "invalidate",
    "is_attended",
]

R = TypeVar("R", bound=Response)


class Transport(Protocol):
    """Sends a request once."""

    async def send(self, request: HttpRequest) -> HttpResponse:
        """
        Return the whole response, whatever its status.

        A transport follows no redirect, tries nothing again and decompresses nothing. It reads ``request.headers`` when
        it is about to send, because reading them signs the request. The deadline of a call cancels it. Any exception
        other than an `STSError` ends the call, without a retry, and comes out of it unchanged.

        Raises:
            TransportError: No whole response came. Its subclasses say why, and whether the request may have been sent.
        """
        ...


class Invoker(Protocol):
    """
    Calls STS with given credentials.

    Attributes:
        endpoint: The endpoint of STS; None without a region.
    """

    endpoint: Endpoint | None

    async def invoke(self, operation: Operation[R], request: Request[R]) -> R:
        """
        Return the response to *request*; *operation* is its row in `operations`.

        Raises:
            STSError: The call failed; see `errors`.
        """
        ...


class ProviderContext(Transport, Protocol):
    """
    The parts of a client that its credentials providers use: its connections, its STS, its clocks.

    All parts belong to the client. None belongs to the call that needs credentials, because all callers share the
    result of a provider.

    Attributes:
        endpoint: The STS that the client calls; None without a region.
        config: The resolved options of the client: from code, the environment, the profile or the defaults.
        given: The options that were given in code. Other options are None there.
        tasks: Starts background tasks that end with the client.
        client_credentials: The source for a provider that signs and has none. For a view with other credentials: the
            credentials of the client that it was made from. For a client: those of the default chain. None if there is
            no default chain.
        credentials_key: Identifies `client_credentials` among the credentials of this client and its views.
        wall_clock: Returns seconds since 1970.
        monotonic: Returns seconds from an arbitrary moment on; setting a clock does not change them.
        sleep: Waits for some seconds.
        jitter: Returns a random number in [0, 1).
    """

    endpoint: Endpoint | None
    config: Config
    given: Config
    tasks: BackgroundTasks
    client_credentials: "CredentialsProvider | None"
    credentials_key: tuple[object, ...]
    wall_clock: Callable[[], float]
    monotonic: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    jitter: Callable[[], float]

    @property
    def client(self) -> object:
        """The same object for a client and all its views. It can be weakly referenced."""
        ...

    @property
    def validates(self) -> bool:
        """Whether requests are validated before they are sent."""
        ...

    def notify(self, event: Event) -> None:
        """Pass *event* to the client's observers."""
        ...

    def now(self) -> datetime:
        """Return the time of the service's clock. Unless its offset is known, this is the time of this host."""
        ...

    def signed_by(self, credentials: "CredentialsProvider", *, retries: "RetryPolicy | None" = None) -> Invoker:
        """
        Return an object that calls the client's STS with other credentials.

        Args:
            credentials: The provider whose credentials sign the requests.
            retries: The retry policy; None for the policy of the client.
        """
        ...


class Clock(Protocol):
    """
    Returns the time and waits. A test can move `testing.VirtualClock`.

    A clock may have a further member, which a fleet uses if it exists:

    - ``call_later(seconds, callback)``: calls the function *callback*, without arguments, in the running event loop
      when `monotonic` has moved by *seconds*. It returns an object with a method ``cancel()``. Without it, the fleet
      uses the timers of the event loop.
    """

    def time(self) -> float:
        """Return seconds since 1970."""
        ...

    def monotonic(self) -> float:
        """Return seconds from an arbitrary moment on; setting a clock does not change them."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait until `monotonic` has moved by this many seconds."""
        ...


class CredentialsProvider(Protocol):
    """
    Provides credentials. The client asks before every attempt, so a provider that fetches them needs a cache.

    A provider may have further members, which the library uses if they exist:

    - ``invalidate(access_key_id)``: called after the service has refused this key. The next use must fetch new ones.
    - ``is_attended(context)``: returns True if a fetch asks a person, for example for an MFA code. Then providers
      that use this one as their source do not refresh in the background. *context* is None if it is not known.
    - ``depends_on_client``: False if all clients get the same credentials. Then providers that use this one as their
      source keep one cache for all clients.
    - ``bounds_itself``: True if `provide_credentials` always ends by itself. A `ProviderChain` ends others after 60 s.
    - ``name``: text for messages; the name of the class otherwise.
    """

    async def provide_credentials(self, context: ProviderContext, /) -> Credentials:
        """
        Return valid credentials. A source that is reached over HTTP uses the coroutine ``context.send``.

        Raises:
            CredentialsNotFound: This source is not configured. A chain continues with the next source.
            CredentialsError: This source is configured and failed.
        """
        ...


class RetryPolicy(Protocol):
    """
    Decides whether and when a request is sent again. It never sleeps.

    *scope* identifies the limit that a request counts against: the calling account and the region; "" for a request
    that is not signed. *now* is monotonic, in seconds.

    `after_unsent` may be missing. A policy may have an attribute ``quota``: the tokens that are left for retries, which
    events report.
    """

    def admit(self, *, scope: str, now: float) -> float:
        """Return 0 if a request may be sent now, otherwise the seconds after which to ask again."""
        ...

    def after_success(self, *, scope: str, attempt: int, after: STSError | None, now: float) -> None:
        """Record that attempt number *attempt* succeeded; *after* is the error of the attempt before it, or None."""
        ...

    def after_failure(self, error: STSError, *, scope: str, attempt: int, now: float, jitter: float) -> float | None:
        """Return the seconds to wait before the next attempt, or None to give up; *jitter* is random in [0, 1)."""
        ...

    def after_unsent(self, error: STSError, *, scope: str, now: float) -> None:
        """Record that the retry after *error*, for which `after_failure` returned a delay, will not be sent."""
        ...


def invalidate(provider: object, access_key_id: str) -> bool:
    """
    Make *provider* fetch again before its next use, because the service has refused *access_key_id*.

    A provider that wraps another provider calls this function for it.

    Returns:
        False if the provider cannot: it has no method ``invalidate``.
    """
    method = getattr(provider, "invalidate", None)
    if method is None:
        return False
    method(access_key_id)
    return True


def is_attended(provider: object, context: ProviderContext | None = None) -> bool:
    """
    Return True if a fetch by *provider* asks a person, as far as is known.

    Args:
        provider: A provider; one without a method ``is_attended`` asks no person.
        context: The context of the client that fetches; None if it is not known.
    """
    method = getattr(provider, "is_attended", None)
    return method is not None and bool(method(context))
