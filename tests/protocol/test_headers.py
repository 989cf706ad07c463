"""Headers that are added to a request: which are let through."""

from typing import Any

import pytest

from sts_async._protocol.headers import MAX_VALUE, OWN_HEADERS, checked_headers
from sts_async.errors import ConfigurationError


def test_names_are_in_lower_case_and_values_are_hidden() -> None:
    """A later one of the same name wins; what a traceback or a `repr` shows has no value."""
    checked = checked_headers({"X-A": "1", "X-API-Key": "SENTINEL", "x-a": "2", "x-empty": ""})

    assert checked == {"x-a": "2", "x-api-key": "SENTINEL", "x-empty": ""}
    assert "SENTINEL" not in repr(checked)


@pytest.mark.parametrize("name", sorted(OWN_HEADERS))
def test_headers_of_the_library_cannot_be_added(name: str) -> None:
    """T5: in whatever case."""
    for written in (name, name.upper(), name.title()):
        with pytest.raises(ConfigurationError, match="is reserved for the library"):
            checked_headers({written: "x"})


@pytest.mark.parametrize(
    "name", ["", "a b", "a:b", "x-a\r\nx-b", "x-\xe9", "x-a\0", "x" * 129, 1, None, b"x-a"], ids=repr
)
def test_an_invalid_name_is_an_error(name: Any) -> None:
    """T5."""
    with pytest.raises(ConfigurationError, match="is not the name of a header"):
        checked_headers({name: "SENTINEL"})


@pytest.mark.parametrize(
    "value", ["SENTINEL\r\nX-Evil: 1", "SENTINEL\0", "\xe9", "\x7f", "x" * (MAX_VALUE + 1), 1, None, b"x"]
)
def test_an_invalid_value_is_an_error_that_does_not_show_it(value: Any) -> None:
    """T5."""
    with pytest.raises(
        ConfigurationError, match=r"value of x-a (contains characters that are invalid|has more than)"
    ) as caught:
        checked_headers({"x-a": value})

    frames = caught.traceback[-1].locals
    assert "SENTINEL" not in str(caught.value) + repr(frames.get("headers")) + repr(frames.get("checked"))


@pytest.mark.parametrize("headers", [None, "x-a: 1", [("x-a", "1")], 5], ids=repr)
def test_other_objects_than_a_mapping_are_an_error(headers: Any) -> None:
    with pytest.raises(ConfigurationError, match="headers must be a mapping of names to values, not a"):
        checked_headers(headers)
