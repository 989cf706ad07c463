"""
Checks of arguments and of values that a program's functions return.

A boolean does not count as a number, nor a number as a boolean.
"""

import inspect
from datetime import timedelta

from ..errors import ConfigurationError
from .secret import kind_of


def is_whole(value: object, *, least: int = 1, most: int | None = None) -> bool:
    """
    Return True if *value* is an `int` in a range.

    True, 3.0 and the number types of other libraries do not count.

    Args:
        value: The value.
        least: The minimum.
        most: The maximum; None for no maximum.
    """
    return isinstance(value, int) and not isinstance(value, bool) and least <= value and (most is None or value <= most)


def in_seconds(value: float | timedelta) -> float:
    """Return a `timedelta` as a number of seconds, and other values unchanged."""
    return value.total_seconds() if isinstance(value, timedelta) else value


def in_seconds_or_none(value: float | timedelta | None) -> float | None:
    """Return a `timedelta` as a number of seconds, and other values, such as None, unchanged."""
    return value.total_seconds() if isinstance(value, timedelta) else value


def is_seconds(value: object) -> bool:
    """Return True if *value* is a finite number of seconds greater than 0."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")


def check_whole(name: str, value: object, *, least: int = 1) -> None:
    """
    Check that an argument is a whole number of at least *least*.

    Raises:
        ConfigurationError: It is not. The message begins with *name*.
    """
    if not is_whole(value, least=least):
        raise ConfigurationError(f"{name} must be a whole number of at least {least}")


def check_seconds(name: str, value: object) -> None:
    """
    Check that an argument is a number of seconds greater than 0.

    Raises:
        ConfigurationError: It is not. The message begins with *name*.
    """
    if not is_seconds(value):
        raise ConfigurationError(f"{name} must be a number of seconds greater than 0")


def check_flag(name: str, value: object) -> None:
    """
    Check that an argument is True or False.

    Raises:
        ConfigurationError: It is not. The message begins with *name*.
    """
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name} must be True or False")


def check_arguments(function: object, name: str, *, number: int, called: str) -> None:
    """
    Check that a function can be called with *number* positional arguments.

    Args:
        function: The function.
        name: Its name, for messages.
        number: The number of arguments.
        called: A description of the call, for messages.

    Raises:
        ConfigurationError: It cannot be called so.
    """
    try:
        signature = inspect.signature(function)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return  # some functions of extension modules have no signature
    try:
        signature.bind(*[None] * number)
    except TypeError:
        pass
    else:
        return
    raise ConfigurationError(f"{name} is called {called}, which its parameters do not allow")


def other_than(wanted: str, value: object) -> str:
    """
    Return a description of *value*, which is not of the class *wanted*, for messages.

    It includes the module if the name of the class resembles *wanted*, as another library's class can.
    """
    kind = value if isinstance(value, type) else type(value)
    name = kind.__name__ if isinstance(value, type) else kind_of(value)
    if name == kind.__name__ and wanted in name and (name == wanted or kind.__module__ != "builtins"):
        name = f"{kind.__module__}.{name}"
    return f"the class {name}" if isinstance(value, type) else "None" if value is None else f"a {name}"


def not_credentials(returned: object) -> str:
    """Return the end of a message about a source that returned another type than `Credentials`."""
    return f"returned {other_than('Credentials', returned)}, not Credentials"
