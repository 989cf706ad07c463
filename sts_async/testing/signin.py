"""LocalSignIn: the token endpoint of AWS sign-in, which refreshes the credentials of ``aws login``."""

import base64
import hashlib
import hmac
import json
import ssl
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .._runtime.files import write_private
from .._shape.secret import Secret, attempt
from ..shapes import Credentials
from .base import Reply
from .clock import TimeSource
from .refusals import Refusal
from .vending import CredentialsServer, Tokens, TokenState, in_json, iso, object_in
from .verify import Received

TOKEN_PATH = "/v1/token"  # noqa: S105
CLIENT_ID = "arn:aws:signin:::devtools/same-device"
PROOF_WINDOW = 300  # s by which the time in a proof can differ from the server's time
REMEMBERED_PROOFS = 10_000  # ids of proofs that are remembered, because a proof is accepted only once
REFRESH_LIFETIME = 43_200  # s, of a login
ALGORITHM, CURVE = "ES256", "P-256"

ADVICE = "LocalSignIn needs the package joserfc: pip install 'sts-async[login]'"

# Error codes of AccessDeniedException that require a new login.
FINAL = {"TOKEN_EXPIRED": 401, "USER_CREDENTIALS_CHANGED": 403, "INSUFFICIENT_PERMISSIONS": 403}

_STATUSES = {**FINAL, "RESOURCE_NOT_FOUND": 404}
_KINDS = {
    **dict.fromkeys(FINAL, "AccessDeniedException"),
    "INVALID_REQUEST": "ValidationException",
    "RESOURCE_NOT_FOUND": "ResourceNotFoundException",
}


class LocalSignIn(CredentialsServer):
    """
    The token endpoint of AWS sign-in on 127.0.0.1.

        async with LocalSignIn() as server:
            server.login(Path.home() / ".aws/login/cache", login_session="arn:aws:iam::123456789012:user/me")
            os.environ.update(server.environ)

    It verifies the DPoP proof (RFC 9449), and that the refresh token belongs to the key of the proof. A refresh token
    can be used several times until the login ends, as on AWS. `Throttle` is HTTP 429. A fault such as
    ``Refuse("TOKEN_EXPIRED")``, or `error`, causes the final errors.

    Args:
        credentials: The credentials to return. A function is called for each fetch. None for random credentials.
        lifetime: Lifetime of random credentials in seconds; at most 900 on AWS.
        refresh_lifetime: Seconds for which a login can be refreshed.
        account_id: accountId in the files of `login`.
        error: Error code for every refresh, such as ``USER_CREDENTIALS_CHANGED``; None for normal responses.
        clock: A `VirtualClock`, another object with a method `time`, or a function that returns seconds since 1970.
        host: Address to listen on.
        port: Port to listen on; 0 for a free port.
        ssl_context: TLS context with a certificate, to serve https; None for http.

    All arguments except the last four are also attributes, which can be changed at any time.

    Raises:
        ImportError: The package joserfc is not installed.
    """

    _throttled = ("TooManyRequestsError", 429)
    _statuses = _STATUSES
    _needs_profile = True

    def __init__(
        self,
        *,
        credentials: Credentials | Callable[[], Credentials] | None = None,
        lifetime: float = 900,
        refresh_lifetime: float = REFRESH_LIFETIME,
        account_id: str = "123456789012",
        error: str | None = None,
        clock: TimeSource = time.time,
        host: str = "127.0.0.1",
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(
            credentials=credentials, lifetime=lifetime, clock=clock, host=host, port=port, ssl_context=ssl_context
        )
        _key_type()
        self.refresh_lifetime = refresh_lifetime
        self.account_id = account_id
        self.error = error
        self._tokens = Tokens("sign-in refresh")
        self._proof_ids: deque[str] = deque(maxlen=REMEMBERED_PROOFS)

    def _own_environ(self) -> dict[str, str]:
        return {"AWS_ENDPOINT_URL_SIGNIN": self.url}

    def login(self, directory: Path, *, login_session: str, seconds: float = 900, region: str | None = None) -> Path:
        """
        Write the token file of ``aws login`` with a new key, and return its path.

        Args:
            directory: The cache, usually ``~/.aws/login/cache``; it is created if it does not exist.
            login_session: The ``login_session`` of the profile: the ARN of the user.
            seconds: Lifetime of the credentials in the file, in seconds; if it is negative, they have expired.
            region: Region of the login, ``signInRegion`` in the file; None omits it, as older SDKs do.

        Raises:
            OSError: The file cannot be written.
        """
        now = self._clock()
        pem, jwk = _new_key()
        credentials = self._vend(account=self.account_id, now=now, lifetime=seconds)
        content = {
            "accessToken": {**_members(credentials), "accountId": self.account_id, "expiresAt": iso(now + seconds)},
            "tokenType": "aws_sigv4",
            "clientId": CLIENT_ID,
            "refreshToken": self._new_refresh_token(jwk, now=now),
            "idToken": _jwt({"alg": "none"}, {"iss": "https://signin.aws.amazon.com", "sub": login_session}),
            "dpopKey": pem,
        }
        if region is not None:
            content["signInRegion"] = region
        name = hashlib.sha256(login_session.strip().encode()).hexdigest()
        path = directory / f"{name}.json"
        write_private(path, json.dumps(content).encode())
        return path

    def log_out(self) -> None:
        """End every login: refreshes with the issued tokens fail with TOKEN_EXPIRED."""
        self._tokens.revoke()

    def _new_refresh_token(self, jwk: dict[str, str], *, now: float) -> Secret:
        return self._tokens.issue(ends_at=int(now + self.refresh_lifetime), key=thumbprint(jwk))

    def _token(self, received: Received, *, now: float) -> TokenState | None:
        return self._tokens.read(object_in(received).get("refreshToken"), now=now)[0]

    def _serve(self, received: Received, *, token: TokenState | None, now: float) -> Reply:
        if (received.method, received.path) != ("POST", TOKEN_PATH):
            raise self._refused("RESOURCE_NOT_FOUND", "There is nothing here")
        if self.error is not None:
            raise self._refused(self.error, "Refused by the server's option")
        form = object_in(received)
        if form.get("clientId") != CLIENT_ID or form.get("grantType") != "refresh_token" or token == "absent":  # noqa: S105
            raise _invalid(f"clientId {CLIENT_ID}, grantType refresh_token and a refreshToken are required")
        jwk = self._check_proof(received, now=now)
        _, content = self._tokens.read(form["refreshToken"], now=now)
        if token != "valid":  # noqa: S105 - a state
            raise self._refused("TOKEN_EXPIRED", "The refresh token has expired")
        if not hmac.compare_digest(content["key"], thumbprint(jwk)):
            raise _invalid("The refresh token belongs to another key")
        credentials = self._vend(account=self.account_id, now=now)
        return in_json(
            {
                "accessToken": _members(credentials),
                "tokenType": "aws_sigv4",
                "expiresIn": int(self._ends_at(credentials, now=now) - now),
                "refreshToken": self._new_refresh_token(jwk, now=now),
            }
        )

    def _check_proof(self, received: Received, *, now: float) -> dict[str, str]:
        """
        Return the public key in the DPoP header.

        Raises:
            Refusal: The proof is invalid, is for another request or another time, or was used before.
        """
        jwk, claims = read_proof(received.headers.get("dpop", ""))
        url = f"{self._scheme}://{received.headers.get('host', '')}{received.path}"
        if (claims.get("htm"), claims.get("htu")) != (received.method, url):
            raise _invalid("The DPoP proof is for another request")
        issued_at = claims.get("iat")
        if not isinstance(issued_at, int | float) or not now - PROOF_WINDOW <= issued_at <= now + PROOF_WINDOW:
            raise _invalid("The DPoP proof is not from now")
        proof_id = claims.get("jti")
        if not isinstance(proof_id, str) or not proof_id or proof_id in self._proof_ids:
            raise _invalid("The DPoP proof has no id, or one that was used before")
        self._proof_ids.append(proof_id)
        return jwk

    def _refuse(self, refusal: Refusal) -> Reply:
        code = refusal.code
        kind = _KINDS.get(code, code)
        if refusal.status == 429:
            kind, code = "TooManyRequestsError", "INVALID_REQUEST"
        elif refusal.status >= 500:
            kind, code = "InternalServerException", "server_error"
        content = {"error": code, "message": refusal.message}
        return in_json(content, status=refusal.status, headers={"x-amzn-ErrorType": kind})


def _invalid(message: str) -> Refusal:
    return Refusal("INVALID_REQUEST", message)


def _members(credentials: Credentials) -> dict[str, str | None]:
    return {
        "accessKeyId": credentials.access_key_id,
        "secretAccessKey": credentials.secret_access_key,
        "sessionToken": credentials.session_token,
    }


# -- JSON web tokens and keys -------------------------------------------------------------------------------------


def read_proof(proof: str) -> tuple[dict[str, str], dict[str, Any]]:
    """
    Verify the signature of a DPoP proof, and return its public key and its claims.

    Raises:
        Refusal: The header is not a proof, or its signature is wrong.

    Source: RFC 9449, section 4.3.
    """
    from joserfc.errors import JoseError

    found = attempt((ValueError, KeyError, TypeError, AttributeError, RecursionError, JoseError), _verified, proof)
    if found is None:
        raise _invalid("The DPoP header is no proof, or its signature is wrong")
    return found


def _verified(proof: str) -> tuple[dict[str, str], dict[str, Any]] | None:
    from joserfc import jws

    signed = jws.extract_compact(proof.encode("ascii"))
    header, claims = signed.headers(), json.loads(signed.payload or b"")
    jwk = header["jwk"]
    shape = (header["typ"], header["alg"], jwk["kty"], jwk["crv"], {*jwk})
    if shape != ("dpop+jwt", ALGORITHM, "EC", CURVE, {"kty", "crv", "x", "y"}) or not isinstance(claims, dict):
        return None
    return (jwk, claims) if jws.validate_compact(signed, _key_type().import_key(jwk), [ALGORITHM]) else None


def thumbprint(jwk: dict[str, str]) -> str:
    """Return the SHA-256 thumbprint of a public key (RFC 7638)."""
    found: str = _key_type().import_key({**jwk}).thumbprint()
    return found


def _key_type() -> Any:
    """Return the class of keys on elliptic curves, or raise `ImportError` with advice."""
    try:
        from joserfc.jwk import ECKey
    except ImportError:
        raise ImportError(ADVICE) from None
    return ECKey


def _new_key() -> tuple[Secret, dict[str, str]]:
    """Return a new P-256 key in PEM, as ``aws login`` writes it, and its public part."""
    from cryptography.hazmat.primitives import serialization as form

    key = _key_type().generate_key(CURVE)
    pem = key.private_key.private_bytes(form.Encoding.PEM, form.PrivateFormat.TraditionalOpenSSL, form.NoEncryption())
    return Secret(pem.decode()), key.as_dict(private=False)


def _jwt(*parts: dict[str, Any]) -> Secret:
    """Return a JWT without a signature."""
    return Secret(".".join([*(_encoded(json.dumps(part).encode()) for part in parts), ""]))


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
