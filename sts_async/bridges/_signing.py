"""
Sign the requests of an HTTP library, for the origins that the program has named and for no other.

A request that follows a redirect goes through the same hook as one of the program. A signature and a session token for
another host would give that host access. So a request is signed only if its scheme, host and port were named.
"""

import asyncio
import hashlib
from collections.abc import Collection, Iterable

from .. import sigv4
from .._protocol.endpoints import is_loopback
from .._protocol.urls import DEFAULT_PORTS, parse_http_url
from .._shape.arguments import check_flag
from .._shape.secret import Unpicklable
from .._wording.option_names import setting
from ..errors import ConfigurationError
from ..shapes import Credentials
from ..sigv4._canonical_request import S3_FAMILY
from ..sigv4._signing_input import origin_of, scope_tail
from ._view import BridgeCredentials, view_of

Origin = tuple[str, str, int]

HASHED_AT_ONCE = 1 << 20  # bytes that are hashed in the event loop, in less than a millisecond or two
MAX_SIGNERS = 128  # prepared signers of different requests
SIGNED = ("content-type", "host")  # and all that begin with `x-amz-`: proxies and libraries change others


class OriginSigner(Unpicklable):
    """
    Signs requests for some origins.

    Args:
        credentials: An `STSClient`, a view of it, or a provider that `CredentialsFleet.provider` returned.
        service: Signing name of the service.
        origins: One URL or several, of which scheme, host and port count.
        region: The signing region; None for that of *credentials*.
        allow_http: Whether origins on other hosts can be without TLS.

    Raises:
        ConfigurationError: An argument is invalid.
    """

    def __init__(
        self,
        credentials: BridgeCredentials,
        *,
        service: str,
        origins: str | Collection[str],
        region: str | None,
        allow_http: bool,
    ) -> None:
        self.view = view_of(credentials)
        check_flag("allow_http", allow_http)
        self._origins = frozenset(
            _origin(url, allow_http=allow_http) for url in ([origins] if isinstance(origins, str) else origins)
        )
        if not self._origins:
            raise ConfigurationError("origins must name at least one URL, such as https://sqs.eu-west-1.amazonaws.com")
        scope_tail(region or "us-east-1", service)
        self._service = service
        self._region = region
        self._signers: dict[tuple[object, ...], sigv4.Signer] = {}

    def covers(self, scheme: str, host: str, port: int | None) -> bool:
        """Return True if requests to this origin are signed. *host* is without brackets."""
        return (scheme, host.lower().removesuffix("."), port or DEFAULT_PORTS.get(scheme, 0)) in self._origins

    def skips_body(self, scheme: str) -> bool:
        """Return True if a streamed body need not be read: S3 accepts it without a hash over TLS."""
        return scheme == "https" and self._service in S3_FAMILY

    async def hash_of(self, body: bytes) -> str:
        """Return the hash of a body, which is computed in a thread if it takes long."""
        if len(body) <= HASHED_AT_ONCE:
            return hashlib.sha256(body).hexdigest()
        return await asyncio.to_thread(lambda: hashlib.sha256(body).hexdigest())

    def sign(
        self,
        credentials: Credentials,
        *,
        method: str,
        url: str,
        headers: Iterable[tuple[str, str]],
        payload_hash: str,
    ) -> dict[str, str]:
        """
        Return the headers to set.

        Args:
            credentials: The keys.
            method: The HTTP method.
            url: The URL as it is sent.
            headers: The headers of the request. Those that are not signed are ignored.
            payload_hash: The hash of the body, or `sigv4.UNSIGNED_PAYLOAD`.

        Raises:
            ConfigurationError: The region is not known, or the request cannot be signed.
        """
        region = self._region or self.view.region
        if region is None:
            raise ConfigurationError("the signing region is not known: pass region=, or give the client a region")
        kept: dict[str, str] = {}
        for name, value in headers:
            lower = name.lower()
            if lower in SIGNED or lower.startswith("x-amz-"):
                # A header with several values is one line with commas. Source: RFC 9110, 5.3.
                kept[lower] = f"{kept[lower]},{value}" if lower in kept else value
        signer = self._signer_for(credentials, region=region, method=method, url=url, headers=kept)
        return signer.sign_at(self.view.now().timestamp(), payload_hash=signer.given_hash or payload_hash)

    def _signer_for(
        self, credentials: Credentials, *, region: str, method: str, url: str, headers: dict[str, str]
    ) -> sigv4.Signer:
        """
        Return the signer of equal requests.

        Preparing costs the most, and most programs send few different headers to few origins. So the signer of another
        URL is made from one with the same method, headers and origin.
        """
        alike = (region, method, *headers.items())
        key = (url, *alike)
        found = self._signers.get(key)
        if found is not None and found.credentials is credentials:
            return found
        if len(self._signers) >= MAX_SIGNERS:
            self._signers = {}  # a new dict: another thread may read the old one
        key_of_origin = (origin_of(url), *alike)
        first = self._signers.get(key_of_origin)
        if first is not None and first.credentials is credentials:
            made = self._signers[key] = first.for_url(url)
            return made
        made = self._signers[key] = self._signers[key_of_origin] = sigv4.Signer(
            credentials, method=method, url=url, headers=headers, service=self._service, region=region
        )
        return made


def _origin(url: str, *, allow_http: bool) -> Origin:
    parsed = parse_http_url(url, what="an origin")
    if parsed.scheme == "http" and not allow_http and not is_loopback(parsed.host):
        raise ConfigurationError(
            "an origin on another host must be https, because requests contain the session token: "
            f"pass {setting('allow_http', 'True')} to send it without TLS"
        )
    return parsed.scheme, parsed.host, parsed.port or DEFAULT_PORTS[parsed.scheme]
