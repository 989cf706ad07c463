"""What the servers that hand out credentials share: where those come from, tokens, JSON, records."""

import json
import secrets
import ssl
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

import attrs

from .._shape.secret import Secret
from ..shapes import Credentials
from .base import LocalServer, Reply
from .clock import TimeSource
from .directory import ACCOUNT_ID, DEFAULT_ACCOUNT, TOKEN_BASE, new_session_credentials
from .refusals import Refusal
from .sealed import seal, unseal
from .verify import Received

TokenState = Literal["absent", "valid", "expired", "invalid"]


@attrs.frozen(kw_only=True)
class Exchange:
    """
    A record of one request and its answer, without anything secret.

    Attributes:
        method: HTTP method.
        path: Percent-encoded path, without the query.
        token: What became of the token that the request has to carry, whether or not a fault followed; None where
            none is asked for.
        status: HTTP status of the answer, or None when the connection was reset.
        code: Error code, or None for success.
    """

    method: str
    path: str
    token: TokenState | None = None
    status: int | None = None
    code: str | None = None


class CredentialsServer(LocalServer[Exchange]):
    """
    A server that hands out credentials. A subclass says how.

    Args:
        credentials: The credentials that are handed out. A function is called for each fetch; None makes random ones.
        lifetime: Lifetime of random credentials in seconds; with a negative one they have expired.
        options: Those of `LocalServer`.

    Attributes:
        credentials: As above; can be changed at any time.
        lifetime: As above; can be changed at any time.
    """

    _statuses: ClassVar[Mapping[str, int]] = {}
    """HTTP statuses of error codes, for `Refuse` that says no other than 400."""

    def __init__(
        self,
        *,
        credentials: Credentials | Callable[[], Credentials] | None = None,
        lifetime: float = 3600,
        clock: TimeSource = time.time,
        host: str = "127.0.0.1",
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(clock=clock, host=host, port=port, ssl_context=ssl_context)
        self.credentials = credentials
        self.lifetime = lifetime

    @abstractmethod
    def _token(self, received: Received, *, now: float) -> TokenState | None:
        """Say what the token is worth that *received* carries; None where none is asked for."""

    @abstractmethod
    def _serve(self, received: Received, *, token: TokenState | None, now: float) -> Reply:
        """Return the answer, or raise `Refusal`."""

    @abstractmethod
    def _refuse(self, refusal: Refusal) -> Reply:
        """Return the answer that refuses, in the words of the service."""

    def _answer(self, received: Received, *, now: float, refusal: Refusal | None) -> tuple[Reply, Exchange]:
        token = self._token(received, now=now)
        code: str | None = None
        try:
            if refusal is not None:
                raise self._refused(refusal.code, refusal.message) if refusal.status == 400 else refusal
            reply = self._serve(received, token=token, now=now)
        except Refusal as refused:
            code = refused.code
            reply = self._refuse(refused)
        record = Exchange(method=received.method, path=received.path, token=token, status=reply.status, code=code)
        return reply, record

    def _refused(self, code: str, message: str = "") -> Refusal:
        """Return a refusal with the status of its code."""
        return Refusal(code, message, status=self._statuses.get(code, 400))

    def _vend(self, *, account: str | None, now: float, lifetime: float | None = None) -> Credentials:
        """
        Return what is handed out at *now*.

        Random credentials are those of *account*, and live *lifetime* seconds, when these are given.
        """
        if self.credentials is None:
            ends = now + (self.lifetime if lifetime is None else lifetime)
            return new_session_credentials(
                account=account if account and ACCOUNT_ID.fullmatch(account) else DEFAULT_ACCOUNT,
                expires_at=int(ends),
                token_size=TOKEN_BASE,
            )
        return self.credentials if isinstance(self.credentials, Credentials) else self.credentials()

    def _ends_at(self, credentials: Credentials, *, now: float) -> float:
        """Return when *credentials* end, in seconds since 1970, for answers that cannot say never."""
        ends = credentials.expiration
        return now + self.lifetime if ends is None else ends.timestamp()


class Tokens:
    """
    Tokens that one server issues and takes back. They carry what they are good for, so none is kept.

    Args:
        purpose: What they are for; those for another purpose are invalid.
    """

    def __init__(self, purpose: str) -> None:
        self._purpose = purpose
        self._key = secrets.token_bytes(32)

    def issue(self, *, ends_at: float, **content: Any) -> Secret:
        """Return a new token with a content, good until *ends_at*, in seconds since 1970."""
        facts = {**content, "ends_at": ends_at, "id": secrets.token_hex(8)}
        return Secret(seal(self._key, self._purpose, facts))

    def read(self, token: str | None, *, now: float) -> tuple[TokenState, dict[str, Any]]:
        """Return what *token* is worth at *now*, and its content, which is empty when it is absent or invalid."""
        if not token:
            return "absent", {}
        try:
            content: dict[str, Any] = unseal(self._key, self._purpose, token)
        except ValueError:
            return "invalid", {}
        return ("valid" if content["ends_at"] > now else "expired"), content

    def revoke(self) -> None:
        """Take none of those that were issued so far."""
        self._key = secrets.token_bytes(32)


def in_json(content: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """Return *content* as an answer in JSON."""
    return Reply(
        status=status,
        body=json.dumps(content).encode(),
        headers={"Content-Type": "application/json", **(headers or {})},
    )


def object_in(received: Received) -> dict[str, str]:
    """Return the members of the JSON object that *received* carries that are text; none when it carries no object."""
    try:
        found = json.loads(received.body)
    except (ValueError, RecursionError):
        return {}
    return {name: value for name, value in found.items() if isinstance(value, str)} if isinstance(found, dict) else {}


def iso(seconds: float) -> str:
    """Return a time, given in seconds since 1970, in whole seconds and UTC: ``2026-01-31T23:59:59Z``."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
