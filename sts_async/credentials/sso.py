"""
Credentials of a role from IAM Identity Center, after ``aws sso login``.

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

# Error codes after which only a new login helps. Source: RFC 6749, section 5.2, and the API model of SSO OIDC.
FINAL_CODES = frozenset(
    """
    invalid_grant invalid_client expired_token unauthorized_client access_denied InvalidGrantException
    InvalidClientException ExpiredTokenException UnauthorizedClientException AccessDeniedException
    """.split()
)


class SSOProvider(RefreshingProvider):
    """
    Provide the credentials of a role that IAM Identity Center has assigned to the user who ran ``aws sso login``.

    The provider reads the token file of the AWS CLI, which the CLI and every SDK share. With an sso-session, it
    refreshes a token that has at most 5 minutes left, in one process at a time. If the refresh fails, the token stays
    in use while it is valid.

    Args:
        account_id: Account of the role, 12 digits.
        role_name: Name of the role (permission set) in the access portal.
        region: Region of the Identity Center.
        session_name: Name of the sso-session in the config file; None for a login without a session.
        start_url: Start URL of the access portal; required without *session_name*.
        cache_directory: Directory of the token files; None for ``~/.aws/sso/cache``.
        trust_token_files: Whether to use a token file that another user owns or may write to. None follows
            ``STS_ASYNC_TRUST_TOKEN_FILES``, whose default is false. If another user owns the directory, a new token is
            not written, but kept in memory.
        environ: The variables ``STS_ASYNC_TRUST_TOKEN_FILES``, ``HOME``, ``AWS_ENDPOINT_URL_SSO``,
            ``AWS_ENDPOINT_URL_SSO_OIDC``, ``AWS_ENDPOINT_URL``, ``AWS_IGNORE_CONFIGURED_ENDPOINT_URLS``,
            ``AWS_USE_FIPS_ENDPOINT`` and ``AWS_USE_DUALSTACK_ENDPOINT``; None for the process environment.
        config: Options for the two services that are called: *use_fips_endpoint*, *use_dualstack_endpoint*,
            *ignore_configured_endpoint_urls* and *allow_http*. They take precedence over the options of the client.
            Options that are not set come from the client. Other options of *config* have no effect.

    Raises:
        ConfigurationError: An argument is invalid, or neither *session_name* nor *start_url* is passed.
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
            raise ConfigurationError("pass session_name, the name of an sso-session, or start_url")
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
            LoginRequired: There is no token, or it has expired and cannot be refreshed.
            CredentialsError: The portal refused the request, or the token file cannot be used.
            ConfigurationError: The home directory is not known; or the settings for the host of the portal, such as a
                configured URL, are invalid or contradict each other.
            TransportError: The portal did not respond.
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
        raise LoginRequired(f"{self.name} has expired: {reason}; run: {self._login_command()}")

    def _refused(self, refusal: Refusal) -> CredentialsError:
        if refusal.status == 401:
            return LoginRequired(f"{self.name} has expired: {PORTAL} answered {refusal}; run: {self._login_command()}")
        return CredentialsError(
            f"{PORTAL} answered {refusal}, for account {self.account_id} and role {self.role_name!r}"
        )

    def _login_command(self) -> str:
        if self.session_name is not None:
            return f"aws sso login --sso-session {shlex.quote(self.session_name)}"
        if self._services.place.name is not None:
            return f"aws sso login --profile {shlex.quote(self._services.place.name)}"
        return "aws sso login --profile, with the name of a profile that has this sso_start_url"

    def __repr__(self) -> str:
        return f"SSOProvider({self.name}, account_id={self.account_id!r}, role_name={self.role_name!r})"
