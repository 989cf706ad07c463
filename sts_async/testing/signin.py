"""LocalSignIn: the token endpoint of AWS sign-in, from which the credentials of ``aws login`` are refreshed."""

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
PROOF_WINDOW = 300  # s that the time in a proof may be off
PROOFS_KEPT = 10_000  # ids of proofs, which are not taken twice
REFRESH_LIFETIME = 43_200  # s, of a login
ALGORITHM, CURVE = "ES256", "P-256"

ADVICE = "LocalSignIn needs the package joserfc: pip install 'sts-async[login]'"

# Error codes of AccessDeniedException, after which only a new login helps.
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

    It verifies the DPoP proof (RFC 9449), and that the refresh token belongs to its key. A refresh token is taken
    again until the login ends, as the service does. `Throttle` is HTTP 429. The final errors come by a fault,
    ``Refuse("TOKEN_EXPIRED")``, or by `error`.

    Args:
        credentials: The credentials that are handed out. A function is called for each fetch; None makes random ones.
        lifetime: How long random credentials live, in seconds; 900 at most on AWS.
        refresh_lifetime: How long a login can be refreshed, in seconds.
        account_id: accountId in the files of `login`.
        error: Error code for every refresh, for instance ``USER_CREDENTIALS_CHANGED``; None to answer normally.
        clock: A `VirtualClock`, another object with a method `time`, or a function: returns seconds since 1970.
        host: Address to listen on.
        port: Port to listen on; 0 for a free one.
        ssl_context: Serve https with the certificate that is loaded there; None for http.

    All but the last four are also attributes, which can be changed at any time.

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
        self._seen: deque[str] = deque(maxlen=PROOFS_KEPT)

    def _leading_here(self) -> dict[str, str]:
        return {"AWS_ENDPOINT_URL_SIGNIN": self.url}

    def login(self, directory: Path, *, login_session: str, seconds: float = 900, region: str | None = None) -> Path:
        """
        Write the file that ``aws login`` leaves, with a new key, and return its path.

        Args:
            directory: The cache, usually ``~/.aws/login/cache``; it is made when it is not there.
            login_session: As the profile has it: the ARN of who logged in.
            seconds: How long the credentials in the file live; they have expired when this is negative.
            region: Region that was signed in to, ``signInRegion`` in the file; None leaves it out, as older SDKs do.

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
        """End every login: the refresh tokens that were issued are refused, as TOKEN_EXPIRED."""
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
        """Return the public key whose owner has made the DPoP header, for this request, now and for the first time."""
        jwk, claims = read_proof(received.headers.get("dpop", ""))
        url = f"{self._scheme}://{received.headers.get('host', '')}{received.path}"
        if (claims.get("htm"), claims.get("htu")) != (received.method, url):
            raise _invalid("The DPoP proof is for another request")
        issued_at = claims.get("iat")
        if not isinstance(issued_at, int | float) or not now - PROOF_WINDOW <= issued_at <= now + PROOF_WINDOW:
            raise _invalid("The DPoP proof is not from now")
        proof_id = claims.get("jti")
        if not isinstance(proof_id, str) or not proof_id or proof_id in self._seen:
            raise _invalid("The DPoP proof has no id, or one that was used before")
        self._seen.append(proof_id)
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
    Return the public key in a DPoP proof, and what it claims, once its signature is verified.

    Raises:
        Refusal: It is no proof, or its signature is wrong.

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
    """Return the class of keys on elliptic curves."""
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
    """Return a JWT that nobody has signed."""
    return Secret(".".join([*(_encoded(json.dumps(part).encode()) for part in parts), ""]))


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
