"""
JSON documents with credentials, from processes and metadata endpoints.

Messages name the invalid member and the rule, and never quote the document. The size of a document and the number of
its objects and arrays are limited before it is parsed, so its cost is limited too.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NoReturn

import attrs

from .._shape.secret import HiddenDocument, Secret, SecretBytes
from ..errors import CredentialsError
from ..shapes import Credentials, TemporaryCredentials
from .arns import is_account_id
from .headers import INVALID_IN_HEADER, is_header_value
from .timestamps import timestamp

MAX_BYTES = 64 * 1024  # of a document
MAX_NESTED = 1000  # objects and arrays in a document; an object needs 100 times as much memory as its text
A_TIME = "a time such as 2026-01-01T00:00:00Z"


@attrs.frozen(kw_only=True)
class Names:
    """
    Names of the members in a kind of document.

    Attributes:
        access_key_id: The access key id.
        secret_access_key: The secret access key.
        session_token: The session token.
        expiration: The time of expiry.
        account_id: The account id, which is always optional.
        temporary: Whether session token and expiration are required.
        milliseconds: Whether the expiration is a number of milliseconds.
    """

    access_key_id: str = "AccessKeyId"
    secret_access_key: str = "SecretAccessKey"  # noqa: S105 - the name of a member
    session_token: str = "Token"  # noqa: S105 - the name of a member
    expiration: str = "Expiration"
    account_id: str = "AccountId"
    temporary: bool = True
    milliseconds: bool = False


def read_object(body: bytes, *, what: str) -> HiddenDocument:
    """
    Return the JSON object in *body*.

    A duplicate name in an object is an error, because it is not known which value counts. NaN and Infinity are errors.

    Args:
        body: The document.
        what: A description of the document, with which messages begin.

    Raises:
        CredentialsError: *body* is not a JSON object in UTF-8, is larger than 64 KiB, or has more than 1,000 objects
            and arrays.
    """
    body = SecretBytes(body)  # hides it in the frames of the errors below too
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
        # `json.loads` would guess the encoding of bytes.
        text = Secret(body.decode("utf-8-sig"))
        found = json.loads(text, object_pairs_hook=_members, parse_constant=_no_number)
    except (ValueError, RecursionError):  # must not become the context of another error: it quotes the document
        return None
    return HiddenDocument(found) if isinstance(found, dict) else None


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name occurs twice")
    return members


def _no_number(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def write_object(document: HiddenDocument, *, sort_keys: bool = False) -> SecretBytes:
    """Return the JSON text of a document with secrets. With *sort_keys*, equal documents have equal texts."""
    return SecretBytes(json.dumps(document, default=HiddenDocument.reveal, sort_keys=sort_keys).encode())


def read_credentials(document: Mapping[str, Any], names: Names, *, what: str) -> Credentials:
    """
    Return the credentials in a document.

    Raises:
        CredentialsError: A member is missing or invalid. The message begins with *what*.
    """
    return Credentials(**_members_of_credentials(document, names, what=what))


def read_temporary_credentials(document: Mapping[str, Any], names: Names, *, what: str) -> TemporaryCredentials:
    """
    Return the credentials in a document, with a session token and an expiration. `Names.temporary` must be true.

    Raises:
        CredentialsError: A member is missing or invalid. The message begins with *what*.
    """
    return TemporaryCredentials(**_members_of_credentials(document, names, what=what))


def _members_of_credentials(document: Mapping[str, Any], names: Names, *, what: str) -> dict[str, Any]:
    # Some processes write an empty token with keys that have no token.
    no_token = not names.temporary and document.get(names.session_token) in (None, "")
    return {
        "access_key_id": str(read_text(document, names.access_key_id, what=what)),
        "secret_access_key": read_text(document, names.secret_access_key, what=what),
        "session_token": None if no_token else read_text(document, names.session_token, what=what),
        "expiration": _expiration(document, names, what=what),
        "account_id": _account_id(document.get(names.account_id)),
    }


def _account_id(value: object) -> str | None:
    """Return an account id; None for an invalid one, because the keys work without it."""
    return str(value) if is_account_id(value) else None


def read_text(document: Mapping[str, Any], name: str, *, what: str) -> Secret:
    """
    Return a text member as a `Secret`.

    Raises:
        CredentialsError: The member is missing, or is not text that is valid in a header. The message begins with
            *what*.
    """
    fault = _fault(document.get(name))  # the value is not in a local variable, which a traceback could show
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
    Return the time in a member, or None if it is missing or invalid; see `timestamps.timestamp`.

    Args:
        document: The document.
        name: Name of the member.
        milliseconds: Whether a number is in milliseconds instead of seconds.
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
