"""
What ``aws sso login`` and ``aws login`` leave in files, and what the sign-in services take and answer.

No value of a document is ever quoted, and no document shows itself.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from .._protocol.json_documents import A_TIME, Names, read_credentials, read_object, read_text, read_time
from .._shape.secret import HiddenDocument, Secret, SecretBytes, redact
from ..errors import CredentialsError
from ..shapes import Credentials

GRANT_TYPE = "refresh_token"
_ARN_WITH_ACCOUNT = r"arn:[a-z-]+:[a-z]+::([0-9]{12}):"
MAX_LIFE = 10 * 365 * 86_400  # s; more is no lifetime but a mistake

ROLE_CREDENTIALS = Names(
    access_key_id="accessKeyId",
    secret_access_key="secretAccessKey",  # noqa: S106 - the name of a member
    session_token="sessionToken",  # noqa: S106 - the name of a member
    expiration="expiration",
    account_id="accountId",
    milliseconds=True,
)
LOGIN_CREDENTIALS = attrs.evolve(ROLE_CREDENTIALS, expiration="expiresAt", milliseconds=False)


def sso_file_name(*, session_name: str | None, start_url: str | None) -> str:
    """Return the name of the token file of an sso-session, or of a start URL when there is no session."""
    named = session_name if session_name is not None else start_url or ""
    return f"{hashlib.sha1(named.encode(), usedforsecurity=False).hexdigest()}.json"


def login_file_name(login_session: str) -> str:
    """Return the name of the token file of a login session."""
    return f"{hashlib.sha256(login_session.strip().encode()).hexdigest()}.json"


@attrs.frozen(kw_only=True)
class SSOToken:
    """
    A token file of ``aws sso login``.

    Attributes:
        access_token: What the access portal takes.
        expires_at: When it ends.
        document: The whole file.
    """

    access_token: str = attrs.field(repr=False)
    expires_at: datetime
    document: HiddenDocument = attrs.field(repr=False)

    def hindrance(self, *, at: datetime) -> str | None:
        """Return why the token cannot be refreshed at *at*, or None when it can."""
        members = ("refreshToken", "clientId", "clientSecret", "registrationExpiresAt")
        if missing := _missing(self.document, members):
            return missing
        try:
            ends = _time(self.document, "registrationExpiresAt", what="it")
        except CredentialsError as error:
            return str(error)
        return "the registration of the client has ended" if ends <= at else None

    def request(self) -> SecretBytes:
        """Return the body that asks the OIDC service for the next token."""
        return _body(self.document, "clientId", "clientSecret", "refreshToken")

    def renewed(self, answer: bytes, *, at: datetime, what: str) -> SecretBytes:
        """
        Return the content of the file once the OIDC service has given *answer*, at *at*.

        Raises:
            CredentialsError: *answer* lacks something; the message begins with *what* it is.
        """
        found = read_object(answer, what=what)
        access = read_text(found, "accessToken", what=what)
        changes = HiddenDocument(accessToken=access, expiresAt=_end(found, at=at, what=what))
        return _dump(HiddenDocument(self.document) | changes | _next_refresh(found, what=what))


@attrs.frozen(kw_only=True)
class LoginToken:
    """
    A token file of ``aws login``.

    Attributes:
        credentials: What signs.
        expires_at: When they end.
        document: The whole file.
    """

    credentials: Credentials
    expires_at: datetime
    document: HiddenDocument = attrs.field(repr=False)

    @property
    def region(self) -> str | None:
        """The region that was signed in to; None in the files of older SDKs. Source: botocore 1.44, signInRegion."""
        found = self.document.get("signInRegion")
        return found if isinstance(found, str) and found else None

    @property
    def key(self) -> Secret:
        """The private key of the login, in PEM; only of a token that can be refreshed."""
        return Secret(self.document["dpopKey"])

    def hindrance(self, *, at: datetime) -> str | None:
        """Return why the token cannot be refreshed, at whatever time, or None when it can."""
        return _missing(self.document, ("refreshToken", "clientId", "dpopKey"))

    def request(self) -> SecretBytes:
        """Return the body that asks AWS sign-in for the next credentials."""
        return _body(self.document, "clientId", "refreshToken")

    def renewed(self, answer: bytes, *, at: datetime, what: str) -> SecretBytes:
        """
        Return the content of the file once AWS sign-in has given *answer*, at *at*.

        Raises:
            CredentialsError: *answer* lacks something; the message begins with *what* it is.
        """
        found = read_object(answer, what=what)
        access = _object(found, "accessToken", what=what)
        issued = HiddenDocument(access) | HiddenDocument(expiresAt=_end(found, at=at, what=what))
        read_credentials(issued, LOGIN_CREDENTIALS, what=what)
        changes = HiddenDocument(accessToken=HiddenDocument(self.document["accessToken"]) | issued)
        return _dump(HiddenDocument(self.document) | changes | _next_refresh(found, what=what))


def read_sso_token(data: bytes, *, what: str, start_url: str | None = None, region: str | None = None) -> SSOToken:
    """
    Return what a token file of ``aws sso login`` holds.

    Args:
        data: The content of the file.
        what: What messages call it.
        start_url: Start URL that the file must be of when it says one; None for any.
        region: Likewise, the region.

    Raises:
        CredentialsError: It is none, or of something else; the message begins with *what* it is.
    """
    document = read_object(data, what=what)
    _check_is_of(start_url, document, "startUrl", what=what)
    _check_is_of(region, document, "region", what=what)
    return SSOToken(
        access_token=read_text(document, "accessToken", what=what),
        expires_at=_time(document, "expiresAt", what=what),
        document=document,
    )


def read_login_token(data: bytes, *, what: str, login_session: str | None = None) -> LoginToken:
    """
    Return what a token file of ``aws login`` holds.

    Args:
        data: The content of the file.
        what: What messages call it.
        login_session: ARN whose account the file must be of when it says one; None for any.

    Raises:
        CredentialsError: It is none, or of another account; the message begins with *what* it is.
    """
    document = read_object(data, what=what)
    access = _object(document, "accessToken", what=what)
    account = re.match(_ARN_WITH_ACCOUNT, login_session or "")
    _check_is_of(account and account[1], access, "accountId", what=what)
    return LoginToken(
        credentials=read_credentials(access, LOGIN_CREDENTIALS, what=what),
        expires_at=_time(access, "expiresAt", what=what),
        document=document,
    )


def read_role_credentials(answer: bytes, *, what: str) -> Credentials:
    """
    Return the credentials that the access portal has answered with.

    Raises:
        CredentialsError: There are none; the message begins with *what* it is.
    """
    found = _object(read_object(answer, what=what), "roleCredentials", what=what)
    return read_credentials(found, ROLE_CREDENTIALS, what=what)


# -- DPoP proofs (RFC 9449) -----------------------------------------------------------------------------------------


def proof_content(
    *, jwk: Mapping[str, Any], method: str, url: str, at: float, proof_id: str
) -> tuple[dict[str, Any], str]:
    """
    Return the header and the claims of a proof that its sender has a key, for one request to *url*.

    Args:
        jwk: The public P-256 key. Members that a proof does not show are left out.
        method: Of the request.
        url: Of the request.
        at: When the proof is made, in seconds since 1970.
        proof_id: An id that no other proof has.

    Source: RFC 9449, section 4.2; botocore, for the order of the members.
    """
    header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": {name: jwk[name] for name in ("kty", "x", "y", "crv")}}
    claims = {"htm": method, "htu": url, "iat": int(at), "jti": proof_id}
    return header, json.dumps(claims, separators=(",", ":"))


# -- Whose file it is -----------------------------------------------------------------------------------------------


def _check_is_of(wanted: str | None, document: Mapping[str, Any], name: str, *, what: str) -> None:
    """Refuse the file of something else, which may have been put in the place of the right one (T40)."""
    if wanted is not None and _differs(document.get(name), wanted):
        raise CredentialsError(f"{what}: {name} is not the one that was asked for")


def _differs(found: object, wanted: str) -> bool:
    if found is None or found == wanted:
        return False
    return not isinstance(found, str) or _bare(found) != _bare(wanted)


def _bare(text: str) -> str:
    """Return a text as it is compared: start URLs are written with or without ``/`` and ``#/`` at their end."""
    return text.rstrip("/").removesuffix("#").rstrip("/").casefold()


# -- Members --------------------------------------------------------------------------------------------------------


def _missing(document: Mapping[str, Any], members: tuple[str, ...]) -> str | None:
    absent = [name for name in members if not isinstance(document.get(name), str) or not document[name]]
    return f"it has no {' and no '.join(absent)}" if absent else None


def _next_refresh(answer: HiddenDocument, *, what: str) -> HiddenDocument:
    """Return the refresh token that an answer brings, or nothing: then the one in the file stays good."""
    if answer.get("refreshToken") is None:
        return HiddenDocument()
    return HiddenDocument(refreshToken=read_text(answer, "refreshToken", what=what))


def _body(document: Mapping[str, Any], *members: str) -> SecretBytes:
    return _dump(HiddenDocument({name: document[name] for name in members}, grantType=GRANT_TYPE))


def _dump(document: HiddenDocument) -> SecretBytes:
    return SecretBytes(json.dumps(document, default=HiddenDocument.reveal).encode())


def _object(document: Mapping[str, Any], name: str, *, what: str) -> HiddenDocument:
    found = document.get(name)
    if isinstance(found, HiddenDocument):
        return found
    raise CredentialsError(f"{what}: {name} is missing")


def _time(document: Mapping[str, Any], name: str, *, what: str) -> datetime:
    found = read_time(document, name)
    if found is None:
        missing = document.get(name) is None
        raise CredentialsError(f"{what}: {name} is {'missing' if missing else f'not {A_TIME}'}")
    return found


def _end(answer: Mapping[str, Any], *, at: datetime, what: str) -> str:
    """Return in ISO 8601 when that ends which an answer of *at* has brought."""
    seconds = redact(answer.get("expiresIn"))
    if isinstance(seconds, bool) or not isinstance(seconds, int) or not 0 < seconds <= MAX_LIFE:
        raise CredentialsError(f"{what}: expiresIn is not a number of seconds")
    return (at.astimezone(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
