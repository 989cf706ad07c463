"""
The canonical form of a request: the text that both sides of a signature compute from what is sent.

A URL is given as it is sent, percent-encoded. Spellings that servers read alike, such as ``:`` and ``%3A`` in a query,
have one canonical form.

Source: "Create a signed AWS API request", IAM User Guide; "Signature Calculations", Amazon S3 API Reference.
"""

import re
from collections.abc import Iterable
from urllib.parse import quote, unquote_to_bytes

from .._shape.secret import Secret, cover

S3_FAMILY = frozenset({"s3", "s3express", "s3-object-lambda", "s3-outposts"})
"""Signing names of the services that sign paths as they are, and the hash of the body as a header."""

_QUERY_SAFE = r"[A-Za-z0-9_.~&=-]*"  # a query of these characters is its own canonical form, but for the order


def canonical_request(
    *, method: str, path: str, query: str, headers: Iterable[tuple[str, str]], payload_hash: str
) -> Secret:
    """Return the text that is hashed: *headers* are pairs of lower-case name and value, sorted by name."""
    query, pairs = cover(query), [(name, cover(value)) for name, value in headers]
    headers = ()
    verb = method.upper()
    lines = "".join([f"{name}:{' '.join(str.split(value))}\n" for name, value in pairs])
    names = ";".join([name for name, _ in pairs])
    return Secret(f"{verb}\n{path}\n{query}\n{lines}\n{names}\n{payload_hash}")


def canonical_path(path: str, *, normalize: bool = True, double_encode: bool = True) -> str:
    """
    Return the path as it is signed; an empty one is ``/``.

    Args:
        path: As it is sent.
        normalize: Whether ``.``, ``..`` and empty segments are resolved, as all services but those of S3 do.
        double_encode: Whether the path is encoded as it is sent, so that ``%20`` becomes ``%2520``. Services of S3
            encode what the path stands for: ``%20`` stays, and ``+`` becomes ``%2B``.
    """
    if path in ("", "/"):
        return "/"
    if normalize:
        path = _without_dot_segments(path)
    return quote(path if double_encode else unquote_to_bytes(path), safe="/~")


def _without_dot_segments(path: str) -> str:
    kept: list[str] = []
    segments = path.split("/")
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    lead = "/" if path.startswith("/") else ""
    trail = "/" if kept and segments[-1] in ("", ".", "..") and path.endswith("/") else ""
    return lead + "/".join(kept) + trail or "/"


def canonical_query(query: str) -> str:
    """
    Return the parameters of a query, each encoded in the one canonical way, sorted by name, then value.

    A ``+`` stands for a space, as in forms: servers read it so, and compute the signature with ``%20``. A plus is
    ``%2B``.
    """
    if not query:
        return ""
    query = cover(query)
    # `str.split`: plain parts, because each method of a `Secret` wraps what it returns.
    pairs = [(name, value) for name, _, value in (pair.partition("=") for pair in str.split(query, "&") if pair)]
    if not re.fullmatch(_QUERY_SAFE, query) or query.count("=") > len(pairs):
        pairs = [(_encoded(name), _encoded(value)) for name, value in pairs]
    return Secret("&".join([f"{name}={value}" for name, value in sorted(pairs)]))


def _encoded(text: str) -> str:
    # A server passes on bytes that are not UTF-8 as surrogates: they must not raise here.
    return quote(unquote_to_bytes(text.replace("+", " ").encode("utf-8", "surrogatepass")), safe="~")
