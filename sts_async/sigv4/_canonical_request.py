"""
The canonical request: text that the client and the server compute from the request to sign or check it.

URLs are percent-encoded, as they are sent. Equivalent encodings, such as ``:`` and ``%3A`` in a query, have the same
canonical form.

Source: "Create a signed AWS API request", IAM User Guide; "Signature Calculations", Amazon S3 API Reference.
"""

import functools
import re
from collections.abc import Iterable
from urllib.parse import quote, unquote_to_bytes

from .._shape.secret import Secret, cover

S3_FAMILY = frozenset({"s3", "s3express", "s3-object-lambda", "s3-outposts"})
"""Signing names of the services that sign the path without normalization, and send the hash of the body in a header."""

# A query of these characters and escapes is in canonical encoding, and only needs to be sorted. The escapes are in
# upper case, and are not those of unreserved characters (A-Z a-z 0-9 - . _ ~).
_SAFE = r"[A-Za-z0-9_.~&=-]*+"
_QUERY_SAFE = rf"{_SAFE}(?:%(?!2[DE]|3[0-9]|4[1-9A-F]|5[0-9AF]|6[1-9A-F]|7[0-9AE])[0-9A-F]{{2}}{_SAFE})*+"


def canonical_request(
    *, method: str, path: str, query: str, headers: Iterable[tuple[str, str]], payload_hash: str
) -> Secret:
    """
    Return the canonical request.

    Args:
        method: The HTTP method.
        path: The canonical path.
        query: The canonical query.
        headers: Pairs of lower-case name and value, sorted by name.
        payload_hash: Lower-case hex SHA-256 of the body, or a word of S3 such as ``UNSIGNED-PAYLOAD``.
    """
    query, pairs = cover(query), [(name, cover(value)) for name, value in headers]
    headers = ()
    verb = method.upper()
    lines = "".join([f"{name}:{' '.join(str.split(value))}\n" for name, value in pairs])
    names = ";".join([name for name, _ in pairs])
    return Secret(f"{verb}\n{path}\n{query}\n{lines}\n{names}\n{payload_hash}")


def canonical_path(path: str, *, normalize: bool = True, double_encode: bool = True) -> str:
    """
    Return the canonical path. The canonical form of an empty path is ``/``.

    Args:
        path: The path as it is sent.
        normalize: Whether ``.``, ``..`` and empty segments are resolved. All services except those of S3 do this.
        double_encode: Whether the encoded path is encoded again, so that ``%20`` becomes ``%2520``. Services of S3
            encode the decoded path: ``%20`` stays, and ``+`` becomes ``%2B``.
    """
    if path in ("", "/"):
        return "/"
    if _plain_path().fullmatch(path):
        return path
    if normalize:
        path = _without_dot_segments(path)
    return quote(path if double_encode else unquote_to_bytes(path), safe="/~")


@functools.cache
def _plain_path() -> re.Pattern[str]:
    """Return the pattern of paths that are canonical by all rules. No segment is empty or begins with a dot."""
    return re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9_.~-]*+)++/?+")


def _without_dot_segments(path: str) -> str:
    resolved: list[str] = []
    segments = path.split("/")
    for segment in segments:
        if segment == "..":
            del resolved[-1:]
        elif segment not in ("", "."):
            resolved.append(segment)
    lead = "/" if path.startswith("/") else ""
    trail = "/" if resolved and segments[-1] in ("", ".", "..") and path.endswith("/") else ""
    return lead + "/".join(resolved) + trail or "/"


def canonical_query(query: str) -> str:
    """
    Return the canonical query: parameters in canonical encoding, sorted by name, then value.

    A ``+`` means a space, as in HTML forms, because servers decode it so and sign ``%20``. A plus sign is ``%2B``.
    """
    if not query:
        return ""
    query = cover(query)
    if "&" not in query and query.count("=") == 1 and re.fullmatch(_QUERY_SAFE, query):
        return query
    # `str.split` returns plain strings; the methods of a `Secret` would wrap each part.
    pairs = [(name, value) for name, _, value in (pair.partition("=") for pair in str.split(query, "&") if pair)]
    if not re.fullmatch(_QUERY_SAFE, query) or query.count("=") > len(pairs):
        pairs = [(_encoded(name), _encoded(value)) for name, value in pairs]
    return Secret("&".join([f"{name}={value}" for name, value in sorted(pairs)]))


def _encoded(text: str) -> str:
    # Servers decode bytes that are not UTF-8 as surrogates, which must not raise here.
    return quote(unquote_to_bytes(text.replace("+", " ").encode("utf-8", "surrogatepass")), safe="~")
