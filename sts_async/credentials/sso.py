"""
Credentials of a role, by IAM Identity Center: what ``aws sso login`` has begun.

Source: botocore, `credentials.SSOProvider` and `_tokens.SSOTokenProvider`; the API models of SSO and SSO OIDC.
"""

import os
import re
import shlex
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from urllib.parse import quote

from .._config import services
from .._config.options import TRUST_TOKEN_FILES, flag
from .._protocol.endpoints import check_region
from .._protocol.http_errors import Refusal
from .._protocol.http_messages import HttpRequest
from .._runtime import files
from .._runtime.defaults import LOGIN_SECONDS
from .._shape.arguments import check_flag
from .._shape.secret import HiddenMapping, SecretBytes, without_data
from ..config import Config
from ..errors import ConfigurationError, CredentialsError, LoginRequired
from ..protocols import ProviderContext
from ..shapes import Credentials
from . import _tokens
from ._account import in_account
from ._sign_in_services import Services, checked_config, exchange
from ._token_file import TokenFile, is_over, now
from ._tokens import SSOToken
from .cache import RefreshingProvider

CACHE_DIRECTORY = "~/.aws/sso/cache"
BEARER_HEADER = "x-amz-sso_bearer_token"
PORTAL = services.PORTAL.called
OIDC = services.OIDC.called

# After these only a new login helps. Source: RFC 6749, section 5.2, and the API model of SSO OIDC.
FINAL_CODES = frozenset(
    """
    invalid_grant invalid_client expired_token unauthorized_client access_denied InvalidGrantException
    InvalidClientException ExpiredTokenException UnauthorizedClientException AccessDeniedException
    """.split()
)


class SSOProvider(RefreshingProvider):
    """
    Provide the credentials of a role that IAM Identity Center has assigned to the user who ran ``aws sso login``.

    The token file of the AWS CLI is read in a thread, and shared with the CLI and every other SDK. With a session, its
    token is refreshed when no more than 5 min are left, by one process at a time. If that fails, the token stays in use
    while it is valid.

    Args:
        account_id: The account of the role, 12 digits.
        role_name: The role, or permission set, as the access portal calls it.
        region: Region of the Identity Center.
        session_name: The sso-session of the config file.
        start_url: Start URL of the access portal; needed without *session_name*.
        cache_directory: Where the token files are; None for ``~/.aws/sso/cache``.
        trust_token_files: Whether a token file is used even if another user owns it or others may write to it. None
            follows ``STS_ASYNC_TRUST_TOKEN_FILES``, whose default is false. In a directory of another user, no new
            token is written: it is kept in memory.
        environ: Where to look for that, ``HOME``, ``AWS_ENDPOINT_URL_SSO``, ``AWS_ENDPOINT_URL_SSO_OIDC``,
            ``AWS_ENDPOINT_URL``, ``AWS_IGNORE_CONFIGURED_ENDPOINT_URLS``, ``AWS_USE_FIPS_ENDPOINT`` and
            ``AWS_USE_DUALSTACK_ENDPOINT``; the process environment when it is None.
        config: Options for the two services that are called: *use_fips_endpoint*, *use_dualstack_endpoint*,
            *ignore_configured_endpoint_urls* and *allow_http*. They come before those of the client. Those
            that are not given are taken from the client. Other options of *config* have no effect.

    Raises:
        ConfigurationError: An argument is invalid, or neither *session_name* nor *start_url* is given.
    """

    def __init__(
        self,
        *,
        account_id: str,
        role_name: str,
        region: str,
        session_name: str | None = None,
        start_url: str | None = None,
        cache_directory: Path | None = None,
        trust_token_files: bool | None = None,
        environ: Mapping[str, str] | None = None,
        config: Config | None = None,
        _place: services.InProfile = services.NO_PROFILE,
    ) -> None:
        config = without_data(config)
        super().__init__()
        environ = HiddenMapping(os.environ if environ is None else environ)
        if trust_token_files is not None:
            check_flag("trust_token_files", trust_token_files)
        trusted = flag(TRUST_TOKEN_FILES, environ, given=trust_token_files)
        self.account_id = account_id
        self.role_name = role_name
        self.region = region
        self.session_name = session_name
        self.start_url = start_url
        if not re.fullmatch("[0-9]{12}", account_id):
            raise ConfigurationError("account_id must be 12 digits")
        for name, value in (("role_name", role_name), ("session_name", session_name), ("start_url", start_url)):
            if value is not None and not (value.strip() and value.isprintable()):
                raise ConfigurationError(f"{name} must be printable text")
        if session_name is None and start_url is None:
            raise ConfigurationError("give session_name, of an sso-session, or else start_url")
        check_region(region)
        self.name = f"SSO session {session_name!r}" if session_name is not None else f"SSO at {start_url}"
        self._cache_directory = None if cache_directory is None else files.expand(str(cache_directory), environ)
        self._environ = environ
        self._services = Services(config=checked_config(config), environ=environ, place=_place)
        read = partial(_tokens.read_sso_token, start_url=start_url, region=region)
        self._file = TokenFile(parse=read, advice=self._login_command(), trusted=trusted)

    fetch_seconds = LOGIN_SECONDS
    depends_on_client = False

    async def fetch(self, context: ProviderContext) -> Credentials:
        """
        Return new credentials of the role.

        Raises:
            LoginRequired: There is no token, or it has ended and cannot be refreshed.
            CredentialsError: The portal refuses, or the token file cannot be used.
            ConfigurationError: There is no home directory; or the settings for the host of the portal, such as a
                configured URL, cannot be used or contradict each other.
            TransportError: No answer came.
        """
        portal = self._services.locate(services.PORTAL, region=self.region, context=context)
        token = await self._token(context)
        role = quote(self.role_name, safe="")
        request = HttpRequest(
            "GET",
            f"{portal.url}/federation/credentials?role_name={role}&account_id={self.account_id}",
            {BEARER_HEADER: token.access_token, "accept": "application/json"},
        )
        response = await exchange(context, request, who=PORTAL, hint=portal.hint)
        if response.status >= 400:
            raise self._refused(Refusal.from_response(response, sent=request))
        found = _tokens.read_role_credentials(response.body, what=f"the answer of {PORTAL}")
        return in_account(found, self.account_id)

    async def _token(self, context: ProviderContext) -> SSOToken:
        directory = self._cache_directory or files.expand(CACHE_DIRECTORY, self._environ)
        path = directory / _tokens.sso_file_name(session_name=self.session_name, start_url=self.start_url)

        async def refresh(token: SSOToken) -> SecretBytes:
            return await self._create_token(token, context)

        latest = await self._file.latest(path, context, refresh=refresh if self.session_name is not None else None)
        if latest.failure is not None:
            if is_over(latest.token, context):
                raise latest.failure
            if self.session_name is not None:
                self._file.used_on(f"{self.name}: the token", latest.failure)
        return latest.token

    async def _create_token(self, token: SSOToken, context: ProviderContext) -> SecretBytes:
        """Return the new content of the token file."""
        oidc = self._services.locate(services.OIDC, region=self.region, context=context)
        headers = {"content-type": "application/json", "accept": "application/json"}
        request = HttpRequest("POST", f"{oidc.url}/token", headers, token.request(), fresh=True)
        response = await exchange(context, request, who=OIDC, hint=oidc.hint)
        if response.status < 400:
            return token.renewed(response.body, at=now(context), what=f"the answer of {OIDC}")
        refusal = Refusal.from_response(response, sent=request)
        reason = f"{OIDC} answered {refusal}"
        if FINAL_CODES.isdisjoint(refusal.codes):
            raise CredentialsError(reason)
        raise LoginRequired(f"{self.name} has ended: {reason}; run: {self._login_command()}")

    def _refused(self, refusal: Refusal) -> CredentialsError:
        if refusal.status == 401:
            return LoginRequired(f"{self.name} has ended: {PORTAL} answered {refusal}; run: {self._login_command()}")
        return CredentialsError(
            f"{PORTAL} answered {refusal}, to account {self.account_id} and role {self.role_name!r}"
        )

    def _login_command(self) -> str:
        if self.session_name is not None:
            return f"aws sso login --sso-session {shlex.quote(self.session_name)}"
        if self._services.place.name is not None:
            return f"aws sso login --profile {shlex.quote(self._services.place.name)}"
        return "aws sso login --profile, with the name of a profile that has this sso_start_url"

    def __repr__(self) -> str:
        return f"SSOProvider({self.name}, account_id={self.account_id!r}, role_name={self.role_name!r})"
