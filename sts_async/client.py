"""The client: what it is made of, how it is closed, and `send`. Its eleven coroutines are in `calls`."""

from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
import attrs

from . import shapes as s
from ._core import endpoints
from ._core.secret import Unpicklable
from ._engine import CredentialsProvider, Engine, RetryPolicy
from ._transport import AiohttpTransport
from .calls import Calls
from .config import Config
from .credentials import EnvironmentProvider, StaticProvider
from .errors import ConfigurationError
from .operations import BY_REQUEST, Operation
from .retries import StandardRetries
from .sigv4 import PresignedUrl

R = TypeVar("R", bound=s.Response)


class STSClient(Unpicklable, Calls):
    """
    A client of the AWS Security Token Service.

        async with STSClient(region="eu-west-1") as sts:
            response = await sts.assume_role(role_arn="arn:aws:iam::123456789012:role/demo", role_session_name="me")

    Make one and share it: it holds a pool of connections, and any number of tasks can call it at once. Making one
    does no I/O. Without ``async with``, call `aclose` at the end.

    Args:
        region: AWS region. Short for `Config.region`.
        credentials: What signs: `Credentials`, or any object with a coroutine ``provide_credentials(transport)``.
            None takes the environment variables.
        endpoint_url: Short for `Config.endpoint_url`.
        config: All other options.
        retries: Decides about retries; None retries what can succeed later, up to `Config.max_attempts`.
        session: An aiohttp session to use in place of one of our own. It is never closed here.

    Raises:
        ConfigurationError: Options contradict each other, or there is neither region nor endpoint.
    """

    def __init__(
        self,
        *,
        region: str | None = None,
        credentials: s.Credentials | CredentialsProvider | None = None,
        endpoint_url: str | None = None,
        config: Config | None = None,
        retries: RetryPolicy | None = None,
        session: aiohttp.ClientSession | None = None,
    ) -> None:
        _expect(config, Config, "config")
        _expect(session, aiohttp.ClientSession, "session")
        if retries is not None and (isinstance(retries, type) or not hasattr(retries, "after_failure")):
            raise ConfigurationError(
                f"retries must be a policy such as StandardRetries(max_attempts=5), not {retries!r}"
            )
        options: dict[str, Any] = {"region": region, "endpoint_url": endpoint_url}
        given = {name: value for name, value in options.items() if value is not None}
        self._config = attrs.evolve(config or Config(), **given).resolve()
        self._endpoint = _endpoint(self._config)
        self._transport = AiohttpTransport(
            session=session,
            max_connections=self._config.max_connections,
            connect_timeout=self._config.connect_timeout,
            read_timeout=self._config.read_timeout,
            max_response_bytes=self._config.max_response_bytes,
        )
        self._engine = Engine(
            endpoint=self._endpoint,
            transport=self._transport,
            credentials=_provider(credentials),
            retries=retries or StandardRetries(max_attempts=self._config.max_attempts or 1),
            validate=self._config.validate_parameters,
        )

    @property
    def region(self) -> str | None:
        """The region that requests are signed for, or None when an endpoint was given without one."""
        return self._endpoint.signing_region

    @property
    def endpoint_url(self) -> str:
        """The URL that requests are sent to."""
        return self._endpoint.url

    async def aclose(self) -> None:
        """Close the connections, in at most 5 s. Later calls raise `ClientClosedError`; closing again does nothing."""
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        if not hasattr(self, "_endpoint"):  # in the traceback of an error in the constructor
            return "<STSClient that was not made>"
        return f"STSClient({self.endpoint_url!r}, region={self.region!r})"

    def send(self, request: s.Request[R]) -> Coroutine[Any, Any, R]:
        """
        Send a prepared request, and return the response of its type.

        Raises:
            TypeError: *request* is not a request.
            ConfigurationError: A signed operation, and an endpoint without a region.
            ClientClosedError: The client is closed.
            ParamValidationError: Members break constraints; nothing was sent.
            CredentialsError: There are no credentials, or they cannot be had.
            TransportError: No answer came.
            ResponseParseError: The answer is not one of STS.
            ServiceError: STS refused; see the operation for the modelled errors.
        """
        return self._engine.invoke(_operation(request), request)  # the engine's coroutine, and no frame around it

    async def presign(self, request: s.Request[Any], *, expires: int = 60) -> PresignedUrl:
        """
        Return a URL that performs *request* when it is fetched, by whoever fetches it.

        Args:
            request: A request of a signed operation, with nothing secret in it.
            expires: How long the URL is good for, 1 to 604,800 s. (STS itself takes it for 15 minutes.)

        Raises:
            ConfigurationError: The request is not signed or holds a secret, or *expires* is out of range.
            ParamValidationError: Members break constraints.
            CredentialsError: There are no credentials, or they cannot be had.
        """
        return await self._engine.presign(_operation(request), request, expires=expires)

    def get_cached_response_metadata(self, request: s.Request[Any]) -> s.ResponseMetadata | None:
        """Return the metadata of the last response to a request equal to *request*, among the last 50, or None."""
        return self._engine.metadata_of(_operation(request), request)


def _operation(request: s.Request[R]) -> Operation[R]:
    operation = BY_REQUEST.get(type(request))
    if operation is None:
        raise TypeError(f"expected a request such as AssumeRoleRequest, not a {type(request).__name__}")
    return operation


def _expect(given: object, kind: type, name: str) -> None:
    if not isinstance(given, kind | None):
        raise ConfigurationError(f"{name} must be a {kind.__name__}, not a {type(given).__name__}")


def _provider(credentials: s.Credentials | CredentialsProvider | None) -> CredentialsProvider:
    if credentials is None:
        return EnvironmentProvider()
    if isinstance(credentials, s.Credentials):
        return StaticProvider(credentials)
    if not callable(getattr(credentials, "provide_credentials", None)):
        raise ConfigurationError(
            "credentials must be Credentials or an object with a coroutine provide_credentials(transport), "
            f"not a {type(credentials).__name__}"
        )
    return credentials


def _endpoint(config: Config) -> endpoints.Endpoint:
    return endpoints.resolve(
        region=config.region,
        endpoint_url=config.endpoint_url,
        use_fips=bool(config.use_fips_endpoint),
        use_dualstack=bool(config.use_dualstack_endpoint),
        use_global_endpoint=config.sts_regional_endpoints == "legacy",
        allow_http=config.allow_http,
    )
