"""
The AWS Query protocol: a request shape as a form body.

Source: AWS Query protocol, https://smithy.io/2.0/aws/protocols/aws-query-protocol.html
"""

import re
from typing import Any

from .._shape.frozen_map import FrozenMap
from .._shape.secret import SecretBytes
from .._shape.shape import Shape
from ..errors import ParamValidationError
from ..operations import API_VERSION, Operation

CONTENT_TYPE = "application/x-www-form-urlencoded; charset=utf-8"


_RESERVED = re.compile(r"[^A-Za-z0-9_.~-]")
_ENCODED = {chr(byte): f"%{byte:02X}" for byte in range(128)}


def serialize(operation: Operation[Any], request: Shape) -> SecretBytes:
    """
    Return the form body of *request*: members in the order of the API model, RFC 3986 percent-encoding.

    Raises:
        ParamValidationError: A text holds a lone surrogate, or an integer has thousands of digits.
    """
    pairs = [f"Action={operation.name}&Version={API_VERSION}"]
    try:
        _append_members(pairs, request, "")
        return SecretBytes("&".join(pairs).encode("ascii"))
    except ValueError:  # a lone surrogate, or an integer with more digits than Python writes
        pairs.clear()  # the error is raised below, without this one as its context: both hold the text
    raise ParamValidationError(
        type(request).__name__, ["a member cannot be written: is it text that UTF-8 can encode?"]
    )


def _append_members(pairs: list[str], shape: Shape, prefix: str) -> None:
    """Append ``<prefix><name>=<value>`` for each scalar in *shape*; nested names are joined by dots."""
    for member, value in zip(shape.__members__, shape._values(), strict=True):
        if value is None or value == ():
            continue
        if isinstance(value, str):
            pairs.append(f"{prefix}{member.wire}={quote(value)}")
        else:
            _append(pairs, prefix + member.wire, value, flattened=member.flattened)


def quote(text: str) -> str:
    """Return *text* percent-encoded (RFC 3986). Looks at reserved characters only, `urllib.parse.quote` at all."""
    if not text.isascii():
        return _RESERVED.sub(_encoded, text)
    text = text.replace("%", "%25")  # first: the others bring more of them
    for character in set(_RESERVED.findall(text)) - {"%"}:  # a step for each kind, not for each place
        text = text.replace(character, _ENCODED[character])
    return text


def _encoded(found: re.Match[str]) -> str:
    return "".join([f"%{byte:02X}" for byte in found[0].encode()])


def _append(pairs: list[str], name: str, value: Any, *, flattened: bool = False) -> None:
    if isinstance(value, tuple):
        for index, item in enumerate(value, start=1):
            _append(pairs, f"{name}.member.{index}", item)
    elif isinstance(value, FrozenMap):
        entries = name if flattened else f"{name}.entry"
        for index, (key, item) in enumerate(value.items(), start=1):
            _append(pairs, f"{entries}.{index}.key", key)
            _append(pairs, f"{entries}.{index}.value", item)
    elif isinstance(value, Shape):
        _append_members(pairs, value, f"{name}.")
    elif isinstance(value, int):
        pairs.append(f"{name}={int.__repr__(value)}")
    else:
        pairs.append(f"{name}={quote(str(value))}")  # of a type that is not right, it is for the service
