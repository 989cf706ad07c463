"""
The context of credentials providers: the parts of a client that they use.

Many callers share a fetch of credentials. So a fetch uses the options of the client (deadline, region, headers,
retries, handlers, observers), and never those of the call that triggered it. Providers get a `ClientContext` and
nothing else of a client. It is made once, with the client's engine and options, so a call cannot change it.

A view with other credentials has a context with one difference: the credentials for providers without a source.
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
from .client_state import ClientState
from .metrics import notify


class ClientContext(Unpicklable):
    """The context of a client's providers; see `protocols.ProviderContext`."""

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
        shared: ClientState,
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
        """The context of the client itself: the same object for all its views, for the life of the client."""
        return self if self._client is None else self._client

    def based_on(self, credentials: CredentialsProvider, *, options: CallOptions | None = None) -> "ClientContext":
        """
        Return the context for a view's providers: those without a source use *credentials*.

        Args:
            credentials: The provider.
            options: The options of its requests; None for those of the client.
        """
        context = ClientContext(
            self.shared, options or self._options, engine=self._engine, tasks=self.tasks, default_credentials=None
        )
        context._client = self.client
        context.credentials_key = (*self.credentials_key, _ProviderKey(credentials))
        context.client_credentials = ClientCredentials(self, provider=credentials)
        return context

    @property
    def validates(self) -> bool:
        """Whether requests are validated before they are sent."""
        return self.shared.validate

    @property
    def is_observed(self) -> bool:
        """Whether there are observers."""
        return bool(self._options.observers)

    def notify(self, event: Event) -> None:
        """Pass *event* to the observers of the client."""
        notify(self._options.observers, event)

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Send *request* once over the client's connections."""
        return await self.shared.transport.send(request)

    def now(self) -> datetime:
        """Return the time of the service's clock. Unless its offset is known, this is the time of this host."""
        return self.shared.lasting_time()

    def signed_by(self, credentials: CredentialsProvider, *, retries: RetryPolicy | None = None) -> Invoker:
        """Return an engine of the client with other credentials, and with other retries if given."""
        changed: dict[str, Any] = {"credentials": credentials}
        if retries is not None:
            changed["retries"] = retries
        return self._engine(self, self._options.replaced(**changed))


class ClientCredentials(Unpicklable):
    """
    The credentials of a client, as the source of a provider without a source.

    Args:
        context: The context of that client.
        provider: The credentials provider of that client; None if *find* returns it.
        find: Returns the provider. Called once, in a thread.
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
        """Return the credentials of the client. *context* is ignored: the client's own context is used."""
        if self.provider is None:
            assert self._find is not None  # noqa: S101 - one of the two is there
            self.provider = await reading(self._find)  # in a thread, because importing the providers reads files
        return await self.provider.provide_credentials(self.context)

    def invalidate(self, access_key_id: str) -> None:
        """Make the client's provider fetch again, if it can, after the service has refused *access_key_id*."""
        invalidate(self.provider, access_key_id)

    def is_attended(self, context: ProviderContext | None = None) -> bool:
        """Return True if the client's provider asks a person; False while the provider is not known."""
        return is_attended(self.provider, self.context)

    def __repr__(self) -> str:
        return "the client's credentials"


class _ProviderKey:
    """A provider as part of a key: equal for the same provider. It does not keep the provider's secrets alive."""

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
        return provider is not None and isinstance(other, _ProviderKey) and provider is other._provider()

    def __hash__(self) -> int:
        return self._hash
