"""
Credentials of ``aws login``: the credentials of a console user, for up to 12 hours.

Source: botocore, `credentials.LoginProvider`; the API model of Signin; RFC 9449 (DPoP).
"""

import asyncio
import os
import shlex
import uuid
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import attrs

from .._config import services
from .._config.options import TRUST_TOKEN_FILES, flag
from .._protocol.endpoints import check_region
from .._protocol.http_errors import Refusal
from .._protocol.http_messages import HttpRequest
from .._runtime import files
from .._runtime.defaults import LOGIN_SECONDS
from .._shape.arguments import check_flag
from .._shape.secret import HiddenMapping, Secret, SecretBytes, attempt, without_data
from .._wording.option_names import setting
from ..config import Config
from ..errors import ConfigurationError, CredentialsError, LoginRequired
from ..protocols import ProviderContext
from ..shapes import Credentials
from . import _tokens
from ._sign_in_services import Services, checked_config, exchange
from ._token_file import TokenFile, is_over, now
from ._tokens import LoginToken
from .cache import RefreshingProvider

CACHE_DIRECTORY = "~/.aws/login/cache"
CACHE_VARIABLE = "AWS_LOGIN_CACHE_DIRECTORY"
TOKEN_PATH = "/v1/token"  # noqa: S105
SIGN_IN = services.SIGN_IN.called
COMMAND = "aws login"
CURVE = "P-256"
ADVICE = "refreshing a login needs the package joserfc: pip install 'sts-async[login]'"

# Error codes after which only a new login helps, and the reason. Source: the API model of Signin.
FINAL_CODES = {
    "TOKEN_EXPIRED": "the login has expired",
    "USER_CREDENTIALS_CHANGED": "the credentials of the user have changed",
    "INSUFFICIENT_PERMISSIONS": "the user needs the permission signin:CreateOAuth2Token before the next login",
}


class LoginProvider(RefreshingProvider):
    """
    Provide the credentials of the user who ran ``aws login``.

    The provider reads the token file of the AWS CLI, which the CLI and every SDK share. It refreshes credentials that
    have at most 5 minutes left, in one process at a time. Only refreshing needs the package ``joserfc``:
    ``pip install 'sts-async[login]'``.

    Args:
        login_session: The value of ``login_session`` in the profile.
        region: Region of the sign-in service, if the token file has no ``signInRegion``, as files of older SDKs; None
            to require it in the token file.
        cache_directory: Directory of the token files; None for ``AWS_LOGIN_CACHE_DIRECTORY``, otherwise
            ``~/.aws/login/cache``.
        trust_token_files: Whether to use a token file that another user owns or may write to. None follows
            ``STS_ASYNC_TRUST_TOKEN_FILES``, whose default is false. If another user owns the directory, a new token is
            not written, but kept in memory.
        environ: The variables named above, ``HOME``, ``AWS_ENDPOINT_URL_SIGNIN``, ``AWS_ENDPOINT_URL``,
            ``AWS_IGNORE_CONFIGURED_ENDPOINT_URLS``, ``AWS_USE_FIPS_ENDPOINT`` and ``AWS_USE_DUALSTACK_ENDPOINT``; None
            for the process environment.
        config: Options for the service that is called: *use_fips_endpoint*, *use_dualstack_endpoint*,
            *ignore_configured_endpoint_urls* and *allow_http*. They take precedence over the options of the client.
            Options that are not set come from the client. Other options of *config* have no effect.

    Raises:
        ConfigurationError: An argument is invalid.
    """

    def __init__(
        self,
        *,
        login_session: str,
        region: str | None = None,
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
        self.login_session = login_session
        self.region = region
        if not (login_session.strip() and login_session.strip().isprintable()):
            raise ConfigurationError("login_session must be printable text")
        if region is not None:
            check_region(region)
        self.login_session = login_session.strip()
        self.name = f"login session {self.login_session!r}"
        self._cache_directory = None if cache_directory is None else files.expand(str(cache_directory), environ)
        self._environ = environ
        self._services = Services(config=checked_config(config), environ=environ, place=_place)
        profile = _place.name
        self._command = COMMAND if profile is None else f"{COMMAND} --profile {shlex.quote(profile)}"
        read = partial(_tokens.read_login_token, login_session=self.login_session)
        self._file = TokenFile(parse=read, advice=self._command, trusted=trusted)

    fetch_seconds = LOGIN_SECONDS
    depends_on_client = False

    async def fetch(self, context: ProviderContext) -> Credentials:
        """
        Return the credentials in the token file. Refresh them first if they have at most 5 minutes left.

        Raises:
            LoginRequired: There is no token, or it can no longer be refreshed.
            CredentialsError: AWS sign-in refuses, the token file cannot be used, or ``joserfc`` is not installed.
            ConfigurationError: The home directory is not known; the settings for the host of AWS sign-in, such as a
                configured URL, are invalid or contradict each other; or the region is not known.
            TransportError: AWS sign-in did not respond.
        """

        async def refresh(token: LoginToken) -> SecretBytes:
            return await self._create_token(token, context)

        latest = await self._file.latest(self._path(), context, refresh=refresh)
        if latest.failure is not None:
            refused = isinstance(latest.failure, LoginRequired) and latest.token.hindrance(at=now(context)) is None
            if refused or is_over(latest.token, context):
                raise latest.failure
            self._file.used_on(f"{self.name}: the token", latest.failure)
        return latest.token.credentials

    def _path(self) -> Path:
        directory = self._cache_directory or files.expand(
            self._environ.get(CACHE_VARIABLE, "").strip() or CACHE_DIRECTORY, self._environ
        )
        return directory / _tokens.login_file_name(self.login_session)

    async def _create_token(self, token: LoginToken, context: ProviderContext) -> SecretBytes:
        """Return the new content of the token file."""
        location = self._services.locate(services.SIGN_IN, region=self._region(token), context=context)
        url = location.url + TOKEN_PATH
        headers = {"content-type": "application/json", "accept": "application/json"}

        async def proven(request: HttpRequest) -> HttpRequest:
            proof = await asyncio.to_thread(
                _proof, token.key, method="POST", url=url, at=context.wall_clock(), command=self._command
            )
            return attrs.evolve(request, headers={**headers, "DPoP": proof})

        request = HttpRequest("POST", url, headers, token.request(), fresh=True)
        response = await exchange(context, request, who=SIGN_IN, hint=location.hint, prepare=proven)
        if response.status < 400:
            return token.renewed(response.body, at=now(context), what=f"the answer of {SIGN_IN}")
        refusal = Refusal.from_response(response, sent=request)
        reason = next((FINAL_CODES[code] for code in refusal.codes if code in FINAL_CODES), None)
        if reason is None:
            raise CredentialsError(f"{SIGN_IN} answered {refusal}")
        raise LoginRequired(f"{self.name}: {reason}: {SIGN_IN} answered {refusal}; run: {self._command}")

    def _region(self, token: LoginToken) -> str:
        """
        Return the region of the login. The refresh token is valid only there.

        Raises:
            ConfigurationError: Neither the token file nor the provider has a region.
        """
        region = token.region or self.region
        if region is None:
            profile = self._services.place.name
            advice = (
                f"pass {setting('region')}" if profile is None else f"set region in profile {profile!r} or AWS_REGION"
            )
            raise ConfigurationError(
                f"{self.name}: the token file has no signInRegion, so a region is needed to refresh: "
                f"{advice}, or run: {self._command}"
            )
        check_region(region)
        return region

    def __repr__(self) -> str:
        return f"LoginProvider(login_session={self.login_session!r}, region={self.region!r})"


def _proof(pem: Secret, *, method: str, url: str, at: float, command: str = COMMAND) -> Secret:
    """
    Return a DPoP proof for one request. It proves that the sender has the private key of the login.

    Raises:
        CredentialsError: The package ``joserfc`` is not installed.
        LoginRequired: *pem* is not a P-256 key in PEM.

    Source: RFC 9449, section 4.2.
    """
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from joserfc import jws
        from joserfc.errors import JoseError
        from joserfc.jwk import ECKey
    except ImportError:
        raise CredentialsError(ADVICE) from None

    def read() -> ECKey | None:
        key = ECKey.import_key(pem)
        return key if key.is_private and key.curve_name == CURVE else None

    key = attempt((ValueError, TypeError, KeyError, UnsupportedAlgorithm, JoseError), read)
    if key is None:
        raise LoginRequired(f"dpopKey in the token file is not a P-256 key in PEM; run: {command}")
    # `key.as_dict()` would contain the private key.
    public = ECKey.import_key(key.public_key).as_dict()
    header, claims = _tokens.proof_content(jwk=public, method=method, url=url, at=at, proof_id=str(uuid.uuid4()))
    return Secret(jws.serialize_compact(header, claims, key, algorithms=[header["alg"]]))
