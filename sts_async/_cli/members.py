"""
Members of requests as options of the command line: their help, and the parsing of their values.

A structure is written in the shorthand of the AWS CLI, ``Key=a,Value=b``, or as JSON. A list takes several of these
values, or one JSON list.
"""

import argparse
import inspect
import json
import re
import shutil
import textwrap
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._shape.secret import attempt
from .._wording.rules import rule_in_words
from .arguments import UsageError, Values, option_of, whole_number

if TYPE_CHECKING:
    from .._shape.constraints import Member
    from ..operations import Operation


_FORMS_IN_PROGRAMS = (
    r", or a mapping(?: that is sent compactly,|, which is sent as compact JSON)|, or a `timedelta`"
    r"|, such as \{.*?\}, or a list of `Tag`|, by their ARNs"
)
"""Texts in the documentation of members that do not apply to the command line."""


def operation_of(name: str) -> "Operation[Any]":
    """Return the operation of a command."""
    from ..operations import OPERATIONS

    return next(operation for operation in OPERATIONS if operation.name.lower() == name.replace("-", ""))


def add_members(
    command: "argparse._ActionsContainer",
    operation: "Operation[Any]",
    *,
    without: Collection[str] = (),
    optional: bool = False,
) -> None:
    """
    Add an option for each member of an operation's request.

    Args:
        command: A parser, or a group of its options.
        operation: The operation.
        without: Names of members that get no option.
        optional: Whether no option is required.
    """
    documented = documented_in(_documentation(re.sub(r"(?<=[a-z])(?=[A-Z])", "-", operation.name).lower()), "Args")
    for member in operation.request.__members__:
        if member.name in without:
            continue
        command.add_argument(
            option_of(member.name),
            dest=f"member_{member.name}",
            required=member.required and not optional,
            nargs="+" if member.kind is list else None,
            action="extend" if member.kind is list else "store",
            metavar=_metavar(member),
            type=whole_number if member.kind is int else str,
            help=_help(member, documented.get(member.name, "")),
        )


def _documentation(command: str) -> str:
    """Return the docstring of a command's coroutine in `calls`."""
    from ..calls import Calls

    return inspect.getdoc(getattr(Calls, command.replace("-", "_"))) or ""


def description_of(command: str) -> str:
    """Return the paragraphs before the arguments in a command's documentation, with names of commands."""
    text = re.split(r"^(?:Args|Raises|Source):", _documentation(command), maxsplit=1, flags=re.MULTILINE)[0].strip()
    text = re.sub(r"`(\w+)`", lambda name: f"`{name[1].replace('_', '-')}`", text).replace("``", "")
    width = max(shutil.get_terminal_size().columns - 2, 40)
    return "\n\n".join(textwrap.fill(paragraph, width) for paragraph in text.split("\n\n"))


def documented_in(documentation: str, section: str) -> dict[str, str]:
    """Return the texts in a section of a docstring, such as ``Args``, by name."""
    text = documentation.partition(f"{section}:\n")[2].partition("\n\n")[0]
    found = re.findall(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", text, re.MULTILINE)
    return {name: _plain(" ".join(words.split())) for name, words in found}


def _plain(text: str) -> str:
    """Return text of a docstring without markup, and with options instead of arguments, such as ``*name*``."""
    return re.sub(r"\*([a-z]\w*)\*", lambda name: option_of(name[1]), text).replace("``", "")


def _help(member: "Member", documented: str) -> str:
    text = f"{documented} Secret: prefer file://PATH or -." if member.secret else documented
    text = re.sub(_FORMS_IN_PROGRAMS, "", text)  # on the command line, all values are text
    if member.name == "encoded_message":
        text += " The whole text of the error, which contains the message, is accepted too."
    return text.replace("%", "%%")


def _metavar(member: "Member") -> str:
    shape = (member.items or member).kind
    if shape is int:
        return "N"
    return ",".join(f"{m.wire}=..." for m in shape.__members__) if hasattr(shape, "__members__") else "TEXT"


def request_of(options: argparse.Namespace, values: Values) -> Any:
    """
    Return the request that the options describe.

    Raises:
        UsageError: The value of an option has the wrong form.
        ValueError: A file or standard input cannot be read.
    """
    operation = operation_of(options.operation)
    members = members_of(options, operation, values)
    if "encoded_message" in members:
        from ..errors import encoded_message_in

        members["encoded_message"] = encoded_message_in(members["encoded_message"]) or members["encoded_message"]
    return operation.request(**members)


def members_of(options: argparse.Namespace, operation: "Operation[Any]", values: Values) -> dict[str, Any]:
    """
    Return the members of an operation's request for which options were given.

    Raises:
        UsageError: The value of an option has the wrong form.
        ValueError: A file or standard input cannot be read.
    """
    return {
        member.name: _value(values, option_of(member.name), member, given)
        for member in operation.request.__members__
        if (given := getattr(options, f"member_{member.name}", None)) is not None
    }


# -- Values ----------------------------------------------------------------------------------------------------------

# A name, its value with or without quotes, and the end. Source: AWS CLI User Guide, "Using shorthand syntax".
_PAIR = re.compile(
    r"""(\w+)=(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([^,]*))(,|\Z)""",
    re.DOTALL,
)
_PATH = re.compile(r"(file:)?([\w./~-]{1,200})")


def _value(values: Values, option: str, member: "Member", given: Any) -> Any:
    """Return the value of a member from the arguments of its option."""
    if member.kind is list:
        return [item for argument in given for item in _items(values, option, member.items, argument)]
    text = values.read(given, option=option)
    if member.document and text is given:
        _check_document(option, text)
    return _scalar_or_structure(values, option, member, text, literal=text is given)


def _items(values: Values, option: str, member: "Member", given: str) -> list[Any]:
    """Return the items of a list in one argument: several in a JSON list, else one."""
    text = values.read(given, option=option)
    if text.lstrip().startswith("["):
        return [_from_json(option, member, item) for item in _parsed(option, text)]
    return [_scalar_or_structure(values, option, member, text, literal=text is given)]


def _scalar_or_structure(values: Values, option: str, member: "Member", text: Any, *, literal: bool) -> Any:
    """Return a scalar unchanged, and a structure parsed from shorthand or JSON."""
    if not hasattr(member.kind, "__members__"):
        return text
    if text.lstrip().startswith("{"):
        return _from_json(option, member, _parsed(option, text))
    fields = {field.wire: field for field in member.kind.__members__}
    if "=" not in text and len(fields) == 1:
        text = f"{next(iter(fields))}={text}"  # the ARN of a policy is enough
    pairs = _pairs(text)
    found = dict(pairs)
    if len(found) < len(pairs) or not _fit(member, found):
        shown = json.dumps(dict.fromkeys(fields, "..."))
        raise UsageError(
            f"a value of {option} must look like {_metavar(member)}, with double quotes around a value that contains a "
            f"comma, or be JSON, such as {shown}"
        )
    if literal:  # text from a file cannot refer to another file
        found = {wire: values.read(part, option=option, inside=True) for wire, part in found.items()}
    return member.kind(**{fields[wire].name: part for wire, part in found.items()})


def _pairs(text: str) -> list[tuple[str, str]]:
    """Return the pairs of shorthand, such as ``Key=a,Value="b,c"``; empty if the text is not shorthand."""
    found, at = [], 0
    while match := _PAIR.match(text, at):
        quoted = match[2] if match[2] is not None else match[3]
        found.append((match[1], match[4] if quoted is None else re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)))
        at = match.end()
        if not match[5]:
            return found
    return []


def _fit(member: "Member", found: Any) -> bool:
    """Return True if *found* has all required fields of a structure, and no unknown field."""
    needed = {field.wire for field in member.kind.__members__ if field.required}  # type: ignore[attr-defined]
    return bool(needed <= found.keys() <= {field.wire for field in member.kind.__members__})  # type: ignore[attr-defined]


def _parsed(option: str, text: str) -> Any:
    """Return the list or object in a text of JSON."""
    found = attempt((ValueError, RecursionError), json.loads, text)
    if found is not None:
        return found
    raise UsageError(f"{option} looks like JSON, but is not valid JSON")


def _from_json(option: str, member: "Member", value: Any) -> Any:
    """Return the structure or text of a JSON value."""
    if not hasattr(member.kind, "__members__"):
        if not isinstance(value, member.kind):
            raise UsageError(f"the JSON of {option} must be a list of strings")
        return value
    fields = {field.wire: field for field in member.kind.__members__}
    if not (isinstance(value, dict) and _fit(member, value) and all(isinstance(item, str) for item in value.values())):
        shown = json.dumps(dict.fromkeys(fields, "..."))
        raise UsageError(f"the JSON of {option} must be {shown}, with strings as values, or a list of these")
    return member.kind(**{fields[wire].name: item for wire, item in value.items()})


def _check_document(option: str, text: str) -> None:
    """Raise `UsageError` if text is not a JSON object; most likely, it is the path of a file."""
    if text.lstrip().startswith("{"):
        return
    path = _PATH.fullmatch(text)
    if path and (path[1] or text.endswith(".json") or Path(text).is_file()):
        raise UsageError(f"{option} must be JSON (did you mean file://{path[2]}?)")
    raise UsageError(f"{option} must be JSON: write the text itself, or file://PATH for the text in a file")


# -- Rules -----------------------------------------------------------------------------------------------------------

SIX_DIGITS = "be six digits"


def in_options(violations: Iterable[str]) -> str:
    """Return the violations in a `ParamValidationError` with options instead of members, on one line."""
    lines = []
    for violation in violations:
        path, _, rule = violation.partition(" ")
        verb, _, rule = rule.partition(" ")
        rule = SIX_DIGITS if path == "token_code" else rule_in_words(rule)
        lines.append(f"{option_of(path)} {verb} {rule}")
    return "; ".join(dict.fromkeys(lines))
