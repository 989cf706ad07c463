"""
nginx and squid on 127.0.0.1, as processes of a test module; each in a directory, and on ports, of its own.

Beside them what no server is needed for, addresses that do not answer, and callers of a client.
"""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from patience import PATIENCE, accepts, soon, wait_until
from support import KEYS

from sts_async import Config, STSClient, errors
from sts_async.events import Event, RetryScheduled

PLACES = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"])
NGINX = shutil.which("nginx", path=PLACES)
SQUID = shutil.which("squid", path=PLACES)
NOBODY = "nobody"  # whom squid becomes when root starts it

needs_nginx = pytest.mark.skipif(NGINX is None, reason="no nginx: install the Debian package nginx-light, or nginx")
needs_squid = pytest.mark.skipif(SQUID is None, reason="no squid: install the Debian package squid")


class Ports(contextlib.AbstractContextManager["Ports"]):
    """
    Ports of 127.0.0.1 by names, free until somebody listens there.

        with Ports("front", "sts") as ports:
            ports["front"]

    Each is held by a socket that does not listen. The system gives it to nobody else, refuses who connects, and lets a
    server with SO_REUSEADDR have it, as all servers here are.
    """

    def __init__(self, *names: str) -> None:
        self._held = {name: _bound(("127.0.0.1", 0)) for name in names}

    def __getitem__(self, name: str) -> int:
        port: int = self._held[name].getsockname()[1]
        return port

    def __exit__(self, *_: object) -> None:
        for held in self._held.values():
            held.close()


def _bound(address: tuple[str, int], *, family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
    made = socket.socket(family)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(address)
    return made


@contextlib.contextmanager
def black_hole(host: str, port: int = 0) -> Iterator[int]:
    """Give a port of an address of this host where connections are begun and never come about, as without a route."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(_bound((host, port), family=family))
        listener.listen(0)
        for _ in range(4):  # more than the system queues for a listener that accepts nobody
            waiting = stack.enter_context(socket.socket(family))
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname()[:2])
        yield listener.getsockname()[1]


@contextlib.contextmanager
def mute(port: int) -> Iterator[None]:
    """Have a port of 127.0.0.1 accept connections, and never say anything."""
    with _bound(("127.0.0.1", port)) as listener:
        listener.listen(1024)
        yield


class Daemon:
    """
    A server in a process of its own.

    Args:
        command: What starts it, in the foreground.
        directory: Where it works; its output is in ``out`` there.
        port: One that it listens on.
        ending: The signal that ends it soonest.
    """

    def __init__(self, command: Sequence[str], *, directory: Path, port: int, ending: signal.Signals) -> None:
        self._command = command
        self._port = port
        self._ending = ending
        self._process: subprocess.Popen[bytes] | None = None
        self.directory = directory

    def start(self) -> None:
        """
        Start, and wait until it accepts connections.

        Raises:
            RuntimeError: It does not; its last words are in the message.
        """
        with (self.directory / "out").open("ab") as out:
            self._process = subprocess.Popen(
                self._command, cwd=self.directory, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: self._process.poll() is not None or accepts(self._port))
        if self._process.poll() is None and accepts(self._port):
            return
        self.stop()
        raise RuntimeError(f"{self._command[0]} does not run:\n{(self.directory / 'out').read_text()[-2000:]}")

    def stop(self) -> None:
        """End it, and wait until it has ended. Stopping again does nothing."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGCONT)
        process.send_signal(self._ending)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @contextlib.contextmanager
    def hanging(self) -> Iterator[None]:
        """Have it do nothing for a while: the system accepts connections on its behalf, and nobody answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def log(self, name: str = "access.log", *, lines: int = 0) -> list[str]:
        """Return the lines of a log of it, once there are as many as *lines*; they come after the answers."""
        path = self.directory / name

        def written() -> list[str]:
            return path.read_text().splitlines() if path.exists() else []

        with contextlib.suppress(TimeoutError):
            wait_until(lambda: len(written()) >= lines)
        found = written()
        assert len(found) >= lines, f"{name} has {len(found)} lines and not {lines}"
        return found

    def forget(self) -> None:
        """Empty its logs."""
        for path in self.directory.glob("*.log"):
            os.truncate(path, 0)


NGINX_CONF = """
daemon off;
master_process off;
worker_processes 1;
pid pid;
error_log error.log warn;
events {{ worker_connections 1024; }}
http {{
    log_format all '$server_port $status $request_method $request_uri "$http_proxy_authorization" '
                   '"$http_authorization" $connection_requests $server_protocol $ssl_protocol "$ssl_client_s_dn"';
    access_log access.log all;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    root .;
    lingering_close off;
    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
    {http}
}}
"""


@contextlib.contextmanager
def nginx(http: str, *, port: int, files: Mapping[str, str | bytes] | None = None) -> Iterator[Daemon]:
    """
    Run nginx, and end it.

    Args:
        http: What stands in its block ``http``.
        port: One that it listens on.
        files: What there is beside its configuration, by names.
    """
    with _directory({**(files or {}), "nginx.conf": NGINX_CONF.format(http=http)}) as directory:
        command = [NGINX or "", "-p", f"{directory}/", "-c", str(directory / "nginx.conf")]
        yield from _running(Daemon(command, directory=directory, port=port, ending=signal.SIGTERM))


SQUID_CONF = """
cache deny all
cache_mem 0
memory_pools off
access_log stdio:{directory}/access.log
cache_log {directory}/cache.log
pid_filename {directory}/pid
coredump_dir {directory}
hosts_file {directory}/hosts
netdb_filename none
pinger_enable off
shutdown_lifetime 0 seconds
visible_hostname squid.example.test
cache_effective_user {user}
dns_nameservers 127.0.0.1
dns_timeout 1 second
dns_retransmit_interval 200 milliseconds
connect_timeout 1 second
forward_timeout 1 second
{rules}
"""


@contextlib.contextmanager
def squid(rules: str, *, port: int, hosts: Sequence[str], files: Mapping[str, str | bytes]) -> Iterator[Daemon]:
    """
    Run squid, and end it.

    Args:
        rules: What stands in its configuration, beside where its files are. ``{directory}`` is that of *files*.
        port: One that it listens on.
        hosts: The names that it knows, all of this host.
        files: What there is beside its configuration, by names.
    """
    with _directory({**files, "hosts": f"127.0.0.1 {' '.join(hosts)}\n"}) as directory:
        rules = rules.format(directory=directory)
        conf = directory / "squid.conf"
        conf.write_text(SQUID_CONF.format(directory=directory, user=NOBODY, rules=rules))
        service = f"sts{uuid.uuid4().hex[:12]}"  # what it shares with its own is known by this name, on the whole host
        command = [SQUID or "", "-N", "-n", service, "-f", str(conf), "-d1"]
        yield from _running(Daemon(command, directory=directory, port=port, ending=signal.SIGINT))


@contextlib.contextmanager
def _directory(files: Mapping[str, str | bytes]) -> Iterator[Path]:
    """Give a directory with files, all of the user that servers become."""
    # Not below pytest's own, which no other user can pass through.
    with tempfile.TemporaryDirectory(prefix="sts-faults-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        for file, content in files.items():
            (directory / file).write_bytes(content.encode() if isinstance(content, str) else content)
        if os.geteuid() == 0:
            for path in (directory, *directory.iterdir()):
                shutil.chown(path, NOBODY)
        yield directory


def _running(daemon: Daemon) -> Iterator[Daemon]:
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.stop()


def ports_in(log: Sequence[str]) -> list[int]:
    """Return the ports that the requests in a log of nginx came to."""
    return [int(match[0]) for line in log if (match := re.match(r"\d+", line))]


def client_at(url: str, *, seen: list[Event] | None = None, **options: Any) -> STSClient:
    """
    Return a client of an endpoint.

    Args:
        url: The endpoint.
        seen: What takes what happens.
        options: Those of `Config`; also ``credentials``, in place of `KEYS`, and ``retries``.
    """
    credentials, retries = options.pop("credentials", KEYS), options.pop("retries", None)
    observers = [] if seen is None else [seen.append]
    config = Config(endpoint_url=url, region="us-east-1", **options)
    return STSClient(credentials=credentials, retries=retries, config=config, observers=observers)


async def identities(client: STSClient, *, callers: int, calls: int = 1, pause: Callable[[], float] = float) -> None:
    """Have *callers* ask who they are, *calls* times each, with a *pause* of so many seconds after each call."""

    async def ask() -> None:
        for _ in range(calls):
            await client.get_caller_identity()
            await asyncio.sleep(pause())

    await soon(asyncio.gather(*(ask() for _ in range(callers))))


async def failures(client: STSClient, *, callers: int, within: float = PATIENCE) -> list[errors.STSError]:
    """Return what *callers* at once get in place of an answer, *within* some seconds of the loop's clock."""
    clock = asyncio.get_running_loop().time
    begun = clock()
    calls = (client.get_caller_identity() for _ in range(callers))
    outcomes = await soon(asyncio.gather(*calls, return_exceptions=True))
    assert clock() - begun < within
    assert all(isinstance(outcome, errors.STSError) for outcome in outcomes), outcomes
    return [outcome for outcome in outcomes if isinstance(outcome, errors.STSError)]


async def failures_of_one_and_of_many(client: STSClient) -> list[errors.STSError]:
    """Return what one caller gets in place of an answer, and then what 50 at once get."""
    return [*await failures(client, callers=1), *await failures(client, callers=50)]


def retries_in(seen: Sequence[Event]) -> int:
    """Return how many attempts the retry policy has paid for."""
    return sum(isinstance(event, RetryScheduled) for event in seen)
