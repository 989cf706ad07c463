"""
The client's own work, as opposed to a caller's call.

Work shared by many callers (fetching and refreshing credentials) uses the client's options, never those of the call
that triggered it: its deadline, region, headers, retries, handlers and observers.
Sources of credentials are given a `ClientContext`, and nothing else of a client. A call has no way to put its own
options in there: a context is made once, with the client's engine, and from what the client was made of.

A view with other credentials has a context that differs in one thing: which credentials a source takes that was given
none of its own.
"""

import weakref
from collections.abc import Callable
from datetime import datetime
from typing import Any

from .._protocol.http_messages import HttpRequest, HttpResponse
from .._runtime.single_flight import BackgroundTasks
from .._runtime.threads import reading
from .._shape.secret import Unpicklable
from ..events import Event
from ..protocols import CredentialsProvider, Invoker, ProviderContext, RetryPolicy, invalidate, is_attended
from ..shapes import Credentials
from .call_options import CallOptions
from .client_state import Shared
from .metrics import notify


class ClientContext(Unpicklable):
    """What a client lends to the sources of its credentials; see `protocols.ProviderContext`."""

    __slots__ = (
        "__weakref__",
        "_client",
        "_engine",
        "_options",
        "client_credentials",
        "config",
        "credentials_key",
        "endpoint",
        "given",
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
        tasks: BackgroundTasks,
        default_credentials: Callable[[], CredentialsProvider] | None,
    ) -> None:
        self.shared = shared
        self.config = shared.config
        self.given = shared.given
        self.endpoint = options.endpoint
        self.wall_clock = shared.wall_clock
        self.monotonic = shared.monotonic
        self.sleep = shared.sleep
        self.jitter = shared.jitter
        self._options = options
        self._engine = engine
        self.tasks = tasks
        self._client: object = None
        self.credentials_key: tuple[object, ...] = ()
        self.client_credentials: CredentialsProvider | None = None
        if default_credentials is not None:
            self.client_credentials = ClientCredentials(self, find=default_credentials)

    @property
    def client(self) -> object:
        """What the client itself lends: the same object for all its views, as long as the client is there."""
        return self if self._client is None else self._client

    def based_on(self, credentials: CredentialsProvider) -> "ClientContext":
        """Return what is lent to the credentials of a view: sources without one of their own take *credentials*."""
        context = ClientContext(
            self.shared, self._options, engine=self._engine, tasks=self.tasks, default_credentials=None
        )
        context._client = self.client
        context.credentials_key = (*self.credentials_key, _Same(credentials))
        context.client_credentials = ClientCredentials(self, provider=credentials)
        return context

    @property
    def validates(self) -> bool:
        """Whether requests are checked before they are sent."""
        return self.shared.validate

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


class ClientCredentials(Unpicklable):
    """
    The credentials of a client, as the source of a provider that was given none. It asks with what that client lends.

    Args:
        context: What the client lends.
        provider: What signs the client's calls.
        find: Where *provider* is not known yet: returns it. Called in a thread, once.
    """

    __slots__ = ("_find", "context", "provider")

    def __init__(
        self,
        context: ClientContext,
        *,
        provider: CredentialsProvider | None = None,
        find: Callable[[], CredentialsProvider] | None = None,
    ) -> None:
        self.context = context
        self._find = find
        self.provider = provider

    async def provide_credentials(self, context: object, /) -> Credentials:
        """Return the credentials of the client, whatever *context* lends."""
        if self.provider is None:
            assert self._find is not None  # noqa: S101 - one of the two is there
            self.provider = await reading(self._find)  # importing every source reads files
        return await self.provider.provide_credentials(self.context)

    def invalidate(self, access_key_id: str) -> None:
        """Have the client's provider fetch anew, if it can, after the service refused *access_key_id*."""
        invalidate(self.provider, access_key_id)

    def is_attended(self, context: ProviderContext | None = None) -> bool:
        """Return True if the client's provider asks a person, whoever lends *context*; False while it is not known."""
        return is_attended(self.provider, self.context)

    def __repr__(self) -> str:
        return "the client's credentials"


class _Same:
    """A provider as a part of a key: equal for the same provider, of which it does not keep secrets alive."""

    __slots__ = ("_hash", "_provider")

    def __init__(self, provider: CredentialsProvider) -> None:
        self._hash = id(provider)
        self._provider: Callable[[], CredentialsProvider | None]
        try:
            self._provider = weakref.ref(provider)
        except TypeError:  # of a class with slots
            self._provider = lambda: provider

    def __eq__(self, other: object) -> bool:
        provider = self._provider()
        return provider is not None and isinstance(other, _Same) and provider is other._provider()

    def __hash__(self) -> int:
        return self._hash
