"""
The meaning of an HTTP response: the response shape of an operation, or an error, as a value.

The document decides, not the content type: some servers send valid XML as ``text/html``. Errors are returned and not
raised, so that no traceback starts in a frame that holds the parsed document, and with it credentials.
"""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from .._shape.shape import Shape
from .._wording.printable import printable
from ..errors import MAX_CODE, Fault, RedirectRefused, ResponseParseError, ServiceError
from ..operations import NAMESPACE, Operation
from ..shapes import Response, ResponseMetadata
from . import converter
from .http_errors import code_in_headers, json_error
from .http_messages import HttpResponse
from .lifetime import bounded
from .redaction import Redaction
from .redirects import describe_redirect, is_redirect
from .xml import XMLRefused, children, local_name, parse, tags, text_of

R = TypeVar("R", bound=Response)
Sent = tuple[Shape | None, ...]
"""The request, and the credentials that signed it. A `Redaction` is made from them only for a text that needs one."""

Parts = Mapping[str, Any]
"""The children of the root of a document, as `xml.children` returns them."""

# A pattern as text, which `re` compiles at first use and keeps.
AWS_NAMESPACE = r"(?i)https?://[^/]*\bamazonaws\.com"
REQUEST_ID_HEADERS = ("x-amzn-requestid", "x-amz-request-id")
HTML = (b"<!doctype html", b"<html")  # the beginning of a proxy's page, in lower case
BEGINNING = 1024  # bytes of a document in which `HTML` is looked for
UUID = 36  # characters
HEXADECIMAL = "0123456789abcdefABCDEF-"
RETRY_AFTER = "x-amz-retry-after"
FAULTS: dict[str, Fault] = {"Sender": "client", "Receiver": "server"}


def read(
    operation: Operation[R],
    response: HttpResponse,
    *,
    sent_at: float,
    requested: int | None = None,
    attempts: int = 1,
    sent: Sent = (),
) -> R | ServiceError | ResponseParseError:
    """
    Return the response of *operation* that is in *response*, or the error that *response* is.

    Args:
        operation: The operation that was called.
        response: The HTTP response.
        sent_at: When the request was sent, in seconds since 1970.
        requested: The requested lifetime in seconds, or None; see `lifetime.bounded`.
        attempts: How many times the request was sent.
        sent: The request, and the credentials that signed it: their secrets are hidden in the texts of the service.

    A `ResponseParseError` is retryable if a cut connection or a proxy's page explains it. It is final for a document
    of another service.
    """
    status, headers = response.status, response.headers
    if status >= 300 and is_redirect(status):
        return RedirectRefused(describe_redirect(response, Redaction(*sent)), status=status)
    if "content-encoding" in headers and headers["content-encoding"].lower() != "identity":
        compressed = "it is compressed, which was not asked for"
        return _unexpected(response, sent, compressed) if status < 400 else _service_error({}, response, sent)
    try:
        space, root = parse(response.body)
    except XMLRefused as refused:
        return _not_xml(response, sent, refused)
    if status >= 400 or space != NAMESPACE or root.tag not in tags(f"{operation.name}Response"):
        error = _other_than_success(operation, response, sent, space, root)
        if error is not None:
            return error
    parts = children(root)
    wrapper = f"{operation.name}Result"
    result = parts.get(wrapper)
    if result is None:
        return _unexpected(response, sent, f"expected exactly one {wrapper}")
    request_id = _request_id(parts, response, sent)
    metadata = ResponseMetadata(request_id=request_id, status=status, headers=headers, attempts=attempts)
    read_result = converter.reader(operation.response)  # type: ignore[arg-type] # classes are hashable
    try:
        answer: R = read_result(result, operation.response, metadata=metadata)
    except converter.UNREADABLE:
        return _unexpected(response, sent, converter.explain(result, operation.response, wrapper))
    return bounded(answer, issued_at=sent_at, requested=requested, default=operation.default_duration)


def _other_than_success(
    operation: Operation[Any], response: HttpResponse, sent: Sent, space: str, root: Any
) -> ServiceError | ResponseParseError | None:
    """Return the error that a document is, or None if it is a response of *operation* in a namespace that is read."""
    name = local_name(root)
    if response.status >= 400 or name in ("ErrorResponse", "Error"):
        return _service_error({name: root} if name == "Error" else children(root), response, sent)
    if name != f"{operation.name}Response":
        # A proxy's page can be well-formed.
        return _unexpected(response, sent, f"it is not a {operation.name}Response", retryable=name.lower() == "html")
    if space != NAMESPACE and _is_of_another_api(space):
        return _unexpected(response, sent, f"its namespace is that of another AWS API, not {NAMESPACE}")
    return None


def _is_of_another_api(space: str) -> bool:
    """
    Return True if a namespace belongs to an AWS API other than STS.

    Servers other than AWS have namespaces of their own, such as ``none``, or write that of STS without its last slash.
    A namespace does not prove which server answered, because each server can write any. The root tells the operation.
    """
    written = space.strip().rstrip("/").lower().partition("://")[2]
    return written != NAMESPACE.rstrip("/").partition("://")[2] and re.match(AWS_NAMESPACE, space.strip()) is not None


def _not_xml(response: HttpResponse, sent: Sent, refused: XMLRefused) -> ServiceError | ResponseParseError:
    if response.status >= 400:
        return _service_error({}, response, sent, found=json_error(response.body))
    if not response.body:
        return _unexpected(response, sent, "it is empty", retryable=True)
    beginning = response.body[:BEGINNING].lstrip().lower()
    page = beginning.startswith(b"<") and any(mark in beginning for mark in HTML)
    other_service = beginning[:1] in (b"{", b"[") or (refused.final and not page)
    return _unexpected(response, sent, str(refused), retryable=not other_service)


def _unexpected(response: HttpResponse, sent: Sent, reason: str, *, retryable: bool = False) -> ResponseParseError:
    return ResponseParseError(
        f"not a valid STS response: {reason} (HTTP {response.status}, {_described(response, Redaction(*sent))})",
        status=response.status,
        retryable=retryable,
    )


def _described(response: HttpResponse, hide: Redaction) -> str:
    kind = response.headers.get("content-type")
    shown = "no content type" if kind is None else ascii(hide(kind)[:80])
    return f"{shown}, {len(response.body)} bytes"


def _members_of_error(parts: Parts) -> dict[str, str]:
    """Return the members of the error in a document, which can have each of the known forms."""
    error = parts.get("Error")
    members = children(children(parts.get("Errors")).get("Error") if error is None else error)
    return {name: text_of(member) for name, member in members.items()}


def _service_error(
    parts: Parts, response: HttpResponse, sent: Sent, *, found: Mapping[str, str] | None = None
) -> ServiceError:
    """Return the error whose members are *found*, or are in *parts*. If they have no code, the status is the code."""
    hide = Redaction(*sent)
    found = _members_of_error(parts) if found is None else found
    known = code_in_headers(response.headers, in_body=found.get("Code", ""))
    code = hide(known or str(response.status))
    message = hide(found.get("Message") or found.get("message", ""))
    if not message and not known:
        message = f"the response contains no STS error ({_described(response, hide)})"
    error = ServiceError.class_for(code, response.status)(
        message,
        code=code,
        status=response.status,
        fault=FAULTS.get(found.get("Type", "")),
        request_id=_request_id(parts, response, sent) or hide(found.get("RequestId", "")) or None,
    )
    error.retry_after = _retry_after(response)
    return error


def _retry_after(response: HttpResponse) -> float | None:
    """Return the seconds after which the service wants the next attempt, or None without a number of milliseconds."""
    text = response.headers.get(RETRY_AFTER, "")
    return int(text) / 1000 if text.isascii() and text.isdigit() and len(text) < 10 else None


def _request_id(parts: Parts, response: HttpResponse, sent: Sent) -> str | None:
    """Return the request id in the body, else in a header."""
    in_metadata = children(parts.get("ResponseMetadata")).get("RequestId")
    in_body = text_of(in_metadata) or text_of(parts.get("RequestId")) or text_of(parts.get("RequestID"))
    found = in_body or next((response.headers[h] for h in REQUEST_ID_HEADERS if h in response.headers), None)
    # The usual form holds no secret, so that the search for one is left out.
    if found is None or (len(found) == UUID and not found.strip(HEXADECIMAL)):
        return found
    return printable(Redaction(*sent)(found)[:MAX_CODE])
