"""
Remove secrets that were sent from text that the server returns.

A server can quote the request in its message: AWS itself quotes the canonical request, which includes the session
token, if a signature does not match. Errors, logs and events contain such messages, so they are redacted first.

The algorithm: the secrets of the request are searched for in the text, whole and in parts. An index of all sequences of
8 characters finds the parts; each match is extended in both directions and hidden from 16 characters on. The search is
repeated after escapes are decoded, and the spans are mapped back to the original text.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from .._shape.secret import Secret, SecretBytes
from .._shape.shape import Shape
from .http_messages import HttpRequest

HIDDEN = "***"
MIN_RUN = 16  # minimum length of a part of a secret that is hidden
MIN_WHOLE = 4  # minimum length of a secret that is hidden
MAX_TEXT = 12 * 1024  # characters of a text; the rest is dropped. An encoded authorization message has up to 10,240
MAX_TRIES = 4000  # comparisons of 8 characters for one secret; after them, the whole text is hidden
_STEP = MIN_RUN // 2
_ROUNDS = 2  # levels of nested escapes

# Strings: `re` compiles them on first use and caches them.
_ESCAPE = (
    r"%([0-9A-Fa-f]{2})|\\u00([0-9A-Fa-f]{2})|\\x([0-9A-Fa-f]{2})"
    r"|&#[xX]0*+([0-9A-Fa-f]{2});|&#0*+([0-9]{2,3});|\\(/)"
)
# A signature authorizes the same request for some minutes. The rest of an Authorization header is not secret.
_SIGNATURE = r"(?i)(signature(?:=|%3D|\"?:\s?\"?))[0-9a-f]{16,}"

Span = tuple[int, int]


class Redaction:
    """
    Replaces the secrets of a request in texts with ``***``. It is called with a text and returns the redacted text.

    A secret is found whole, in parts of at least 16 characters, and with percent-encoded or escaped characters.
    Signatures of SigV4 are hidden too. The secrets are collected at the first call, because most responses need no
    redaction.

    Args:
        sent: Requests, their credentials, and other secrets. Shapes contribute their secret members, HTTP requests
            their secret headers and the body.
    """

    __slots__ = ("_secrets", "_sent")

    def __init__(self, *sent: Shape | HttpRequest | Secret | None) -> None:
        self._sent = sent
        self._secrets: tuple[str, ...] | None = None

    def __call__(self, text: str) -> str:
        """Return *text* without the secrets, truncated to 12,288 characters."""
        text = text[:MAX_TEXT]
        if self._secrets is None:
            self._secrets = tuple(dict.fromkeys(secret for sent in self._sent for secret in _secrets_in(sent)))
        if self._secrets and len(text) >= MIN_WHOLE:
            text = _without(text, sorted(_spans(text, self._secrets)))
        return re.sub(_SIGNATURE, rf"\1{HIDDEN}", text)

    def __repr__(self) -> str:
        return "Redaction()"


def _secrets_in(sent: Any) -> Iterator[str]:
    if isinstance(sent, Shape):
        for member, value in sent._given():
            for item in value if isinstance(value, tuple) else (value,):
                if member.secret and isinstance(item, str):
                    yield item
                elif isinstance(item, Shape):
                    yield from _secrets_in(item)
    elif isinstance(sent, Secret):
        yield sent
    elif isinstance(sent, HttpRequest):
        yield from (value for value in sent.headers.values() if isinstance(value, Secret))
        if sent.body:
            yield Secret(SecretBytes(sent.body).decode("latin-1"))


def _without(text: str, spans: list[Span]) -> str:
    parts, end = [], 0
    for start, stop in spans:
        if start >= end:
            parts += [text[end:start], HIDDEN]
        end = max(end, stop)
    return "".join([*parts, text[end:]])


def _spans(text: str, secrets: Iterable[str]) -> Iterator[Span]:
    """Yield the spans of the secrets in *text*, also in its decoded forms."""
    positions: Sequence[int] = range(len(text) + 1)  # position in *text* of each character of the decoded form
    decoded = text
    for _ in range(_ROUNDS + 1):
        index = _index(decoded)
        for secret in secrets:
            found = _whole(decoded, secret) if len(secret) < MIN_RUN else _parts(decoded, index, secret)
            yield from ((positions[start], positions[stop]) for start, stop in found)
        unescaped, positions = _unescaped(decoded, positions)
        if len(unescaped) == len(decoded):
            return
        decoded = unescaped


def _whole(text: str, secret: str) -> Iterator[Span]:
    """Yield the spans of a short secret as a separate word: its six digits can also be a part of an account id."""
    if len(secret) >= MIN_WHOLE:
        yield from (m.span() for m in re.finditer(rf"(?<![A-Za-z0-9]){re.escape(secret)}(?![A-Za-z0-9])", text))


def _index(text: str) -> dict[str, list[int]]:
    """Return the positions of each sequence of 8 characters in *text*."""
    index: dict[str, list[int]] = {}
    text = str.__str__(text)  # a plain string, because slices of a `Secret` take twice the time
    for start in range(len(text) - _STEP + 1):
        index.setdefault(text[start : start + _STEP], []).append(start)
    return index


def _parts(text: str, index: dict[str, list[int]], secret: str) -> Iterator[Span]:
    """
    Yield the spans of 16 or more characters that *text* shares with *secret*.

    Every 8th position of the secret is looked up. So each such span contains one of the sequences that are looked up.
    """
    hidden = bytearray(len(text))
    tries = 0
    for offset in range(0, len(secret) - _STEP + 1, _STEP):
        for start in index.get(secret[offset : offset + _STEP], ()):
            # Matches in hidden spans count too: a secret with repetitions has very many.
            tries += 1
            if tries > MAX_TRIES:
                yield 0, len(text)
                return
            if hidden[start] and hidden[start + _STEP - 1]:
                continue
            begin, end = _extended(text, start, secret, offset)
            tries += (end - begin) // _STEP
            if end - begin >= MIN_RUN:
                hidden[begin:end] = b"x" * (end - begin)
                yield begin, end


def _extended(text: str, start: int, secret: str, offset: int) -> Span:
    """Return the longest span around *start* that equals the secret around *offset*; 8 characters are equal there."""
    stop, secret_stop = start + _STEP, offset + _STEP
    while start > 0 and offset > 0 and text[start - 1] == secret[offset - 1]:
        start, offset = start - 1, offset - 1
    while stop < len(text) and secret_stop < len(secret) and text[stop] == secret[secret_stop]:
        stop, secret_stop = stop + 1, secret_stop + 1
    return start, stop


def _unescaped(text: str, positions: Sequence[int]) -> tuple[str, list[int]]:
    """Return *text* with decoded escapes, and the position of each of its characters in the original text."""
    parts: list[str] = []
    found: list[int] = []
    end = 0
    for escape in re.finditer(_ESCAPE, text):
        parts.append(text[end : escape.start()])
        found.extend(positions[end : escape.start()])
        parts.append(_character(escape))
        found.append(positions[escape.start()])
        end = escape.end()
    parts.append(text[end:])
    found.extend(positions[end:])
    return "".join(parts), found


def _character(escape: re.Match[str]) -> str:
    if escape[6]:
        return "/"
    if escape[5]:
        return chr(int(escape[5]))
    return chr(int(escape[1] or escape[2] or escape[3] or escape[4], 16))
