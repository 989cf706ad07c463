"""
The documents of the container credentials protocol: an answer with credentials, and refusals. All of this is pure.

Source: AWS SDKs and Tools Reference Guide, "Container credential provider"; the readers of botocore, the SDKs for
JavaScript, Go and Rust, and of object_store, 2026.
"""

import json
import re
from datetime import UTC, datetime
from http import HTTPStatus

import attrs

from .._shape.secret import SecretBytes
from ..errors import STSError
from ..shapes import Credentials

_CODE = re.compile(r"[A-Za-z][A-Za-z0-9.]{0,63}")


@attrs.frozen
class Refusal:
    """
    An answer without credentials.

    Attributes:
        status: The HTTP status.
        code: The error code.
        message: The message. It has no ARN, and nothing of the request.
    """

    status: HTTPStatus
    code: str
    message: str

    @property
    def body(self) -> bytes:
        """The document. SDKs read the members in upper case or in lower case."""
        members = {"Code": self.code, "Message": self.message, "code": self.code, "message": self.message}
        return json.dumps(members).encode()


NOT_LOCAL = Refusal(HTTPStatus.FORBIDDEN, "Forbidden", "the request did not come from a program of this host")
FROM_BROWSER = Refusal(HTTPStatus.FORBIDDEN, "Forbidden", "requests of browsers and proxies are not answered")
WRONG_HOST = Refusal(HTTPStatus.FORBIDDEN, "Forbidden", "the Host header must be the address of the endpoint")
WRONG_METHOD = Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "MethodNotAllowed", "the method must be GET")
HAS_BODY = Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "RequestTooLarge", "the request must not have a body")
NO_TOKEN = Refusal(HTTPStatus.UNAUTHORIZED, "Unauthorized", "the Authorization header must be the token of the path")
WRONG_TOKEN = Refusal(HTTPStatus.FORBIDDEN, "AccessDenied", "the token is not the token of the path")
NOT_FOUND = Refusal(HTTPStatus.NOT_FOUND, "NotFound", "there is no identity at this path")
TOO_LATE = Refusal(
    HTTPStatus.SERVICE_UNAVAILABLE, "CredentialsUnavailable", "the credentials are being fetched: try again"
)
NOT_TEMPORARY = Refusal(
    HTTPStatus.SERVICE_UNAVAILABLE, "CredentialsUnavailable", "the credentials have no session token or no expiration"
)
CLOSED = Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "CredentialsUnavailable", "the endpoint is closed")
FAILED = Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "InternalFailure", "the request could not be answered")


def malformed(status: int) -> Refusal:
    """Return the refusal of a request that is not HTTP."""
    return Refusal(HTTPStatus(status), "BadRequest", "the request is malformed")


def unavailable(error: STSError) -> Refusal:
    """
    Return the refusal after a failed fetch. The message has the error code, but not the text of the error.

    The text of an error of STS has the ARN of the caller, which is not the business of the program that asks.
    """
    code = getattr(error, "code", None)
    reason = code if isinstance(code, str) and _CODE.fullmatch(code) else type(error).__name__
    if error.throttled:
        return Refusal(HTTPStatus.TOO_MANY_REQUESTS, "ThrottlingException", f"the fetch was throttled: {reason}")
    message = f"the credentials cannot be fetched: {reason}"
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "CredentialsUnavailable", message)


def is_temporary(credentials: Credentials) -> bool:
    """
    Return True if credentials can be served: they have a session token and an expiration.

    SDKs refuse an answer without one of the two. And keys that never expire must not leave the process.
    """
    return bool(credentials.session_token) and credentials.expiration is not None


def seconds_left(credentials: Credentials, *, now: float) -> float:
    """Return the seconds until credentials expire, which they do; *now* is in seconds since 1970."""
    assert credentials.expiration is not None  # noqa: S101 - only such credentials are served
    return credentials.expiration.timestamp() - now


def answer(credentials: Credentials, *, role_arn: str | None) -> SecretBytes:
    """Return the document with temporary credentials. No member is empty, which some SDKs refuse."""
    assert credentials.expiration is not None  # noqa: S101 - only such credentials are served
    members = {
        "AccessKeyId": credentials.access_key_id,
        "SecretAccessKey": credentials.secret_access_key,
        "Token": credentials.session_token,
        "Expiration": in_iso(credentials.expiration),
        "AccountId": credentials.account_id,
        "RoleArn": role_arn,
    }
    return SecretBytes(json.dumps({name: value for name, value in members.items() if value}).encode())


def in_iso(moment: datetime) -> str:
    """Return a time as ``YYYY-MM-DDTHH:MM:SSZ``, in whole seconds, which all SDKs can read."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
