"""Times in every form that servers and scripts write, with botocore as the oracle."""

from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from functools import partial
from typing import Any

import pytest
from botocore.utils import parse_timestamp
from dateutil.parser import isoparse
from hypothesis import example, given
from hypothesis import strategies as st

from sts_async._protocol.timestamps import MAX_SECONDS, _read_text, timestamp
from sts_async._shape.secret import attempt

EXPECTED = datetime(2035, 1, 1, tzinfo=UTC)
ZONES = st.none() | st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@pytest.mark.parametrize(
    "value",
    [
        *("2035-01-01T00:00:00Z", "2035-01-01T00:00:00z", "2035-01-01t00:00:00Z", "2035-01-01 00:00:00Z"),
        *("2035-01-01T00:00:00+0000", "2035-01-01T00:00:00-0000", "2035-01-01T01:00:00+01", "2034-12-31T19:00:00-0500"),
        *("2035-01-01T00:00:00UTC", "2035-01-01 00:00:00 UTC", "2035-01-01T00:00:00 GMT", "2035-01-01T00:00:00GMT"),
        *("20350101T000000Z", "20350101T000000+0000", "20350101T000000", "2035-01-01T00:00:00", "2035-01-01T00:00Z"),
        *("2035-01-01T00:00:00.000000000Z", "2035-01-01T00:00:00.0Z", "2035-01-01T00:00:00,000Z"),
        *(2051222400, 2051222400.0, "2051222400", "2051222400.0", " 2051222400\n"),
        *("Mon, 01 Jan 2035 00:00:00 GMT", "Mon, 1 Jan 2035 00:00:00 +0000", "01 Jan 2035 00:00:00 GMT"),
        *("Mon, 01 Jan 2035 01:00:00 +0100", "Monday, 01-Jan-35 00:00:00 GMT", "Mon Jan  1 00:00:00 2035"),
        *("Mon Jan  1 00:00:00 UTC 2035", "1 Jan 2035 00:00 UTC"),
    ],
    ids=repr,
)
def test_a_time_is_read_in_every_form_that_is_in_use(value: Any) -> None:
    """B11: `date +%FT%T%z` writes an offset without a colon; where botocore finds a zone, it finds the same instant."""
    theirs = parse_timestamp(value)

    assert timestamp(value) == EXPECTED
    assert timestamp(value).tzinfo is UTC
    assert (theirs if theirs.tzinfo else theirs.replace(tzinfo=UTC)) == EXPECTED


@pytest.mark.parametrize("value", [2_051_222_400_000, "2051222400000", 2_051_222_400_000.0, "2035-01-01T00:00:00Z"])
def test_a_number_counts_milliseconds_where_the_field_does(value: Any) -> None:
    """B11: as in the access portal's answers."""
    assert timestamp(value, milliseconds=True) == EXPECTED


@given(
    when=st.datetimes(datetime(1970, 1, 2), datetime(9998, 12, 30), timezones=ZONES),
    day=st.sampled_from(["%Y-%m-%d", "%Y%m%d"]),
    between=st.sampled_from(["T", "t", " "]),
    colons=st.booleans(),
    fraction=st.text("0123456789", max_size=9),
    zone=st.sampled_from(["Z", "z", "UTC", " UTC", "GMT", "%z", "%:z", "hours", ""]),
)
@example(datetime(2035, 1, 1), "%Y-%m-%d", "T", True, "", "hours")
def test_whatever_botocore_reads_is_read_alike(
    when: datetime, day: str, between: str, colons: bool, fraction: str, zone: str
) -> None:
    """B11: any ISO 8601 form, precision and zone; without a zone it is UTC."""
    day = day if when.year >= 1000 else "%Y-%m-%d"
    text = when.strftime(f"{day}{between}{'%H:%M:%S' if colons else '%H%M%S'}")
    text += f".{fraction}" if fraction else ""
    offset = when.strftime("%z")
    text += {"%z": offset, "%:z": offset and f"{offset[:3]}:{offset[3:]}", "hours": offset[:3]}.get(zone, zone)
    try:
        theirs = parse_timestamp(text)
    except ValueError:  # its parser knows fewer combinations than its forms allow
        return

    theirs = theirs if theirs.tzinfo else theirs.replace(tzinfo=UTC)
    assert abs(timestamp(text) - theirs) < timedelta(microseconds=1)


@given(st.integers(-(10**9), 10**11) | st.floats(-1e9, 1e11))
def test_a_number_is_read_as_in_botocore(number: float) -> None:
    """B11: seconds since 1970, as a number and as text."""
    theirs = parse_timestamp(number)

    assert abs(timestamp(number) - theirs) <= timedelta(microseconds=1)
    if "e" not in str(number):
        assert abs(timestamp(str(number)) - theirs) <= timedelta(milliseconds=1)  # a float has no more digits


@given(st.datetimes(datetime(1970, 1, 2), datetime(9998, 12, 30), timezones=st.just(UTC)), st.booleans())
def test_an_http_date_is_read_as_in_botocore(when: datetime, usegmt: bool) -> None:
    """B11: RFC 822 in answers and documents."""
    text = format_datetime(when, usegmt=usegmt)

    assert timestamp(text) == parse_timestamp(text) == when.replace(microsecond=0)


@given(
    when=st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 30), timezones=ZONES),
    form=st.sampled_from(["auto", "seconds", "milliseconds", "microseconds"]),
)
def test_a_time_is_read_as_by_another_parser(when: datetime, form: str) -> None:
    """F50: any precision, any offset; without one it is UTC, as botocore takes it."""
    text = when.isoformat(timespec=form)
    theirs = isoparse(text)

    assert timestamp(text) == (theirs if theirs.tzinfo else theirs.replace(tzinfo=UTC))
    assert timestamp(text).tzinfo is UTC


@given(
    when=st.datetimes(datetime(1, 1, 1)),
    digits=st.text("0123456789", min_size=1, max_size=9),
    zone=st.sampled_from(["Z", "z", "", "+00:00", "-00:00"]),
    between=st.sampled_from("Tt "),
)
def test_digits_beyond_microseconds_are_cut(when: datetime, digits: str, zone: str, between: str) -> None:
    """F50: some servers send nanoseconds; rounding could make it a second later."""
    text = f"{when.isoformat(sep=between, timespec='seconds')}.{digits}{zone}"
    expected = when.replace(microsecond=int(f"{digits}000000"[:6]), tzinfo=UTC)

    assert timestamp(text) == expected


@given(
    text=st.sampled_from(["2035-01-01T00:00:00Z", "2035-01-01T00:00:00.123456Z"]),
    changes=st.lists(st.tuples(st.integers(0, 26), st.sampled_from("0159:.,+-Zz T\u0661")), max_size=9),
)
@example("2035-01-01T00:00:00.123456Z", [(25, " ")])
def test_the_shortcut_reads_the_same_texts_as_the_whole_grammar(text: str, changes: list[tuple[int, str]]) -> None:
    """B11: `fromisoformat` alone reads other forms, too."""
    for place, character in changes:
        text = text[:place] + character + text[place + 1 :] if place < len(text) else text
    try:
        found = timestamp(text)
    except ValueError:
        found = None

    assert found == attempt((ValueError, OverflowError), partial(_read_text, milliseconds=False), text)


DELIBERATE = {
    "a date alone": "2035-01-01",
    "a year": "2035/01/01 00:00:00",
    "a zone by name": "2035-01-01T00:00:00EST",
    "an unknown zone": "2035-01-01T00:00:00XYZ",
    "a zone by name in words": "Mon, 01 Jan 2035 00:00:00 EST",
    "an hour alone": "2035-01-01T00Z",
    "an exponent": "2e9",
    "digits with underscores": "2_051_222_400",
    "twelve hours": "2035-01-01T12:00:00 AM",
}


@pytest.mark.filterwarnings("ignore::dateutil.parser.UnknownTimezoneWarning")
@pytest.mark.parametrize("text", DELIBERATE.values(), ids=DELIBERATE)
def test_a_text_that_botocore_guesses_is_an_error(text: str) -> None:
    """B11: the deliberate exceptions."""
    assert parse_timestamp(text)
    with pytest.raises(ValueError, match=r"^not a time$"):
        timestamp(text)


@pytest.mark.parametrize(
    "value",
    [
        *("", "Z", "now", "2026-01-01", "2026-W47-6", "2026-W47-6T00:00:00Z", "2026-01-0100:00:00Z"),
        *("2026-01-01T00:00:60Z", "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z", "2026-01T00:00:00Z"),
        *("2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "0000-01-01T00:00:00Z", "2026-00-01T00:00:00Z"),
        *("2026-01-01T00:00:00.Z", "2026-01-01T00:00:00:00Z", "2026-01-01T00:00:00ZZ"),
        *("2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00+1", "2026-01-01T00:00:00+", "2026-01-01T00:0000Z"),
        *("-2026-01-01T00:00:00Z", "12026-01-01T00:00:00Z", "2026-0101T00:00:00Z", "202601-01T00:00:00Z"),
        *("\u0662026-01-01T00:00:00Z", "202\uff16-01-01T00:00:00Z", "2026-01-01T00:00:00.\u0661Z"),
        *("0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01", "1" * 16, "inf", "nan", "1e999", "Infinity"),
        *(None, True, False, [], {}, b"2026-01-01T00:00:00Z", 1 << 70, -(1 << 70), 10**4000, 1e300, 1e999, -1e999),
        *(float("nan"), MAX_SECONDS, -MAX_SECONDS, "Thu, 99 Jan 2026 00:00:00 GMT", "yesterday at 00:00:00 GMT"),
        *("Thu, 01 Foo 2026 00:00:00 GMT", "x" * 100_000, " " * 100_000, "1" * 100_000, "[" * 100_000),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_an_ambiguous_text_is_not_a_time(value: Any) -> None:
    """F50: the built-in parser takes week dates and naive times, and a server that sends those is not STS."""
    with pytest.raises(ValueError, match=r"^not a time$"):
        timestamp(value)


@given(st.text() | st.text("0123456789-:.TZ+ ,", max_size=30) | st.floats() | st.integers() | st.none())
def test_any_value_is_a_time_or_a_value_error_without_it(value: Any) -> None:
    """T15: the errors of the readers below quote what they cannot read."""
    found: datetime | None = None
    failure: ValueError | None = None
    try:
        found = timestamp(value)
    except ValueError as error:
        failure = error

    if found is not None:
        assert found.tzinfo is UTC
    else:
        assert (str(failure), failure and failure.__context__) == ("not a time", None)
