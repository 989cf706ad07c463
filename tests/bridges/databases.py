"""
A PostgreSQL and a MySQL on the loopback interface that know only how to connect: over TLS, with a password in clear.

They keep each password. Every statement succeeds and returns nothing.
"""

import contextlib
import socket
import socketserver
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import attrs
from patience import PATIENCE

SSL_REQUEST = 80877103
GSS_REQUEST = 80877104
USER = "app"
OKAY = b"\0\0\0\x02\0\0\0"
COM_QUIT = b"\x01"
Connection = socket.socket  # plain first, and then with TLS. It is read without a buffer, which would keep parts of TLS


def receive(connection: Connection, size: int) -> bytes:
    """Return exactly so many bytes."""
    found = b""
    while len(found) < size:
        more = connection.recv(size - len(found))
        if not more:
            raise ConnectionError
        found += more
    return found


@attrs.define
class Database:
    """
    A database for one test.

    Attributes:
        keep: The function that gets each password.
        tls: The certificate of the database.
        refusing: Refuse each password, after it was kept.
    """

    keep: Callable[[str], None]
    tls: ssl.SSLContext
    refusing: bool = False
    port: int = 0

    def postgresql(self, connection: Connection) -> None:
        """
        Serve a connection.

        Source: PostgreSQL, "Frontend/Backend Protocol", "Message Formats".
        """
        while (code := _start(connection)) == GSS_REQUEST:
            connection.sendall(b"N")
        assert code == SSL_REQUEST
        connection.sendall(b"S")
        with self.tls.wrap_socket(connection, server_side=True) as secure:
            self._postgresql_over_tls(secure)

    def _postgresql_over_tls(self, connection: Connection) -> None:
        def send(kind: bytes, body: bytes) -> None:
            connection.sendall(kind + struct.pack(">i", len(body) + 4) + body)

        assert f"\0user\0{USER}\0".encode() in b"\0" + _body(connection)[4:]
        send(b"R", struct.pack(">i", 3))  # the password in clear
        assert receive(connection, 1) == b"p"
        self.keep(_body(connection).rstrip(b"\0").decode())
        if self.refusing:
            send(b"E", b"SFATAL\0VFATAL\0C28P01\0Mrefused\0\0")
            return
        send(b"R", struct.pack(">i", 0))
        send(b"S", b"server_version\x0016.0\0")
        send(b"S", b"client_encoding\0UTF8\0")
        send(b"K", struct.pack(">ii", 1, 1))
        send(b"Z", b"I")
        while receive(connection, 1) != b"X":
            _body(connection)
            send(b"C", b"SELECT 0\0")
            send(b"Z", b"I")

    def mysql(self, connection: Connection) -> None:
        """
        Serve a connection. Like RDS, ask for the plug-in of the user when the user is known.

        Source: MySQL, "Client/Server Protocol", "Connection Phase".
        """
        low, high = b"\xdf\xff", b"\x8f\x00"  # capabilities up to those for plug-ins, without compression
        greeting = b"\x0a8.0.36\0" + struct.pack("<I", 1) + b"saltsalt\0" + low + b"\x2d\x02\x00" + high
        _send(connection, 0, greeting + b"\x15" + bytes(10) + b"saltsaltsalt\0" + b"mysql_native_password\0")
        assert len(_packet(connection)[1]) == 32  # it asks for TLS before it names a user
        with self.tls.wrap_socket(connection, server_side=True) as secure:
            number, request = _packet(secure)
            assert request[32:].startswith(USER.encode() + b"\0")
            _send(secure, number + 1, b"\xfemysql_clear_password\0")
            number, password = _packet(secure)
            self.keep(password.rstrip(b"\0").decode())
            _send(secure, number + 1, OKAY)
            while _packet(secure)[1] != COM_QUIT:
                _send(secure, 1, OKAY)

    @contextmanager
    def serve(self, protocol: Callable[["Database", Connection], None]) -> Iterator[None]:
        """Serve connections in threads."""
        database = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                self.request.settimeout(PATIENCE)
                with contextlib.suppress(OSError):  # the client has ended the connection
                    protocol(database, self.request)

        with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
            server.daemon_threads = True
            self.port = server.server_address[1]
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
            thread.start()
            yield
            server.shutdown()
            thread.join(PATIENCE)


def _body(connection: Connection) -> bytes:
    """Return a message of PostgreSQL, without its length."""
    return receive(connection, struct.unpack(">i", receive(connection, 4))[0] - 4)


def _start(connection: Connection) -> int:
    (code,) = struct.unpack(">i", _body(connection)[:4])
    return int(code)


def _packet(connection: Connection) -> tuple[int, bytes]:
    """Return the number and the content of a packet of MySQL."""
    head = receive(connection, 4)
    return head[3], receive(connection, int.from_bytes(head[:3], "little"))


def _send(connection: Connection, number: int, body: bytes) -> None:
    connection.sendall(len(body).to_bytes(3, "little") + bytes([number]) + body)
