"""
Error answers, as one exception and a function for each code that the API model does not list.

Not `errors.ServiceError`: that is what a client makes of an answer, and it takes encoded messages out of the text.
"""

from ..errors import ServiceError


class Refusal(Exception):
    """
    The service refuses.

    Attributes:
        code: Error code on the wire.
        message: Text on the wire.
        status: HTTP status; from 500 on the service is to blame.
    """

    def __init__(self, code: str, message: str, *, status: int = 400) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.status = status


def modelled(error: type[ServiceError], message: str) -> Refusal:
    """Return the refusal that a client will raise as *error*, one of the fifteen modelled errors."""
    if error.modelled_code is None or error.modelled_status is None:
        raise ValueError(f"{error.__name__} is not one of the modelled errors")
    return Refusal(error.modelled_code, message, status=error.modelled_status)


def access_denied(message: str) -> Refusal:
    """Return the refusal of a caller who is known but not allowed."""
    return Refusal("AccessDenied", message, status=403)


def invalid(message: str) -> Refusal:
    """Return the refusal of a value that keeps the API's constraints, and yet cannot be."""
    return Refusal("ValidationError", message)


def signature_mismatch(message: str) -> Refusal:
    """Return the refusal of a signature that is wrong, out of date or out of place."""
    return Refusal("SignatureDoesNotMatch", message, status=403)


def incomplete_signature(message: str) -> Refusal:
    """Return the refusal of a signature that lacks a part."""
    return Refusal("IncompleteSignature", message)


def unknown_key() -> Refusal:
    """Return the refusal of an access key that is not known, or that belongs to another session token."""
    return Refusal("InvalidClientTokenId", "The security token included in the request is invalid.", status=403)


def expired_session() -> Refusal:
    """Return the refusal of a session that has ended."""
    return Refusal("ExpiredToken", "The security token included in the request is expired", status=403)
