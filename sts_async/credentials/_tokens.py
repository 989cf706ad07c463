"""
The contents of token files of ``aws sso login`` and ``aws login``, and the bodies of requests to the sign-in services.

No message contains a value of a document, and no document has a value in its ``repr``.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from .._protocol.json_documents import A_TIME, Names, read_credentials, read_object, read_text, read_time, write_object
from .._shape.secret import HiddenDocument, Secret, SecretBytes, redact
from ..errors import CredentialsError
from ..shapes import Credentials

GRANT_TYPE = "refresh_token"
_ARN_WITH_ACCOUNT = r"arn:[a-z-]+:[a-z]+::([0-9]{12}):"
MAX_LIFE = 10 * 365 * 86_400  # s; a longer lifetime is a mistake

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
    """Return the name of the token file for an sso-session, or for a start URL if *session_name* is None."""
    named = session_name if session_name is not None else start_url or ""
    return f"{hashlib.sha1(named.encode(), usedforsecurity=False).hexdigest()}.json"


def login_file_name(login_session: str) -> str:
    """Return the name of the token file for a login session."""
    return f"{hashlib.sha256(login_session.strip().encode()).hexdigest()}.json"


@attrs.frozen(kw_only=True)
class SSOToken:
    """
    A token file of ``aws sso login``.

    Attributes:
        access_token: The bearer token for the access portal.
        expires_at: Time at which it expires.
        document: The contents of the file.
    """

    access_token: str = attrs.field(repr=False)
    expires_at: datetime
    document: HiddenDocument = attrs.field(repr=False)

    def hindrance(self, *, at: datetime) -> str | None:
        """Return why the token cannot be refreshed at *at*, or None if it can."""
        members = ("refreshToken", "clientId", "clientSecret", "registrationExpiresAt")
        if missing := _missing(self.document, members):
            return missing
        try:
            ends = _time(self.document, "registrationExpiresAt", what="it")
        except CredentialsError as error:
            return str(error)
        return "the client registration has expired" if ends <= at else None

    def request(self) -> SecretBytes:
        """Return the body of the request for the next token from the OIDC service."""
        return _body(self.document, "clientId", "clientSecret", "refreshToken")

    def renewed(self, answer: bytes, *, at: datetime, what: str) -> SecretBytes:
        """
        Return the new contents of the file.

        Args:
            answer: Body of the response of the OIDC service.
            at: Time of the response.
            what: Name of the response in messages.

        Raises:
            CredentialsError: A member of *answer* is missing or invalid.
        """
        found = read_object(answer, what=what)
        access = read_text(found, "accessToken", what=what)
        changes = HiddenDocument(accessToken=access, expiresAt=_end(found, at=at, what=what))
        return write_object(HiddenDocument(self.document) | changes | _next_refresh(found, what=what))


@attrs.frozen(kw_only=True)
class LoginToken:
    """
    A token file of ``aws login``.

    Attributes:
        credentials: The credentials in the file.
        expires_at: Time at which they expire.
        document: The contents of the file.
    """

    credentials: Credentials
    expires_at: datetime
    document: HiddenDocument = attrs.field(repr=False)

    @property
    def region(self) -> str | None:
        """The region of the login; None in files of older SDKs. Source: botocore 1.44, ``signInRegion``."""
        found = self.document.get("signInRegion")
        return found if isinstance(found, str) and found else None

    @property
    def key(self) -> Secret:
        """The private key of the login in PEM. Only a token without a `hindrance` has one."""
        return Secret(self.document["dpopKey"])

    def hindrance(self, *, at: datetime) -> str | None:
        """Return why the token cannot be refreshed, or None if it can. The time does not matter."""
        return _missing(self.document, ("refreshToken", "clientId", "dpopKey"))

    def request(self) -> SecretBytes:
        """Return the body of the request for the next credentials from AWS sign-in."""
        return _body(self.document, "clientId", "refreshToken")

    def renewed(self, answer: bytes, *, at: datetime, what: str) -> SecretBytes:
        """
        Return the new contents of the file.

        Args:
            answer: Body of the response of AWS sign-in.
            at: Time of the response.
            what: Name of the response in messages.

        Raises:
            CredentialsError: A member of *answer* is missing or invalid.
        """
        found = read_object(answer, what=what)
        access = _object(found, "accessToken", what=what)
        issued = HiddenDocument(access) | HiddenDocument(expiresAt=_end(found, at=at, what=what))
        read_credentials(issued, LOGIN_CREDENTIALS, what=what)
        changes = HiddenDocument(accessToken=HiddenDocument(self.document["accessToken"]) | issued)
        return write_object(HiddenDocument(self.document) | changes | _next_refresh(found, what=what))


def read_sso_token(data: bytes, *, what: str, start_url: str | None = None, region: str | None = None) -> SSOToken:
    """
    Parse a token file of ``aws sso login``.

    Args:
        data: The contents of the file.
        what: Name of the file in messages.
        start_url: The expected start URL, if the file has one; None for any.
        region: The expected region, if the file has one; None for any.

    Raises:
        CredentialsError: A member is missing or invalid, or the file has another start URL or region.
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
    Parse a token file of ``aws login``.

    Args:
        data: The contents of the file.
        what: Name of the file in messages.
        login_session: An ARN with the expected account, if the file has one; None for any.

    Raises:
        CredentialsError: A member is missing or invalid, or the file has another account.
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
    Return the credentials in a response of the access portal.

    Args:
        answer: Body of the response.
        what: Name of the response in messages.

    Raises:
        CredentialsError: A member is missing or invalid.
    """
    found = _object(read_object(answer, what=what), "roleCredentials", what=what)
    return read_credentials(found, ROLE_CREDENTIALS, what=what)


# -- DPoP proofs (RFC 9449) -----------------------------------------------------------------------------------------


def proof_content(
    *, jwk: Mapping[str, Any], method: str, url: str, at: float, proof_id: str
) -> tuple[dict[str, Any], str]:
    """
    Return the header and the claims of a proof for one request. It proves that the sender has a private key.

    Args:
        jwk: The public P-256 key. The proof contains only its members ``kty``, ``x``, ``y`` and ``crv``.
        method: HTTP method of the request.
        url: URL of the request.
        at: Time of the proof, in seconds since 1970.
        proof_id: An id that no other proof has.

    Source: RFC 9449, section 4.2; botocore, for the order of the members.
    """
    header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": {name: jwk[name] for name in ("kty", "x", "y", "crv")}}
    claims = {"htm": method, "htu": url, "iat": int(at), "jti": proof_id}
    return header, json.dumps(claims, separators=(",", ":"))


# -- Checks that a file belongs to the login ------------------------------------------------------------------------


def _check_is_of(wanted: str | None, document: Mapping[str, Any], name: str, *, what: str) -> None:
    """Refuse a file that belongs to another login. Another user may have exchanged the files (T40)."""
    if wanted is not None and _differs(document.get(name), wanted):
        raise CredentialsError(f"{what}: {name} is not the one that was asked for")


def _differs(found: object, wanted: str) -> bool:
    if found is None or found == wanted:
        return False
    return not isinstance(found, str) or _bare(found) != _bare(wanted)


def _bare(text: str) -> str:
    """Return a text for comparison. Start URLs are written with or without ``/`` and ``#/`` at the end."""
    return text.rstrip("/").removesuffix("#").rstrip("/").casefold()


# -- Members --------------------------------------------------------------------------------------------------------


def _missing(document: Mapping[str, Any], members: tuple[str, ...]) -> str | None:
    absent = [name for name in members if not isinstance(document.get(name), str) or not document[name]]
    return f"it has no {' and no '.join(absent)}" if absent else None


def _next_refresh(answer: HiddenDocument, *, what: str) -> HiddenDocument:
    """Return the refresh token in a response. If it has none, return an empty document: the old one stays valid."""
    if answer.get("refreshToken") is None:
        return HiddenDocument()
    return HiddenDocument(refreshToken=read_text(answer, "refreshToken", what=what))


def _body(document: Mapping[str, Any], *members: str) -> SecretBytes:
    return write_object(HiddenDocument({name: document[name] for name in members}, grantType=GRANT_TYPE))


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
    """Return the expiration in ISO 8601, from the time and the lifetime of a response."""
    seconds = redact(answer.get("expiresIn"))
    if isinstance(seconds, bool) or not isinstance(seconds, int) or not 0 < seconds <= MAX_LIFE:
        raise CredentialsError(f"{what}: expiresIn is not a number of seconds")
    return (at.astimezone(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
