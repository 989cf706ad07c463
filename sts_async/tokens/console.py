"""
The URL that opens the AWS console as the identity of some credentials, in every partition.

The sign-in service exchanges the credentials for a sign-in token, which the URL contains. They are sent in the body of
the request, because URLs end up in logs of proxies.

Source: "Enable custom identity broker access to the AWS console", IAM User Guide; for the hosts, the endpoint rule set
of the service signin, version 2023-01-01.
"""

from collections.abc import Mapping
from urllib.parse import quote

import attrs

from .._protocol.endpoints import GLOBAL_REGION, is_loopback, partition_of
from .._protocol.http_errors import Refusal
from .._protocol.http_messages import HttpRequest
from .._protocol.json_documents import read_object, read_text, write_object
from .._protocol.urls import HttpURL, parse_http_url
from .._shape.arguments import is_whole
from .._shape.forms import as_whole_seconds
from .._shape.secret import HiddenDocument, Secret, SecretBytes, redact_userinfo, without_data
from ..credentials._sign_in_services import exchange
from ..errors import ConfigurationError, CredentialsError, InvalidEndpoint
from ..shapes import Credentials, Seconds
from ._arguments import checked_region
from ._source import Source, signing_of
from ._token import Token, check_alive, end_of

WHO = "the sign-in service of the AWS console"
TOKEN_SECONDS = 900  # s for which a sign-in token is valid
MIN_SESSION, MAX_SESSION = 900, 43_200  # s
FORM = "application/x-www-form-urlencoded"

# The console of a partition is at console.DOMAIN and REGION.console.DOMAIN, the sign-in service at signin.DOMAIN and
# REGION.signin.DOMAIN.
DOMAINS = {
    "aws": "aws.amazon.com",
    "aws-cn": "amazonaws.cn",
    "aws-us-gov": "amazonaws-us-gov.com",
    "aws-eusc": "amazonaws-eusc.eu",
    "aws-iso": "c2shome.ic.gov",
    "aws-iso-b": "sc2shome.sgov.gov",
    "aws-iso-e": "csphome.adc-e.uk",
    "aws-iso-f": "csphome.hci.ic.gov",
}


@attrs.frozen(kw_only=True)
class Place:
    """
    The console of a region.

    Attributes:
        signin: URL of the federation endpoint of the sign-in service.
        console: URL of the console, without a path.
        domain: The domain that destinations must be in.
    """

    signin: str
    console: str
    domain: str


async def console_url(
    credentials: Source,
    *,
    destination: str | None = None,
    region: str | None = None,
    issuer: str | None = None,
    session_duration: Seconds | None = None,
    endpoint_url: str | None = None,
) -> Token:
    """
    Return a URL that opens the AWS console in a browser. It must be opened within 15 minutes.

    The credentials must be those of an assumed role or of GetFederationToken. Keys of a user, and credentials of
    GetSessionToken, are refused.

    Args:
        credentials: A client, a view, or a provider of a fleet. Its connections send a request to the sign-in service.
        destination: The page to open: a URL of the console, or a path such as ``/s3/buckets``. None for the home page.
        region: The region of the console; None for that of the client, or the global console.
        issuer: URL of the page of your program that users return to when their session ends; None for none.
        session_duration: Lifetime of the session in the console, 900 to 43,200 s, or a `timedelta`. None for the
            default of the service. The service refuses a value for chained roles and for GetFederationToken, and more
            than the maximum of the role.
        endpoint_url: URL of the federation endpoint, for tests and proxies of your own; None for that of AWS.

    Raises:
        ConfigurationError: An argument is invalid.
        CredentialsError: There are no credentials, they are not temporary, or the sign-in service refused them.
        TransportError: The sign-in service did not respond.
    """
    credentials, endpoint_url = without_data(credentials), redact_userinfo(endpoint_url)
    duration = _checked_duration(session_duration)
    checked_issuer = None if issuer is None else _checked_url("issuer", issuer)
    signing = await signing_of(credentials)
    keys, at = signing.credentials, signing.at
    check_alive(keys, at=at)
    place = place_of(signing.region if region is None else region)
    target = _target(destination, place)
    url = place.signin if endpoint_url is None else _checked_endpoint(endpoint_url)
    request = HttpRequest(
        "POST", url, {"content-type": FORM, "accept": "application/json"}, _session_form(keys, duration=duration)
    )
    response = await exchange(signing.context, request, who=WHO)
    if response.status != 200:
        refused = Refusal.from_response(response, sent=request)
        raise CredentialsError(f"{WHO} answered {refused}: {_advice(duration)}")
    found = read_object(response.body, what=f"the answer of {WHO}")
    query = _encoded(
        {
            "Action": "login",
            **({} if checked_issuer is None else {"Issuer": checked_issuer}),
            "Destination": target,
            "SigninToken": read_text(found, "SigninToken", what=f"the answer of {WHO}"),
        }
    )
    return Token(value=Secret(f"{url}?{query}"), expiration=end_of(keys, at=at, seconds=TOKEN_SECONDS))


def place_of(region: str | None) -> Place:
    """
    Return the console of a region, or the global console of the partition ``aws``.

    Raises:
        InvalidRegion: *region* is not the name of a region.
    """
    if region is None or region == GLOBAL_REGION:
        domain, prefix = DOMAINS["aws"], ""
    else:
        domain, prefix = DOMAINS[partition_of(checked_region(region)).name], f"{region}."
    return Place(
        signin=f"https://{prefix}signin.{domain}/federation",
        console=f"https://{prefix}console.{domain}",
        domain=domain,
    )


def _session_form(credentials: Credentials, *, duration: int | None) -> SecretBytes:
    """Return the body of the request for a sign-in token."""
    if not credentials.session_token:
        raise CredentialsError(
            "the console needs temporary credentials: assume a role with sts.role(...), or use get_federation_token"
        )
    session = HiddenDocument(
        sessionId=credentials.access_key_id,
        sessionKey=credentials.secret_access_key,
        sessionToken=credentials.session_token,
    )
    parameters = {"Action": "getSigninToken", "Session": write_object(session).decode()}
    if duration is not None:
        parameters["SessionDuration"] = str(duration)
    return SecretBytes(_encoded(parameters).encode())


def _encoded(parameters: Mapping[str, str]) -> Secret:
    return Secret("&".join([f"{name}={quote(value, safe='')}" for name, value in parameters.items()]))


def _checked_duration(duration: Seconds | None) -> int | None:
    seconds: int | None = as_whole_seconds(duration)
    if seconds is not None and not is_whole(seconds, least=MIN_SESSION, most=MAX_SESSION):
        raise ConfigurationError(
            f"session_duration must be a whole number of seconds from {MIN_SESSION} to {MAX_SESSION}, or a timedelta"
        )
    return seconds


def _target(destination: str | None, place: Place) -> str:
    """Return the URL of the page to open. It can have a fragment, which the pages of the console use."""
    if destination is None:
        return f"{place.console}/"
    if isinstance(destination, str) and destination.startswith("/") and not destination.startswith("//"):
        destination = f"{place.console}{destination}"
    url = _checked_url("destination", destination, form="a path that begins with /, or a URL that begins with https://")
    host = _parsed(url, "destination").host
    if host != place.domain and not host.endswith(f".{place.domain}"):
        raise ConfigurationError(
            f"destination must be a path, or a URL in {place.domain}: pass the region of the console that it belongs to"
        )
    return url


def _checked_url(name: str, url: str, *, form: str = "a URL that begins with https://") -> str:
    if not isinstance(url, str) or not url.startswith("https://"):
        raise ConfigurationError(f"{name} must be {form}")
    _parsed(url, name)
    return url


def _parsed(url: str, name: str) -> HttpURL:
    """Return the parts of a URL, which can have a fragment."""
    address, _, fragment = url.partition("#")
    if not fragment.isascii() or not (fragment.isprintable() and " " not in fragment):
        raise ConfigurationError(f"{name} must be percent-encoded: only printable ASCII, no spaces")
    return parse_http_url(address, what=name)


def _checked_endpoint(url: str) -> str:
    parsed = parse_http_url(url, what="endpoint_url")
    if parsed.scheme == "http" and not is_loopback(parsed.host):
        raise InvalidEndpoint("endpoint_url must begin with https://, because credentials are sent to it")
    if "?" in parsed.target:
        raise InvalidEndpoint("endpoint_url must have no query")
    return url


def _advice(duration: int | None) -> str:
    if duration is not None:
        return "omit session_duration for chained roles and GetFederationToken, and stay within the role's maximum"
    return "the credentials must be those of an assumed role or of GetFederationToken"
