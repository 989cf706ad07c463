"""
The AWS Query protocol: a request shape as a form body, checked while it is written.

The writer passes once over the members that are given. Each has a quick test, which most values pass; the tests are
made when a class of shapes, or a member, is first used. A value that fails its quick test is judged by
`constraints.member_violations`. If the request is invalid, `constraints.first_violations` names all violations, so the
rules in full, their order and their words stand in one place.

Source: AWS Query protocol, https://smithy.io/2.0/aws/protocols/aws-query-protocol.html
"""

import functools
import sys
from collections.abc import Callable
from typing import Any

from .._shape.constraints import ABSENT, KEY, Length, Member, Range, first_violations, member_violations, quick_test
from .._shape.frozen_map import FrozenMap
from .._shape.secret import SecretBytes
from .._shape.shape import Shape
from ..errors import ParamValidationError
from ..operations import API_VERSION, Operation

_VERSION = API_VERSION.encode()
CONTENT_TYPE = "application/x-www-form-urlencoded; charset=utf-8"
UNWRITABLE = "a member cannot be written: is it text that UTF-8 can encode?"

_UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
_PERCENT = {*b"%"}
_BYTES = tuple([bytes([byte]) for byte in range(256)])
_ESCAPES = tuple([b"%%%02X" % byte for byte in range(256)])


def encode(operation: Operation[Any], request: Shape, *, validate: bool = True) -> SecretBytes:
    """
    Return the form body of *request*: members in the order of the API model, RFC 3986 percent-encoding.

    Args:
        operation: The operation that is called.
        request: The request.
        validate: Whether the constraints of the API are checked. If not, the service judges the values.

    Raises:
        ParamValidationError: The request breaks constraints; the error has all violations. Without *validate*: a text
            holds a lone surrogate, or an integer has thousands of digits.
    """
    parts = [b"Action=%b&Version=%b" % (operation.name.encode(), _VERSION)]
    valid = True
    try:
        valid = _append_members(parts, b"&", request, checked=validate)
        if valid:
            return SecretBytes(b"".join(parts))
    except ValueError:
        pass  # The error and its frames hold the text, so the error below must not have it as its context.
    parts.clear()
    raise ParamValidationError(type(request).__name__, [UNWRITABLE] if valid else first_violations(request))


def _append_members(parts: list[bytes], prefix: bytes, shape: Shape, *, checked: bool) -> bool:
    """Append each given member of *shape*, its name after *prefix*. Return False if one breaks a constraint."""
    writers = _writers(shape.__class__)  # type: ignore[arg-type] # classes are hashable
    for writer, value in zip(writers, shape._read_values(shape), strict=True):
        if value is None or value is ABSENT:
            if checked and writer.required:
                return False
        elif isinstance(value, str):
            if checked and not writer.admits(value):
                return False
            parts += (prefix, writer.wire, b"=", quote(value))
        elif not _append(parts, prefix + writer.wire, value, writer, checked=checked):
            return False
    return True


def _append(parts: list[bytes], name: bytes, value: Any, writer: "_Writer | None", *, checked: bool) -> bool:
    """
    Append *value* under *name*. Return False if it breaks a constraint.

    The type of the value decides its form, so that an unchecked value of a wrong type is still encoded.
    """
    if checked and writer is not None and not writer.admits(value):
        return False
    if isinstance(value, tuple):
        items = writer and writer.items
        for index, item in enumerate(value, start=1):
            if not _append(parts, b"%b.member.%d" % (name, index), item, items, checked=checked):
                return False
    elif isinstance(value, FrozenMap):
        items = writer and writer.items
        entries = name if writer and writer.flattened else name + b".entry"
        for index, (key, item) in enumerate(value.items(), start=1):
            if not _append(parts, b"%b.%d.key" % (entries, index), key, _KEYS, checked=checked):
                return False
            if not _append(parts, b"%b.%d.value" % (entries, index), item, items, checked=checked):
                return False
    elif isinstance(value, Shape):
        return _append_members(parts, name + b".", value, checked=checked)
    elif isinstance(value, int):
        parts += (name, b"=%d" % value)
    else:
        parts += (name, b"=", quote(value if isinstance(value, str) else str(value)))
    return True


class _Writer:
    """
    How one member is checked and written.

    Attributes:
        member: The member.
        wire: Its name in the API.
        required: Whether a request without it is invalid.
        flattened: For a map, whether it is encoded as ``Name.1.key``, without ``entry``.
        items: For a list or a map, the writer of each item or value.
        kind: The class of stored values: `tuple` for a list.
        least: The minimum length or integer.
        most: The maximum length or integer.
    """

    def __init__(self, member: Member) -> None:
        self.member = member
        self.wire = member.wire.encode()
        self.required = member.required
        self.flattened = member.flattened
        self.items: _Writer | None = None if member.items is None else _Writer(member.items)
        self.kind: type = tuple if member.kind is list else member.kind
        bounds = [rule for rule in member.constraints if isinstance(rule, Length | Range)]
        self.least = max([rule.least for rule in bounds], default=-sys.maxsize)
        self.most = min([rule.most for rule in bounds if rule.most is not None], default=sys.maxsize)

    @functools.cached_property
    def accepts(self) -> Callable[[Any], Any]:
        """The quick test of all rules except bounds. It is made on first use, because compiling a pattern is slow."""
        tests = [quick_test(rule) for rule in self.member.constraints if not isinstance(rule, Length | Range)]
        if len(tests) < 2:
            return tests[0] if tests else str.isascii  # `admits` has checked that already.
        return lambda value: all(test(value) for test in tests)

    def admits(self, value: Any) -> bool:
        """Return True if *value* follows the rules of the member. Items of a collection are checked later."""
        if self.kind is str:
            if (
                isinstance(value, str)
                and value.isascii()
                and self.least <= len(value) <= self.most
                and self.accepts(value)
            ):
                return True
        elif self.kind is not int:
            return isinstance(value, self.kind) and all(rule.accepts(value) for rule in self.member.constraints)
        elif value.__class__ is int and self.least <= value <= self.most:
            return True
        return next(member_violations(self.member, value, ""), None) is None


@functools.cache
def _writers(cls: Any) -> tuple[_Writer, ...]:
    return tuple(map(_Writer, cls.__members__))


_KEYS = _Writer(KEY)


def quote(text: str) -> bytes:
    """Return *text* percent-encoded (RFC 3986), as `SecretBytes` if it is a `Secret`. Takes a step per kind of byte."""
    # The method of `str` itself: that of a `Secret` hides its result, which takes longer.
    quoted = str.encode(text)
    reserved = {*quoted.translate(None, _UNRESERVED)}
    if reserved:
        # First, because each other replacement brings a percent sign.
        quoted = quoted.replace(b"%", b"%25")
        for byte in reserved - _PERCENT:
            quoted = quoted.replace(_BYTES[byte], _ESCAPES[byte])
    return quoted if text.__class__ is str else SecretBytes(quoted)
