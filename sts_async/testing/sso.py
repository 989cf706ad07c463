"""LocalSSO: the access portal and the OIDC service of IAM Identity Center, in one server."""

import hashlib
import hmac
import json
import secrets
import ssl
import time
from collections.abc import Callable, Collection
from pathlib import Path
from urllib.parse import parse_qs

import attrs

from .._runtime.files import write_private
from .._shape.secret import Secret
from ..shapes import Credentials
from .base import Reply
from .clock import TimeSource
from .refusals import Refusal
from .vending import CredentialsServer, Tokens, TokenState, in_json, iso, object_in
from .verify import Received

PORTAL_PATH = "/federation/credentials"
OIDC_PATH = "/token"
BEARER_HEADER = "x-amz-sso_bearer_token"

REGISTRATION = 90 * 86_400  # s that a client is registered for

_STATUSES = {
    "ForbiddenException": 403,
    "InternalServerException": 500,
    "InvalidClientException": 401,
    "ResourceNotFoundException": 404,
    "UnauthorizedException": 401,
}
# The OAuth 2.0 names of the errors of the OIDC service (RFC 6749, section 5.2; RFC 8628, section 3.5).
_OAUTH = {
    "AccessDeniedException": "access_denied",
    "ExpiredTokenException": "expired_token",
    "InternalServerException": "server_error",
    "InvalidClientException": "invalid_client",
    "InvalidGrantException": "invalid_grant",
    "InvalidRequestException": "invalid_request",
    "InvalidScopeException": "invalid_scope",
    "SlowDownException": "slow_down",
    "UnauthorizedClientException": "unauthorized_client",
    "UnsupportedGrantTypeException": "unsupported_grant_type",
}


@attrs.frozen(kw_only=True)
class _Registration:
    """
    The registered client of a refresh token.

    Attributes:
        client_id: Its id.
        client_secret: Its secret.
        ends_at: The end of the registration, in seconds since 1970.
    """

    client_id: str
    client_secret: Secret
    ends_at: float


class LocalSSO(CredentialsServer):
    """
    The access portal and the OIDC service of IAM Identity Center on 127.0.0.1.

        async with LocalSSO() as server:
            server.login(Path.home() / ".aws/sso/cache", session="corp")
            os.environ.update(server.environ)

    The portal exchanges an access token for the credentials of a role. The OIDC service exchanges a refresh token for
    an access token and the next refresh token; a refresh token works once. `Throttle` is HTTP 429. The path of a fault
    selects the service: ``Throttle(path="/token")`` is for the OIDC service.

    Args:
        credentials: The credentials to return. A function is called for each fetch. None for random credentials.
        lifetime: Lifetime of random credentials in seconds; if it is negative, they have expired.
        token_lifetime: Lifetime of access tokens from a refresh, in seconds.
        roles: The user's roles, as pairs of an account id and a role name; None for every role.
        region: Region of the Identity Center, for the files of `login`.
        start_url: Start URL of the access portal, for the files of `login`.
        clock: A `VirtualClock`, another object with a method `time`, or a function that returns seconds since 1970.
        host: Address to listen on.
        port: Port to listen on; 0 for a free port.
        ssl_context: TLS context with a certificate, to serve https; None for http.

    All arguments except the last four are also attributes, which can be changed at any time.
    """

    _throttled = ("TooManyRequestsException", 429)
    _statuses = _STATUSES
    _needs_profile = True

    def __init__(
        self,
        *,
        credentials: Credentials | Callable[[], Credentials] | None = None,
        lifetime: float = 3600,
        token_lifetime: int = 3600,
        roles: Collection[tuple[str, str]] | None = None,
        region: str = "us-east-1",
        start_url: str = "https://demo.awsapps.com/start",
        clock: TimeSource = time.time,
        host: str = "127.0.0.1",
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(
            credentials=credentials, lifetime=lifetime, clock=clock, host=host, port=port, ssl_context=ssl_context
        )
        self.token_lifetime = token_lifetime
        self.roles = roles
        self.region = region
        self.start_url = start_url
        self._access = Tokens("SSO access")
        self._refresh: dict[str, _Registration] = {}

    def _own_environ(self) -> dict[str, str]:
        return {"AWS_ENDPOINT_URL_SSO": self.url, "AWS_ENDPOINT_URL_SSO_OIDC": self.url}

    def login(
        self,
        directory: Path,
        *,
        session: str | None = None,
        start_url: str | None = None,
        seconds: float = 3600,
        registration_seconds: float = REGISTRATION,
    ) -> Path:
        """
        Write the token file of ``aws sso login``, and return its path.

        Args:
            directory: The cache, usually ``~/.aws/sso/cache``; it is created if it does not exist.
            session: Name of the profile's sso-session; None if the profile has none.
            start_url: Start URL of a profile without an sso-session; its token cannot be refreshed.
            seconds: Lifetime of the access token in seconds; if it is negative, the token has expired.
            registration_seconds: Seconds for which the client is registered and can refresh the token.

        Raises:
            ValueError: Both or neither of *session* and *start_url* are given.
            OSError: The file cannot be written.
        """
        if (session is None) == (start_url is None):
            raise ValueError("pass either session or start_url")
        now = self._clock()
        content = {
            "startUrl": start_url or self.start_url,
            "region": self.region,
            "accessToken": self._access.issue(ends_at=now + seconds),
            "expiresAt": iso(now + seconds),
        }
        if session is not None:
            registration = _Registration(
                client_id=secrets.token_urlsafe(16),
                client_secret=Secret(secrets.token_urlsafe(64)),
                ends_at=now + registration_seconds,
            )
            content |= {
                "clientId": registration.client_id,
                "clientSecret": registration.client_secret,
                "registrationExpiresAt": iso(registration.ends_at),
                "refreshToken": self._new_refresh_token(registration),
            }
        name = hashlib.sha1((session or start_url or "").encode(), usedforsecurity=False).hexdigest()
        path = directory / f"{name}.json"
        write_private(path, json.dumps(content).encode())
        return path

    def log_out(self) -> None:
        """End every login: all access tokens and refresh tokens become invalid."""
        self._access.revoke()
        self._refresh.clear()

    def _new_refresh_token(self, registration: _Registration) -> Secret:
        token = Secret(secrets.token_urlsafe(96))
        self._refresh[token] = registration
        return token

    def _token(self, received: Received, *, now: float) -> TokenState | None:
        if received.path == OIDC_PATH:
            given = object_in(received).get("refreshToken")
            return "absent" if not given else "valid" if given in self._refresh else "invalid"
        return self._access.read(received.headers.get(BEARER_HEADER), now=now)[0]

    def _serve(self, received: Received, *, token: TokenState | None, now: float) -> Reply:
        match received.method, received.path:
            case "GET", path if path == PORTAL_PATH:
                return self._role_credentials(received, token=token, now=now)
            case "POST", path if path == OIDC_PATH:
                return self._create_token(object_in(received), now=now)
            case _:
                raise self._refused("ResourceNotFoundException", "There is nothing here")

    def _role_credentials(self, received: Received, *, token: TokenState | None, now: float) -> Reply:
        query = parse_qs(received.query)
        role, account = (query.get(name, [""])[0] for name in ("role_name", "account_id"))
        if not (role and account):
            raise self._refused("InvalidRequestException", "role_name and account_id are required")
        if token != "valid":  # noqa: S105 - a state
            raise self._refused("UnauthorizedException", "Session token not found or invalid")
        if self.roles is not None and (account, role) not in self.roles:
            raise self._refused("ForbiddenException", "No access")
        credentials = self._vend(account=account, now=now)
        return in_json(
            {
                "roleCredentials": {
                    "accessKeyId": credentials.access_key_id,
                    "secretAccessKey": credentials.secret_access_key,
                    "sessionToken": credentials.session_token,
                    "expiration": int(self._ends_at(credentials, now=now) * 1000),  # ms, unlike everything else
                }
            }
        )

    def _create_token(self, form: dict[str, str], *, now: float) -> Reply:
        if not all(form.get(name) for name in ("clientId", "clientSecret", "grantType")):
            raise self._refused("InvalidRequestException", "clientId, clientSecret and grantType are required")
        if form["grantType"] != "refresh_token":
            raise self._refused("UnsupportedGrantTypeException", "Only the grant refresh_token is known here")
        given = form.get("refreshToken", "")
        registration = self._refresh.get(given)
        if registration is None:
            raise self._refused("InvalidGrantException", "Invalid refresh token provided")
        if not self._is_client(form, registration) or registration.ends_at <= now:
            raise self._refused("InvalidClientException", "The client is not registered, or not any more")
        self._refresh.pop(given, None)  # `log_out` in another thread can have removed it
        return in_json(
            {
                "accessToken": self._access.issue(ends_at=now + self.token_lifetime),
                "tokenType": "Bearer",
                "expiresIn": self.token_lifetime,
                "refreshToken": self._new_refresh_token(registration),
            }
        )

    @staticmethod
    def _is_client(form: dict[str, str], registration: _Registration) -> bool:
        given = f"{form['clientId']}\n{form['clientSecret']}"
        expected = f"{registration.client_id}\n{registration.client_secret}"
        return hmac.compare_digest(given.encode(), expected.encode())

    def _refuse(self, refusal: Refusal) -> Reply:
        # Both services send the error code in the header. The members of the body differ.
        content = {"message": refusal.message, "__type": refusal.code}
        if refusal.code in _OAUTH:
            content |= {"error": _OAUTH[refusal.code], "error_description": refusal.message}
        return in_json(content, status=refusal.status, headers={"x-amzn-ErrorType": refusal.code})
