"""
The answer to one request: who may ask, and what the endpoint has in memory.

The checks come before anything of the request is used. A page in a browser can send requests to this host, also with a
name of its own that resolves to 127.0.0.1. So the Host header must be the address of the endpoint, and a request with
an Origin header is refused. A proxy of this host adds X-Forwarded-For.

Source: RFC 9110, section 7.2, for the Host header; the rules of the agents of ECS and EKS.
"""

import asyncio
import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote

import attrs
from aiohttp import web

from .._shape.secret import Secret, SecretBytes
from ..errors import ClientClosedError, STSError
from ..fleet._ahead import get_ahead
from ..fleet.identities import Identity
from ..shapes import Credentials
from ._documents import (
    CLOSED,
    FROM_BROWSER,
    HAS_BODY,
    NO_TOKEN,
    NOT_FOUND,
    NOT_LOCAL,
    NOT_TEMPORARY,
    TOO_LATE,
    WRONG_HOST,
    WRONG_METHOD,
    WRONG_TOKEN,
    Refusal,
    answer,
    is_temporary,
    seconds_left,
    unavailable,
)
from ._server import begin, refused

if TYPE_CHECKING:
    from ..fleet.fleet import CredentialsFleet

FETCH_SECONDS = 0.8  # s for a fetch: the SDKs for JavaScript and PHP wait 1 s for the answer
MARGIN = 15 * 60.0  # s that the credentials of an answer should have left; with less, a refresh is awaited
LOOPBACK = "127.0.0.1"
_FOREIGN = ("Origin", "X-Forwarded-For", "Forwarded", "Via", "Sec-Fetch-Site")


@attrs.define(eq=False)
class Served:
    """
    An identity that the endpoint serves.

    Attributes:
        name: Its name.
        identity: The identity.
        token: The token of its path.
        role_arn: The ARN of its role, or None.
        credentials: The credentials of the last answer.
        body: The document with these credentials.
    """

    name: str
    identity: Identity = attrs.field(repr=False)
    token: Secret
    role_arn: str | None
    credentials: Credentials | None = attrs.field(default=None, repr=False)
    body: SecretBytes = attrs.field(default=SecretBytes(b""), repr=False)

    def document(self, credentials: Credentials) -> SecretBytes:
        """Return the document with credentials. It is written once for each refresh."""
        if self.credentials is not credentials:
            self.body = answer(credentials, role_arn=self.role_arn)
            self.credentials = credentials
        return self.body


def path_of(name: str) -> str:
    """Return the path of an identity."""
    return f"/role/{quote(name, safe='+=,@')}"


class Answers:
    """
    Answers the requests of an endpoint.

    Args:
        fleet: The fleet.
        served: The identities.
        authority: The address of the endpoint, such as ``127.0.0.1:40000``.
        clock: Returns the seconds since 1970.
    """

    def __init__(
        self,
        fleet: "CredentialsFleet",
        served: Mapping[str, Served],
        *,
        authority: str,
        clock: Callable[[], float],
    ) -> None:
        self._fleet = fleet
        self._authority = authority
        self._clock = clock
        self._by_path = {f"/role/{name}": one for name, one in served.items()}
        # A token is looked up by its digest, so the time of the look-up tells nothing about the token.
        self._digests = {_digest(one.token) for one in served.values()}

    async def __call__(self, request: web.BaseRequest) -> web.Response:
        """Return the response to a request."""
        begin(request)
        refusal = self._check(request)
        if refusal is not None:
            # The connection of a stranger is not kept, and neither is one with a body that was not read.
            return refused(refusal, close=refusal in (NOT_LOCAL, FROM_BROWSER, WRONG_HOST, HAS_BODY))
        found = await self.credentials_of(self._by_path[request.rel_url.path])
        if isinstance(found, Refusal):
            return refused(found)
        headers = {"Cache-Control": "no-store", "Server": "sts-async"}
        return web.Response(body=bytes(found), content_type="application/json", headers=headers)

    def _check(self, request: web.BaseRequest) -> Refusal | None:
        """Return why a request is refused, or None."""
        peer = None if request.transport is None else request.transport.get_extra_info("peername")
        if not (isinstance(peer, tuple) and str(peer[0]).startswith("127.")):
            return NOT_LOCAL
        headers = request.headers
        if any(name in headers for name in _FOREIGN):
            return FROM_BROWSER
        if headers.getall("Host", []) != [self._authority]:
            return WRONG_HOST
        if request.method != "GET":
            return WRONG_METHOD
        if request.body_exists:
            return HAS_BODY
        return self._check_token(request)

    def _check_token(self, request: web.BaseRequest) -> Refusal | None:
        given = request.headers.getall("Authorization", [])
        token = Secret(given[0]) if len(given) == 1 else Secret("")
        served = self._by_path.get(request.rel_url.path) if not request.query_string else None
        if served is not None:
            if hmac.compare_digest(_encoded(token), _encoded(served.token)):
                return None
            return WRONG_TOKEN if token else NO_TOKEN
        # Only a program with a token learns which names exist.
        if _digest(token) in self._digests:
            return NOT_FOUND
        return WRONG_TOKEN if token else NO_TOKEN

    async def credentials_of(self, served: Served) -> SecretBytes | Refusal:
        """Return the document with the credentials of an identity: from memory, or within the time that SDKs wait."""
        identity = served.identity
        credentials = self._fleet._fresh(identity)
        if credentials is None:
            held = self._fleet.peek(identity)
            wait = held is None or not is_temporary(held) or seconds_left(held, now=self._clock()) < MARGIN
            try:
                async with asyncio.timeout(FETCH_SECONDS):
                    credentials = await get_ahead(self._fleet, identity, wait=wait)
            except TimeoutError:
                # The fetch goes on. Until it ends, credentials that end soon are better than none.
                credentials = self._fleet.peek(identity)
                if credentials is None:
                    return TOO_LATE
            except ClientClosedError:
                return CLOSED
            except STSError as error:
                return unavailable(error)
        if not is_temporary(credentials):
            return NOT_TEMPORARY
        if seconds_left(credentials, now=self._clock()) <= 0:
            return TOO_LATE
        return served.document(credentials)


def _encoded(token: str) -> SecretBytes:
    # A header can have any bytes, which aiohttp decodes with surrogates.
    return SecretBytes(token.encode("utf-8", "surrogateescape"))


def _digest(token: str) -> bytes:
    return hashlib.sha256(_encoded(token)).digest()
