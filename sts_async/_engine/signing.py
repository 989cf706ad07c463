"""Signatures of requests to one endpoint, and when they are made: when the transport sends, not when a call begins."""

from collections.abc import Mapping
from datetime import UTC, datetime

from .. import sigv4
from .._protocol.endpoints import Endpoint, no_region
from .._runtime.outcome import copy_without_traceback
from .._wording.option_names import option, setting
from ..errors import ConfigurationError, STSError
from ..retries._rate_limit_key import rate_limit_key
from ..shapes import Credentials
from .call import Call
from .client_state import Shared


class EndpointSigner:
    """
    Sign requests to an endpoint, and keep what was derived from the credentials in use.

    Args:
        endpoint: Where requests go; None when that is not known.
        why: Why it is not known.
    """

    __slots__ = ("_endpoint", "_scope", "_signer", "_why")

    def __init__(self, endpoint: Endpoint | None, *, why: STSError | None = None) -> None:
        self._endpoint = endpoint
        self._why = why
        self._signer: sigv4.Signer | None = None
        self._scope: tuple[Credentials, str] | None = None

    @property
    def endpoint(self) -> Endpoint:
        """
        Where requests go.

        Raises:
            ConfigurationError: There is neither region nor endpoint, or what says so cannot be used.
        """
        if self._endpoint is None:
            raise ConfigurationError(no_region()) if self._why is None else copy_without_traceback(self._why)
        return self._endpoint

    @property
    def region(self) -> str:
        """
        What requests are signed for.

        Raises:
            ConfigurationError: It is not known.
        """
        region = self.endpoint.signing_region
        if region is None:
            if self.endpoint.no_region is not None:
                raise copy_without_traceback(self.endpoint.no_region)
            raise ConfigurationError(
                f"a signed operation needs a region as well as {option('endpoint_url')}: "
                f"pass {setting('region')} or set AWS_REGION"
            )
        return region

    def scope(self, credentials: Credentials) -> str:
        """Return whose limit requests count against that are signed with *credentials*."""
        known = self._scope
        if known is None or known[0] is not credentials:
            known = self._scope = (credentials, rate_limit_key(credentials.access_key_id, self.endpoint))
        return known[1]

    def sign(
        self, credentials: Credentials, *, digest: str, at: datetime, headers: Mapping[str, str]
    ) -> Mapping[str, str]:
        """Return *headers* with a signature over them and a body with this *digest*, made for the time *at*."""
        signer = self._signer
        if signer is None or signer.credentials is not credentials or signer.headers != headers:
            # One is kept, for the credentials in use: what they supersede is let go, and their derived keys with it.
            signer = self._signer = sigv4.Signer(
                credentials,
                method="POST",
                url=self.endpoint.url,
                headers=headers,
                service=self.endpoint.signing_name,
                region=self.region,
            )
        return signer.sign(payload_hash=digest, at=at)


class Signing:
    """
    The headers of one attempt, signed when the transport asks for them: when the request's turn has come.

    Attributes:
        at: When that was, by this host's clock, in seconds since 1970.
        ahead: By how much the service's clock was thought to be ahead then, in seconds.
    """

    __slots__ = ("_call", "_credentials", "_digest", "_headers", "_shared", "_signer", "ahead", "at")

    def __init__(
        self,
        signer: EndpointSigner,
        shared: Shared,
        call: Call,
        *,
        credentials: Credentials | None,
        digest: str,
        headers: Mapping[str, str],
    ) -> None:
        self._signer = signer
        self._shared = shared
        self._call = call
        self._credentials = credentials
        self._digest = digest
        self._headers = headers
        self.at: float = shared.wall_clock()
        self.ahead = shared.clock.offset

    def __call__(self) -> Mapping[str, str]:
        """Return the headers, and note in the call that it is being sent."""
        call, meter = self._call, self._call.meter
        if meter is not None:
            meter.over("queue")
        self.at = self._shared.wall_clock()
        self.ahead = self._shared.clock.offset
        headers = self._headers
        if self._credentials is not None:
            at = datetime.fromtimestamp(self.at + self.ahead, UTC)
            headers = self._signer.sign(self._credentials, digest=self._digest, at=at, headers=headers)
        call.sent, call.unsent = call.attempt, None
        if meter is not None:
            meter.over("signing")
        return headers
