"""
The AWS Query protocol: a request shape as a form body.

Source: AWS Query protocol, https://smithy.io/2.0/aws/protocols/aws-query-protocol.html
"""

from typing import Any
from urllib.parse import quote

from ..errors import ParamValidationError
from ..operations import API_VERSION, Operation
from .secret import SecretBytes
from .shape import Shape

CONTENT_TYPE = "application/x-www-form-urlencoded; charset=utf-8"


def serialize(operation: Operation[Any], request: Shape) -> SecretBytes:
    """
    Return the form body of *request*: members in the order of the API model, RFC 3986 percent-encoding.

    Raises:
        ParamValidationError: A text holds a lone surrogate, which UTF-8 cannot encode.
    """
    pairs = [f"Action={operation.name}&Version={API_VERSION}"]
    try:
        _append_members(pairs, request, "")
        return SecretBytes("&".join(pairs).encode("ascii"))
    except UnicodeEncodeError:
        pairs.clear()  # the error is raised below, without this one as its context: both hold the text
    raise ParamValidationError(type(request).__name__, ["a member must be text that UTF-8 can encode"])


def _append_members(pairs: list[str], shape: Shape, prefix: str) -> None:
    """Append ``<prefix><name>=<value>`` for each scalar in *shape*; nested names are joined by dots."""
    for member, value in shape.given():
        if isinstance(value, str):
            pairs.append(f"{prefix}{member.wire}={quote(value, safe='')}")
        else:
            _append(pairs, prefix + member.wire, value)


def _append(pairs: list[str], name: str, value: Any) -> None:
    if isinstance(value, tuple):
        for index, item in enumerate(value, start=1):
            _append(pairs, f"{name}.member.{index}", item)
    elif isinstance(value, Shape):
        _append_members(pairs, value, f"{name}.")
    elif isinstance(value, int):
        pairs.append(f"{name}={int.__repr__(value)}")
    else:
        pairs.append(f"{name}={quote(str(value), safe='')}")  # of a type that is not right, it is for the service
