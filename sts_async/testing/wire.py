"""The AWS Query protocol on the side of the service: forms are decoded to requests, responses and errors to XML."""

import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from .._shape.constraints import Member
from .._shape.frozen_map import FrozenMap
from .._shape.secret import attempt
from .._shape.shape import Shape
from ..operations import API_VERSION, NAMESPACE, OPERATIONS, Operation
from ..shapes import Request, Response
from .refusals import Refusal, invalid
from .validation import broken_constraints
from .verify import Received

CONTENT_TYPE = "text/xml"

BY_NAME: dict[str, Operation[Any]] = {operation.name: operation for operation in OPERATIONS}

Form = dict[str, Any]
"""Parameters by name. A name with dots is a path in nested forms."""

_INTEGER = re.compile(r"-?\d{1,18}", re.ASCII)
_NAME = re.compile(r"[A-Za-z]{1,64}")
_VERSION = re.compile(r"[0-9-]{1,10}|NO_VERSION_SPECIFIED", re.ASCII)
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _pairs(received: Received) -> list[tuple[str, str]]:
    text = f"{received.query}&{received.body.decode()}"
    return parse_qsl(text, keep_blank_values=True, errors="strict")


def read_form(received: Received) -> Form:
    """
    Return the parameters in the query and the body. Both ``+`` and ``%20`` mean a space.

    Raises:
        Refusal: A parameter occurs twice, or is not percent-encoded UTF-8.
    """
    if not (received.path.isascii() and received.query.isascii()):
        raise _malformed("The URL is not percent-encoded.")
    pairs = attempt(ValueError, _pairs, received)
    if pairs is None:
        raise _malformed("The query string contains bytes that are not UTF-8.")
    form: Form = {}
    for name, value in pairs:
        *path, last = name.split(".")
        inner = form
        for part in path:
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                raise _malformed("A parameter is both a value and a structure.")
        if last in inner:
            raise _malformed("A parameter occurs more than once.")
        inner[last] = value
    return form


def _malformed(message: str) -> Refusal:
    return Refusal("MalformedQueryString", message)


def operation_of(form: Form) -> Operation[Any]:
    """
    Return the operation in *form*.

    Raises:
        Refusal: The form has no operation, or the operation or the version is unknown.
    """
    action = form.get("Action")
    if not isinstance(action, str):
        raise Refusal("MissingAction", "The request is missing an action.")
    version = form.get("Version", "NO_VERSION_SPECIFIED")
    operation = BY_NAME.get(action)
    if operation is None or version != API_VERSION:
        raise Refusal("InvalidAction", _not_found(action, version))
    return operation


def _not_found(action: str, version: object) -> str:
    """Return the message of the service. It quotes only valid names and versions: other text can be a secret."""
    if _NAME.fullmatch(action) and isinstance(version, str) and _VERSION.fullmatch(version):
        return f"Could not find operation {action} for version {version}"
    return "Could not find the operation"


def read_request(operation: Operation[Any], form: Form) -> Request[Any]:
    """
    Return the request in *form*. Unknown parameters are ignored.

    Raises:
        Refusal: The request breaks constraints. The message lists all of them.
    """
    request: Request[Any] = _shape(operation.request, form)
    broken = list(broken_constraints(request))
    if broken:
        noun = "error" if len(broken) == 1 else "errors"
        raise invalid(f"{len(broken)} validation {noun} detected: {'; '.join(broken)}")
    return request


def _shape(cls: type[Any], form: Form) -> Any:
    """Return a shape with None for missing required members, which `broken_constraints` reports."""
    given: dict[str, Any] = {}
    for member in cls.__members__:
        if member.wire in form:
            given[member.name] = _value(member, form[member.wire])
        elif member.required:
            given[member.name] = None
    return cls(**given)


def _value(member: Member, value: Any) -> Any:
    if member.kind is list:
        items = {} if value == "" else value.get("member", {}) if isinstance(value, dict) else None
        if not isinstance(items, dict) or any(str(n + 1) not in items for n in range(len(items))):
            raise Refusal("MalformedInput", f"{member.wire} must be numbered {member.wire}.member.1 and so on.")
        return tuple(_value(member.items, items[str(n + 1)]) for n in range(len(items)))
    if issubclass(member.kind, Shape):
        if not isinstance(value, dict):
            raise Refusal("MalformedInput", f"{member.wire} must be a structure.")
        return _shape(member.kind, value)
    if isinstance(value, dict):
        raise Refusal("MalformedInput", f"{member.wire} must be a value.")
    # Text that is not an integer stays text, and `broken_constraints` reports it.
    return int(value) if member.kind is int and _INTEGER.fullmatch(value) else value


def write_response(operation: Operation[Any], response: Response, *, request_id: str) -> str:
    """Return a response as XML."""
    name = operation.name
    return (
        f'<{name}Response xmlns="{NAMESPACE}"><{name}Result>{_content(response)}</{name}Result>'
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{name}Response>"
    )


def write_refusal(refusal: Refusal, *, request_id: str) -> str:
    """Return an error as XML."""
    fault = "Receiver" if refusal.status >= 500 else "Sender"
    error = _elements({"Type": fault, "Code": refusal.code, "Message": refusal.message})
    return (
        f'<ErrorResponse xmlns="{NAMESPACE}"><Error>{error}</Error><RequestId>{request_id}</RequestId></ErrorResponse>'
    )


def _elements(tree: dict[str, Any]) -> str:
    return "".join(f"<{name}>{_content(value)}</{name}>" for name, value in tree.items())


def _content(value: Any) -> str:
    """Return the content of the element for a value."""
    if isinstance(value, Shape):
        return _elements({member.wire: item for member, item in value._given()})
    if isinstance(value, FrozenMap):
        return "".join(f"<entry>{_elements({'key': key, 'value': item})}</entry>" for key, item in value.items())
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return escape(str(value))


def escape(text: str) -> str:
    """Return *text* escaped for an element. U+FFFD replaces characters that are invalid in XML."""
    if not text.isprintable():
        text = _NOT_XML.sub("\ufffd", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")
