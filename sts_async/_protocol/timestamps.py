"""
Parser of times in responses, documents, token files, headers and environment variables.

The same time is written in many forms: ``date +%FT%T%z`` has an offset without a colon, SigV4 has no separators, token
files have ``UTC``, and some services send seconds. The results equal those of botocore, with deliberate exceptions for
texts that botocore can misread:

- A time without a zone is UTC. botocore returns it without a zone, and fails later.
- A date without a time of day, a week date, and a zone name other than UTC, GMT or Z are errors. botocore takes the
  missing parts from today's date, and ignores an unknown zone name.
- Seconds in text are plain decimal digits: no exponent, no ``inf``, no ``nan``, no ``_``.

Source: botocore, `utils.parse_timestamp`; RFC 9110, section 5.6.7, for the forms of HTTP.
"""

import contextlib
import math
import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from .._shape.secret import attempt

MAX_CHARACTERS = 64  # of a time as text; the longest valid form has about 40
MAX_SECONDS = 400_000_000_000  # s before or after 1970; larger than the range of years 1 to 9999
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Strings: `re` compiles them on first use and caches them.
_ISO_8601 = (
    r"(?a)(\d{4})(-?)(\d\d)\2(\d\d)[Tt ](\d\d)(:?)(\d\d)(?:\6(\d\d)(?:[.,](\d+))?)?"
    r"(?: ?(?:[Zz]|UTC|GMT|([+-])(\d\d)(?::?(\d\d))?))?"
)
_SECONDS = r"(?a)(-?)(\d{1,15})(?:\.(\d+))?"
# RFC 1123, RFC 850 and asctime with or without a zone. `parsedate_to_datetime` would guess other forms.
_WRITTEN_OUT = (
    r"(?a)(?:[A-Za-z]{3,9},? )?(?:\d{1,2}[ -][A-Za-z]{3}[ -](?:\d{4}|\d\d)|[A-Za-z]{3} [ \d]?\d) \d\d:\d\d(?::\d\d)?"
    r"(?: (?:GMT|UTC?|Z|[+-]\d{4}))?(?: \d{4})?"
)


def timestamp(value: object, *, milliseconds: bool = False) -> datetime:
    """
    Return the time in *value*, in UTC. Digits beyond microseconds are dropped.

    Args:
        value: A time in the extended or basic form of ISO 8601, an HTTP date, or a number of seconds since 1970, as a
            number or as text.
        milliseconds: Whether a number is in milliseconds instead of seconds.

    Raises:
        ValueError: *value* has another form, or the time does not exist. The message does not quote it.
    """
    # The forms of almost every response and cache entry, read without further calls. Only these forms have 20 or 27
    # characters with these separators; `fromisoformat` alone would read other forms, too.
    if (
        isinstance(value, str)
        and (len(value) == 20 or (len(value) == 27 and value.startswith(".", 19)))
        and value.endswith("Z")
        and value.startswith("T", 10)
        and value.startswith("-", 4)
        and value.startswith("-", 7)
    ):
        with contextlib.suppress(ValueError):
            return datetime.fromisoformat(value)
    found = attempt((ValueError, OverflowError, IndexError, TypeError), _read, value, milliseconds=milliseconds)
    if found is None:
        raise ValueError("not a time")
    return found


def _read(value: object, *, milliseconds: bool) -> datetime | None:
    if isinstance(value, str):
        return _read_text(value, milliseconds=milliseconds)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _since_epoch(value, milliseconds=milliseconds)
    return None


def _read_text(text: str, *, milliseconds: bool) -> datetime | None:
    text = text[: MAX_CHARACTERS + 1].strip()
    if len(text) > MAX_CHARACTERS:
        return None
    if not text[:1].isalpha():  # a `Date` header begins with a weekday, and many programs read no other text
        if found := re.fullmatch(_ISO_8601, text):
            return _iso_8601(found)
        if found := re.fullmatch(_SECONDS, text):
            return _digits(found, milliseconds=milliseconds)
    if re.fullmatch(_WRITTEN_OUT, text):
        when = parsedate_to_datetime(text)
        return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    return None


def _iso_8601(found: re.Match[str]) -> datetime:
    year, _, month, day, hour, _, minute, second, fraction, sign, offset_hours, offset_minutes = found.groups()
    microsecond = int(fraction[:6].ljust(6, "0")) if fraction else 0
    when = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second or 0), microsecond, UTC)
    if sign is None:
        return when
    offset = timedelta(hours=int(offset_hours), minutes=int(offset_minutes or 0))
    if offset >= timedelta(days=1):
        raise ValueError("no such offset")
    return when + offset if sign == "-" else when - offset


def _digits(found: re.Match[str], *, milliseconds: bool) -> datetime:
    sign, whole, fraction = found.groups()
    microseconds = int(f"{whole}{(fraction or '')[:6].ljust(6, '0')}") // (1000 if milliseconds else 1)
    return EPOCH + timedelta(microseconds=-microseconds if sign else microseconds)


def _since_epoch(number: float, *, milliseconds: bool) -> datetime | None:
    seconds = number / 1000 if milliseconds else number
    if not math.isfinite(seconds) or abs(seconds) > MAX_SECONDS:
        return None
    return EPOCH + timedelta(seconds=seconds)
