"""
JSON documents with credentials in them, as processes and metadata endpoints write them.

Nothing of a document is ever quoted: the messages say which member is wrong, and how. What a document can cost is
bounded before it is parsed, by its size and by the number of objects and arrays in it.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NoReturn

import attrs

from .._shape.secret import HiddenDocument, Secret, SecretBytes
from ..errors import CredentialsError
from ..shapes import Credentials
from .arns import is_account_id
from .headers import INVALID_IN_HEADER, is_header_value
from .timestamps import timestamp

MAX_BYTES = 64 * 1024  # of a document
MAX_NESTED = 1000  # objects and arrays in a document; an object costs 100 times as much memory as its text
A_TIME = "a time such as 2026-01-01T00:00:00Z"


@attrs.frozen(kw_only=True)
class Names:
    """What a kind of document calls the members, and whether all but the account must be there."""

    access_key_id: str = "AccessKeyId"
    secret_access_key: str = "SecretAccessKey"  # noqa: S105 - the name of a member
    session_token: str = "Token"  # noqa: S105 - the name of a member
    expiration: str = "Expiration"
    account_id: str = "AccountId"
    temporary: bool = True
    milliseconds: bool = False


def read_object(body: bytes, *, what: str) -> HiddenDocument:
    """
    Return a JSON object.

    Raises:
        CredentialsError: *body* is none, is larger than 64 KiB, is not UTF-8, or has more than 1,000 objects and
            arrays; the message begins with *what* it is. A name that an object has twice, or a number that JSON does
            not have, makes it none: which of two keys counts is not ours to guess.
    """
    body = SecretBytes(body)  # in the frames of the errors below, too
    if len(body) > MAX_BYTES:
        raise CredentialsError(f"{what} is larger than {MAX_BYTES} bytes")
    if body.count(b"{") + body.count(b"[") > MAX_NESTED:
        raise CredentialsError(f"{what} has more than {MAX_NESTED} objects and arrays")
    found = _object(body)
    if found is None:
        raise CredentialsError(f"{what} is not a JSON object")
    return found


def _object(body: bytes) -> HiddenDocument | None:
    try:
        # Decoded here: the parser would guess the encoding.
        text = Secret(body.decode("utf-8-sig"))
        found = json.loads(text, object_pairs_hook=_members, parse_constant=_no_number)
    except (ValueError, RecursionError):  # not to be the context of another: it quotes what was read
        return None
    return HiddenDocument(found) if isinstance(found, dict) else None


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name occurs twice")
    return members


def _no_number(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def read_credentials(document: Mapping[str, Any], names: Names, *, what: str) -> Credentials:
    """
    Return the credentials in a document.

    Raises:
        CredentialsError: A member is missing or is not what it must be.
    """
    # Some processes write an empty token for keys without one.
    no_token = not names.temporary and document.get(names.session_token) in (None, "")
    return Credentials(
        access_key_id=str(read_text(document, names.access_key_id, what=what)),
        secret_access_key=read_text(document, names.secret_access_key, what=what),
        session_token=None if no_token else read_text(document, names.session_token, what=what),
        expiration=_expiration(document, names, what=what),
        account_id=_account_id(document.get(names.account_id)),
    )


def _account_id(value: object) -> str | None:
    """Return the id of an account, or None for what is no such id: it only labels keys, which are good without it."""
    return str(value) if is_account_id(value) else None


def read_text(document: Mapping[str, Any], name: str, *, what: str) -> Secret:
    """
    Return a member that is a text, hidden.

    Raises:
        CredentialsError: It is missing, or is not a text that a header can have; the message begins with *what*.
    """
    fault = _fault(document.get(name))  # no value is in a local variable here: it may be anything
    if fault is not None:
        raise CredentialsError(f"{what}: {name} {fault}")
    return Secret(document[name])


def _fault(value: object) -> str | None:
    if value is None:
        return "is missing"
    if not isinstance(value, str):
        return "is not a text"
    if not value:
        return "is empty"
    return None if is_header_value(value) else INVALID_IN_HEADER


def read_time(document: Mapping[str, Any], name: str, *, milliseconds: bool = False) -> datetime | None:
    """
    Return the time that a member says, or None when it is missing or says none; see `timestamps.timestamp`.

    Args:
        document: What is read.
        name: The member.
        milliseconds: Whether a number in it counts milliseconds; else it counts seconds.
    """
    try:
        return timestamp(document.get(name), milliseconds=milliseconds)
    except ValueError:
        return None


def _expiration(document: Mapping[str, Any], names: Names, *, what: str) -> datetime | None:
    missing = document.get(names.expiration) is None
    if missing and not names.temporary:
        return None
    found = read_time(document, names.expiration, milliseconds=names.milliseconds)
    if found is None:
        wanted = "a number of milliseconds since 1970" if names.milliseconds else A_TIME
        raise CredentialsError(f"{what}: {names.expiration} is {'missing' if missing else f'not {wanted}'}")
    return found
