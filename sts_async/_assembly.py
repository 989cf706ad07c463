"""What a client is made of, from its options: the endpoint, the transport and the engine."""

import asyncio
import ssl
from collections.abc import Callable

import aiohttp

from . import _files
from ._core import endpoints
from ._core.skew import ServiceClock
from ._engine import CredentialsProvider, Engine, RetryPolicy
from ._flight import Tasks
from ._limits import CONNECT_TIMEOUT
from ._transport import AiohttpTransport
from .config import Config
from .errors import ConfigurationError
from .retries import AdaptiveRetries, StandardRetries

MOST_CERTIFICATES = 4 << 20  # bytes of a bundle


def endpoint_of(config: Config) -> endpoints.Endpoint:
    """
    Return where requests go, by options that are resolved.

    Raises:
        ConfigurationError: There is neither region nor endpoint, or they contradict other options.
    """
    return endpoints.resolve(
        region=config.region,
        endpoint_url=config.endpoint_url,
        use_fips=bool(config.use_fips_endpoint),
        use_dualstack=bool(config.use_dualstack_endpoint),
        use_global_endpoint=config.sts_regional_endpoints == "legacy",
        allow_http=config.allow_http,
    )


async def transport_of(config: Config, *, session: aiohttp.ClientSession | None = None) -> AiohttpTransport:
    """
    Return the transport, by options that are resolved. Certificates are read in a thread.

    Raises:
        ConfigurationError: The CA bundle cannot be read.
    """
    trusted = None
    if config.ca_bundle is not None:
        trusted = await asyncio.to_thread(_trusting, config.ca_bundle)
    return AiohttpTransport(
        session=session,
        max_connections=config.max_connections,
        connect_timeout=config.connect_timeout or CONNECT_TIMEOUT,
        read_timeout=config.read_timeout,
        max_response_bytes=config.max_response_bytes,
        trusted=trusted,
        app_id=config.app_id,
    )


def _trusting(ca_bundle: str) -> ssl.SSLContext:
    try:
        data, _ = _files.read(ca_bundle, most=MOST_CERTIFICATES)
        return ssl.create_default_context(cadata=data.decode("ascii"))
    except (OSError, ValueError) as error:  # ssl.SSLError is the former
        reason = getattr(error, "strerror", None) or "no certificates in PEM form"
    raise ConfigurationError(f"ca_bundle: {ca_bundle!a}: {reason}")


def retries_of(config: Config) -> RetryPolicy:
    """Return the retry policy, by options that are resolved; the legacy mode differs only in how often it tries."""
    policy = AdaptiveRetries if config.retry_mode == "adaptive" else StandardRetries
    return policy(max_attempts=config.max_attempts or 1)


def engine_of(
    config: Config,
    *,
    endpoint: endpoints.Endpoint | None,
    transport: AiohttpTransport,
    credentials: CredentialsProvider,
    retries: RetryPolicy | None = None,
    tasks: Tasks | None = None,
    default_credentials: Callable[[], CredentialsProvider] | None = None,
) -> Engine:
    """Return the engine, by options that are resolved. Without an endpoint it only lends itself to other sources."""
    return Engine(
        endpoint=endpoint,
        transport=transport,
        credentials=credentials,
        retries=retries or retries_of(config),
        deadline=config.deadline,
        validate=config.validate_parameters,
        clock=ServiceClock(offset=config.time_offset, corrects=not config.disable_clock_skew_correction),
        tasks=tasks,
        default_credentials=default_credentials,
    )
