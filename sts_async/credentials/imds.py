"""
Credentials of an EC2 instance, from the instance metadata service (IMDS).

Source: Amazon EC2 User Guide, "Use the Instance Metadata Service to access instance metadata".
"""

import re
from datetime import timedelta
from functools import partial

import attrs

from .._protocol import urls
from .._protocol.http_errors import is_transient, readable_code, refusal
from .._protocol.http_messages import HttpRequest, HttpResponse
from .._protocol.json_documents import Names, read_credentials, read_object
from .._protocol.redaction import Redaction
from .._runtime.outcome import Outcome, copy_without_traceback
from .._shape.arguments import check_flag, check_seconds, check_whole, in_seconds
from .._shape.secret import Secret, redact_userinfo
from .._wording.option_names import option, setting
from ..config import OPTIONS, Config
from ..errors import (
    AttemptTimeout,
    ConfigurationError,
    ConnectError,
    CredentialsError,
    CredentialsNotFound,
    InvalidEndpoint,
    TransportError,
)
from ..protocols import ProviderContext
from ..shapes import Credentials
from . import _schedule
from .cache import RefreshingProvider

ENDPOINTS = {"ipv4": "http://169.254.169.254", "ipv6": "http://[fd00:ec2::254]"}
TOKEN_PATH = "/latest/api/token"  # noqa: S105 - a path
TOKEN_HEADER = "x-aws-ec2-metadata-token"  # noqa: S105 - a name
TTL_HEADER = "x-aws-ec2-metadata-token-ttl-seconds"
EXTENDED = "/latest/meta-data/iam/security-credentials-extended/"
LEGACY = "/latest/meta-data/iam/security-credentials/"

TOKEN_TTL = 21_600  # s, the longest lifetime that the service accepts
TOKEN_MARGIN = 60.0  # s before its end during which a token is no longer used
MAX_TOKEN_BYTES = 256
MIN_ATTEMPTS_IF_BUSY = 3  # while the service answers HTTP 429 or 5xx
MAX_RETRY_PAUSE = 1.0  # s between two attempts

_TTL = r"[0-9]{1,5}"
_TOKEN = rf"[!-~]{{1,{MAX_TOKEN_BYTES}}}"
_ROLE = r"[A-Za-z0-9_+=,.@/-]{1,256}"


class IMDSProvider(RefreshingProvider):
    """
    Provide the credentials of the role that is attached to the EC2 instance on which the program runs.

    The provider uses IMDSv2: it sends no request without a session token, unless *v1_fallback* is True. If the service
    has only expired credentials, as in an outage, they are provided with a warning.

    Args:
        endpoint: URL of the service; None for the standard address of *endpoint_mode*. With http, the host must be a
            loopback or link-local address, fd00:ec2::254, or ``localhost``, which means 127.0.0.1.
        endpoint_mode: ``IPv4`` or ``IPv6``, in upper or lower case.
        seconds: Time limit of one attempt, including connecting: seconds greater than 0, or a `timedelta`.
        attempts: Maximum number of attempts of a request without a response, at least 1. While the service answers HTTP
            429 or 5xx, there are at least 3 attempts.
        role_name: Name of the role; None to ask the service for it.
        disabled: Whether the provider never asks the service.
        v1_fallback: Whether to use IMDSv1 if the service returns no session token: HTTP 403, 404 or 405, or a timeout.

    Raises:
        ConfigurationError: *seconds* or *attempts* is out of range, or *disabled* or *v1_fallback* is not a boolean.
    """

    schedule = attrs.evolve(_schedule.STANDARD, accept_expired=True)
    name = "EC2 instance metadata"
    depends_on_client = False

    def __init__(
        self,
        *,
        endpoint: str | None = None,
        endpoint_mode: str = "IPv4",
        seconds: float | timedelta = 1.0,
        attempts: int = 1,
        role_name: str | None = None,
        disabled: bool = False,
        v1_fallback: bool = False,
    ) -> None:
        super().__init__()
        self._endpoint = endpoint = redact_userinfo(endpoint)
        seconds = in_seconds(seconds)
        check_seconds("seconds", seconds)
        check_whole("attempts", attempts)
        check_flag("disabled", disabled)
        check_flag("v1_fallback", v1_fallback)
        self._endpoint_mode = endpoint_mode
        self._seconds = seconds
        self._attempts = attempts
        self._role_name = role_name
        self._disabled = disabled
        self._fault: ConfigurationError | None = None  # of the options in files or the environment; raised by `fetch`
        self._v1_fallback = v1_fallback
        self._token: Secret | None = None
        self._token_ends = 0.0  # s of the monotonic clock; the margin is subtracted
        self._uses_v1 = False  # for the rest of the fetch
        self._known_role: str | None = None
        self._known_root: str | None = None  # EXTENDED or LEGACY, once the service has answered there

    async def fetch(self, context: ProviderContext) -> Credentials:
        """
        Return new credentials.

        Raises:
            CredentialsNotFound: The service is disabled, does not answer, or returns no session token; or no role is
                attached to the instance.
            ConfigurationError: The endpoint, its mode or the name of the role is invalid.
            CredentialsError: The service answered, and failed.
        """
        if self._disabled:
            raise CredentialsNotFound(
                f"it is disabled: {option('ec2_metadata_disabled')}, or AWS_EC2_METADATA_DISABLED"
            )
        if self._fault is not None:
            raise copy_without_traceback(self._fault)
        base = base_url(self._endpoint, mode=self._endpoint_mode)
        # Each fetch tries IMDSv2 again.
        self._uses_v1 = False
        if self._role_name is None:
            return self._read(await self._fetch_attached_role(context, base))
        if not is_role_name(self._role_name):
            raise ConfigurationError(f"{self.name}: the name of the role is not valid in IAM")
        found = await self._find(context, base, self._role_name)
        if found is None:
            self._known_root = None
            raise CredentialsNotFound(f"no role {self._role_name} is attached to the instance")
        return self._read(found)

    async def _fetch_attached_role(self, context: ProviderContext, base: str) -> HttpResponse:
        """Return the credentials of the attached role. The name of the role is kept as long as it is attached."""
        if self._known_role is not None:
            found = await self._find(context, base, self._known_role)
            if found is not None:
                return found
        # Another role may have been attached since the last fetch.
        self._known_role = self._known_root = None
        role = await self._attached_role(context, base)
        found = await self._find(context, base, role)
        if found is None:
            self._known_root = None
            raise CredentialsError(f"{self.name}: the role {role} is attached, but has no credentials (HTTP 404)")
        self._known_role = role
        return found

    async def _attached_role(self, context: ProviderContext, base: str) -> str:
        listed = await self._find(context, base, "")
        if listed is None or not listed.body.strip():
            raise CredentialsNotFound("no role is attached to the instance")
        role = _role_in(listed)
        if role is None or Redaction(self._token)(role) != role:
            raise CredentialsError(f"{self.name}: the name of the role is not valid in IAM")
        return role

    async def _find(self, context: ProviderContext, base: str, name: str) -> HttpResponse | None:
        """
        Return the response for *name* below the extended path, otherwise below the legacy path; None if both say 404.

        Servers other than AWS, and proxies with a list of allowed paths, may answer HTTP 500 or 403 to an unknown path.
        So the legacy path is tried after any failure of the extended one. The path that worked is kept.

        Raises:
            CredentialsError: A path failed with something other than 404, and the other one did not work either.
        """
        known, refused = self._known_root, None
        for root in (LEGACY,) if known == LEGACY else (EXTENDED, LEGACY):
            response = await self._get(context, base, root + name)
            if response.status == 200:
                self._known_root = root
                return response
            if response.status != 404:
                refused = refused or f"{refusal(response, Redaction(self._token))}, for {root + name}"
                # Any other status applies to all paths.
                if response.status != 403 and response.status < 500:
                    break
            elif root == known:
                return None
        # A 404 of the other path says nothing, because this path has failed.
        if refused is not None:
            raise CredentialsError(f"{self.name}: {refused}")
        return None

    async def _get(self, context: ProviderContext, base: str, path: str) -> HttpResponse:
        """Send a request with the session token. If the service refuses the token, try once more with a new one."""
        response = await self._get_once(context, base, path)
        if response.status == 401 and self._token is not None:
            self._token = None
            response = await self._get_once(context, base, path)
        return response

    async def _get_once(self, context: ProviderContext, base: str, path: str) -> HttpResponse:
        token = await self._session_token(context, base)
        try:
            return await self._send(context, "GET", base + path, {} if token is None else {TOKEN_HEADER: token})
        except TransportError as error:
            reason = str(error)
        raise CredentialsError(f"{self.name}: {reason}, for {path}")

    async def _session_token(self, context: ProviderContext, base: str) -> Secret | None:
        """Return the session token, or None to use IMDSv1."""
        if self._token is not None and context.monotonic() < self._token_ends:
            return self._token
        self._token = None
        if self._uses_v1:
            return None
        asked_at = context.monotonic()
        ask = partial(self._send, context, "PUT", base + TOKEN_PATH, {TTL_HEADER: str(TOKEN_TTL)})
        outcome = await Outcome.capture_async(ask, errors=TransportError)
        if outcome.error is not None:
            self._check_absence(base, outcome.error)
            self._uses_v1 = True
            return None
        response = outcome.unwrap()
        if response.status in (403, 404, 405):
            if not self._v1_fallback:
                raise CredentialsNotFound(
                    f"{base} returned no session token (HTTP {response.status}), and IMDSv1 is used only with "
                    f"{setting('imds_v1_fallback', 'True')} or AWS_EC2_METADATA_V1_DISABLED=false"
                )
            self._uses_v1 = True
            return None
        if response.status != 200:
            raise CredentialsError(f"{self.name}: no session token: {refusal(response)}")
        token = Secret(response.body.decode("latin-1"))
        if re.fullmatch(_TOKEN, token) is None:
            raise CredentialsError(f"{self.name}: the session token has characters that a header cannot have")
        self._token_ends = asked_at + _usable_seconds(response)
        self._token = token
        return token

    def _check_absence(self, base: str, failure: BaseException) -> None:
        """Return if IMDSv1 may be tried after the request for a token failed, otherwise raise the error for it."""
        if not isinstance(failure, ConnectError | AttemptTimeout):
            raise CredentialsError(f"{self.name}: no session token: {failure}")
        # The hop limit applies only to the response with the token, which may then not reach a container.
        if self._v1_fallback and isinstance(failure, AttemptTimeout):
            return
        hint = "; in a container, the hop limit of the instance must be 2" if isinstance(failure, TimeoutError) else ""
        tries = f"{self._attempts} attempt{'s' if self._attempts > 1 else ''} of {self._seconds:g} s"
        raise CredentialsNotFound(f"{base} does not answer ({tries}): {failure}{hint}")

    async def _send(self, context: ProviderContext, method: str, url: str, headers: dict[str, str]) -> HttpResponse:
        """Return the response of the last attempt. A failed attempt, HTTP 429 and HTTP 5xx are retried."""
        request = HttpRequest(method, url, {"accept": "*/*", **headers}, timeout=self._seconds)
        attempt = 1
        while True:
            try:
                response = await context.send(request)
                # A response shows that the service exists, so these retries do not slow down other machines.
                if not _is_busy(response.status, url) or attempt >= max(self._attempts, MIN_ATTEMPTS_IF_BUSY):
                    return response
            except TransportError as error:
                if not error.retryable or attempt >= self._attempts:
                    raise
            attempt += 1
            await context.sleep(MAX_RETRY_PAUSE * context.jitter())

    def _read(self, response: HttpResponse) -> Credentials:
        document = read_object(response.body, what=self.name)
        problem = _problem(document.get("Code", "Success"), Redaction(self._token))
        if problem is not None:
            raise CredentialsError(f"{self.name}: {problem}")
        return read_credentials(document, Names(), what=self.name)

    def __repr__(self) -> str:
        return "IMDSProvider()"


def _is_busy(status: int, url: str) -> bool:
    """Return True if a retry may help. HTTP 500 and 501 for the extended path mean that it is not implemented."""
    return is_transient(status) and not (status in (500, 501) and EXTENDED in url)


def _usable_seconds(response: HttpResponse) -> float:
    """Return the seconds for which a session token is used, from the lifetime in the response."""
    ttl = response.headers.get(TTL_HEADER, "")
    lifetime = min(float(ttl), TOKEN_TTL) if re.fullmatch(_TTL, ttl) else TOKEN_TTL
    return max(lifetime - TOKEN_MARGIN, lifetime / 2)


def _role_in(listed: HttpResponse) -> str | None:
    """Return the role name in the first line of a response, or None if it is not a valid name."""
    role = listed.body.decode("latin-1").partition("\n")[0]
    return role if is_role_name(role) else None


def _problem(code: object, hide: Redaction) -> str | None:
    """Return the problem that the code of a response reports, or None for success."""
    if code == "Success":
        return None
    if code == "AssumeRoleUnauthorizedAccess":
        return (
            "EC2 may not assume the role that is attached (AssumeRoleUnauthorizedAccess): its trust policy must allow "
            "sts:AssumeRole to ec2.amazonaws.com"
        )
    readable = readable_code(code)
    shown = f"code {readable}" if readable is not None and hide(readable) == readable else "unreadable code"
    return f"IMDS returned no credentials ({shown})"


def is_role_name(name: str) -> bool:
    """Return True if *name* is a valid role name. In a URL, it cannot lead to another path."""
    return re.fullmatch(_ROLE, name) is not None and {"", ".", ".."}.isdisjoint(name.split("/"))


def base_url(endpoint: str | None, *, mode: str) -> str:
    """
    Return the URL of the service without a trailing slash.

    Args:
        endpoint: The configured URL; None or blank for the standard address.
        mode: ``IPv4`` or ``IPv6``, in upper or lower case; ignored if *endpoint* is set.

    Raises:
        InvalidEndpoint: *endpoint* is not a URL, or not an address to which role credentials may be entrusted.
        ConfigurationError: *mode* is invalid.
    """
    if endpoint is None or not endpoint.strip():
        if mode.lower() not in ENDPOINTS:
            raise ConfigurationError("the endpoint mode of the instance metadata service must be IPv4 or IPv6")
        return ENDPOINTS[mode.lower()]
    what = "the endpoint of the instance metadata service"
    url = urls.parse_http_url(endpoint, what=what)
    if "?" in url.target:
        raise InvalidEndpoint(f"{what} must have no query")
    if url.scheme == "https":
        return url.url.rstrip("/")
    # localhost is not looked up: a resolver could return another address.
    host = "127.0.0.1" if url.host == "localhost" else url.host
    if not (attrs.evolve(url, host=host).is_address and urls.is_within(host, urls.INSTANCE)):
        raise InvalidEndpoint(f"{what}: {host} is neither a loopback nor a link-local address, so it must be https")
    return url.with_address(host).rstrip("/")


def imds_of(config: Config) -> IMDSProvider:
    """
    Return an `IMDSProvider` for resolved options.

    If one of these options is invalid, the error is raised by the first fetch, because a chain may never reach the
    provider.
    """
    provider = IMDSProvider(
        endpoint=config.ec2_metadata_endpoint,
        endpoint_mode=config.ec2_metadata_endpoint_mode or "IPv4",
        seconds=config.ec2_metadata_timeout or 1.0,
        attempts=config.ec2_metadata_attempts or 1,
        role_name=config.ec2_instance_profile_name,
        disabled=bool(config.ec2_metadata_disabled),
        v1_fallback=bool(config.imds_v1_fallback),
    )
    provider._fault = config.fault(*(name for name in OPTIONS if name.startswith(("ec2_", "imds_"))))
    return provider
