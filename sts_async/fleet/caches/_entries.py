"""
The entries of a cache of files: what each format must do, and the library's own format.

An entry says for which key it was made, and each reader compares this with the key that it asked for. So an entry that
was moved, or made by another program, is not used for another identity (T40).
"""

from datetime import UTC, datetime
from typing import Any, Protocol

from ..._protocol.json_documents import Names, read_object, read_temporary_credentials, read_time, write_object
from ..._protocol.lifetime import FOR_EVER
from ..._shape.secret import HiddenDocument, SecretBytes
from ...errors import CredentialsError, ParamValidationError
from ...operations import BY_REQUEST
from ...shapes import Credentials, TemporaryCredentials
from ..identities import account_of
from .protocol import CachedCredentials, CacheKey

FORMAT_VERSION = 1
NAMES = Names(session_token="SessionToken")  # noqa: S106 - the name of a member
WHAT = "the entry"  # messages begin with it; the log record has the path

# Members of an entry that must equal those of the key.
_IDENTIFYING = ("Operation", "RoleArn", "Account", "Endpoint", "Source", "Digest")


class UnusableEntry(Exception):
    """
    An entry that must not be used.

    Attributes:
        kind: The kind of fault; there is one warning for each.
    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


class EntryFormat(Protocol):
    """
    The form and place of entries.

    Attributes:
        seconds_left: Entries with fewer seconds left are not used.
        sharded: Whether the entries are in subdirectories, in which this library may remove expired ones.
    """

    seconds_left: float
    sharded: bool

    def name(self, key: CacheKey) -> str | None:
        """Return the name of the entry, hexadecimal and without ``.json``; None if this format has no such entries."""
        ...

    def encode(self, key: CacheKey, cached: CachedCredentials) -> SecretBytes:
        """Return the contents of the entry."""
        ...

    def decode(self, key: CacheKey, data: bytes, *, written: datetime) -> CachedCredentials:
        """
        Return the credentials in the contents of the entry.

        Args:
            key: The key that is asked for.
            data: The contents.
            written: Time of the last change of the file.

        Raises:
            UnusableEntry: The contents are invalid, or belong to another key.
        """
        ...


class OwnFormat:
    """
    The format of this library: one JSON object, whose name is the digest of the key.

    The entries are in 256 subdirectories, by the first two digits of their names. Each write lists the directory of its
    entry, so one directory for 100,000 entries would make writes slow.
    """

    seconds_left = 0.0
    sharded = True

    def name(self, key: CacheKey) -> str | None:
        """Return the digest; None if the request cannot be encoded, so that sending it raises the error."""
        try:
            return key.digest
        except ParamValidationError:
            return None

    def encode(self, key: CacheKey, cached: CachedCredentials) -> SecretBytes:
        """Return the contents of the entry."""
        document = HiddenDocument(
            Version=FORMAT_VERSION,
            **_identity(key),
            Issued=_iso_8601(cached.issued),
            Credentials=credentials_document(cached.credentials),
        )
        if cached.refresh_after is not None:
            document |= HiddenDocument(RefreshAfter=_iso_8601(cached.refresh_after))
        return write_object(document)

    def decode(self, key: CacheKey, data: bytes, *, written: datetime) -> CachedCredentials:
        """
        Return the credentials in the contents of the entry. The time of the file does not matter.

        Raises:
            UnusableEntry: The contents are invalid, or belong to another key.
        """
        data = SecretBytes(data)
        document = parse(data)
        if (version := document.get("Version")) != FORMAT_VERSION or version is True:
            raise UnusableEntry("version", "it has another format version")
        wanted = _identity(key)
        other = [name for name in _IDENTIFYING if document.get(name) != wanted[name]]
        if other:
            raise UnusableEntry("mismatch", f"it belongs to another identity: {' and '.join(other)} differ")
        credentials = read_members(document)
        account = wanted["Account"]
        if account is not None and credentials.account_id not in (None, account):
            raise UnusableEntry("mismatch", "its credentials belong to another account")
        issued = read_time(document, "Issued")
        if issued is None:
            raise UnusableEntry("invalid", f"{WHAT}: Issued is missing or not a time")
        # Entries of older versions do not have it.
        refresh_after = read_time(document, "RefreshAfter")
        if refresh_after is None and document.get("RefreshAfter") is not None:
            raise UnusableEntry("invalid", f"{WHAT}: RefreshAfter is not a time")
        return checked_entry(credentials, issued, refresh_after=refresh_after)


def _identity(key: CacheKey) -> dict[str, Any]:
    request = key.request
    return {
        "Operation": BY_REQUEST[type(request)].name,
        "RoleArn": getattr(request, "role_arn", None),
        "Account": account_of(request),
        "Endpoint": key.endpoint,
        "Source": key.source,
        "Digest": key.digest,
    }


def cacheable(credentials: Credentials) -> bool:
    """Return True if credentials can be stored, because they have a session token and an expiration."""
    return credentials.session_token is not None and credentials.expiration is not None


def credentials_document(credentials: Credentials) -> HiddenDocument:
    """Return temporary credentials as a JSON object."""
    members = HiddenDocument(
        AccessKeyId=credentials.access_key_id,
        SecretAccessKey=credentials.secret_access_key,
        SessionToken=credentials.session_token,
        Expiration=None if credentials.expiration is None else _iso_8601(credentials.expiration),
    )
    return members if credentials.account_id is None else members | HiddenDocument(AccountId=credentials.account_id)


def _iso_8601(when: datetime) -> str:
    """Return a time in the form of STS, such as ``2026-01-01T00:00:00Z``, which every SDK reads."""
    return when.astimezone(UTC).isoformat().replace("+00:00", "Z")


def parse(data: bytes) -> HiddenDocument:
    """
    Return the JSON object in the contents of an entry.

    Raises:
        UnusableEntry: The contents are not a JSON object, or too large.
    """
    data = SecretBytes(data)
    try:
        return read_object(data, what=WHAT)
    except CredentialsError as error:
        reason = str(error)
    raise UnusableEntry("invalid", reason)


def read_members(document: HiddenDocument) -> TemporaryCredentials:
    """
    Return the credentials in an entry.

    Raises:
        UnusableEntry: They are missing or invalid.
    """
    found = document.get("Credentials")
    if not isinstance(found, HiddenDocument):
        raise UnusableEntry("invalid", f"{WHAT} has no credentials")
    try:
        return read_temporary_credentials(found, NAMES, what=WHAT)
    except CredentialsError as error:
        reason = str(error)
    raise UnusableEntry("invalid", reason)


def checked_entry(
    credentials: TemporaryCredentials, issued: datetime, *, refresh_after: datetime | None = None
) -> CachedCredentials:
    """
    Return an entry, if its times can be true.

    Raises:
        UnusableEntry: The credentials were issued after their end.
    """
    if not 0 < (credentials.expiration - issued).total_seconds() <= FOR_EVER:
        raise UnusableEntry("invalid", f"{WHAT}: Issued is after Expiration")
    return CachedCredentials(credentials=credentials, issued=issued, refresh_after=refresh_after)


def expiration_in(data: bytes) -> datetime | None:
    """Return the expiration in the contents of an entry of any key; None if the contents are invalid."""
    data = SecretBytes(data)
    try:
        return read_members(parse(data)).expiration
    except UnusableEntry:
        return None
