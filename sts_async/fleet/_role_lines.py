r"""
One line of a file of roles: the ARN of a role and its options, or a JSON object with the members of the API.

    arn:aws:iam::123456789012:role/demo name=demo session=me duration=3600 tags=team=a,env=test
    {"RoleArn": "arn:aws:iam::123456789012:role/demo", "Name": "demo", "Tags": {"team": "a"}}

The words of a line are separated by spaces, and quoted as in a shell. A word that begins with ``#`` begins a comment.
Messages contain names of options and members, but no values.
"""

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any, NoReturn

import attrs

from .. import operations
from .._protocol import arns
from .._shape.constraints import Member, violations
from .._shape.secret import attempt
from .._wording.rules import rule_in_words
from ..shapes import AssumeRoleRequest, AssumeRootRequest, GetFederationTokenRequest, Request

MAX_LINE = 64 * 1024  # characters
MAX_OPTIONS = 40  # of a line: no request has as many members, and each wrong one is a problem of its own
DEFAULT_SESSION = "sts-async"  # the same in each run, so that processes can share a cache
# A name can be an argument of a command. So it must not begin with a hyphen.
NAME_RULE = "have 1 to 128 characters of A-Z a-z 0-9 _ + = , . @ - and must not begin with a hyphen"
_NAME = r"(?!-)[A-Za-z0-9_+=,.@-]{1,128}"
_OPERATIONS = {
    operation.name: operation
    for operation in (
        operations.ASSUME_ROLE,
        operations.ASSUME_ROOT,
        operations.GET_FEDERATION_TOKEN,
        operations.GET_SCOPED_CREDENTIALS,
        operations.GET_SESSION_TOKEN,
    )
}
_WITH_TOKEN = {
    operations.ASSUME_ROLE_WITH_SAML.name: "an assertion, which is a secret, and a file of roles has no secrets",
    operations.ASSUME_ROLE_WITH_WEB_IDENTITY.name: (
        "a token, which is a secret, and a file of roles has no secrets: to sign the requests with this role, "
        "set AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE"
    ),
}
_LONG_TERM = {operations.GET_FEDERATION_TOKEN.name, operations.GET_SESSION_TOKEN.name}
"""Operations that STS refuses for temporary credentials. Source: STS API Reference, GetSessionToken."""
_SHORT = {"session": "role_session_name", "duration": "duration_seconds"}
_KEY = r"[A-Za-z][A-Za-z_-]{0,40}"
_WORD = re.compile(r"""[ \t]*+(?:(#.*)|((?:[^ \t"'\\]|\\.|'[^']*'|"(?:[^"\\]|\\.)*+")++))""", re.DOTALL)


@attrs.frozen(kw_only=True)
class RoleLine:
    """
    An identity as one line writes it.

    Attributes:
        request: The request for its credentials.
        name: Its name; None to derive one.
        through: Name of the identity that signs the request; None for the credentials of the client.
        derived: Names for it, the shortest first. A longer one is for identities that share the shorter one.
    """

    request: Request[Any]
    name: str | None
    through: str | None
    derived: tuple[str, ...]


class Malformed(Exception):
    """
    A line is invalid.

    Attributes:
        problems: Its problems. They contain names of options and members, but no values.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.problems = problems


def read_entry(line: str) -> RoleLine | None:
    """
    Return the identity in a line; None for a blank line or a comment.

    Raises:
        Malformed: The line is invalid.
    """
    if len(line) > MAX_LINE:
        raise Malformed(f"the line is longer than {MAX_LINE:,} characters")
    text = line.strip(" \t\r")
    if not text or text.startswith("#"):
        return None
    return _from_object(text) if text.startswith("{") else _from_words(_words(text))


def is_name(text: object) -> bool:
    """Return True if *text* can be the name of an identity: see `NAME_RULE`."""
    return isinstance(text, str) and re.fullmatch(_NAME, text) is not None


# -- Words -------------------------------------------------------------------------------------------------------------


def _words(text: str) -> list[str]:
    """Return the words of a line without quotes and comment. `shlex` would also find comments inside words."""
    if not _has_quotes(text) and "#" not in text:
        return re.split(r"[ \t]+", text)
    words: list[str] = []
    at = 0
    while at < len(text):
        found = _WORD.match(text, at)
        if found is None:
            raise Malformed("a quotation mark is not closed, or nothing follows a backslash")
        if found[1] is not None:
            break
        words += shlex.split(found[2]) if _has_quotes(found[2]) else [found[2]]
        at = found.end()
    return words


def _has_quotes(text: str) -> bool:
    return "'" in text or '"' in text or "\\" in text


def _from_words(words: list[str]) -> RoleLine:
    """Return the identity in the words of a line: the ARN of a role, and ``key=value``."""
    arn, *pairs = words
    if not (arn.startswith(("arn:", "urn:")) and arns.is_plain(arn)):
        raise Malformed(f"the line must begin with {arns.ROLE_RULE}, or be a JSON object")
    if len(pairs) > MAX_OPTIONS:
        raise Malformed(f"the line has more than {MAX_OPTIONS} options")
    members = {member.name: member for member in AssumeRoleRequest.__members__}
    given: dict[str, Any] = {"role_arn": arn}
    problems: list[str] = []
    for number, pair in enumerate(pairs, 2):
        key, equals, value = pair.partition("=")
        if not equals or not re.fullmatch(_KEY, key):
            problems.append(f"word {number} is not KEY=VALUE")
            continue
        name = key.lower().replace("-", "_")
        name = _SHORT.get(name, name)
        if name not in members and name not in ("name", "through"):
            problems.append(f"{key.lower()} is not an option of a role{_did_you_mean(key, _options_of(members))}")
        elif name in given:
            problems.append(f"{key.lower()} is given twice")
        elif _lacks_quotes(members.get(name), value):
            problems.append(f"{name} is not valid JSON: write it in single quotes, as in {name}='{{...}}'")
            break  # without the quotes, the words after it can be its parts
        else:
            given[name] = _value_of_word(members.get(name), value, key.lower(), problems)
    name, through = given.pop("name", None), given.pop("through", None)
    given.setdefault("role_session_name", DEFAULT_SESSION)
    return _entry(operations.ASSUME_ROLE, given, name, through, problems, shown=_as_option)


def _lacks_quotes(member: Member | None, value: str) -> bool:
    """Return True if *value* seems to be a JSON document whose quotes and spaces were read as those of the line."""
    if member is None or not member.document or not value.startswith("{"):
        return False
    return attempt((ValueError, RecursionError), json.loads, value) is None


def _value_of_word(member: Member | None, value: str, key: str, problems: list[str]) -> Any:
    """Return the value of a member from its text, and add a problem if the text has the wrong form."""
    if member is None or member.kind is str:
        return value
    if member.kind is int:
        if re.fullmatch(r"[0-9]{1,18}", value):
            return int(value)
        problems.append(f"{key} must be a whole number")
        return None
    items = value.split(",") if value else []
    if member.name == "tags":
        pairs = [item.partition("=") for item in items]
        if not all(equals for _, equals, _ in pairs) or len({tag for tag, _, _ in pairs}) < len(pairs):
            problems.append(f"{key} must be different tags such as team=a, with commas between them")
        return {tag: text for tag, _, text in pairs}
    return items


def _options_of(members: Mapping[str, Member]) -> dict[str, str]:
    """Return the options of a line of words, by themselves."""
    names = [*(_as_option(name) for name, member in members.items() if not _refusal(member)), "name", "through"]
    return dict(zip(names, names, strict=True))


def _did_you_mean(given: str, known: Mapping[str, str]) -> str:
    """
    Return a hint at the name that is most similar to *given*, whatever its case, hyphens and underscores.

    Args:
        given: The unknown name.
        known: The names to write, by the names that they are found with.
    """
    if not re.fullmatch(_KEY, given):
        return ""
    import difflib  # imported here, because it is needed only for a misspelt name

    names = {_letters(name): written for name, written in known.items()}
    near = difflib.get_close_matches(_letters(given), names, 1, cutoff=0.7)
    return f" (did you mean {names[near[0]]}?)" if near else ""


def _letters(name: str) -> str:
    return re.sub("[_-]", "", name).lower()


def _as_option(name: str) -> str:
    """Return the option of a line for the Python name of a member."""
    short = {long: short for short, long in _SHORT.items()}
    return short.get(name, name.replace("_", "-"))


# -- JSON --------------------------------------------------------------------------------------------------------------


def _from_object(text: str) -> RoleLine:
    """Return the identity in a JSON object."""
    given = _parsed(text)
    if len(given) > MAX_OPTIONS:
        raise Malformed(f"the object has more than {MAX_OPTIONS} members")
    operation = _operation_of(given.pop("Operation", operations.ASSUME_ROLE.name))
    problems: list[str] = []
    members = {member.wire: member for member in operation.request.__members__}
    # The member Name of GetFederationToken is the name of the user, and so of the identity.
    name = given.get("Name") if operation.request is GetFederationTokenRequest else given.pop("Name", None)
    through = given.pop("Through", None)
    values: dict[str, Any] = {}
    for wire, value in given.items():
        if wire not in members:
            hint = _did_you_mean(wire, _members_of(members))
            problems.append(f"{_printable(wire)} is not a member of {operation.name}{hint}")
        elif value is not None:
            values[members[wire].name] = _value_of_json(members[wire], value, wire, problems)
    if operation.request is AssumeRoleRequest:
        values.setdefault("role_session_name", DEFAULT_SESSION)
    return _entry(operation, values, name, through, problems, shown=_as_member)


def _members_of(members: Mapping[str, Member]) -> dict[str, str]:
    """Return the members of a JSON object, by themselves and by the options of a line of words."""
    names = [*(wire for wire, member in members.items() if not _refusal(member)), "Name", "Through", "Operation"]
    short = {option: _as_member(name) for option, name in _SHORT.items() if _as_member(name) in members}
    return {**short, **dict(zip(names, names, strict=True))}


def _parsed(text: str) -> dict[str, Any]:
    """Return a JSON object, without members that are written twice."""
    repeated: list[str] = []

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        names = dict(found)
        if len(names) < len(found):
            repeated.append("a member is written twice")
        return names

    at = ""
    try:
        found = json.loads(text, object_pairs_hook=pairs, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:  # it has the text, so it must not be the cause of an error
        found, at = None, f" at character {error.pos + 1}"
    except (ValueError, RecursionError):
        found = None
    if found is None:
        raise Malformed(f"the line is not valid JSON{at}; an object must be on one line")
    if repeated:
        raise Malformed(repeated[0])
    return dict(found)


def _refuse_constant(_: str) -> NoReturn:
    """Refuse NaN and Infinity, which are not JSON."""
    raise ValueError


def _operation_of(name: object) -> Any:
    """Return the operation of a JSON object."""
    text = name if isinstance(name, str) else ""
    if text in _WITH_TOKEN:
        raise Malformed(f"{text} needs {_WITH_TOKEN[text]}")
    operation = _OPERATIONS.get(text)
    if operation is None:
        raise Malformed(f"Operation must be one of {', '.join(_OPERATIONS)}")
    return operation


def _value_of_json(member: Member, value: Any, path: str, problems: list[str]) -> Any:
    """Return the value of a member from its JSON, and add a problem if it has the wrong form."""
    kind: Any = member.kind
    fields = {field.wire: field for field in getattr(kind, "__members__", ())}
    if kind is list and isinstance(value, list):
        return [_value_of_json(member.items, item, f"{path}[{index}]", problems) for index, item in enumerate(value)]
    if fields and isinstance(value, dict):
        if {wire for wire, field in fields.items() if field.required} <= value.keys() <= fields.keys():
            return kind(**{fields[wire].name: item for wire, item in value.items()})
    elif _fits(member, value):
        return value
    problems.append(f"{path} must be {_form_of(member)}")
    return None


def _fits(member: Member, value: Any) -> bool:
    """Return True if the JSON of a member needs no conversion."""
    if member.kind is str:
        return isinstance(value, str) or (member.document and isinstance(value, dict))
    if member.kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if member.kind is list:
        return _is_mapping_of_text(value, member)
    return isinstance(value, str) and len(member.kind.__members__) == 1  # type: ignore[attr-defined]


def _is_mapping_of_text(value: Any, member: Member) -> bool:
    """Return True if *value* is a mapping of keys to text, for a list of key-value pairs."""
    fields = {field.name for field in getattr(member.items.kind, "__members__", ())}
    return fields == {"key", "value"} and isinstance(value, dict) and all(isinstance(i, str) for i in value.values())


def _form_of(member: Member) -> str:
    """Return the JSON form of a member."""
    kind: Any = member.kind
    if kind is list:
        return "a list"
    if kind is int:
        return "a whole number"
    if kind is str:
        return "text or an object" if member.document else "text"
    return f"an object with {' and '.join(field.wire for field in kind.__members__)}"


def _as_member(name: str) -> str:
    """Return the name in the API for the Python name of a member."""
    return "".join(part.capitalize() for part in name.split("_"))


def _printable(name: str) -> str:
    """Return the name of a member for messages: other text could be a value."""
    return name if re.fullmatch(r"[A-Za-z]{1,40}", name) else "the name of a member"


# -- Requests ----------------------------------------------------------------------------------------------------------


def _entry(
    operation: Any, given: dict[str, Any], name: Any, through: Any, problems: list[str], *, shown: Any
) -> RoleLine:
    """
    Return the identity with these members.

    Args:
        operation: Its operation.
        given: The members by their Python names.
        name: Its name, or None.
        through: Name of the identity that signs the request, or None.
        problems: The problems of the line so far.
        shown: The function that returns the name of a member in this line, for messages.

    Raises:
        Malformed: There are problems.
    """
    for key, text in (("name", name), ("through", through)):
        if text is not None and not is_name(text):
            problems.append(f"{shown(key)} must {NAME_RULE}")
    if through is not None and operation.name in _LONG_TERM:
        problems.append(f"{operation.name} needs the long-term keys of a user, so it cannot have {shown('through')}")
    members = {member.name: member for member in operation.request.__members__}
    for member in members.values():
        if member.name in given and (refusal := _refusal(member)):
            problems.append(f"{shown(member.name)} {refusal}")
        elif member.required and member.name not in given:
            problems.append(f"{shown(member.name)} is required")
    if problems:
        raise Malformed(*problems)
    request = operation.request(**given)
    found = [_in_words(violation, shown) for violation in violations(request)]
    if found:
        raise Malformed(*dict.fromkeys(found))
    return RoleLine(request=request, name=name, through=through, derived=_derived(request, through))


def _refusal(member: Member) -> str:
    """Return the reason why a file must not have a member; empty if it may."""
    if member.name in ("serial_number", "token_code"):
        return "is for MFA codes, which a refresh in the background cannot ask for"
    nested = getattr(getattr(member.items, "kind", None), "__members__", ())
    if member.secret or any(part.secret for part in nested):
        return "is a secret, and a file of roles has no secrets"
    return ""


def _in_words(violation: str, shown: Any) -> str:
    """Return a line of `violations` with the names of this line of the file, and without patterns."""
    path, must, rule = violation.partition(" must ")
    head, bracket, rest = path.partition("[")
    return f"{shown(head)}{bracket}{rest}{must}{rule_in_words(rule)}"


def _derived(request: Request[Any], through: str | None) -> tuple[str, ...]:
    """Return names for an identity: of the role, then with the account, then with the session."""
    if isinstance(request, GetFederationTokenRequest):
        names = [request.name]
    elif isinstance(request, AssumeRootRequest):
        target = request.target_principal
        account = target if arns.is_account_id(target) else arns.account_of(target) or "other"
        names = [f"root@{account}", f"root@{account}@{_task_of(request)}"]
    elif isinstance(request, AssumeRoleRequest):
        role = re.split("[/:]", request.role_arn)[-1]
        account = arns.account_of(request.role_arn) or "other"
        names = [role, f"{role}@{account}", f"{role}@{account}@{request.role_session_name}"]
    else:
        name = {operations.GET_SESSION_TOKEN.request: "session-token"}.get(type(request), "scoped-credentials")
        names = [name] if through is None else [name, f"{name}@{through}"]
    return tuple(re.sub(r"[^A-Za-z0-9_+=,.@-]", "-", name).lstrip("-")[:128] or "role" for name in names)


def _task_of(request: AssumeRootRequest) -> str:
    task = request.task_policy_arn
    return str(getattr(task, "arn", task)).rpartition("/")[2]
