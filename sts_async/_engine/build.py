"""Makes the parts of a client from its resolved options: the endpoint, the transport and the engine."""

import logging
import ssl
from collections.abc import Callable, Sequence

import aiohttp

from .._config.certificates import Trust
from .._http.transport import AiohttpTransport, Owner
from .._protocol import endpoints
from .._protocol.clock_skew import ServiceClock
from .._protocol.proxies import Proxies, ProxySetting
from .._runtime.clock import SystemClock
from .._runtime.defaults import CONNECT_TIMEOUT
from .._runtime.single_flight import BackgroundTasks
from .._runtime.timeouts import TimeLimits
from .._wording.option_names import option, setting
from ..config import Config
from ..errors import ConfigurationError, STSError
from ..events import Observer
from ..protocols import Clock, CredentialsProvider, RetryPolicy, Transport
from ..retries import AdaptiveRetries, StandardRetries
from .loop import Engine, new_engine

log = logging.getLogger("sts_async")


def endpoint_of(config: Config, *, session: aiohttp.ClientSession | None = None) -> endpoints.Endpoint:
    """
    Return the endpoint for resolved options.

    Only the options that determine the endpoint are needed: with an endpoint URL given in code, no other option. Signed
    requests also need the region, so the endpoint keeps the error of an invalid region until then.

    Args:
        config: The resolved options.
        session: The program's aiohttp session, or None.

    Raises:
        ConfigurationError: There is neither a region nor an endpoint URL, they contradict other options, or an option
            that determines the endpoint is invalid.
    """
    if config.endpoint_url is None or config.is_found("endpoint_url"):
        config.need("endpoint_url", "ignore_configured_endpoint_urls", "use_fips_endpoint", "use_dualstack_endpoint")
    no_region = _no_region(config)
    if config.endpoint_url is None:
        config.need("sts_regional_endpoints")
        if no_region is not None:
            raise no_region
    endpoint = endpoints.resolve(
        region=config.region,
        endpoint_url=config.endpoint_url,
        use_fips=bool(config.use_fips_endpoint),
        use_dualstack=bool(config.use_dualstack_endpoint),
        use_global_endpoint=config.sts_regional_endpoints == "legacy",
        allow_http=config.allow_http,
        what=config.origin_of("endpoint_url"),
        flags=(config.origin_of("use_fips_endpoint"), config.origin_of("use_dualstack_endpoint")),
    )
    return endpoint._replace(
        signing_region=config.signing_region or endpoint.signing_region,
        signing_name=config.signing_name or endpoint.signing_name,
        no_region=no_region,
        secure=endpoint.secure and (_verifies(config, session) or endpoint.url.startswith("http:")),
    )


def _no_region(config: Config) -> ConfigurationError | None:
    """Return the error for a missing or invalid region, if there is more to say than that it is missing."""
    fault = config.fault("region")
    if fault is None and config.region is None and config.unread:
        return ConfigurationError(
            f"{endpoints.no_region()} (default files that cannot be read: {'; '.join(config.unread)})"
        )
    return fault


def _verifies(config: Config, session: aiohttp.ClientSession | None) -> bool:
    """Return True if TLS verification is enabled."""
    if session is None:
        return config.verify
    # `_ssl` is a private name of aiohttp. A connector without it counts as not verifying.
    trusted = getattr(session.connector, "_ssl", False)
    return trusted.verify_mode is ssl.CERT_REQUIRED if isinstance(trusted, ssl.SSLContext) else trusted is not False


def transport_of(
    config: Config, *, session: aiohttp.ClientSession | None = None, owner: Owner | None = None
) -> AiohttpTransport:
    """
    Return the transport for resolved options. It reads certificate files before its first TLS connection.

    Args:
        config: The resolved options.
        session: The program's aiohttp session; None for a new one.
        owner: The client, for the warning about an unclosed client.

    Raises:
        ConfigurationError: A client key has no certificate, or an option for connections is invalid.
    """
    config.need("app_id", "connect_timeout")
    trust = None
    if session is None:
        config.need("tcp_keepalive", "https_proxy", "http_proxy", "no_proxy")
        if config.client_key is not None and config.client_certificate is None:
            raise ConfigurationError(f"{option('client_key')} needs {option('client_certificate')}")
        trust = Trust.from_config(config)
        if not config.verify:
            log.warning("TLS verification is disabled (%s): credentials can be intercepted", setting("verify", "False"))
    return AiohttpTransport(
        session=session,
        max_connections=config.max_connections,
        connect_timeout=config.connect_timeout or CONNECT_TIMEOUT,
        attempt_timeout=config.attempt_timeout,
        max_response_bytes=config.max_response_bytes,
        trust=trust,
        app_id=config.app_id,
        user_agent_suffix=config.user_agent_suffix,
        proxies=proxies_of(config),
        keepalive_timeout=config.keepalive_timeout,
        tcp_keepalive=bool(config.tcp_keepalive),
        local_address=config.local_address,
        dns_cache_ttl=config.dns_cache_ttl,
        owner=owner,
    )


def proxies_of(config: Config) -> Proxies:
    """Return the proxies for resolved options."""
    one = _proxy(config, "proxy")
    return Proxies(
        https=one or _proxy(config, "https_proxy"),
        http=one or _proxy(config, "http_proxy"),
        exceptions=config.no_proxy or "",
    )


def _proxy(config: Config, option: str) -> ProxySetting | None:
    url = getattr(config, option)
    return None if url is None else ProxySetting(url=url, origin=config.origin_of(option))


def retries_of(config: Config) -> RetryPolicy:
    """
    Return the retry policy for resolved options: adaptive or standard.

    The legacy mode differs from standard only in the number of attempts.
    """
    config.need("retry_mode", "max_attempts")
    policy = StandardRetries if config.retry_mode in ("standard", "legacy") else AdaptiveRetries
    return policy(max_attempts=config.max_attempts or 1)


def engine_of(
    config: Config,
    *,
    endpoint: endpoints.Endpoint | None,
    no_endpoint: STSError | None = None,
    transport: Transport,
    credentials: CredentialsProvider,
    retries: RetryPolicy | None = None,
    tasks: BackgroundTasks | None = None,
    default_credentials: Callable[[], CredentialsProvider] | None = None,
    observers: Sequence[Observer] = (),
    time_limits: TimeLimits | None = None,
    clock: Clock | None = None,
    given: Config | None = None,
) -> Engine:
    """
    Return the engine for resolved options. Without an endpoint, it can only provide credentials.

    *given* has the options that were given in code.
    """
    clock = clock or SystemClock()
    if config.time_offset is None:
        config.need("disable_clock_skew_correction")
    return new_engine(
        endpoint=endpoint,
        no_endpoint=no_endpoint,
        transport=transport,
        credentials=credentials,
        retries=retries or retries_of(config),
        deadline=config.deadline,
        observers=observers,
        handlers=config.handlers,
        validate=config.validate_parameters,
        clock=ServiceClock(offset=config.time_offset, corrects=not config.disable_clock_skew_correction),
        tasks=tasks,
        default_credentials=default_credentials,
        config=config,
        given=given,
        time_limits=time_limits,
        wall_clock=clock.time,
        monotonic=clock.monotonic,
        sleep=clock.sleep,
    )
