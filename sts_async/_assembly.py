"""What a client is made of, from its options: the endpoint, the transport and the engine."""

import logging
import ssl
from collections.abc import Callable, Sequence
from functools import partial

import aiohttp

from ._certificates import trust_of
from ._clock import SystemClock
from ._core import endpoints
from ._core.proxies import Proxies, ProxySetting
from ._core.skew import ServiceClock
from ._engine import Engine, new_engine
from ._flight import Tasks
from ._limits import CONNECT_TIMEOUT, TimeLimits
from ._seams import Clock, CredentialsProvider, RetryPolicy
from ._threads import reading
from ._transport import AiohttpTransport, Owner
from .config import Config
from .errors import ConfigurationError, STSError
from .events import Observer
from .retries import AdaptiveRetries, StandardRetries

log = logging.getLogger("sts_async")


def endpoint_of(config: Config, *, session: aiohttp.ClientSession | None = None) -> endpoints.Endpoint:
    """
    Return where requests go, by options that are resolved, and over *session*, if it is the user's.

    Raises:
        ConfigurationError: There is neither region nor endpoint, or they contradict other options.
    """
    endpoint = endpoints.resolve(
        region=config.region,
        endpoint_url=config.endpoint_url,
        use_fips=bool(config.use_fips_endpoint),
        use_dualstack=bool(config.use_dualstack_endpoint),
        use_global_endpoint=config.sts_regional_endpoints == "legacy",
        allow_http=config.allow_http,
        what=config.origin_of("endpoint_url"),
    )
    return endpoint._replace(
        signing_region=config.signing_region or endpoint.signing_region,
        signing_name=config.signing_name or endpoint.signing_name,
        secure=endpoint.secure and (_verifies(config, session) or endpoint.url.startswith("http:")),
    )


def _verifies(config: Config, session: aiohttp.ClientSession | None) -> bool:
    """Say whether TLS peers must prove who they are."""
    if session is None:
        return config.verify
    trusted = getattr(session.connector, "_ssl", True)  # aiohttp has no public name for it
    return trusted.verify_mode is ssl.CERT_REQUIRED if isinstance(trusted, ssl.SSLContext) else trusted is not False


async def transport_of(
    config: Config,
    *,
    session: aiohttp.ClientSession | None = None,
    owner: Owner | None = None,
    plain: bool = False,
) -> AiohttpTransport:
    """
    Return the transport, by options that are resolved. Certificates are read in a thread.

    Args:
        config: The options.
        session: The user's session, to be used in place of one of our own.
        owner: The client, for the warning that it was not closed.
        plain: Whether the endpoint is one without TLS. Certificates are then read only when something else is asked
            over TLS, such as a source of credentials: reading those of a whole system takes longer than a call.

    Raises:
        ConfigurationError: The CA bundle, the client's certificate or its key cannot be read.
    """
    if config.client_key is not None and config.client_certificate is None:
        raise ConfigurationError("client_key needs client_certificate")
    trusted, proxies = None, proxies_of(config)
    trust = None
    if session is None and not (config.verify and config.ca_bundle is None and config.client_certificate is None):
        trust = partial(reading, trust_of, config)
        if not plain or proxies.http is not None:
            trusted, trust = await trust(), None
        if not config.verify:
            log.warning("TLS peers need not prove who they are (verify=False): keys can be read on the way")
    return AiohttpTransport(
        session=session,
        max_connections=config.max_connections,
        connect_timeout=config.connect_timeout or CONNECT_TIMEOUT,
        read_timeout=config.read_timeout,
        max_response_bytes=config.max_response_bytes,
        trusted=trusted,
        trust=trust,
        app_id=config.app_id,
        user_agent_suffix=config.user_agent_suffix,
        proxies=proxies,
        keepalive_timeout=config.keepalive_timeout,
        tcp_keepalive=bool(config.tcp_keepalive),
        local_address=config.local_address,
        dns_cache_ttl=config.dns_cache_ttl,
        owner=owner,
    )


def proxies_of(config: Config) -> Proxies:
    """Return the proxies, by options that are resolved."""
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
    Return the retry policy, by options that are resolved: adaptive, or standard.

    The legacy mode differs from standard in the number of attempts only.
    """
    policy = StandardRetries if config.retry_mode in ("standard", "legacy") else AdaptiveRetries
    return policy(max_attempts=config.max_attempts or 1)


def engine_of(
    config: Config,
    *,
    endpoint: endpoints.Endpoint | None,
    no_endpoint: STSError | None = None,
    transport: AiohttpTransport,
    credentials: CredentialsProvider,
    retries: RetryPolicy | None = None,
    tasks: Tasks | None = None,
    default_credentials: Callable[[], CredentialsProvider] | None = None,
    observers: Sequence[Observer] = (),
    time_limits: TimeLimits | None = None,
    clock: Clock | None = None,
) -> Engine:
    """Return the engine, by options that are resolved. Without an endpoint it only provides credentials."""
    clock = clock or SystemClock()
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
        time_limits=time_limits,
        wall_clock=clock.time,
        monotonic=clock.monotonic,
        sleep=clock.sleep,
    )
