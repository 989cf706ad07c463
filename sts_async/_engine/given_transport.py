"""
A transport or an aiohttp session that the program gave: what a client expects of it, and which options it replaces.

It belongs to the program. Nothing here closes it, and options for connections have no effect on it. One that was given
in code is refused, because the program expects an effect. One from the environment or a profile is ignored with a
warning, because it may be meant for other programs.
"""

import logging
from collections.abc import Mapping
from inspect import iscoroutinefunction

import aiohttp
import attrs

from .._protocol.http_messages import HttpRequest, HttpResponse
from .._runtime.defaults import CONNECT_TIMEOUT
from .._shape.arguments import other_than
from .._shape.secret import SecretBytes, Unpicklable
from .._wording.option_names import option, setting
from ..config import OPTIONS, Config
from ..errors import ClientClosedError, ConfigurationError, ResponseTooLarge
from ..protocols import Transport

log = logging.getLogger("sts_async")

OPTIONS_OF_SESSIONS = (
    "proxy",
    "https_proxy",
    "http_proxy",
    "no_proxy",
    "verify",
    "ca_bundle",
    "client_certificate",
    "client_key",
    "keepalive_timeout",
    "tcp_keepalive",
    "local_address",
    "dns_cache_ttl",
)
"""Options that only a session of the library's own follows."""

OPTIONS_OF_TRANSPORTS = (
    *OPTIONS_OF_SESSIONS,
    "defaults_mode",
    "connect_timeout",
    "attempt_timeout",
    "max_connections",
    "app_id",
    "user_agent_suffix",
)
"""Options that only the library's own transport follows, over whichever session."""


class GivenTransport(Unpicklable):
    """
    Send requests over the program's transport.

    Args:
        transport: The program's.
        max_response_bytes: Cap for the body of a response.
    """

    def __init__(self, transport: Transport, *, max_response_bytes: int) -> None:
        self._transport = transport
        self._cap = max_response_bytes
        self._closed = False

    async def send(self, request: HttpRequest) -> HttpResponse:
        """
        Send *request* once and return the whole response. Errors of the program's transport pass through unchanged.

        Raises:
            ResponseTooLarge: The body exceeds the cap.
            ConfigurationError: The transport returned no `HttpResponse`, or one with values of other types.
            ClientClosedError: The client is closed.
        """
        if self._closed:
            raise ClientClosedError
        response = await self._transport.send(request)
        if problem := _problem(response):
            response = HttpResponse(0, {}, SecretBytes())  # a traceback must not show what the transport returned
            raise ConfigurationError(f"{type(self._transport).__name__}.send returned {problem}")
        if len(response.body) > self._cap:
            raise ResponseTooLarge(f"the response body exceeds {self._cap} bytes")
        return attrs.evolve(
            response,
            headers={name.lower(): value for name, value in response.headers.items()},
            body=SecretBytes(response.body),
        )

    async def aclose(self, *, grace: float = 0.0) -> None:
        """Send nothing more. The program's transport stays open: it may serve others."""
        self._closed = True


def _problem(response: object) -> str | None:
    """Return what is wrong with the return value of a transport, or None."""
    if not isinstance(response, HttpResponse):
        return f"{other_than('HttpResponse', response)}, not an HttpResponse"
    parts: dict[str, type] = {"status": int, "headers": Mapping, "body": bytes}
    for name, wanted in parts.items():
        value = getattr(response, name)
        if not isinstance(value, wanted):
            return f"an HttpResponse whose {name} is {other_than(wanted.__name__, value)}, not {wanted.__name__}"
    texts = [text for pair in response.headers.items() for text in pair]
    return None if all(isinstance(text, str) for text in texts) else "an HttpResponse with headers that are not text"


def check_given(config: Config, *, session: object, transport: object) -> None:
    """
    Refuse an invalid session or transport, and options given in code that it does not follow.

    Args:
        config: The options, as they were given.
        session: The program's aiohttp session, or None.
        transport: The program's transport, or None.

    Raises:
        ConfigurationError: One of them is invalid, both are given, or *config* has such an option.
    """
    if not isinstance(session, aiohttp.ClientSession | None):
        raise ConfigurationError(f"session must be a ClientSession, not {other_than('ClientSession', session)}")
    if transport is not None and not is_transport(transport):
        raise ConfigurationError(
            f"transport must be an object with a coroutine send(request), not {other_than('Transport', transport)}"
        )
    if session is not None and transport is not None:
        raise ConfigurationError("session and transport exclude each other: a transport makes its own connections")
    name, options = _replaced(session, transport)
    unused = [one for one in options if _is_given(config, one)]
    if unused:
        raise ConfigurationError(
            f"{', '.join(map(option, unused))} {'has' if len(unused) == 1 else 'have'} no effect with "
            f"{setting(name)}: configure the {name} itself"
        )


def is_transport(value: object) -> bool:
    """Return True if *value* can be used as a `Transport`."""
    return not isinstance(value, type) and iscoroutinefunction(getattr(value, "send", None))


def warn_of_unused(config: Config, *, session: object, transport: object) -> None:
    """Log which options of the environment and the profile have no effect; *config* is resolved."""
    name, options = _replaced(session, transport)
    unused = [config.origin_of(one) for one in options if config.is_found(one)]
    if unused:
        log.warning("%s: no effect with %s", ", ".join(unused), setting(name))


def _replaced(session: object, transport: object) -> tuple[str, tuple[str, ...]]:
    """Return what was given, and the options that it replaces."""
    if transport is not None:
        return "transport", OPTIONS_OF_TRANSPORTS
    return "session", OPTIONS_OF_SESSIONS if session is not None else ()


def _is_given(config: Config, name: str) -> bool:
    """Return True if code gave an option another value than its default; *config* may have been resolved before."""
    default = CONNECT_TIMEOUT if name == "connect_timeout" else OPTIONS[name].default
    return getattr(config, name) not in (None, default) and not config.is_found(name)
