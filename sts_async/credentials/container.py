"""
Credentials of a container, from the agent of ECS or EKS.

Source: AWS SDKs and Tools Reference Guide, "Container credential provider".
"""

import os
from collections.abc import Mapping

from .._protocol import urls
from .._protocol.headers import INVALID_IN_HEADER, is_header_value
from .._protocol.http_errors import Refusal, is_transient, refusal
from .._protocol.http_messages import HttpRequest, HttpResponse
from .._protocol.json_documents import Names, read_credentials, read_object
from .._protocol.redaction import Redaction
from .._protocol.urls import HttpURL
from .._runtime import files
from .._runtime.file_reads import FILE_READS
from .._runtime.name_lookups import LOOK_UPS
from .._runtime.outcome import Outcome
from .._shape.secret import HiddenMapping, Secret
from .._wording.os_errors import code_of, reason_of
from ..errors import ConnectError, CredentialsError, CredentialsNotFound, InvalidEndpoint, TransportError
from ..protocols import ProviderContext
from ..shapes import Credentials
from .cache import RefreshingProvider

RELATIVE_URI = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
FULL_URI = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
TOKEN_FILE = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"  # noqa: S105 - the name of the variable
TOKEN = "AWS_CONTAINER_AUTHORIZATION_TOKEN"  # noqa: S105 - the name of the variable

AGENT = "169.254.170.2"  # of ECS
SECONDS = 2.0  # s for one attempt
ATTEMPTS = 3
PAUSE = 1.0  # s between two attempts
MAX_TOKEN_BYTES = 16 * 1024


class ContainerProvider(RefreshingProvider):
    """
    Provide the credentials of the ECS task or EKS pod in which the program runs.

    ``AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`` is a path on the ECS agent. If it is not set,
    ``AWS_CONTAINER_CREDENTIALS_FULL_URI`` is a URL. An https URL may have any host. For http, all addresses of the host
    must be loopback addresses or addresses of the agents (169.254.170.2, 169.254.170.23, fd00:ec2::23).

    The request has an authorization token if one is configured: the contents of the file
    ``AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE``, otherwise ``AWS_CONTAINER_AUTHORIZATION_TOKEN``. All variables are read
    again for each fetch. A blank variable counts as unset.

    An attempt takes at most 2 s for each address. There are at most 3 attempts, 1 s apart.

    Args:
        environ: The variables; None for the process environment.
    """

    name = "container endpoint"
    depends_on_client = False

    def __init__(self, *, environ: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._environ = HiddenMapping(os.environ if environ is None else environ)

    async def fetch(self, context: ProviderContext) -> Credentials:
        """
        Return new credentials.

        Raises:
            CredentialsNotFound: Neither URI variable is set.
            InvalidEndpoint: The URI is invalid, or its host is not one to which http requests are allowed.
            CredentialsError: The token is invalid or cannot be read; the agent refused the request; or 3 attempts
                failed.
            TransportError: The TLS certificate of the agent is invalid, or its response is too large.
        """
        place = self._place()
        headers = {"accept": "application/json"}
        token = await self._token()
        if token is not None:
            headers["authorization"] = token
        outcome = await self._attempt(context, place, headers)
        for _ in range(1, ATTEMPTS):
            if outcome.error is None:
                break
            await context.sleep(PAUSE)
            outcome = await self._attempt(context, place, headers)
        return outcome.unwrap()

    def _variable(self, name: str) -> Secret | None:
        value = Secret(self._environ.get(name, ""))
        return value if value.strip() else None

    def _error(self, text: str) -> CredentialsError:
        return CredentialsError(f"{self.name}: {text}")

    def _place(self) -> HttpURL:
        path, url = self._variable(RELATIVE_URI), self._variable(FULL_URI)
        if path is not None:
            if not urls.is_target(path):
                raise InvalidEndpoint(f"{RELATIVE_URI} must be a path: one slash first, and no @, # or backslash")
            return HttpURL(scheme="http", host=AGENT, target=path)
        if url is None:
            raise CredentialsNotFound(f"{RELATIVE_URI} and {FULL_URI} are not set")
        place = urls.parse_http_url(url, what=FULL_URI)
        if place.scheme == "http" and place.is_address and not urls.is_within(place.host, urls.CONTAINER):
            raise InvalidEndpoint(
                f"{FULL_URI}: {place.host} is neither loopback nor an agent of ECS or EKS, so it must be https"
            )
        return place

    async def _token(self) -> Secret | None:
        file = self._variable(TOKEN_FILE)
        if file is None:
            token = self._variable(TOKEN)
            return None if token is None else self._checked(token, what=TOKEN)
        path = files.expand(str(file), self._environ)
        try:
            data, _ = await FILE_READS.run(path, files.read, path, max_bytes=MAX_TOKEN_BYTES)
        except files.UnsuitableFile as error:
            reason = reason_of(error)
        except OSError as error:
            reason = f"cannot be read: {code_of(error)}"
        else:
            # Editors add a line break at the end of a file, which is not part of the token.
            return self._checked(Secret(data.decode("latin-1").removesuffix("\n").removesuffix("\r")), what=TOKEN_FILE)
        raise self._error(f"the file of {TOKEN_FILE} {reason}")

    def _checked(self, token: Secret, *, what: str) -> Secret:
        if not token:
            raise self._error(f"the token of {what} is empty")
        if not is_header_value(token):
            raise self._error(f"the token of {what} {INVALID_IN_HEADER}")
        return token

    async def _attempt(
        self, context: ProviderContext, place: HttpURL, headers: Mapping[str, str]
    ) -> Outcome[Credentials]:
        """
        Return the credentials, or the error to raise if this was the last attempt.

        Raises:
            STSError: Another attempt would fail in the same way.
        """
        outcome = self._failed(f"no address is known for {place.host}")
        for url in await self._urls(place):
            request = HttpRequest("GET", url, {**headers, "host": place.authority}, timeout=SECONDS)
            try:
                return self._read(await context.send(request), request)
            except ConnectError as error:  # try the next address
                outcome = self._failed(str(error))
            except TransportError as error:
                if not error.retryable:
                    raise
                return self._failed(str(error))
        return outcome

    def _failed(self, reason: str, *, throttled: bool = False) -> Outcome[Credentials]:
        error = self._error(f"{ATTEMPTS} attempts failed, the last one with: {reason}")
        error.attempts, error.throttled = ATTEMPTS, throttled
        return Outcome(error=error)

    async def _urls(self, place: HttpURL) -> list[str]:
        """
        Return one URL for each address of the host; an empty list if the host has no addresses.

        All addresses have been checked. The URLs contain the addresses, and only the Host header contains the name. So
        the name is not looked up a second time, which could return an address that was not checked.
        """
        if place.scheme == "https" or place.is_address:
            return [place.url]
        try:
            found = await LOOK_UPS.addresses(place.lookup_name, place.port or 80, seconds=SECONDS)
        except (OSError, UnicodeError):
            return []
        addresses = list(dict.fromkeys(address.host for address in found))
        if not all(urls.is_within(address, urls.CONTAINER) for address in addresses):
            raise self._error(
                f"{place.host} has an address that is neither loopback nor that of an agent of ECS or EKS, "
                f"so {FULL_URI} must be https"
            )
        return [place.with_address(address) for address in addresses]

    def _read(self, response: HttpResponse, request: HttpRequest) -> Outcome[Credentials]:
        if response.status == 200:
            try:
                document = read_object(response.body, what="the answer")
                return Outcome(read_credentials(document, Names(), what="the answer"))
            except CredentialsError as error:
                return self._failed(str(error))
        if is_transient(response.status):
            return self._failed(f"HTTP {response.status}", throttled=response.status == 429)
        codes = Refusal.from_response(response, sent=request).codes
        raise self._error(f"{refusal(response, Redaction(request))}{f', code {codes[0]}' if codes else ''}")

    def __repr__(self) -> str:
        return "ContainerProvider()"
