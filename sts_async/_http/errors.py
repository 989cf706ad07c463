"""Translates exceptions of aiohttp into `sts_async.errors`. Texts of aiohttp are not used: they can quote requests."""

import errno
import ssl
from urllib.parse import urlsplit

import aiohttp

from .._protocol.http_messages import HttpRequest
from .._protocol.proxies import Proxy
from .._runtime.name_lookups import NotLookedUp
from ..errors import (
    AttemptTimeout,
    ClientClosedError,
    ConfigurationError,
    ConnectError,
    ConnectionLost,
    ConnectTimeout,
    ProxyError,
    ResponseParseError,
    STSError,
    TLSError,
)


def place(url: str, by: Proxy | None) -> str:
    """Return the host, and the proxy, of requests for *url*, for messages."""
    where = urlsplit(url).netloc
    return where if by is None else f"{where} by the proxy {by.authority}"


def refused(url: str, by: Proxy, *, status: int) -> ProxyError:
    """Return the error for a response of the proxy in place of the service."""
    return ProxyError(f"no connection to {place(url, by)}: it answered with HTTP {status}", status=status)


def failure_of(
    error: Exception, request: HttpRequest, session: aiohttp.ClientSession, *, by: Proxy | None = None
) -> STSError:
    """Return the library's error for an exception of aiohttp; *by* is the proxy of the request, or None."""
    where = place(request.url, by)
    match error:
        case STSError():
            return error
        case aiohttp.ClientHttpProxyError() if by is not None:
            return refused(request.url, by, status=error.status)
        case aiohttp.ConnectionTimeoutError() | aiohttp.SocketTimeoutError():
            return ConnectTimeout(f"no connection to {where} in time")
        case TimeoutError():
            return AttemptTimeout(f"no whole answer from {where} in time")
        case aiohttp.ClientSSLError() | aiohttp.ServerFingerprintMismatch() | ssl.SSLError():
            return TLSError(f"TLS with {where} failed: {_tls_reason(error)}")
        case aiohttp.ClientOSError() if isinstance(error.__cause__, ssl.SSLError):  # an alert after the handshake
            return TLSError(f"TLS with {where} failed: {_tls_reason(error.__cause__)}")
        # Many callers can wait for one look-up. All get this error, whichever of them timed out first.
        case aiohttp.ClientConnectorDNSError() if isinstance(error.os_error, NotLookedUp):
            return ConnectTimeout(f"no connection to {where} in time")
        case aiohttp.ClientConnectorDNSError() if by is not None:
            return ProxyError(f"no connection to {where}: no address is known for it")
        case aiohttp.ClientConnectorDNSError():
            return ConnectError(f"no address is known for {where}")
        case aiohttp.ClientProxyConnectionError():
            return ProxyError(f"no connection to {where}: {_os_reason(error.os_error)}")
        case aiohttp.ClientConnectorError():
            return ConnectError(f"no connection to {where}: {_os_reason(error.os_error)}")
        case aiohttp.ClientResponseError():
            return ResponseParseError(f"the answer of {where} is not HTTP that can be read", status=0)
        case aiohttp.ClientError() | OSError():
            return ConnectionLost(f"the connection to {where} ended before the whole answer had come")
        case RuntimeError() if session.closed:
            return ClientClosedError("the aiohttp session is closed")
        case _:
            return ConfigurationError(f"the HTTP client refused to send the request: {type(error).__name__}")


def _os_reason(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, type(error).__name__)


def _tls_reason(error: Exception) -> str:
    cause = getattr(error, "os_error", error)
    return getattr(cause, "verify_message", None) or getattr(cause, "reason", None) or type(cause).__name__
