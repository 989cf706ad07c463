"""
Error responses: one exception, and a function for each error code that is not in the API model.

`errors.ServiceError` is not used: a client makes it from a response, and it removes encoded messages from the text.
"""

from ..errors import ServiceError


class Refusal(Exception):
    """
    An error response of the service.

    Attributes:
        code: Error code in the response.
        message: Text in the response.
        status: HTTP status; from 500 on, an error of the service.
    """

    def __init__(self, code: str, message: str, *, status: int = 400) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.status = status


def modelled(error: type[ServiceError], message: str) -> Refusal:
    """Return the error response that a client raises as *error*, one of the fifteen modelled errors."""
    if error.modelled_code is None or error.modelled_status is None:
        raise ValueError(f"{error.__name__} is not one of the modelled errors")
    return Refusal(error.modelled_code, message, status=error.modelled_status)


def access_denied(message: str) -> Refusal:
    """Return the error for a caller without permission."""
    return Refusal("AccessDenied", message, status=403)


def invalid(message: str) -> Refusal:
    """Return the error for a value that satisfies the API's constraints but is invalid."""
    return Refusal("ValidationError", message)


def signature_mismatch(message: str) -> Refusal:
    """Return the error for a signature that is wrong, expired, or for another service."""
    return Refusal("SignatureDoesNotMatch", message, status=403)


def incomplete_signature(message: str) -> Refusal:
    """Return the error for an incomplete signature."""
    return Refusal("IncompleteSignature", message)


def unknown_key() -> Refusal:
    """Return the error for an unknown access key, or for a key with another session token."""
    return Refusal("InvalidClientTokenId", "The security token included in the request is invalid.", status=403)


def expired_session() -> Refusal:
    """Return the error for an expired session."""
    return Refusal("ExpiredToken", "The security token included in the request is expired", status=403)
