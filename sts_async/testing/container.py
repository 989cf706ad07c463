"""LocalContainer: the credentials endpoint of ECS and EKS containers."""

import hmac
import ssl
import time
from collections.abc import Callable

from .._shape.secret import Secret
from ..shapes import Credentials
from .base import Reply
from .clock import TimeSource
from .refusals import Refusal
from .vending import CredentialsServer, TokenState, in_json, iso
from .verify import Received

_STATUSES = {"Unauthorized": 401, "NotFound": 404, "MethodNotAllowed": 405}


class LocalContainer(CredentialsServer):
    """
    A container credentials endpoint on 127.0.0.1.

        async with LocalContainer(token="open sesame") as server:
            os.environ.update(server.environ)

    Errors are ``{"code", "message"}``; `Throttle` is HTTP 429.

    Args:
        credentials: The credentials to return. A function is called for each fetch. None for random credentials.
        lifetime: Lifetime of random credentials in seconds; if it is negative, they have expired.
        token: The required value of the Authorization header; None if the header is not required.
        path: Path of the credentials, with a query if the URL has one.
        account_id: AccountId in the response; None to omit it.
        role_arn: RoleArn in the response; None to omit it.
        clock: A `VirtualClock`, another object with a method `time`, or a function that returns seconds since 1970.
        host: Address to listen on.
        port: Port to listen on; 0 for a free port.
        ssl_context: TLS context with a certificate, to serve https; None for http.

    Attributes:
        token: The same as the argument. It can be changed, as the other attributes, but is hidden.
    """

    _throttled = ("ThrottlingException", 429)
    _statuses = _STATUSES

    def __init__(
        self,
        *,
        credentials: Credentials | Callable[[], Credentials] | None = None,
        lifetime: float = 3600,
        token: str | None = None,
        path: str = "/credentials",
        account_id: str | None = None,
        role_arn: str | None = None,
        clock: TimeSource = time.time,
        host: str = "127.0.0.1",
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        if not path.startswith("/"):
            raise ValueError("path must begin with a slash")
        super().__init__(
            credentials=credentials, lifetime=lifetime, clock=clock, host=host, port=port, ssl_context=ssl_context
        )
        self.token = token
        self.path = path
        self.account_id = account_id
        self.role_arn = role_arn

    @property
    def token(self) -> str | None:
        """The required value of the Authorization header, or None."""
        return self._expected

    @token.setter
    def token(self, token: str | None) -> None:
        self._expected = None if token is None else Secret(token)

    def _own_environ(self) -> dict[str, str]:
        found = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{self.url}{self.path}"}
        if self._expected is not None:
            found["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = self._expected
        return found

    def _token(self, received: Received, *, now: float) -> TokenState | None:
        if self._expected is None:
            return None
        given = received.headers.get("authorization")
        if given is None:
            return "absent"
        matches = hmac.compare_digest(given.encode(errors="surrogateescape"), self._expected.encode())
        return "valid" if matches else "invalid"

    def _serve(self, received: Received, *, token: TokenState | None, now: float) -> Reply:
        target = f"{received.path}?{received.query}" if received.query else received.path
        if target != self.path:
            raise self._refused("NotFound", "There is nothing here")
        if received.method != "GET":
            raise self._refused("MethodNotAllowed", "Only GET is allowed")
        if token not in (None, "valid"):
            raise self._refused("Unauthorized", "The authorization token is missing or wrong")
        credentials = self._vend(account=self.account_id, now=now)
        members = {
            "AccessKeyId": credentials.access_key_id,
            "SecretAccessKey": credentials.secret_access_key,
            "Token": credentials.session_token,
            "Expiration": None if credentials.expiration is None else iso(credentials.expiration.timestamp()),
            "AccountId": self.account_id,
            "RoleArn": self.role_arn,
        }
        return in_json({name: value for name, value in members.items() if value is not None})

    def _refuse(self, refusal: Refusal) -> Reply:
        return in_json({"code": refusal.code, "message": refusal.message}, status=refusal.status)
