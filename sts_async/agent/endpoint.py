"""
The life of a credentials endpoint: its socket, its token files, and its place in an event loop.

The order of the start is: bind the port, fetch the credentials, write the token files, listen. So a program that has
the address gets an answer from memory. The end is in the opposite order.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import weakref
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web

from .._runtime import forks
from .._runtime.outcome import copy_without_traceback
from .._shape.arguments import is_whole
from .._shape.secret import Secret, Unpicklable
from .._wording.os_errors import reason_of
from ..config import Config, SettingsSources
from ..errors import ClientClosedError, ConfigurationError, InvalidConfigFile, STSError
from ..fleet._ahead import get_ahead
from ..fleet._provider import unwrapped
from ..fleet._role_lines import NAME_RULE, is_name
from ..fleet.identities import Identity, request_of
from ..shapes import Credentials
from ._answers import LOOPBACK, Answers, Served, path_of
from ._directory import TokenDirectory
from ._documents import is_temporary
from ._server import Server
from .environ import (
    BOTO_CONFIG,
    CONFIG_FILE,
    CREDENTIALS_FILE,
    DEFAULT,
    FULL_URI,
    TOKEN_FILE,
    EndpointEnviron,
    source_in_files,
)

if TYPE_CHECKING:
    from .._config.sections import SharedConfig
    from ..fleet.fleet import CredentialsFleet

TOKEN_BYTES = 32  # 256 bits
SHUTDOWN_SECONDS = 1.0  # s for requests that are being answered
BACKLOG = 256
TURNS_TO_CLOSE = 4  # iterations of the event loop that a connection needs to close

log = logging.getLogger("sts_async")


def serve(
    fleet: "CredentialsFleet",
    identities: Mapping[str, Identity],
    *,
    port: int = 0,
    directory: str | os.PathLike[str] | None = None,
    region: str | None = None,
) -> "CredentialsEndpoint":
    """
    Return an endpoint for the credentials of identities of a fleet; use it with ``async with``.

        async with CredentialsFleet(sts) as fleet, serve(fleet, {"demo": role}) as endpoint:
            subprocess.Popen(command, env=endpoint.environ("demo").for_child())

    Args:
        fleet: The fleet. It must be open, in the same event loop, and stay open as long as the endpoint.
        identities: The identities by their names. A name is a part of the URL: 1 to 128 letters, digits and ``_+=,.@-``
            without a hyphen at its beginning.
        port: The port on 127.0.0.1; 0 for a free port.
        directory: Directory for the token files, which is created if it is missing. It must belong to this user, and no
            other user may write to it. The files are called NAME.token. None for a new temporary directory.
        region: Value of ``AWS_REGION`` in `CredentialsEndpoint.environ`; None for the region of the fleet's client.

    Raises:
        ConfigurationError: A name is invalid, or two names differ only in upper and lower case; *identities* is empty;
            *port* is not a port.
    """
    return CredentialsEndpoint(fleet, identities, port=port, directory=directory, region=region)


class CredentialsEndpoint(Unpicklable):
    """
    A server of the container credentials protocol on 127.0.0.1, which every AWS SDK understands; see `serve`.

    Each identity has a path of its own and a token of its own. A request with the token gets the credentials from
    memory. What is not in memory is fetched within 0.8 s, or refused with HTTP 503. Identities are refreshed 16 to
    20 min before their end if they live for 40 min or more. An identity without a request since its last
    refresh is not refreshed, unless the fleet keeps it.

    Only temporary credentials are served: those with a session token and an expiration.

    Attributes:
        port: The port; 0 before the start if it is a free one.
    """

    def __init__(
        self,
        fleet: "CredentialsFleet",
        identities: Mapping[str, Identity],
        *,
        port: int = 0,
        directory: str | os.PathLike[str] | None = None,
        region: str | None = None,
    ) -> None:
        if not is_whole(port, least=0, most=65535):
            raise ConfigurationError("port must be 0 to 65535")
        _check_names(identities)
        self.port = port
        self._fleet = fleet
        self._region = region
        self._served = {
            name: Served(
                name=name,
                identity=unwrapped(identity, fleet),
                token=Secret(secrets.token_urlsafe(TOKEN_BYTES)),
                role_arn=getattr(request_of(unwrapped(identity, fleet)), "role_arn", None),
            )
            for name, identity in identities.items()
        }
        self._directory = TokenDirectory(None if directory is None else Path(directory).absolute())
        self._loop: asyncio.AbstractEventLoop | None = None
        self._socket: socket.socket | None = None
        self._server: Server | None = None
        self._runner: web.ServerRunner | None = None
        self._entered = False
        self._open = False
        self._forked = False
        self._shared: SharedConfig | None = None
        self._unreadable = ""

    # -- Start and end -------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """
        Fetch the credentials, and start the server.

        Raises:
            ConfigurationError: The port or the directory is not available, the fleet runs in another event loop, an
                identity is invalid, or its credentials are not temporary.
            ClientClosedError: The fleet is not open, or the endpoint was used before.
            STSError: No identity has credentials; the error of the first one.
        """
        if self._entered:
            raise ClientClosedError("an endpoint is entered once: make a new one")
        self._entered = True
        self._loop = asyncio.get_running_loop()
        self._fleet._started()
        if self._fleet._loop is not self._loop:
            raise ConfigurationError("the endpoint must run in the event loop of its fleet")
        for served in self._served.values():
            self._fleet.provider(served.identity)  # it checks the identity
        forks.register_after_fork(self, "_disown")
        try:
            await self._start()
        except BaseException:
            await self._end()
            raise
        self._open = True
        return self

    async def _start(self) -> None:
        self._socket = _bound(self.port)
        self.port = self._socket.getsockname()[1]
        await self._warm_up()
        tokens = {name: served.token for name, served in self._served.items()}
        writing = asyncio.ensure_future(asyncio.to_thread(self._directory.create, tokens))
        weakref.finalize(self, self._directory.remove)
        try:
            await asyncio.shield(writing)
        except OSError as error:
            reason = reason_of(error)
        except asyncio.CancelledError:
            # The thread cannot be stopped, and its files must not stay.
            await asyncio.wait([writing])
            raise
        else:
            reason = ""
        if reason:
            raise ConfigurationError(f"the token files cannot be written: {reason}")
        await self._read_files()
        answers = Answers(self._fleet, self._served, authority=f"{LOOPBACK}:{self.port}", clock=self._wall_clock)
        self._server = Server(answers)
        self._runner = web.ServerRunner(self._server, shutdown_timeout=SHUTDOWN_SECONDS)
        await self._runner.setup()
        await web.SockSite(self._runner, self._socket, backlog=BACKLOG).start()

    def _wall_clock(self) -> float:
        now: float = self._fleet._wall_clock()
        return now

    async def _warm_up(self) -> None:
        """Fetch all credentials. Failures are reported by the fleet; only if all fail, the first error is raised."""
        work = [get_ahead(self._fleet, served.identity, wait=True) for served in self._served.values()]
        outcomes = await asyncio.gather(*work, return_exceptions=True)
        for name, outcome in zip(self._served, outcomes, strict=True):
            if isinstance(outcome, Credentials) and not is_temporary(outcome):
                raise ConfigurationError(
                    f"{name}: only temporary credentials are served, with a session token and an expiration"
                )
        errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        unexpected = next((error for error in errors if not isinstance(error, STSError)), None)
        if unexpected is not None:
            raise unexpected
        if len(errors) == len(outcomes):
            raise copy_without_traceback(errors[0])  # type: ignore[arg-type]

    async def _read_files(self) -> None:
        """Read the shared files once, because a source in them comes before the endpoint."""
        try:
            self._shared = await SettingsSources(Config()).files.load()
        except InvalidConfigFile as error:
            self._unreadable = str(error)

    async def aclose(self) -> None:
        """
        Stop the server, within about 1 s, and remove the token files. Closing again does nothing.

        The fleet stays open. In a forked child, this closes nothing of the parent. It can be called in any event loop.
        """
        self._open = False
        loop = self._loop
        if self._forked or loop is None:
            return
        if loop is asyncio.get_running_loop():
            await self._end()
        elif loop.is_running():
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._end(), loop))
        else:
            self._runner = None  # its event loop has ended, and nothing of it runs any more
            await self._end()

    async def _end(self) -> None:
        runner, self._runner = self._runner, None
        listening, self._socket = self._socket, None
        try:
            if runner is not None and self._server is not None:
                await runner.cleanup()
                self._server.abort_connections()
                for _ in range(TURNS_TO_CLOSE):
                    await asyncio.sleep(0)
        finally:
            if listening is not None:
                listening.close()
            removing = asyncio.ensure_future(asyncio.to_thread(self._directory.remove))
            await asyncio.shield(removing)

    def _disown(self) -> None:
        """Close the socket in a forked child. The files and the port belong to the parent."""
        self._forked, self._open = True, False
        listening, self._socket = self._socket, None
        if listening is not None:
            with contextlib.suppress(OSError):
                listening.close()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    # -- What programs need --------------------------------------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the identities."""
        return tuple(self._served)

    def url(self, name: str) -> str:
        """
        Return the URL of an identity.

        Raises:
            ClientClosedError: The endpoint is not open.
            ConfigurationError: No identity has this name.
        """
        self._require(name)
        return f"http://{LOOPBACK}:{self.port}{path_of(name)}"

    def token_file(self, name: str) -> Path:
        """
        Return the path of the file with the token of an identity. It has no line break at its end.

        Raises:
            ClientClosedError: The endpoint is not open.
            ConfigurationError: No identity has this name.
        """
        self._require(name)
        return self._directory.path_of(name)

    def environ(self, name: str) -> EndpointEnviron:
        """
        Return the environment in which an SDK gets the credentials of an identity.

        A warning is logged if the shared files have credentials for the default profile, which SDKs use first. The
        files are those of the process at the start of the endpoint.

        Raises:
            ClientClosedError: The endpoint is not open.
            ConfigurationError: No identity has this name.
        """
        found = self._environ(name)
        for warning in found.warnings:
            log.warning("%s", warning)
        return found

    def _environ(self, name: str) -> EndpointEnviron:
        """Return the environment for an identity, without logging warnings."""
        variables = {FULL_URI: self.url(name), TOKEN_FILE: str(self.token_file(name)), BOTO_CONFIG: os.devnull}
        region = self._region or self._fleet._sts.region
        if region is not None:
            variables |= {"AWS_REGION": region, "AWS_DEFAULT_REGION": region}
        return EndpointEnviron(variables=variables, warnings=self._warnings())

    def _warnings(self) -> tuple[str, ...]:
        if self._unreadable:
            return (f"SDKs could ignore the credentials endpoint: {self._unreadable}",)
        place = None if self._shared is None else source_in_files(self._shared)
        if place is None:
            return ()
        return (
            f"SDKs use {place} before the credentials endpoint: set {CREDENTIALS_FILE}={os.devnull} and {CONFIG_FILE} "
            f"to a file whose profile {DEFAULT!r} has no credentials",
        )

    def _require(self, name: str) -> None:
        if self._forked:
            raise ClientClosedError("the endpoint belongs to the parent of this process")
        if self._loop is not None and self._loop.is_closed():
            raise ClientClosedError("the event loop of the endpoint is closed")
        if not self._open:
            raise ClientClosedError("the endpoint is not open: use `async with serve(...)`")
        if name not in self._served:
            raise ConfigurationError(f"the endpoint serves no identity {name!a}")

    def __repr__(self) -> str:
        state = f"http://{LOOPBACK}:{self.port}" if getattr(self, "_open", False) else "not open"
        return f"<CredentialsEndpoint {state}, {len(getattr(self, '_served', ()))} identities>"


def _check_names(identities: Mapping[str, Any]) -> None:
    """Raise `ConfigurationError` if the names of identities cannot be those of paths and files."""
    if not isinstance(identities, Mapping) or not identities:
        raise ConfigurationError("identities must be a mapping of names to identities, with at least one")
    seen: dict[str, str] = {}
    for name in identities:
        if not is_name(name) or not name.strip("."):
            raise ConfigurationError(f"a name of an identity must {NAME_RULE}, and not only dots: {name!a}")
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            raise ConfigurationError(f"the names {other!a} and {name!a} differ only in upper and lower case")


def _bound(port: int) -> socket.socket:
    """
    Return a socket that is bound to a port of 127.0.0.1 and does not listen yet.

    Raises:
        ConfigurationError: The port is not available.
    """
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    reason = ""
    try:
        if os.name == "posix":
            # A port whose last connections are still closing can be used again. On Windows, the option would take the
            # port of another program.
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setblocking(False)
        made.bind((LOOPBACK, port))
    except OSError as error:
        reason = reason_of(error)
        made.close()
    if reason:
        raise ConfigurationError(f"port {port} of {LOOPBACK} is not available: {reason}")
    return made
