"""
Verification of AWS Signature Version 4, in headers and in presigned URLs. Pure: the time is a parameter.

It uses the steps of `sigv4`. Signatures and tokens are compared in constant time.
"""

import hashlib
import hmac
import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import unquote

import attrs

from .. import sigv4
from .._shape.secret import Secret, SecretBytes
from ..shapes import Credentials
from ..sigv4._canonical_request import canonical_path, canonical_query
from .refusals import Refusal, incomplete_signature, signature_mismatch, unknown_key

SERVICE = "sts"
WINDOW = 15 * 60  # s before and after the service's time in which a signature is valid

_STAMP = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z", re.ASCII)
_EXPIRES = re.compile(r"[1-9]\d{0,5}", re.ASCII)
_PARTS = ("Credential", "SignedHeaders", "Signature")
_NO_MATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)


@attrs.frozen
class Received:
    """
    A request that a server has received.

    Attributes:
        method: HTTP method.
        path: Percent-encoded path.
        query: Percent-encoded query.
        headers: Headers with lower-case names; repeated headers are joined with commas.
        body: The body.
    """

    method: str
    path: str
    query: str = attrs.field(repr=False)
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: SecretBytes


@attrs.frozen(kw_only=True)
class Proof:
    """
    The parts of a signature, before verification.

    Attributes:
        access_key_id: The access key id.
        scope: The credential scope: date, region, service and a constant, joined with slashes.
        stamp: The time of signing, as ``YYYYMMDDTHHMMSSZ``.
        names: Names of the signed headers, in lower case.
        signature: The signature, 64 hex digits.
        token: The session token, or the empty string.
        query: The signed query.
        expires: X-Amz-Expires of a presigned URL, in seconds, or None.
    """

    access_key_id: str
    scope: str
    stamp: str
    names: tuple[str, ...]
    signature: Secret
    token: Secret
    query: str = attrs.field(repr=False)
    expires: int | None = None

    @property
    def region(self) -> str:
        """The signing region."""
        return self.scope.split("/")[1]


def read_proof(received: Received) -> Proof:
    """
    Return the parts of the signature of *received*, not verified.

    Raises:
        Refusal: The request has no signature, or the signature is incomplete.
    """
    header = received.headers.get("authorization")
    if header is not None:
        return _from_header(header, received)
    if "X-Amz-Signature=" in received.query or "X-Amz-Algorithm=" in received.query:
        return _from_query(received.query)
    raise Refusal("MissingAuthenticationToken", "Request is missing Authentication Token", status=403)


def _from_header(header: str, received: Received) -> Proof:
    algorithm, _, rest = header.partition(" ")
    parts = {name: value for name, _, value in (part.strip().partition("=") for part in rest.split(","))}
    stamp = received.headers.get("x-amz-date") or _basic(received.headers.get("date", ""))
    missing = [f"Authorization header requires '{name}' parameter." for name in _PARTS if not parts.get(name)]
    if not stamp:
        missing.append("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
    return _proof(
        algorithm,
        missing,
        credential=parts.get("Credential", ""),
        names=parts.get("SignedHeaders", ""),
        signature=parts.get("Signature", ""),
        stamp=stamp,
        token=received.headers.get("x-amz-security-token", ""),
        query=received.query,
    )


def _basic(date: str) -> str:
    """Return a Date header in the basic format of ISO 8601, which is signed; return other text unchanged."""
    try:
        found = parsedate_to_datetime(date)
        return _stamp(
            found.replace(tzinfo=found.tzinfo or UTC).timestamp()
        )  # a time without a zone, or with -0000, is UTC
    except (ValueError, TypeError, OverflowError):
        return date


def _from_query(query: str) -> Proof:
    pairs = [pair.partition("=") for pair in query.split("&")]
    given = {name: unquote(value) for name, _, value in pairs if name.startswith("X-Amz-")}
    needed = [f"X-Amz-{name}" for name in ("Algorithm", "Credential", "Signature", "SignedHeaders", "Date")]
    missing = [f"AWS query-string parameters must include '{name}'." for name in needed if not given.get(name)]
    expires = given.get("X-Amz-Expires")  # STS accepts a URL without it for 15 minutes, like any other
    if expires is not None and not (_EXPIRES.fullmatch(expires) and int(expires) <= sigv4.MAX_EXPIRES):
        missing.append(f"X-Amz-Expires must be 1 to {sigv4.MAX_EXPIRES} seconds.")
    return _proof(
        given.get("X-Amz-Algorithm", ""),
        missing,
        credential=given.get("X-Amz-Credential", ""),
        names=given.get("X-Amz-SignedHeaders", ""),
        signature=given.get("X-Amz-Signature", ""),
        stamp=given.get("X-Amz-Date", ""),
        token=given.get("X-Amz-Security-Token", ""),
        query="&".join("".join(pair) for pair in pairs if pair[0] != "X-Amz-Signature"),
        expires=expires,
    )


def _proof(
    algorithm: str,
    missing: list[str],
    *,
    credential: str,
    names: str,
    signature: str,
    stamp: str,
    token: str,
    query: str,
    expires: str | None = None,
) -> Proof:
    if algorithm != sigv4.ALGORITHM:
        raise incomplete_signature(f"Unsupported AWS 'algorithm': only {sigv4.ALGORITHM} is known here.")
    if not f"{credential}{names}{signature}{stamp}{token}".isascii():
        missing.append("A signature has only ASCII characters.")
    if missing:
        raise incomplete_signature(" ".join(missing))
    access_key_id, _, scope = credential.partition("/")
    if scope.count("/") != 3:
        raise incomplete_signature("Credential must have exactly 5 slash-delimited elements.")
    return Proof(
        access_key_id=access_key_id,
        scope=scope,
        stamp=stamp,
        names=tuple(names.split(";")),
        signature=Secret(signature),
        token=Secret(token),
        query=query,
        expires=None if expires is None else int(expires),
    )


def check_token(proof: Proof, credentials: Credentials) -> None:
    """
    Check that the session token is that of *credentials*, or that neither has one.

    Raises:
        Refusal: The tokens differ.
    """
    if not hmac.compare_digest(proof.token.encode(), (credentials.session_token or "").encode()):
        raise unknown_key()


def check_signature(
    proof: Proof,
    received: Received,
    credentials: Credentials,
    *,
    now: float,
    regions: Collection[str] | None = None,
    honor_expires: bool = False,
) -> None:
    """
    Check that *received* was signed with *credentials* at about *now*.

    Args:
        proof: The result of `read_proof` for *received*.
        received: The request.
        credentials: The credentials with the access key id in *proof*.
        now: The service's time, in seconds since 1970.
        regions: The accepted signing regions; None for any region.
        honor_expires: Whether a presigned URL expires after its X-Amz-Expires, if that is less than 15 minutes. STS
            itself ignores it, and accepts a URL for 15 minutes.

    Raises:
        Refusal: The signature is wrong, or is for another time or another service.
    """
    date, region, service, terminal = proof.scope.split("/")
    if service != SERVICE or terminal != "aws4_request":
        raise signature_mismatch(f"Credential should be scoped to correct service: '{SERVICE}'.")
    if regions is not None and region not in regions:
        raise signature_mismatch("Credential should be scoped to a valid region.")
    if date != proof.stamp[:8]:
        raise signature_mismatch("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date.")
    if "host" not in proof.names:
        raise signature_mismatch("'Host' must be a 'SignedHeader' in the AWS Authorization.")
    _check_time(proof, now=now, longest=min(proof.expires or WINDOW, WINDOW) if honor_expires else WINDOW)
    request = sigv4.canonical_request(
        method=received.method,
        path=canonical_path(received.path),
        query=canonical_query(proof.query),
        headers=[(name, received.headers.get(name, "")) for name in proof.names],
        payload_hash=hashlib.sha256(received.body).hexdigest(),
    )
    try:
        text = sigv4.string_to_sign(proof.stamp, proof.scope, request)
    except UnicodeEncodeError:  # bytes that are not UTF-8
        raise signature_mismatch("A signed header has characters that a header cannot carry.") from None
    expected = sigv4.signature(sigv4.signing_key(credentials, proof.scope), text)
    if not hmac.compare_digest(expected.encode(), proof.signature.encode()):
        raise signature_mismatch(_NO_MATCH)


def _check_time(proof: Proof, *, now: float, longest: int) -> None:
    found = _STAMP.fullmatch(proof.stamp)
    try:
        signed_at = datetime(*map(int, found.groups()), tzinfo=UTC).timestamp()  # type: ignore[union-attr,misc,arg-type]
    except (AttributeError, ValueError):
        raise incomplete_signature("Date must be in ISO-8601 'basic format'.") from None
    if signed_at + longest < now:
        raise signature_mismatch(
            f"Signature expired: {proof.stamp} is now earlier than {_stamp(now - longest)} "
            f"({_stamp(now)} - {longest // 60} min.)"
        )
    if signed_at - WINDOW > now:
        raise signature_mismatch(
            f"Signature not yet current: {proof.stamp} is still later than {_stamp(now + WINDOW)} "
            f"({_stamp(now)} + {WINDOW // 60} min.)"
        )


def _stamp(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
