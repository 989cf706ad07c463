"""Shared code of the servers that return credentials: sources, tokens, JSON, records."""

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
    A record of one request and its response, without secrets.

    Attributes:
        method: HTTP method.
        path: Percent-encoded path, without the query.
        token: State of the token in the request, also if a fault followed; None if no token is required.
        status: HTTP status of the response, or None if the connection was reset.
        code: Error code, or None for success.
    """

    method: str
    path: str
    token: TokenState | None = None
    status: int | None = None
    code: str | None = None


class CredentialsServer(LocalServer[Exchange]):
    """
    Base class of the servers that return credentials. A subclass implements the protocol.

    Args:
        credentials: The credentials to return. A function is called for each fetch. None for random credentials.
        lifetime: Lifetime of random credentials in seconds; if it is negative, they have expired.
        options: The options of `LocalServer`.

    Attributes:
        credentials: The same as the argument; it can be changed at any time.
        lifetime: The same as the argument; it can be changed at any time.
    """

    _statuses: ClassVar[Mapping[str, int]] = {}
    """HTTP statuses of error codes, for a `Refuse` with the default status 400."""

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
        """Return the state of the token in *received*; None if no token is required."""

    @abstractmethod
    def _serve(self, received: Received, *, token: TokenState | None, now: float) -> Reply:
        """Return the response, or raise `Refusal`."""

    @abstractmethod
    def _refuse(self, refusal: Refusal) -> Reply:
        """Return the error response in the format of the service."""

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
        """Return an error with the status of its code."""
        return Refusal(code, message, status=self._statuses.get(code, 400))

    def _vend(self, *, account: str | None, now: float, lifetime: float | None = None) -> Credentials:
        """
        Return the credentials for a response.

        Args:
            account: Account of random credentials; None for the default account.
            now: The time, in seconds since 1970.
            lifetime: Lifetime of random credentials in seconds; None for the attribute.
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
        """Return the expiry of *credentials*, in seconds since 1970, for responses that require one."""
        ends = credentials.expiration
        return now + self.lifetime if ends is None else ends.timestamp()


class Tokens:
    """
    Issuer of the tokens of one server. A token contains its content, so tokens are not stored.

    Args:
        purpose: Purpose of the tokens; tokens for another purpose are invalid.
    """

    def __init__(self, purpose: str) -> None:
        self._purpose = purpose
        self._key = secrets.token_bytes(32)

    def issue(self, *, ends_at: float, **content: Any) -> Secret:
        """Return a new token with a content. It is valid until *ends_at*, in seconds since 1970."""
        facts = {**content, "ends_at": ends_at, "id": secrets.token_hex(8)}
        return Secret(seal(self._key, self._purpose, facts))

    def read(self, token: str | None, *, now: float) -> tuple[TokenState, dict[str, Any]]:
        """Return the state of *token* at *now*, and its content, which is empty if it is absent or invalid."""
        if not token:
            return "absent", {}
        try:
            content: dict[str, Any] = unseal(self._key, self._purpose, token)
        except ValueError:
            return "invalid", {}
        return ("valid" if content["ends_at"] > now else "expired"), content

    def revoke(self) -> None:
        """Invalidate all tokens that were issued."""
        self._key = secrets.token_bytes(32)


def in_json(content: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """Return a response with *content* as JSON."""
    return Reply(
        status=status,
        body=json.dumps(content).encode(),
        headers={"Content-Type": "application/json", **(headers or {})},
    )


def object_in(received: Received) -> dict[str, str]:
    """Return the text members of the JSON object in *received*; empty if its body is not a JSON object."""
    try:
        found = json.loads(received.body)
    except (ValueError, RecursionError):
        return {}
    return {name: value for name, value in found.items() if isinstance(value, str)} if isinstance(found, dict) else {}


def iso(seconds: float) -> str:
    """Return *seconds* since 1970 as text in UTC, with whole seconds: ``2026-01-31T23:59:59Z``."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
