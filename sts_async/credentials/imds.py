"""
Credentials of an EC2 instance, from its metadata service (IMDS).

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

TOKEN_TTL = 21_600  # s, the longest there is
TOKEN_MARGIN = 60.0  # s before its end in which a token is not used any more
MAX_TOKEN_BYTES = 256
ANSWERED_ATTEMPTS = 3  # at least, while the service answers that it is overloaded or failed
REFRESH_BACKOFF = 1.0  # s, the longest between two attempts

_TTL = r"[0-9]{1,5}"
_TOKEN = rf"[!-~]{{1,{MAX_TOKEN_BYTES}}}"
_ROLE = r"[A-Za-z0-9_+=,.@/-]{1,256}"


class IMDSProvider(RefreshingProvider):
    """
    Provide the credentials of the role that is attached to the EC2 instance that the program runs on.

    IMDSv2 is used: no request is sent without a session token, unless *v1_fallback* is true. Credentials that have
    already expired are provided, with a warning, as long as the instance has no others.

    Args:
        endpoint: URL of the service; None for the usual address of *endpoint_mode*. With http, the host must be a
            loopback or link-local address, fd00:ec2::254, or ``localhost``, which means 127.0.0.1.
        endpoint_mode: ``IPv4`` or ``IPv6``, in any case.
        seconds: Time for one request, connection included: seconds greater than 0, or a `timedelta`.
        attempts: How often a request is sent at most, when nothing answers; at least 1. While the service answers HTTP
            429 or 5xx, a request is sent 3 times, or *attempts* times if that is more.
        role_name: Name of the role; None to ask for it.
        disabled: Whether the service is never asked.
        v1_fallback: Whether to go on without a token if the service gives none: HTTP 403, 404, 405 or no answer.

    Raises:
        ConfigurationError: *seconds*, *attempts*, *disabled* or *v1_fallback* is not such a number or a boolean.
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
        self._fault: ConfigurationError | None = None  # of the options that all this comes from
        self._v1_fallback = v1_fallback
        self._token: Secret | None = None
        self._token_ends = 0.0  # on the monotonic clock, less the margin
        self._version_1 = False  # for the rest of this fetch
        self._found_role: str | None = None
        self._root: str | None = None  # of the paths that the instance has

    async def fetch(self, context: ProviderContext) -> Credentials:
        """
        Return new credentials.

        Raises:
            CredentialsNotFound: The service is disabled, is not there, gives no token, or no role is attached.
            ConfigurationError: The endpoint, its mode or the name of the role cannot be used.
            CredentialsError: The service is there, and failed.
        """
        if self._disabled:
            raise CredentialsNotFound(
                f"it is disabled: {option('ec2_metadata_disabled')}, or AWS_EC2_METADATA_DISABLED"
            )
        if self._fault is not None:
            raise copy_without_traceback(self._fault)
        base = base_url(self._endpoint, mode=self._endpoint_mode)
        self._version_1 = False  # a token may be had this time
        if self._role_name is None:
            return self._read(await self._of_attached_role(context, base))
        if not is_role_name(self._role_name):
            raise ConfigurationError(f"{self.name}: the name of the role is not one that IAM allows")
        found = await self._find(context, base, self._role_name)
        if found is None:
            self._root = None
            raise CredentialsNotFound(f"no role {self._role_name} is attached to the instance")
        return self._read(found)

    async def _of_attached_role(self, context: ProviderContext, base: str) -> HttpResponse:
        if self._found_role is not None:
            found = await self._find(context, base, self._found_role)
            if found is not None:
                return found
        self._found_role = self._root = None  # another role may have been attached meanwhile
        role = await self._role(context, base)
        found = await self._find(context, base, role)
        if found is None:
            self._root = None
            raise CredentialsError(f"{self.name}: the role {role} is attached, but has no credentials (HTTP 404)")
        self._found_role = role
        return found

    async def _role(self, context: ProviderContext, base: str) -> str:
        listed = await self._find(context, base, "")
        if listed is None or not listed.body.strip():
            raise CredentialsNotFound("no role is attached to the instance")
        role = _role_in(listed)
        if role is None or Redaction(self._token)(role) != role:
            raise CredentialsError(f"{self.name}: the name of the role is not one that IAM allows")
        return role

    async def _find(self, context: ProviderContext, base: str, name: str) -> HttpResponse | None:
        """
        Return what is at *name* below the paths that the instance has, which it tells at first, or None.

        Servers that are not of AWS, and lists of allowed paths, answer HTTP 500 or 403 to paths that they do not know.
        So whatever keeps the extended path from being used, the plain one may be there.
        """
        known, refused = self._root, None
        for root in (LEGACY,) if known == LEGACY else (EXTENDED, LEGACY):
            response = await self._get(context, base, root + name)
            if response.status == 200:
                self._root = root
                return response
            if response.status != 404:
                refused = refused or f"{refusal(response, Redaction(self._token))}, for {root + name}"
                if response.status != 403 and response.status < 500:  # so it is of all paths
                    break
            elif root == known:
                return None
        if refused is not None:  # the other path says 404: that is no answer where this one has failed
            raise CredentialsError(f"{self.name}: {refused}")
        return None

    async def _get(self, context: ProviderContext, base: str, path: str) -> HttpResponse:
        """Return an answer. A token that is refused is replaced, once."""
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
        """Return the session token, or None to go on without one."""
        if self._token is not None and context.monotonic() < self._token_ends:
            return self._token
        self._token = None
        if self._version_1:
            return None
        asked_at = context.monotonic()
        ask = partial(self._send, context, "PUT", base + TOKEN_PATH, {TTL_HEADER: str(TOKEN_TTL)})
        outcome = await Outcome.capture_async(ask, errors=TransportError)
        if outcome.error is not None:
            self._check_absence(base, outcome.error)
            self._version_1 = True
            return None
        response = outcome.unwrap()
        if response.status in (403, 404, 405):
            if not self._v1_fallback:
                raise CredentialsNotFound(
                    f"{base} gives no session token (HTTP {response.status}), and version 1 is asked only with "
                    f"{setting('imds_v1_fallback', 'True')} or AWS_EC2_METADATA_V1_DISABLED=false"
                )
            self._version_1 = True
            return None
        if response.status != 200:
            raise CredentialsError(f"{self.name}: no session token: {refusal(response)}")
        token = Secret(response.body.decode("latin-1"))
        if re.fullmatch(_TOKEN, token) is None:
            raise CredentialsError(f"{self.name}: the session token is not one that a header can have")
        self._token_ends = asked_at + _usable_seconds(response)
        self._token = token
        return token

    def _check_absence(self, base: str, failure: BaseException) -> None:
        """Raise what it means that no token came, unless version 1 may be tried."""
        if not isinstance(failure, ConnectError | AttemptTimeout):
            raise CredentialsError(f"{self.name}: no session token: {failure}")
        if self._v1_fallback and isinstance(failure, AttemptTimeout):  # the answer may not reach into a container
            return
        hint = "; in a container, the hop limit of the instance must be 2" if isinstance(failure, TimeoutError) else ""
        tries = f"{self._attempts} attempt{'s' if self._attempts > 1 else ''} of {self._seconds:g} s"
        raise CredentialsNotFound(f"{base} does not answer ({tries}): {failure}{hint}")

    async def _send(self, context: ProviderContext, method: str, url: str, headers: dict[str, str]) -> HttpResponse:
        """Return the answer to the first attempt, or where that failed or was 429 or 5xx, to one of those after it."""
        request = HttpRequest(method, url, {"accept": "*/*", **headers}, timeout=self._seconds)
        attempt = 1
        while True:
            try:
                response = await context.send(request)
                # There is such a service, so asking again costs nothing where there is none.
                if not _is_busy(response.status, url) or attempt >= max(self._attempts, ANSWERED_ATTEMPTS):
                    return response
            except TransportError as error:
                if not error.retryable or attempt >= self._attempts:
                    raise
            attempt += 1
            await context.sleep(REFRESH_BACKOFF * context.jitter())

    def _read(self, response: HttpResponse) -> Credentials:
        document = read_object(response.body, what=self.name)
        problem = _problem(document.get("Code", "Success"), Redaction(self._token))
        if problem is not None:
            raise CredentialsError(f"{self.name}: {problem}")
        return read_credentials(document, Names(), what=self.name)

    def __repr__(self) -> str:
        return "IMDSProvider()"


def _is_busy(status: int, url: str) -> bool:
    """Say whether to ask again. HTTP 500 and 501 for the extended path mean that it is not implemented."""
    return is_transient(status) and not (status in (500, 501) and EXTENDED in url)


def _usable_seconds(response: HttpResponse) -> float:
    """Return for how long a token is used, by the lifetime that came with it."""
    said = response.headers.get(TTL_HEADER, "")
    lifetime = min(float(said), TOKEN_TTL) if re.fullmatch(_TTL, said) else TOKEN_TTL
    return max(lifetime - TOKEN_MARGIN, lifetime / 2)


def _role_in(listed: HttpResponse) -> str | None:
    """Return the name in the first line of a list of roles, or None when it is none."""
    role = listed.body.decode("latin-1").partition("\n")[0]
    return role if is_role_name(role) else None


def _problem(code: object, hide: Redaction) -> str | None:
    """Return what the code of an answer means, or None when it means success."""
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
    """Say whether *name* can be a role's, and cannot lead to another path."""
    return re.fullmatch(_ROLE, name) is not None and {"", ".", ".."}.isdisjoint(name.split("/"))


def base_url(endpoint: str | None, *, mode: str) -> str:
    """
    Return the URL of the service, without a slash at its end.

    Raises:
        InvalidEndpoint: Role credentials may not be asked for at *endpoint*.
        ConfigurationError: *mode* is invalid.
    """
    if endpoint is None or not endpoint.strip():
        if mode.lower() not in ENDPOINTS:
            raise ConfigurationError("the endpoint mode of the instance metadata service must be IPv4 or IPv6")
        return ENDPOINTS[mode.lower()]
    what = "the endpoint of the instance metadata service"
    place = urls.parse_http_url(endpoint, what=what)
    if "?" in place.target:
        raise InvalidEndpoint(f"{what} must have no query")
    if place.scheme == "https":
        return place.url.rstrip("/")
    host = "127.0.0.1" if place.host == "localhost" else place.host  # always, so that nobody has to be asked
    if not (attrs.evolve(place, host=host).is_address and urls.is_within(host, urls.INSTANCE)):
        raise InvalidEndpoint(f"{what}: {host} is neither a loopback nor a link-local address, so it must be https")
    return place.with_address(host).rstrip("/")


def imds_of(config: Config) -> IMDSProvider:
    """
    Return the provider of the instance metadata service, by options that are resolved.

    If one of them could not be read, the provider raises its fault when it is asked: a chain may never ask it.
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
