"""
The AWS Query protocol: a request shape as a form body.

Source: AWS Query protocol, https://smithy.io/2.0/aws/protocols/aws-query-protocol.html
"""

from collections.abc import Iterator
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
    try:
        return SecretBytes(
            f"Action={operation.name}&Version={API_VERSION}{''.join(_pairs(request, '&'))}".encode("ascii")
        )
    except UnicodeEncodeError:
        pass  # raised below, without the context: it quotes the text
    raise ParamValidationError(type(request).__name__, ["a member must be text that UTF-8 can encode"])


def _pairs(shape: Shape, prefix: str) -> Iterator[str]:
    """Yield ``<prefix><name>=<value>`` for each scalar in *shape*; nested names are joined by dots."""
    for member in shape.__members__:
        value = getattr(shape, member.name)
        if value is not None and value != ():
            yield from _pair(prefix + member.wire, value)


def _pair(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield f"{name}={quote(value, safe='')}"
    elif isinstance(value, tuple):
        for index, item in enumerate(value, start=1):
            yield from _pair(f"{name}.member.{index}", item)
    elif isinstance(value, Shape):
        yield from _pairs(value, f"{name}.")
    elif isinstance(value, int):
        yield f"{name}={int.__repr__(value)}"
    else:
        yield f"{name}={quote(str(value), safe='')}"  # of no type that is right: for the service to judge
