"""
Clients of redis-py: made from a URL, or given by the program. Only this module imports the library, and only on use.

A client that is made here never repeats a command, and has few connections, because a thousand workers may use one
server. TLS always verifies the certificate and the name of the server; its files are read once, in a thread.
"""

import functools
import importlib.metadata
import inspect
import re
import ssl
from typing import Any
from urllib.parse import unquote

import attrs

from ..._runtime.file_reads import FILE_READS, FileTimeout
from ..._runtime.requirements import numbers
from ..._runtime.threads import NoThread
from ..._shape.arguments import other_than
from ..._shape.secret import Secret, hiding, redact
from ..._wording.os_errors import reason_of
from ...errors import ConfigurationError
from ._redis_commands import RedisFailed

MINIMUM = "5.3"
ADVICE = f"RedisCache needs the package redis>={MINIMUM}: pip install 'sts-async[redis]'"
MAX_CONNECTIONS = 5  # of one event loop; one of them waits for messages
DEFAULT_PORT = 6379
TLS_OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")

# Strings: `re` compiles them on first use and caches them.
_URL = r"""(?x)
    (?P<scheme> redis | rediss | unix ) ://
    (?: (?P<user> [^:@/?\#]* ) (?: : (?P<password> [^@/?\#]* ) )? @ )?
    (?P<host> \[ [0-9A-Fa-f:.]+ \] | [A-Za-z0-9._-]* ) (?: : (?P<port> [0-9]{1,5} ) )?
    (?P<path> / [^?\#]* )?
    (?: \? (?P<query> [^\#]* ) )?
"""
_FORMS = "redis://host:port/0, rediss://host:port/0 or unix:///path"


@hiding(username=redact, password=redact)
@attrs.frozen(kw_only=True)
class RedisURL:
    """
    The parts of a URL.

    Attributes:
        scheme: ``redis``, ``rediss`` (with TLS) or ``unix``.
        host: Name or address of the server; empty for ``unix``.
        port: Its port.
        path: The path of the socket; empty unless the scheme is ``unix``.
        database: Number of the database.
        username: The user, or None.
        password: The password, or None.
        tls: The paths of files by option: see `TLS_OPTIONS`.
    """

    scheme: str
    host: str
    port: int
    path: str
    database: int
    username: Secret | None
    password: Secret | None
    tls: dict[str, str]

    def __str__(self) -> str:
        """Return the URL without user, password and options."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        place = self.path if self.scheme == "unix" else f"{host}:{self.port}/{self.database}"
        return ascii(f"{self.scheme}://{place}")[1:-1]


def parse_redis_url(url: str) -> RedisURL:
    """
    Return the parts of a URL.

    Raises:
        ConfigurationError: It is invalid. The message quotes no part of it.
    """
    parsed = _parsed(url)
    if isinstance(parsed, str):
        raise ConfigurationError(f"the URL of RedisCache must {parsed}")
    return parsed


def _parsed(url: str) -> RedisURL | str:
    """Return the parts of a URL, or what it must be. It raises nothing: its variables have the password."""
    if re.search(r"[^!-~]", url):
        return "have only printable ASCII characters and no space: encode others as %XX"
    found = re.fullmatch(_URL, url)
    if found is None:
        return f"have the form {_FORMS}; encode special characters of the password as %XX"
    scheme, path, port = found["scheme"], unquote(found["path"] or ""), int(found["port"] or DEFAULT_PORT)
    if (scheme == "unix") == bool(found["host"]) or (scheme == "unix" and len(path) < 2):
        return f"have the form {_FORMS}"
    if not 1 <= port <= 65_535:
        return "have a port between 1 and 65535"
    pairs = [pair.partition("=") for pair in (found["query"] or "").split("&") if pair]
    options = {unquote(name): unquote(value) for name, _, value in pairs}
    database = options.pop("db", "0") if scheme == "unix" else path.strip("/") or options.pop("db", "0")
    if not re.fullmatch(r"[0-9]{1,5}", database):
        return "have a number as the database; encode special characters of the password as %XX, such as / as %2F"
    if options.keys() - (TLS_OPTIONS if scheme == "rediss" else ()):
        return f"have no other options than {', '.join(TLS_OPTIONS)} of rediss; pass a client of redis.asyncio instead"
    return RedisURL(
        scheme=scheme,
        host=found["host"].strip("[]"),
        port=port,
        path=path if scheme == "unix" else "",
        database=int(database),
        username=_decoded(found["user"]),
        password=_decoded(found["password"]),
        tls=options,
    )


def _decoded(text: str | None) -> Secret | None:
    return Secret(unquote(text)) if text else None


def check_client(client: object) -> None:
    """
    Check a client that the program passes.

    Raises:
        ConfigurationError: It is not a client of ``redis.asyncio``.
    """
    if isinstance(client, type) or not inspect.iscoroutinefunction(getattr(client, "execute_command", None)):
        raise ConfigurationError(
            f"RedisCache needs a URL, or a client such as redis.asyncio.Redis, not {other_than('Redis', client)}"
        )


def require_redis() -> None:
    """
    Check that redis-py is installed.

    Raises:
        ConfigurationError: It is missing or too old.
    """
    _library()


@functools.cache
def _library() -> Any:
    try:
        import redis.asyncio as library

        version = importlib.metadata.version("redis")
    except ImportError:
        raise ConfigurationError(ADVICE) from None
    if numbers(version) < numbers(MINIMUM):
        raise ConfigurationError(f"{ADVICE}; {version} is installed")
    return library


def client_of(url: RedisURL) -> Any:
    """
    Return a client of the running event loop. It connects at first use, and has no time limits.

    Raises:
        ConfigurationError: redis-py is missing or too old.
    """
    library = _library()
    from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    options: dict[str, Any] = {
        "db": url.database,
        "username": url.username,
        "password": url.password,
        "protocol": 2,  # with 3, newer versions of redis-py send further commands for each connection
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": None,  # `RedisCommands` has the bound
        "socket_connect_timeout": None,
    }
    if "driver_info" in inspect.signature(AbstractConnection.__init__).parameters:
        options["driver_info"] = None  # else each connection reads the metadata of the package, in the event loop
    if url.scheme == "unix":
        options |= {"connection_class": UnixDomainSocketConnection, "path": url.path}
    else:
        options |= {"connection_class": Connection, "host": url.host, "port": url.port}
    if url.scheme == "rediss":
        options["connection_class"] = _with_trust(SSLConnection, _Trust(url.tls))
    pool = library.BlockingConnectionPool(max_connections=MAX_CONNECTIONS, timeout=None, **options)
    return library.Redis.from_pool(pool)


def _with_trust(base: Any, trust: "_Trust") -> Any:
    class TrustedConnection(base):  # type: ignore[misc]
        """A connection with TLS, whose files are not read in the event loop."""

        async def _connect(self) -> None:
            self.ssl_context.context = await trust.load()
            await super()._connect()

    return TrustedConnection


class _Trust:
    """
    The TLS context of a client, made from files when the first connection needs it.

    Args:
        paths: The paths of the files by option.
    """

    def __init__(self, paths: dict[str, str]) -> None:
        self._paths = paths
        self._context: ssl.SSLContext | None = None

    async def load(self) -> ssl.SSLContext:
        """
        Return the TLS context. After an error, the next call reads the files again.

        Raises:
            RedisFailed: A file cannot be read, or is invalid.
        """
        if self._context is None:
            try:
                self._context = await FILE_READS.run(next(iter(self._paths.values()), ""), self._read)
            except FileTimeout as error:
                reason = error.strerror
            except OSError as error:
                reason = reason_of(error)
            except NoThread:
                reason = "the system starts no more threads"
            else:
                return self._context
            raise RedisFailed(f"its TLS files cannot be used: {reason}")
        return self._context

    def _read(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self._paths.get("ssl_ca_certs"))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        certificate, key = self._paths.get("ssl_certfile"), self._paths.get("ssl_keyfile")
        if certificate is not None:
            context.load_cert_chain(certificate, key)
        return context
