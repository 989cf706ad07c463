"""LocalIMDS: the instance metadata service of EC2, version 2 and optionally version 1."""

import json
import re
import ssl
import time
from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import unquote

from ..shapes import Credentials
from .base import Reply
from .clock import TimeSource
from .refusals import Refusal
from .vending import CredentialsServer, Tokens, TokenState, iso
from .verify import Received

TOKEN_PATH = "/latest/api/token"  # noqa: S105
TOKEN_HEADER = "x-aws-ec2-metadata-token"  # noqa: S105
TTL_HEADER = "x-aws-ec2-metadata-token-ttl-seconds"
MAX_TTL = 21_600  # s
METADATA = "/latest/meta-data"
ROLES = f"{METADATA}/iam/security-credentials"
ROLES_EXTENDED = f"{METADATA}/iam/security-credentials-extended"

_TTL = re.compile(r"\d{1,5}", re.ASCII)
_STATUSES = {"Unauthorized": 401, "Forbidden": 403, "NotFound": 404, "MethodNotAllowed": 405}


class LocalIMDS(CredentialsServer):
    """
    An instance metadata service on 127.0.0.1.

        async with LocalIMDS(role="web") as server:
            os.environ.update(server.environ)

    It serves the token, the role, its credentials, region and availability zone. Errors are HTML pages, as in EC2;
    `Throttle` is HTTP 429. `Exchange.token` shows which requests had no token.

    Args:
        role: Name of the role. It is sent unchanged, even if it is invalid. None for an instance without a role.
        credentials: The credentials to return. A function is called for each fetch. None for random credentials.
        lifetime: Lifetime of random credentials in seconds; if it is negative, they have expired.
        region: Region of the instance.
        availability_zone: Availability zone of the instance; None for zone ``a`` of the region.
        account_id: AccountId of the extended response.
        code: Code in the response. With another code than ``Success``, such as ``AssumeRoleUnauthorizedAccess``, the
            response has no credentials, although its HTTP status is 200.
        v1: Whether requests without a token are accepted.
        extended: Whether the paths with ``-extended`` exist, which return the account too.
        clock: A `VirtualClock`, another object with a method `time`, or a function that returns seconds since 1970.
        host: Address to listen on.
        port: Port to listen on; 0 for a free port.
        ssl_context: TLS context with a certificate, to serve https; None for http.

    All arguments except the last four are also attributes, which can be changed at any time.
    """

    _throttled = ("TooManyRequests", 429)
    _statuses = _STATUSES

    def __init__(
        self,
        *,
        role: str | None = "demo",
        credentials: Credentials | Callable[[], Credentials] | None = None,
        lifetime: float = 3600,
        region: str = "us-east-1",
        availability_zone: str | None = None,
        account_id: str = "123456789012",
        code: str = "Success",
        v1: bool = False,
        extended: bool = False,
        clock: TimeSource = time.time,
        host: str = "127.0.0.1",
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(
            credentials=credentials, lifetime=lifetime, clock=clock, host=host, port=port, ssl_context=ssl_context
        )
        self.role = role
        self.region = region
        self.availability_zone = availability_zone
        self.account_id = account_id
        self.code = code
        self.v1 = v1
        self.extended = extended
        self._tokens = Tokens("IMDS")

    def _own_environ(self) -> dict[str, str]:
        return {
            "AWS_EC2_METADATA_DISABLED": "false",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"{self.url}/",  # the AWS CLI 2.9 appends the path without a slash
            "AWS_METADATA_ENDPOINT": self.url,  # the object_store crate, in polars and Delta Lake, reads no other
        }

    def revoke_tokens(self) -> None:
        """Invalidate all tokens, so that requests get HTTP 401, as after a stop and start of the instance."""
        self._tokens.revoke()

    def _token(self, received: Received, *, now: float) -> TokenState | None:
        if received.path == TOKEN_PATH:
            return None
        return self._tokens.read(received.headers.get(TOKEN_HEADER), now=now)[0]

    def _serve(self, received: Received, *, token: TokenState | None, now: float) -> Reply:
        if received.path == TOKEN_PATH:
            return self._new_token(received, now=now)
        if token != "valid" and not (self.v1 and token == "absent"):  # noqa: S105 - states
            raise self._refused("Unauthorized")
        if received.method != "GET":
            raise self._refused("MethodNotAllowed")
        body = self._text_at(unquote(received.path).removesuffix("/"), now=now)
        if body is None:
            raise self._refused("NotFound")
        return _text(body)

    def _new_token(self, received: Received, *, now: float) -> Reply:
        if received.method != "PUT":
            raise self._refused("MethodNotAllowed")
        if "x-forwarded-for" in received.headers:  # EC2 issues no token through a proxy
            raise self._refused("Forbidden")
        ttl = received.headers.get(TTL_HEADER, "")
        if not (_TTL.fullmatch(ttl) and 1 <= int(ttl) <= MAX_TTL):
            raise self._refused("BadRequest")
        token = self._tokens.issue(ends_at=now + int(ttl))
        return _text(token, headers={TTL_HEADER: ttl})

    def _text_at(self, path: str, *, now: float) -> str | None:
        """Return the text at *path*, which has no final slash, or None if nothing is there."""
        if path == f"{METADATA}/placement/region":
            return self.region
        if path == f"{METADATA}/placement/availability-zone":
            return self.availability_zone or f"{self.region}a"
        for roles in [ROLES, ROLES_EXTENDED] if self.extended else [ROLES]:
            if self.role is not None and path == roles:
                return self.role
            if self.role is not None and path == f"{roles}/{self.role}":
                return self._credentials_text(now=now, with_account=roles == ROLES_EXTENDED)
        return None

    def _credentials_text(self, *, now: float, with_account: bool) -> str:
        members: dict[str, str | None] = {"Code": self.code, "LastUpdated": iso(now)}
        if self.code != "Success":
            return json.dumps({**members, "Message": f"EC2 cannot assume the role {self.role}."}, indent=2)
        credentials = self._vend(account=self.account_id, now=now)
        members |= {
            "Type": "AWS-HMAC",
            "AccessKeyId": credentials.access_key_id,
            "SecretAccessKey": credentials.secret_access_key,
            "Token": credentials.session_token,
            "Expiration": None if credentials.expiration is None else iso(credentials.expiration.timestamp()),
            "AccountId": self.account_id if with_account else None,
        }
        return json.dumps({name: value for name, value in members.items() if value is not None}, indent=2)

    def _refuse(self, refusal: Refusal) -> Reply:
        title = f"{refusal.status} - {HTTPStatus(refusal.status).phrase}"
        page = f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n"
        return _text(page, status=refusal.status, content_type="text/html")


def _text(
    text: str, *, status: int = 200, content_type: str = "text/plain", headers: dict[str, str] | None = None
) -> Reply:
    return Reply(status=status, body=text.encode(), headers={"Content-Type": content_type, **(headers or {})})
