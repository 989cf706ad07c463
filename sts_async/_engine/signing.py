"""Signatures of requests to one endpoint, and what is kept for the credentials in use."""

from collections.abc import Mapping

from .. import sigv4
from .._protocol.endpoints import Endpoint, no_region
from .._runtime.outcome import copy_without_traceback
from .._wording.option_names import option, setting
from ..errors import ConfigurationError, STSError
from ..retries._rate_limit_key import rate_limit_key
from ..shapes import Credentials


class Identity:
    """
    Credentials in use at one endpoint, and what was derived from them.

    Attributes:
        credentials: What signs; None for calls that are not signed.
        scope: Whose limit the requests count against; see `RetryPolicy`.
        signer: Signs with *credentials*; None before the first request.
        headers: The headers that *signer* was made for.
    """

    __slots__ = ("credentials", "headers", "scope", "signer")

    def __init__(self, credentials: Credentials | None, scope: str) -> None:
        self.credentials = credentials
        self.scope = scope
        self.signer: sigv4.Signer | None = None
        self.headers: Mapping[str, str] | None = None


NOBODY = Identity(None, "")
"""The identity of calls that are not signed."""


class EndpointSigner:
    """
    Sign requests to an endpoint, and keep what was derived from the credentials in use.

    Args:
        endpoint: Where requests go; None when that is not known.
        why: Why it is not known.

    Attributes:
        identity: The one in use. Credentials that are superseded are let go, and their derived keys with them.
    """

    __slots__ = ("_endpoint", "_why", "identity")

    def __init__(self, endpoint: Endpoint | None, *, why: STSError | None = None) -> None:
        self._endpoint = endpoint
        self._why = why
        self.identity = NOBODY

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

    def use(self, credentials: Credentials) -> Identity:
        """Return a new identity for *credentials*, which is then the one in use."""
        self.identity = Identity(credentials, rate_limit_key(credentials.access_key_id, self.endpoint))
        return self.identity

    def signer_for(self, identity: Identity, headers: Mapping[str, str]) -> sigv4.Signer:
        """Return what signs requests with these headers; the last one is kept."""
        signer = identity.signer
        if signer is None or signer.headers != headers:
            assert identity.credentials is not None  # noqa: S101 - calls that are not signed have no signer
            signer = identity.signer = sigv4.Signer(
                identity.credentials,
                method="POST",
                url=self.endpoint.url,
                headers=headers,
                service=self.endpoint.signing_name,
                region=self.region,
            )
        identity.headers = headers
        return signer
