"""
Values of the command line, and a parser with messages that never repeat a value.

A token after a misspelt option must not appear in a terminal, a build log, or a screenshot.
"""

import argparse
import difflib
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

from .._shape.secret import attempt
from .terminal import complain, say

MAX_BYTES = 256 * 1024  # of a value from a file or standard input; the longest member of STS has 100,000 characters
MAX_COUNT = 100_000
_OPTION = r"--[a-z]+(?:-[a-z]+)*"
_HARMLESS = re.compile(
    r"the following arguments are required: [\w, /-]+"
    r"|argument [\w/-]+: (?:expected (?:one|at least one) argument|must be .+)"
)
"""Messages of `argparse` that do not repeat an argument."""


class UsageError(ValueError):
    """A value of an option has the wrong form. The message contains no value."""


def option_of(name: str) -> str:
    """Return the option for a Python name."""
    return f"--{name.replace('_', '-')}"


class Parser(argparse.ArgumentParser):
    """
    A parser with one-line errors that contain no value. Errors end the process with status 2.

    Attributes:
        takes_command: Whether a command can follow ``--``.
        positionals: Number of arguments before ``--`` that are no options.
    """

    takes_command = False
    positionals = 0

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        """End the process with status 2 and a one-line message."""
        if _HARMLESS.fullmatch(message) is None:
            message = self._without_values(message)
        self.end(message)

    def _without_values(self, message: str) -> str:
        found = re.match(r"argument ([\w/-]+): (?:(invalid choice: .([\w-]*))|(ignored explicit argument))?", message)
        if found is None:
            return "invalid arguments"
        if found[2]:
            return self._invalid_choice(found[1], found[3])
        return f"{found[1]} takes no value" if found[4] else f"the value of {found[1]} is invalid"

    def _invalid_choice(self, name: str, given: str) -> str:
        """Return the message about an invalid choice: an option lists its choices, the operation suggests one."""
        actions = [action for action in self._actions if name in (*action.option_strings, action.metavar)]
        choices = [choice for action in actions for choice in action.choices or ()]
        if name.startswith("--"):
            return f"{name} must be one of {', '.join(choices)}"
        return f"invalid {name}{suggestion(given, choices)}"

    def check_options(self, arguments: Sequence[str]) -> None:
        """
        End the process if an option is unknown, before or after the operation.

        argparse checks this last. It would take the value of a misspelt option as the operation, and report a misspelt
        option as missing if it is required.
        """
        parser, value_follows, many, positionals = self, False, False, 0
        for text in arguments:
            name, equals, _ = text.partition("=")
            if text == "--":
                return
            if re.fullmatch(_OPTION, name) and " " not in text:  # for argparse, text with a space is a value
                action = parser._option_string_actions.get(name)
                if action is None:
                    if parser is self:
                        self._check_position(name, arguments)
                    parser.reject([name])
                value_follows = action.nargs != 0 and (not equals or action.nargs == "+")
                many = action.nargs == "+"
            elif value_follows:
                value_follows = many
            elif parser is self:
                found = self.commands().get(text)
                if found is None:
                    return
                parser = found
            elif positionals < parser.positionals:
                positionals += 1
            elif parser.takes_command:
                names = " NAME" * parser.positionals
                parser.end(f"write the command after --, as in `{parser.prog}{names} -- COMMAND`")

    def _check_position(self, option: str, arguments: Sequence[str]) -> None:
        """End the process if *option*, which is before the operation, belongs to the operation."""
        commands = self.commands()
        for name in arguments:
            if name in commands and option in commands[name]._option_string_actions:
                self.end(f"{option} is an option of {name}: write it after {name}")

    def command(self, name: str) -> "Parser":
        """Return the parser of a command."""
        return self.commands()[name]

    def commands(self) -> "dict[str, Parser]":
        """Return the parsers of the commands."""
        found = (action.choices for action in self._actions if isinstance(action.choices, dict))
        return next(found, {})

    def reject(self, unknown: Sequence[str]) -> NoReturn:
        """End the process because of unknown arguments. The message shows names of options, but no values."""
        names = [name for text in unknown if re.fullmatch(_OPTION, name := text.partition("=")[0])]
        if not names:
            option = any(text.startswith("-") for text in unknown)
            self.end("unrecognized option" if option else "unexpected positional argument")
        self.end(f"unrecognized option {names[0]}{suggestion(names[0], list(self._option_string_actions))}")

    def _print_message(self, message: str, file: Any = None) -> None:
        """Write help or the version to standard output. argparse itself would ignore a full disk."""
        say(message)

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Write a message to standard error, and end the process with *status*."""
        if message:
            complain(message)
        sys.exit(status)

    def end(self, message: str) -> NoReturn:
        """End the process with status 2 and *message*, which must not contain a value."""
        self.exit(2, f"{self.prog}: {message}. Run `{self.prog} --help` for usage.\n")


def suggestion(given: str, known: Sequence[str]) -> str:
    """Return ``(did you mean NAME?)`` for the most similar name, or nothing if no name or several are similar."""
    text = given.lower().replace("_", "-").lstrip("-")
    names = {name.lstrip("-"): name for name in known if _is_negation(name) == _is_negation(given)}
    longer = [name for name in names if len(text) > 2 and name.startswith(text)]
    # Leading hyphens do not count, and the cutoff is higher than the default, under which --query resembles --verify.
    near = difflib.get_close_matches(text, names, 1, cutoff=0.8) or (longer if len(longer) == 1 else [])
    return f" (did you mean {names[near[0]]}?)" if near else ""


def _is_negation(name: str) -> bool:
    """Return True if an option disables something. It is never suggested for a positive option."""
    return name.startswith("--no-") and name != "--no-proxy"


def whole_number(text: str) -> int:
    """
    Return *text* as an integer.

    Raises:
        argparse.ArgumentTypeError: *text* is not a whole number. The message does not repeat it.
    """
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError("must be a whole number")
    return int(text)


def count(text: str) -> int:
    """
    Return *text* as a number of things, 1 to 100,000.

    Raises:
        argparse.ArgumentTypeError: *text* is not such a number. The message does not repeat it.
    """
    if not (re.fullmatch(r"[0-9]{1,6}", text) and 0 < int(text) <= MAX_COUNT):
        raise argparse.ArgumentTypeError(f"must be 1 to {MAX_COUNT}")
    return int(text)


class Values:
    """
    Reader for the values of one command: literal text, files, or standard input, which only one option can use.

    - ``file://PATH``: the text of a file, without the line break at its end. ``~`` is the home directory.
    - ``fileb://PATH``: the exact text of a file. It must be UTF-8 too, because no member of STS is binary.
    - ``-``: standard input, without the line break at its end.

    Source: AWS CLI User Guide, "Loading a parameter from a file".
    """

    def __init__(self) -> None:
        self._taken_by: str | None = None

    def read(self, given: Any, *, option: str, inside: bool = False) -> Any:
        """
        Return the value of an argument.

        Args:
            given: The argument. Other objects than text are returned unchanged.
            option: The option; messages begin with it.
            inside: Whether the argument is a part of a structure, where ``-`` is literal text.

        Raises:
            ValueError: The file cannot be read, it is not UTF-8 text of at most 256 KiB, or another option has already
                read standard input.
        """
        if not isinstance(given, str):
            return given
        if given == "-" and not inside:
            return self._standard_input(option).rstrip("\r\n")
        for scheme in ("file://", "fileb://"):
            if given.startswith(scheme):
                path = Path(os.path.expanduser(given.removeprefix(scheme)))  # noqa: PTH111 - `Path` raises without a home
                what = f"{option}: {str(path)!r}"
                try:
                    with path.open("rb") as stream:
                        text = _text_of(stream, what=what)
                except OSError as error:
                    raise ValueError(f"{what}: {error.strerror or type(error).__name__}") from None
                return text if scheme == "fileb://" else text.rstrip("\r\n")
        return given

    def _standard_input(self, option: str) -> str:
        if self._taken_by is not None:
            raise ValueError(f"standard input is already used by another option: use file://PATH for {option}")
        self._taken_by = option
        if sys.stdin is None:
            raise ValueError(f"{option}: standard input is closed")
        return _text_of(sys.stdin.buffer, what=f"{option}: standard input")


def _text_of(stream: IO[bytes], *, what: str) -> str:
    """Return the text of a file, a pipe or a device. At most `MAX_BYTES` + 1 are read."""
    data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"{what} is larger than {MAX_BYTES:,} bytes")
    text = attempt(UnicodeDecodeError, data.decode, "utf-8")
    if text is None:
        raise ValueError(f"{what} is not text in UTF-8")
    return text
