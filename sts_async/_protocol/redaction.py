"""
Remove secrets that were sent from text that the server returns.

A server may quote the request in its message: AWS itself quotes the canonical request, with the session token in it,
where a signature does not match. Messages end up in errors, logs and events, and go through here first.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from .._shape.secret import Secret, SecretBytes
from .._shape.shape import Shape
from .http_messages import HttpRequest

HIDDEN = "***"
MIN_RUN = 16  # characters of a longer secret that are hidden, wherever in it they are
MIN_WHOLE = 4  # characters of a secret that is hidden at all
MAX_TEXT = 12 * 1024  # characters of a text that are kept; an encoded authorization message has up to 10,240
MAX_TRIES = 4000  # comparisons, of 8 characters each, for one secret; then the whole text is hidden
_STEP = MIN_RUN // 2
_ROUNDS = 2  # of escapes within escapes

# Text, which `re` compiles at first use and keeps.
_ESCAPE = (
    r"%([0-9A-Fa-f]{2})|\\u00([0-9A-Fa-f]{2})|\\x([0-9A-Fa-f]{2})"
    r"|&#[xX]0*+([0-9A-Fa-f]{2});|&#0*+([0-9]{2,3});|\\(/)"
)
# Good for the same request for some minutes. The rest of an Authorization header is no secret, and helps.
_SIGNATURE = r"(?i)(signature(?:=|%3D|\"?:\s?\"?))[0-9a-f]{16,}"

Span = tuple[int, int]


class Redaction:
    """
    Hides in texts what was sent in secret. Calling it with a text returns the text with ``***`` in its place.

    A secret is found whole, in parts of at least 16 characters, and with characters of it percent-encoded or escaped.
    Signatures of SigV4 are hidden, too. Nothing is computed before the first text, since most answers need none of it.

    Args:
        sent: Requests, credentials that signed them, and other secrets. Of shapes the secret members count; of HTTP
            requests the secret headers and the body.
    """

    __slots__ = ("_secrets", "_sent")

    def __init__(self, *sent: Shape | HttpRequest | Secret | None) -> None:
        self._sent = sent
        self._secrets: tuple[str, ...] | None = None

    def __call__(self, text: str) -> str:
        """Return *text*, at most 12,288 characters, without what was sent in secret."""
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
    """Yield where in *text* the secrets are, in each of its readings."""
    places: Sequence[int] = range(len(text) + 1)  # where each character of the reading begins in the text
    reading = text
    for _ in range(_ROUNDS + 1):
        index = _index(reading)
        for secret in secrets:
            found = _whole(reading, secret) if len(secret) < MIN_RUN else _parts(reading, index, secret)
            yield from ((places[start], places[stop]) for start, stop in found)
        unescaped, places = _unescaped(reading, places)
        if len(unescaped) == len(reading):
            return
        reading = unescaped


def _whole(text: str, secret: str) -> Iterator[Span]:
    """Yield where a short secret stands by itself: six digits may also be in the number of an account."""
    if len(secret) >= MIN_WHOLE:
        yield from (m.span() for m in re.finditer(rf"(?<![A-Za-z0-9]){re.escape(secret)}(?![A-Za-z0-9])", text))


def _index(text: str) -> dict[str, list[int]]:
    """Return where in *text* each sequence of 8 characters is: looking those of a secret up is quick."""
    index: dict[str, list[int]] = {}
    text = str.__str__(text)  # plain: each slice of a hidden text would be hidden again, for twice the time
    for start in range(len(text) - _STEP + 1):
        index.setdefault(text[start : start + _STEP], []).append(start)
    return index


def _parts(text: str, index: dict[str, list[int]], secret: str) -> Iterator[Span]:
    """Yield where 16 or more characters are in a row as in *secret*: they have 8 of those that are looked up."""
    hidden = bytearray(len(text))
    tries = 0
    for offset in range(0, len(secret) - _STEP + 1, _STEP):
        for start in index.get(secret[offset : offset + _STEP], ()):
            tries += 1  # also for what is hidden already: a secret that repeats itself meets itself everywhere
            if tries > MAX_TRIES:
                yield 0, len(text)  # too much of it is like the secret to tell what is not
                return
            if hidden[start] and hidden[start + _STEP - 1]:
                continue
            begins, ends = _grown(text, start, secret, offset)
            tries += (ends - begins) // _STEP
            if ends - begins >= MIN_RUN:
                hidden[begins:ends] = b"x" * (ends - begins)
                yield begins, ends


def _grown(text: str, start: int, secret: str, offset: int) -> Span:
    """Return where around *start* the text is as the secret is around *offset*, where 8 characters agree."""
    stop, beyond = start + _STEP, offset + _STEP
    while start > 0 and offset > 0 and text[start - 1] == secret[offset - 1]:
        start, offset = start - 1, offset - 1
    while stop < len(text) and beyond < len(secret) and text[stop] == secret[beyond]:
        stop, beyond = stop + 1, beyond + 1
    return start, stop


def _unescaped(text: str, places: Sequence[int]) -> tuple[str, list[int]]:
    """Return *text* with its escapes resolved, and where each character of that begins in the first text."""
    parts: list[str] = []
    found: list[int] = []
    end = 0
    for escape in re.finditer(_ESCAPE, text):
        parts.append(text[end : escape.start()])
        found.extend(places[end : escape.start()])
        parts.append(_character(escape))
        found.append(places[escape.start()])
        end = escape.end()
    parts.append(text[end:])
    found.extend(places[end:])
    return "".join(parts), found


def _character(escape: re.Match[str]) -> str:
    if escape[6]:
        return "/"
    if escape[5]:
        return chr(int(escape[5]))
    return chr(int(escape[1] or escape[2] or escape[3] or escape[4], 16))
