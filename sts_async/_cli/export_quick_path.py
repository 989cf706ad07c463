"""
The quick path of ``sts-async export-credentials``: print again what was printed before, if nothing has changed.

An SDK starts this command for each session and each process. Importing the library takes longer than the rest, so this
module answers without it. It must never print the credentials of another identity (T42). But the identity is the result
of a long search: options, variables, profiles, token files. This module does not repeat the search. It compares what
the search has read:

- The *name* of an entry is a digest of the version of the library, of all arguments, and of all variables that the
  library reads (`DECIDING`).
- The entry *lists the files* that the search read, each with a digest of the bytes that were parsed, and those that it
  looked for and did not find. The entry counts only while each of these files has the same contents.
- Entries exist only for sources whose result depends on nothing else: keys, roles, SSO and web identity. A program
  (`credential_process`), a container endpoint and the instance metadata service can return another identity
  at any time, so they are asked each time.

Why this is right: the search is a function of its arguments, variables and files. If all of them are the same, it
decides the same. The digest of a file is that of the bytes that were parsed, and not of those in the file before or
after, so there is no moment at which a change can be missed.

A rejected choice was to compare time, size and number of each file. Programs can set times back, and two changes within
one tick of the clock leave no trace. The files are small: to read them takes less time than to import one module.
Another rejected choice was to find the files here: the rules would exist twice, and the copies would differ one day.
"""

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence

from .._runtime.file_contents import cache_directory, check_owner_and_mode, home_in, read
from .._shape.secret import HiddenDocument, HiddenMapping, Secret, SecretBytes, Unpicklable, attempt, cover
from .._version import VERSION
from .export_forms import FORMS, VARIABLES, render

EXPORT = "export-credentials"
FORMAT_VERSION = 1
DIRECTORY = "exported"  # below the directory of the cache
MAX_BYTES = 8 << 20  # of a file that is compared, such as a bundle of certificates
CLOCK_SKEW = 60.0  # s that an entry may have been written in the future, by the clock of another process
LAST_MINUTE = 60.0  # s before the end in which credentials are not printed without an attempt to fetch new ones

PREFIXES = ("AWS_", "STS_ASYNC_")
NAMES = frozenset(
    "HOME USERPROFILE HOMEDRIVE HOMEPATH LOCALAPPDATA XDG_CACHE_HOME HTTP_PROXY HTTPS_PROXY NO_PROXY ALL_PROXY "
    "REQUEST_METHOD BOTOCORE_TCP_KEEPALIVE SSL_CERT_FILE SSL_CERT_DIR".split()
)
"""Variables that decide a result, in upper case, besides those that begin with one of `PREFIXES`."""

REQUIRED = frozenset({"AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"})
"""Members that an entry must have: keys that never expire are not kept."""

_NOT_REPEATABLE = frozenset({"-", "-h", "--help", "--local", "--no-cache", "--mfa-code"})
"""Arguments with which a result is not kept: another input decides, or it is not wanted."""


class Exported(Unpicklable):
    """
    Credentials that were printed before.

    Attributes:
        form: One of `FORMS`.
        members: The members of the document of a process.
        issued: When they were issued, in seconds since 1970.
        refresh_at: When they are fetched again.
        ends: When they expire.
        files: The files that decided the result, each with the digest of its contents, or None if it did not exist.
    """

    __slots__ = ("ends", "files", "form", "issued", "members", "refresh_at")

    def __init__(
        self,
        *,
        form: str,
        members: HiddenDocument,
        issued: float,
        refresh_at: float,
        ends: float,
        files: Mapping[str, str | None],
    ) -> None:
        self.form = form
        self.members = members
        self.issued = issued
        self.refresh_at = refresh_at
        self.ends = ends
        self.files = files

    def is_fresh(self, now: float) -> bool:
        """Return True if no new credentials need to be fetched."""
        return self.issued - CLOCK_SKEW <= now < self.refresh_at

    def is_usable(self, now: float) -> bool:
        """Return True if the credentials can be used after a failed attempt to fetch new ones."""
        return self.issued - CLOCK_SKEW <= now < self.ends - LAST_MINUTE

    def text(self) -> str:
        """Return the output of the command."""
        return render(self.form, self.members)


def decides(name: str) -> bool:
    """Return True if the value of a variable can decide a result."""
    name = name.upper()  # the variables of proxies are read in both cases
    return name.startswith(PREFIXES) or name in NAMES


def digest_of(arguments: Sequence[str], environ: Mapping[str, str]) -> str | None:
    """
    Return the name of the entry for a command: 64 hexadecimal digits. None if its result is not kept.

    Args:
        arguments: All arguments of the process. The first one is the name of the command.
        environ: All variables of the environment.
    """
    if arguments[:1] != [EXPORT]:
        return None
    for argument in arguments:
        option, _, value = argument.partition("=")
        if not {argument, option, value}.isdisjoint(_NOT_REPEATABLE) or "file://" in argument or "fileb://" in argument:
            return None
    environ = HiddenMapping(environ)
    variables = [(name, cover(environ[name])) for name in sorted(environ) if decides(name)]
    whole = hashlib.sha256()
    for parts in ([str(FORMAT_VERSION), VERSION], arguments, [text for pair in variables for text in pair]):
        # Counts and lengths show where each part ends, so no two commands have the same bytes.
        whole.update(b"%d;" % len(parts))
        for text in parts:
            data = SecretBytes(os.fsencode(text))
            whole.update(b"%d:" % len(data))
            whole.update(data)
    return whole.hexdigest()


def directory_of(arguments: Sequence[str], environ: Mapping[str, str]) -> str | None:
    """Return the directory of the entries; None if the home directory is not known."""
    given = cache_directory(environ)
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if argument == "--cache":
            given = following
        elif argument.startswith("--cache="):
            given = argument.partition("=")[2]
    if given.startswith("~/"):
        home = home_in(environ)
        if home is None:
            return None
        given = os.path.join(home, given[2:])
    return os.path.join(given, DIRECTORY)


def path_of(directory: str, digest: str) -> str:
    """Return the path of an entry. The subdirectories are those of `fleet.caches`."""
    return os.path.join(directory, digest[:2], f"{digest}.json")


def printed_before(arguments: Sequence[str], environ: Mapping[str, str]) -> str | None:
    """Return the output of a command, if it was printed before and is still right. It has no line break at its end."""
    environ = HiddenMapping(environ)
    digest = digest_of(arguments, environ)
    directory = None if digest is None else directory_of(arguments, environ)
    if digest is None or directory is None:
        return None
    found = load(directory, digest)
    return found.text() if found is not None and found.is_fresh(time.time()) else None


def load(directory: str, digest: str) -> Exported | None:
    """
    Return an entry, whose credentials may have to be fetched again.

    None if there is no entry, if it is invalid, if another user owns it or may write to it (T40), or if a file that
    decided it has changed.
    """
    try:
        check_owner_and_mode(directory, os.stat(directory))
        data, _ = read(path_of(directory, digest), private=True, noted=False)
    except OSError:
        return None
    found = attempt((ValueError, RecursionError, TypeError, KeyError), _decode, data, digest)
    if found is None or not all(_digest_in(path) == found.files[path] for path in found.files):
        return None
    return found


def _decode(data: SecretBytes, digest: str) -> Exported | None:
    document = json.loads(data, object_hook=HiddenDocument)
    members, files, form = document["Credentials"], document["Files"], document["Form"]
    issued, refresh_at, ends = (float(document[name]) for name in ("Issued", "RefreshAt", "Ends"))
    whole = document["Version"] == FORMAT_VERSION and document["Inputs"] == digest and form in FORMS
    complete = REQUIRED <= {*members} <= {*VARIABLES} and all(isinstance(members[name], str) for name in members)
    if not (whole and complete and {*map(type, (files[path] for path in files))} <= {Secret, type(None)}):
        return None
    return Exported(form=str(form), members=members, issued=issued, refresh_at=refresh_at, ends=ends, files=files)


def digest_of_file(data: bytes) -> str:
    """Return the digest of the contents of a file, as an entry lists it."""
    return hashlib.sha256(data).hexdigest()


def _digest_in(path: str) -> str | None:
    """Return the digest of a file; None if it does not exist, and nothing that an entry lists if it is unusable."""
    try:
        data, _ = read(path, max_bytes=MAX_BYTES, noted=False)
    except FileNotFoundError:
        return None
    except OSError:
        return "unusable"
    return digest_of_file(data)
