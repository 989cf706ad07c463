"""Signing of requests to one endpoint, and the values that are cached for the current credentials."""

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
    The current credentials at one endpoint, and the values derived from them.

    Attributes:
        credentials: The credentials; None for calls that are not signed.
        scope: The rate limit key of the requests; see `RetryPolicy`.
        signing: The headers of the last request and the signer for them. They are one value, because event loops in
            other threads use the same identity.
    """

    __slots__ = ("credentials", "scope", "signing")

    def __init__(self, credentials: Credentials | None, scope: str) -> None:
        self.credentials = credentials
        self.scope = scope
        self.signing: tuple[Mapping[str, str], sigv4.Signer] | None = None


UNSIGNED = Identity(None, "")
"""The identity of calls that are not signed."""


class EndpointSigner:
    """
    Signs requests to an endpoint, and caches the values derived from the current credentials.

    Args:
        endpoint: The endpoint; None if it is not known.
        why: The error to raise if it is not known.

    Attributes:
        identity: The current identity. Replaced credentials and their derived keys are not kept.
    """

    __slots__ = ("_endpoint", "_why", "identity")

    def __init__(self, endpoint: Endpoint | None, *, why: STSError | None = None) -> None:
        self._endpoint = endpoint
        self._why = why
        self.identity = UNSIGNED

    @property
    def endpoint(self) -> Endpoint:
        """
        The endpoint.

        Raises:
            ConfigurationError: There is neither a region nor an endpoint URL, or one of them is invalid.
        """
        if self._endpoint is None:
            raise ConfigurationError(no_region()) if self._why is None else copy_without_traceback(self._why)
        return self._endpoint

    @property
    def region(self) -> str:
        """
        The signing region.

        Raises:
            ConfigurationError: The region is not known.
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
        """Return a new identity for *credentials*, and make it the current one."""
        self.identity = Identity(credentials, rate_limit_key(credentials.access_key_id, self.endpoint))
        return self.identity

    def signer_for(self, identity: Identity, headers: Mapping[str, str]) -> sigv4.Signer:
        """Return the signer for requests with these headers. The last signer is cached."""
        signing = identity.signing
        signer = None if signing is None else signing[1]
        if signer is None or signer.headers != headers:
            assert identity.credentials is not None  # noqa: S101 - calls that are not signed have no signer
            signer = sigv4.Signer(
                identity.credentials,
                method="POST",
                url=self.endpoint.url,
                headers=headers,
                service=self.endpoint.signing_name,
                region=self.region,
            )
        identity.signing = headers, signer
        return signer
