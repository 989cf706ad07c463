"""
What an answer of STS means: a response shape, or the error that it is, as a value.

The document decides, not the content type: some servers send good XML as ``text/html``. Errors are returned rather
than raised so that no traceback starts in a frame that holds the parsed answer, and with it credentials.
"""

from datetime import datetime
from typing import Any, TypeVar

from ..errors import MAX_CODE, Fault, RedirectRefused, ResponseParseError, ServiceError
from ..operations import NAMESPACE, Operation
from ..shapes import Response, ResponseMetadata
from . import convert
from .lifetime import bounded
from .message import HttpResponse
from .refusals import is_redirect, refusal
from .words import printable
from .xml import Tree, XMLRefused, parse

R = TypeVar("R", bound=Response)

NAMESPACES = frozenset({"", NAMESPACE})
REQUEST_ID_HEADERS = ("x-amzn-requestid", "x-amz-request-id")
HTML = b"<!doctype html"  # how a page of a proxy begins, in any case
RETRY_AFTER = "x-amz-retry-after"
FAULTS: dict[str, Fault] = {"Sender": "client", "Receiver": "server"}


def read(
    operation: Operation[R], response: HttpResponse, *, now: datetime, requested: int | None = None, attempts: int = 1
) -> R | ServiceError | ResponseParseError:
    """
    Return the response of *operation* that is in *response*, or the error that *response* is.

    Args:
        operation: What was asked.
        response: What came.
        now: When it was sent.
        requested: The lifetime in seconds that was asked for, or None; see `lifetime.bounded`.
        attempts: How many times the request was sent.

    A `ResponseParseError` is retryable for what a cut connection or a page of a proxy explains, and final for a
    document that another service has given.
    """
    status = response.status
    if is_redirect(status):
        return RedirectRefused(refusal(response), status=status)
    if "content-encoding" in response.headers and response.headers["content-encoding"].lower() != "identity":
        compressed = "it is compressed, which was not asked for"
        return _unexpected(response, compressed) if status < 400 else _service_error({}, response)
    try:
        space, name, tree = parse(response.body)
    except XMLRefused as refused:
        return _not_xml(response, str(refused))
    if status >= 400 or name in ("ErrorResponse", "Error"):
        return _service_error({name: tree} if name == "Error" else tree, response)
    if name != f"{operation.name}Response" or space not in NAMESPACES:
        # A page of a proxy may well be well-formed.
        return _unexpected(response, f"it is not a {operation.name}Response", retryable=name.lower() == "html")
    wrapper = f"{operation.name}Result"
    result = tree.get(wrapper) if isinstance(tree, dict) else None
    if result is None or isinstance(result, list):
        return _unexpected(response, f"it does not have exactly one {wrapper}")
    metadata = ResponseMetadata(
        request_id=_request_id(tree, response), status=status, headers=response.headers, attempts=attempts
    )
    try:
        answer = convert.structure(result, operation.response, metadata=metadata)
    except convert.UNREADABLE:
        return _unexpected(response, convert.explain(result, operation.response, wrapper))
    return bounded(answer, now=now, requested=requested, default=operation.default_duration)


def _not_xml(response: HttpResponse, reason: str) -> ServiceError | ResponseParseError:
    if response.status >= 400:
        return _service_error({}, response)
    if not response.body:
        return _unexpected(response, "it is empty", retryable=True)
    beginning = response.body.lstrip()[: len(HTML)].lower()
    other_service = beginning[:1] in (b"{", b"[") or ("DOCTYPE" in reason and not beginning.startswith(HTML))
    return _unexpected(response, reason, retryable=not other_service)


def _unexpected(response: HttpResponse, reason: str, *, retryable: bool = False) -> ResponseParseError:
    what = response.headers.get("content-type", "no content type")
    return ResponseParseError(
        f"the answer is not one of STS: {reason} (HTTP {response.status}, {what[:80]!a}, {len(response.body)} bytes)",
        status=response.status,
        retryable=retryable,
    )


def _service_error(tree: Tree, response: HttpResponse) -> ServiceError:
    """Return the error in *tree*, whichever of the known forms it has; with no code in it, the status is the code."""
    found = _child(tree, "Error") or _child(_child(tree, "Errors"), "Error")
    code = _text(found, "Code") or str(response.status)
    what = response.headers.get("content-type", "no content type")
    message = _text(found, "Message") or _text(found, "message")
    if not message and not _text(found, "Code"):
        message = f"no error of STS in the answer ({what[:80]!a}, {len(response.body)} bytes)"
    error = ServiceError.of(code, response.status)(
        message,
        code=code,
        status=response.status,
        fault=FAULTS.get(_text(found, "Type")),
        request_id=_request_id(tree, response) or _text(found, "RequestId") or None,
    )
    error.retry_after = _retry_after(response)
    return error


def _retry_after(response: HttpResponse) -> float | None:
    """Return the seconds after which the service asked to try again; what is no number of milliseconds asks nothing."""
    text = response.headers.get(RETRY_AFTER, "")
    return int(text) / 1000 if text.isascii() and text.isdigit() and len(text) < 10 else None


def _request_id(tree: Tree, response: HttpResponse) -> str | None:
    in_body = (
        _text(_child(tree, "ResponseMetadata"), "RequestId") or _text(tree, "RequestId") or _text(tree, "RequestID")
    )
    found = in_body or next((response.headers[h] for h in REQUEST_ID_HEADERS if h in response.headers), None)
    return None if found is None else printable(found[:MAX_CODE])


def _child(tree: Any, name: str) -> Any:
    return tree.get(name) if isinstance(tree, dict) else None


def _text(tree: Any, name: str) -> str:
    text = _child(tree, name)
    return text if isinstance(text, str) else ""
