"""Options of a client: what is given explicitly, then the environment, then a default."""

import os
from collections.abc import Mapping
from typing import Literal

import attrs

from ._limits import CONNECT_TIMEOUT, MAX_CONNECTIONS, MAX_RESPONSE_BYTES, READ_TIMEOUT
from .errors import ConfigurationError

_ENVIRONMENT_SWITCHES = ("ignore_configured_endpoint_urls", "use_fips_endpoint", "use_dualstack_endpoint")

REGION = ("AWS_REGION", "AWS_DEFAULT_REGION")
ENDPOINT_URL = ("AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL")
VARIABLES = (
    *REGION,
    *ENDPOINT_URL,
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_STS_REGIONAL_ENDPOINTS",
    "AWS_MAX_ATTEMPTS",
)


@attrs.frozen(kw_only=True)
class Config:
    """
    Options of a client. None means: what the environment says, else the default.

    Attributes:
        region: AWS region, such as ``eu-west-1``. Environment: ``AWS_REGION``, ``AWS_DEFAULT_REGION``.
        endpoint_url: URL to use in place of the region's own. Environment: ``AWS_ENDPOINT_URL_STS``,
            ``AWS_ENDPOINT_URL``.
        ignore_configured_endpoint_urls: Whether those two variables are passed over. Environment:
            ``AWS_IGNORE_CONFIGURED_ENDPOINT_URLS``. Default: False.
        use_fips_endpoint: Environment: ``AWS_USE_FIPS_ENDPOINT``. Default: False.
        use_dualstack_endpoint: Environment: ``AWS_USE_DUALSTACK_ENDPOINT``. Default: False.
        sts_regional_endpoints: ``legacy`` uses the global endpoint for fifteen regions, which
            `endpoints.LEGACY_GLOBAL_REGIONS` lists. Environment: ``AWS_STS_REGIONAL_ENDPOINTS``. Default: ``regional``.
        allow_http: Whether an endpoint beyond this host may be reached without TLS.
        validate_parameters: Whether requests are checked against the API's constraints before they are sent.
        max_attempts: Attempts per call, the first included. Environment: ``AWS_MAX_ATTEMPTS``. Default: 3.
        connect_timeout: Seconds for a new connection to an address, TLS included, the look-up of addresses not.
            Default: 3.1.
        read_timeout: Seconds for an attempt, connection included, the wait for one's turn not. Default: 10.
        max_connections: Greatest number of connections, and of requests under way. Default: 50.
        max_response_bytes: Cap for the body of an answer. Default: 1 MiB.

    Raises:
        ConfigurationError: A value is out of its range.

    Source: AWS SDKs and Tools Reference Guide, "Settings reference".
    """

    region: str | None = None
    endpoint_url: str | None = None
    ignore_configured_endpoint_urls: bool | None = None
    use_fips_endpoint: bool | None = None
    use_dualstack_endpoint: bool | None = None
    sts_regional_endpoints: Literal["regional", "legacy"] | None = None
    allow_http: bool = False
    validate_parameters: bool = True
    max_attempts: int | None = None
    connect_timeout: float = CONNECT_TIMEOUT
    read_timeout: float = READ_TIMEOUT
    max_connections: int = MAX_CONNECTIONS
    max_response_bytes: int = MAX_RESPONSE_BYTES

    def __attrs_post_init__(self) -> None:
        for name in ("region", "endpoint_url"):
            if not isinstance(getattr(self, name), str | None):
                raise ConfigurationError(f"{name} must be text")
        for name in (*_ENVIRONMENT_SWITCHES, "allow_http", "validate_parameters"):
            value = getattr(self, name)
            if not (isinstance(value, bool) or (value is None and name in _ENVIRONMENT_SWITCHES)):
                raise ConfigurationError(f"{name} must be True or False")
        for name in ("max_connections", "max_response_bytes", "max_attempts"):
            value = getattr(self, name)
            if not ((_is_number(value, int) and value >= 1) or (value is None and name == "max_attempts")):
                raise ConfigurationError(f"{name} must be a whole number of at least 1")
        for name in ("connect_timeout", "read_timeout"):
            value = getattr(self, name)
            if not (_is_number(value, int, float) and value > 0):
                raise ConfigurationError(f"{name} must be a number of seconds greater than 0")
        if self.sts_regional_endpoints not in (None, "regional", "legacy"):
            raise ConfigurationError("sts_regional_endpoints must be 'regional' or 'legacy'")

    def resolve(self, environ: Mapping[str, str] | None = None) -> "Config":
        """
        Return these options with those that are None taken from *environ* (the process environment when None).

        Raises:
            ConfigurationError: A variable has a value that its option cannot have.
        """
        everything = os.environ if environ is None else environ
        environ = {name: everything[name] for name in VARIABLES if name in everything}
        del everything  # it has keys in it, and a traceback that shows local variables must not
        ignored = _either(self.ignore_configured_endpoint_urls, environ, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
        return attrs.evolve(
            self,
            region=_first(environ, *REGION) if self.region is None else self.region,
            endpoint_url=_first(environ, *ENDPOINT_URL)
            if self.endpoint_url is None and not ignored
            else self.endpoint_url,
            ignore_configured_endpoint_urls=ignored,
            use_fips_endpoint=_either(self.use_fips_endpoint, environ, "AWS_USE_FIPS_ENDPOINT"),
            use_dualstack_endpoint=_either(self.use_dualstack_endpoint, environ, "AWS_USE_DUALSTACK_ENDPOINT"),
            sts_regional_endpoints=self.sts_regional_endpoints or _endpoint_mode(environ),
            max_attempts=self.max_attempts or _attempts(environ),
        )


def _is_number(value: object, *kinds: type) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


def _first(environ: Mapping[str, str], *names: str) -> str | None:
    """Return the first of the variables that is set; a blank one is not."""
    return next((value for name in names if (value := environ.get(name, "").strip())), None)


def _either(given: bool | None, environ: Mapping[str, str], name: str) -> bool:
    if given is not None:
        return given
    text = (_first(environ, name) or "false").lower()
    if text not in ("true", "false"):
        raise ConfigurationError(f"{name} must be true or false")
    return text == "true"


def _endpoint_mode(environ: Mapping[str, str]) -> Literal["regional", "legacy"]:
    mode = (_first(environ, "AWS_STS_REGIONAL_ENDPOINTS") or "regional").lower()
    if mode == "regional":
        return "regional"
    if mode == "legacy":
        return "legacy"
    raise ConfigurationError("AWS_STS_REGIONAL_ENDPOINTS must be regional or legacy")


def _attempts(environ: Mapping[str, str]) -> int:
    text = _first(environ, "AWS_MAX_ATTEMPTS") or "3"
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
        raise ConfigurationError("AWS_MAX_ATTEMPTS must be a whole number of at least 1")
    return int(text)
