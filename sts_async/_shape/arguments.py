"""Checks of what programs pass in or return: a boolean is not a number, and a number is not a switch."""

import inspect
from datetime import timedelta

from ..errors import ConfigurationError
from .secret import kind_of


def is_whole(value: object, *, least: int = 1, most: int | None = None) -> bool:
    """Say whether *value* is an `int` in a range: True is none, nor is 3.0 or a number of another library."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value and (most is None or value <= most)


def in_seconds(value: float | timedelta) -> float:
    """Return a `timedelta` as its number of seconds, and anything else as it is."""
    return value.total_seconds() if isinstance(value, timedelta) else value


def in_seconds_or_none(value: float | timedelta | None) -> float | None:
    """Do what `in_seconds` does, for a value that may be None."""
    return value.total_seconds() if isinstance(value, timedelta) else value


def is_seconds(value: object) -> bool:
    """Say whether *value* is a finite number of seconds greater than 0."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")


def check_whole(name: str, value: object, *, least: int = 1) -> None:
    """
    Refuse an argument that is not a whole number of at least *least*.

    Raises:
        ConfigurationError: It is not; the message begins with its *name*.
    """
    if not is_whole(value, least=least):
        raise ConfigurationError(f"{name} must be a whole number of at least {least}")


def check_seconds(name: str, value: object) -> None:
    """
    Refuse an argument that is not a number of seconds greater than 0.

    Raises:
        ConfigurationError: It is not; the message begins with its *name*.
    """
    if not is_seconds(value):
        raise ConfigurationError(f"{name} must be a number of seconds greater than 0")


def check_flag(name: str, value: object) -> None:
    """
    Refuse an argument that is neither True nor False.

    Raises:
        ConfigurationError: It is not; the message begins with its *name*.
    """
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name} must be True or False")


def check_arguments(function: object, name: str, *, number: int, called: str) -> None:
    """
    Refuse a function that cannot be called with a *number* of positional arguments.

    Raises:
        ConfigurationError: It cannot; the message begins with its *name* and says how it is *called*.
    """
    try:
        signature = inspect.signature(function)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return  # some functions that are not written in Python do not say what they take
    try:
        signature.bind(*[None] * number)
    except TypeError:
        pass
    else:
        return
    raise ConfigurationError(f"{name} is called {called}, which its parameters do not allow")


def other_than(wanted: str, value: object) -> str:
    """Return what *value* is in place of a *wanted* class: with its module, where another library has the name too."""
    kind = value if isinstance(value, type) else type(value)
    name = kind.__name__ if isinstance(value, type) else kind_of(value)
    if name == kind.__name__ and wanted in name and (name == wanted or kind.__module__ != "builtins"):
        name = f"{kind.__module__}.{name}"
    return name if isinstance(value, type) else "None" if value is None else f"a {name}"


def not_credentials(returned: object) -> str:
    """Return the end of a message about a source that returned something else than `Credentials`."""
    return f"returned {other_than('Credentials', returned)}, not Credentials"
