"""What a client is made of, from its options: the endpoint, the transport and the engine."""

import asyncio
import logging
import ssl
from collections.abc import Callable, Sequence

import aiohttp

from . import _files
from ._clock import SystemClock
from ._core import endpoints
from ._core.proxies import Proxies, Proxy
from ._core.skew import ServiceClock
from ._engine import Engine, new_engine
from ._flight import Tasks
from ._limits import CONNECT_TIMEOUT, TimeLimits
from ._seams import Clock, CredentialsProvider, RetryPolicy
from ._transport import AiohttpTransport
from .config import Config
from .errors import ConfigurationError
from .events import Observer
from .retries import AdaptiveRetries, StandardRetries

MOST_CERTIFICATES = 4 << 20  # bytes of a bundle

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


async def transport_of(config: Config, *, session: aiohttp.ClientSession | None = None) -> AiohttpTransport:
    """
    Return the transport, by options that are resolved. Certificates are read in a thread.

    Raises:
        ConfigurationError: The CA bundle, the client's certificate or its key cannot be read.
    """
    if config.client_key is not None and config.client_certificate is None:
        raise ConfigurationError("client_key needs client_certificate")
    trusted = None
    if session is None and not (config.verify and config.ca_bundle is None and config.client_certificate is None):
        trusted = await asyncio.to_thread(_trusting, config)
        if not config.verify:
            log.warning("TLS peers need not prove who they are (verify=False): keys can be read on the way")
    return AiohttpTransport(
        session=session,
        max_connections=config.max_connections,
        connect_timeout=config.connect_timeout or CONNECT_TIMEOUT,
        read_timeout=config.read_timeout,
        max_response_bytes=config.max_response_bytes,
        trusted=trusted,
        app_id=config.app_id,
        user_agent_suffix=config.user_agent_suffix,
        proxies=proxies_of(config),
        keepalive_timeout=config.keepalive_timeout,
        tcp_keepalive=bool(config.tcp_keepalive),
        local_address=config.local_address,
        dns_cache_ttl=config.dns_cache_ttl,
    )


def proxies_of(config: Config) -> Proxies:
    """Return the proxies, by options that are resolved."""
    https, http = config.proxy or config.https_proxy, config.proxy or config.http_proxy
    return Proxies(
        https=None if https is None else Proxy.at(https),
        http=None if http is None else Proxy.at(http),
        exceptions=config.no_proxy or "",
    )


def _trusting(config: Config) -> ssl.SSLContext:
    """Return how TLS peers prove who they are, and what is shown to them; reads files."""
    context = _authorities(config.ca_bundle)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not config.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if config.client_certificate is not None:
        _show(context, config.client_certificate, config.client_key)
    return context


def _authorities(ca_bundle: str | None) -> ssl.SSLContext:
    if ca_bundle is None:
        return ssl.create_default_context()
    try:
        data, _ = _files.read(ca_bundle, most=MOST_CERTIFICATES)
        return ssl.create_default_context(cadata=data.decode("ascii"))
    except (OSError, ValueError) as error:  # ssl.SSLError is the former
        reason = getattr(error, "strerror", None) or "no certificates in PEM form"
    raise ConfigurationError(f"ca_bundle: {ca_bundle!a}: {reason}")


def _show(context: ssl.SSLContext, certificate: str, key: str | None) -> None:
    """Have *context* show a client's certificate. The module `ssl` takes paths only."""
    option, path = "client_certificate", certificate
    try:
        _files.read(certificate, most=MOST_CERTIFICATES)
        if key is not None:
            option, path = "client_key", key
            _files.read(key, most=MOST_CERTIFICATES)
        context.load_cert_chain(certificate, key, password=_no_password)
        return
    except ssl.SSLError:
        reason = "not a certificate and its private key in PEM form"
    except OSError as error:
        reason = error.strerror or str(error)
    except ValueError:
        reason = "the private key is encrypted"
    raise ConfigurationError(f"{option}: {path!a}: {reason}")


def _no_password() -> str:
    raise ValueError  # else OpenSSL asks for it at the terminal


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
    transport: AiohttpTransport,
    credentials: CredentialsProvider,
    retries: RetryPolicy | None = None,
    tasks: Tasks | None = None,
    default_credentials: Callable[[], CredentialsProvider] | None = None,
    observers: Sequence[Observer] = (),
    time_limits: TimeLimits | None = None,
    clock: Clock | None = None,
) -> Engine:
    """Return the engine, by options that are resolved. Without an endpoint it only lends itself to other sources."""
    clock = clock or SystemClock()
    return new_engine(
        endpoint=endpoint,
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
