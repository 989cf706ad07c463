"""
Claims in SAML assertions and JSON web tokens.

UNVERIFIED: no signature is checked, so any claim can be forged. A server for tests needs this. Never use this module
for another purpose.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

import attrs
from lxml import etree

from .._protocol.timestamps import timestamp
from .._protocol.xml import PARSER as HARDENED
from .._shape.secret import attempt
from ..errors import InvalidIdentityTokenException
from .refusals import Refusal, modelled

_SAML = "{urn:oasis:names:tc:SAML:2.0:assertion}"
_NAME_FORMAT = "urn:oasis:names:tc:SAML:2.0:nameid-format:"
_ATTRIBUTES = "https://aws.amazon.com/SAML/Attributes/"
_TAGS = "https://aws.amazon.com/tags"
_SOURCE_IDENTITY = "https://aws.amazon.com/source_identity"
_SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)


@attrs.frozen(kw_only=True)
class Claims:
    """
    The claims of an identity provider about a user.

    Attributes:
        issuer: The identity provider.
        subject: The user.
        audience: The recipient.
        not_before: Start of the validity, in seconds since 1970, or None.
        expires_at: End of the validity, in seconds since 1970.
        source_identity: Source identity of the session, or None.
        tags: Session tags.
        transitive_tag_keys: Keys of the transitive tags.
        subject_type: SAML: format of the name, without its usual prefix.
        session_name: SAML: name of the session.
        session_duration: SAML: requested lifetime in seconds, or None.
        session_ends_at: SAML: end of the session at the provider, in seconds since 1970, or None.
        roles: SAML: pairs of a role and a provider.
        texts: Text claims, or the first values of SAML attributes, by name.
    """

    issuer: str
    subject: str
    audience: str
    not_before: float | None = None
    expires_at: float
    source_identity: str | None = None
    tags: Mapping[str, str] = attrs.field(factory=dict)
    transitive_tag_keys: frozenset[str] = frozenset()
    subject_type: str = ""
    session_name: str = ""
    session_duration: int | None = None
    session_ends_at: float | None = None
    roles: frozenset[frozenset[str]] = frozenset()
    texts: Mapping[str, str] = attrs.field(factory=dict, repr=False)


def _unusable(message: str) -> Refusal:
    return modelled(InvalidIdentityTokenException, message)


# -- JSON web tokens ----------------------------------------------------------------------------------------------


def read_jwt(token: str) -> Claims:
    """
    Return the claims in a JWT, UNVERIFIED.

    Raises:
        Refusal: The token is not a JWT, or a claim is missing or invalid.
    """
    payload = _payload(token)
    for name in ("iss", "sub", "aud", "exp"):
        if not payload.get(name):
            raise _unusable(f"Missing a required claim: {name}")
    issuer, subject, audience, expires_at = (payload[name] for name in ("iss", "sub", "aud", "exp"))
    if isinstance(audience, list):
        audience = audience[0]
    if not all(isinstance(text, str) for text in (issuer, subject, audience)):
        raise _unusable("A claim is not text")
    tags = _dict(payload.get(_TAGS))
    return Claims(
        issuer=issuer.removeprefix("https://"),
        subject=subject,
        audience=audience,
        not_before=_seconds(payload.get("nbf")),
        expires_at=_seconds(expires_at) or 0,
        source_identity=_text(payload.get(_SOURCE_IDENTITY)),
        tags={key: "".join(_texts(value)) for key, value in _dict(tags.get("principal_tags")).items()},
        transitive_tag_keys=frozenset(_texts(tags.get("transitive_tag_keys"))),
        texts={name: value for name, value in payload.items() if isinstance(value, str)},
    )


def _payload(token: str) -> dict[str, Any]:
    header, _, rest = token.partition(".")
    middle, dot, _ = rest.partition(".")
    try:
        payload = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    except (ValueError, RecursionError):
        payload = None
    if not (header and dot and isinstance(payload, dict)):
        raise _unusable(
            "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)"
        )
    return payload


def _seconds(value: Any) -> float | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise _unusable("A time claim is not a number")
    return value


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _texts(value: Any) -> list[str]:
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def opaque(token: str, *, provider: str) -> Claims:
    """Return claims for an opaque OAuth 2.0 access token. The subject is a hash of the token."""
    subject = hashlib.sha256(token.encode()).hexdigest()[:32]
    return Claims(issuer=provider, subject=subject, audience=provider, expires_at=float("inf"))


# -- SAML assertions ----------------------------------------------------------------------------------------------


def read_saml(assertion: str) -> Claims:
    """
    Return the claims in a base64-encoded SAML response, UNVERIFIED.

    Raises:
        Refusal: The response has no assertion, or the assertion lacks an element that AWS requires.
    """
    found = _assertion(assertion)
    attributes = _attributes(found)
    try:
        (session_name,) = attributes["RoleSessionName"]
        roles = attributes["Role"]
    except (KeyError, ValueError):
        raise _unusable("RoleSessionName and Role are required in AuthnResponse") from None
    if not _SESSION_NAME.fullmatch(session_name):
        raise _unusable("RoleSessionName in AuthnResponse must match [a-zA-Z_0-9+=,.@-]{2,64}")
    name = found.find(f"{_SAML}Subject/{_SAML}NameID")
    confirmation = found.find(f"{_SAML}Subject/{_SAML}SubjectConfirmation/{_SAML}SubjectConfirmationData")
    if name is None or confirmation is None:
        raise _unusable("Subject and SubjectConfirmationData are required in AuthnResponse")
    try:
        return Claims(
            issuer=_content(found.find(f"{_SAML}Issuer")),
            subject=_content(name),
            subject_type=(name.get("Format") or "").removeprefix(_NAME_FORMAT),
            audience=confirmation.get("Recipient") or "",
            not_before=_time(found.find(f"{_SAML}Conditions"), "NotBefore"),
            expires_at=_time(confirmation, "NotOnOrAfter") or 0,
            source_identity=next(iter(attributes.get("SourceIdentity", ())), None),
            tags={
                key.removeprefix("PrincipalTag:"): "".join(values)
                for key, values in attributes.items()
                if key.startswith("PrincipalTag:")
            },
            transitive_tag_keys=frozenset(attributes.get("TransitiveTagKeys", ())),
            session_name=session_name,
            session_duration=next((int(text) for text in attributes.get("SessionDuration", ())), None),
            session_ends_at=_time(found.find(f"{_SAML}AuthnStatement"), "SessionNotOnOrAfter"),
            roles=frozenset(frozenset(part.strip() for part in pair.split(",")) for pair in roles),
            texts={name: values[0] for name, values in attributes.items() if values},
        )
    except (ValueError, OverflowError):
        raise _unusable("A time in AuthnResponse is unreadable") from None


def _root(encoded: str) -> Any:
    return etree.fromstring(base64.b64decode("".join(encoded.split()), validate=True), HARDENED)


def _assertion(encoded: str) -> Any:
    root: Any = attempt((ValueError, etree.XMLSyntaxError), _root, encoded)
    if root is None:
        raise _unusable("Invalid base64 SAMLResponse")
    found = [] if root.getroottree().docinfo.doctype else list(root.iter(f"{_SAML}Assertion"))
    if len(found) != 1:  # no assertion, an encrypted one, or one within another
        raise _unusable("Response must have exactly one Assertion that is not encrypted, and no DOCTYPE")
    return found[0]


def _attributes(assertion: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for attribute in assertion.iterfind(f"{_SAML}AttributeStatement/{_SAML}Attribute"):
        name = (attribute.get("Name") or "").removeprefix(_ATTRIBUTES)
        found.setdefault(name, []).extend(map(_content, attribute.iterfind(f"{_SAML}AttributeValue")))
    return found


def _content(element: Any) -> str:
    return "" if element is None else "".join(element.itertext()).strip()


def _time(element: Any, name: str) -> float | None:
    text = None if element is None else element.get(name)
    return None if text is None else timestamp(text).timestamp()
