"""
Where the values of the command line come from, and a parser whose messages repeat none of them.

A token that follows a misspelt option must not end up in a terminal, a log of a build, or a screenshot.
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
_OPTION = r"--[a-z]+(?:-[a-z]+)*"
_HARMLESS = re.compile(
    r"the following arguments are required: [\w, -]+"
    r"|argument [\w-]+: (?:expected (?:one|at least one) argument|must be .+)"
)
"""Messages of `argparse` that repeat nothing that was given."""


class UsageError(ValueError):
    """A value has not the form that its option takes. The text is a message without any value."""


def option_of(name: str) -> str:
    """Return the option for a name of Python."""
    return f"--{name.replace('_', '-')}"


class Parser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong, without any value, and ends with status 2."""

    takes_command = False  # whether it runs a command, which follows --

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        """End with status 2 and one line."""
        if _HARMLESS.fullmatch(message) is None:
            message = self._without_values(message)
        self.end(message)

    def _without_values(self, message: str) -> str:
        found = re.match(r"argument ([\w-]+): (?:(invalid choice: .([\w-]*))|(ignored explicit argument))?", message)
        if found is None:
            return "invalid arguments"
        if found[2]:
            return self._not_among(found[1], found[3])
        return f"{found[1]} takes no value" if found[4] else f"the value of {found[1]} is invalid"

    def _not_among(self, name: str, given: str) -> str:
        """Return that the value of an argument is none of its choices; they are listed if they are few."""
        actions = [action for action in self._actions if name in (*action.option_strings, action.metavar)]
        choices = [choice for action in actions for choice in action.choices or ()]
        if name.startswith("--"):
            return f"{name} must be one of {', '.join(choices)}"
        return f"invalid {name}{meant(given, choices)}"

    def check_options(self, arguments: Sequence[str]) -> None:
        """
        End if an option is unknown, in front of the operation or behind it.

        argparse looks at that last: it takes the value of a misspelt option for the operation, and reports a required
        option as missing that is only misspelt.
        """
        parser, value_follows, many = self, False, False
        for text in arguments:
            name, equals, _ = text.partition("=")
            if text == "--":
                return
            if re.fullmatch(_OPTION, name) and " " not in text:  # argparse takes text with a space for a value
                action = parser._option_string_actions.get(name)
                if action is None:
                    if parser is self:
                        self._check_place(name, arguments)
                    parser.refuse([name])
                value_follows = action.nargs != 0 and (not equals or action.nargs == "+")
                many = action.nargs == "+"
            elif value_follows:
                value_follows = many
            elif parser is self:
                found = self.commands().get(text)
                if found is None:
                    return
                parser = found
            elif parser.takes_command:
                parser.end(f"put the command behind --, as in `{parser.prog} -- COMMAND`")

    def _check_place(self, option: str, arguments: Sequence[str]) -> None:
        """End if *option*, which is no option of ours, is one of the operation that is called."""
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

    def refuse(self, unknown: Sequence[str]) -> NoReturn:
        """End, because of arguments that no option takes. Names of options are shown, anything else is not."""
        names = [name for text in unknown if re.fullmatch(_OPTION, name := text.partition("=")[0])]
        if not names:
            option = any(text.startswith("-") for text in unknown)
            self.end("unrecognized option" if option else "unexpected positional argument")
        self.end(f"unrecognized option {names[0]}{meant(names[0], list(self._option_string_actions))}")

    def _print_message(self, message: str, file: Any = None) -> None:
        """Write help or the version as all output is written. argparse does not notice a full disk."""
        say(message)

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """End with *status*, after a message on standard error."""
        if message:
            complain(message)
        sys.exit(status)

    def end(self, message: str) -> NoReturn:
        """End with a message of our own, in which there is no value."""
        self.exit(2, f"{self.prog}: {message}. Run `{self.prog} --help` for usage.\n")


def meant(given: str, known: Sequence[str]) -> str:
    """Return a question for the name that was most likely meant; nothing if none is near enough, or several are."""
    text = given.lower().replace("_", "-").lstrip("-")
    names = {name.lstrip("-"): name for name in known if _is_negation(name) == _is_negation(given)}
    longer = [name for name in names if len(text) > 2 and name.startswith(text)]
    # Without hyphens in front, which all have, and nearer than by default: --query is not --verify.
    near = difflib.get_close_matches(text, names, 1, cutoff=0.8) or (longer if len(longer) == 1 else [])
    return f" (did you mean {names[near[0]]}?)" if near else ""


def _is_negation(name: str) -> bool:
    """Say whether an option switches something off: it is never meant where the opposite was written."""
    return name.startswith("--no-") and name != "--no-proxy"


def whole_number(text: str) -> int:
    """
    Return the number that *text* states.

    Raises:
        argparse.ArgumentTypeError: It is not a whole number; the message does not repeat it.
    """
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError("must be a whole number")
    return int(text)


class Values:
    """
    The values of one command: literal text, a file, or standard input, which can be read once.

    - ``file://PATH``: the text of a file, without the line break at its end. ``~`` is the home directory.
    - ``fileb://PATH``: the text of a file, exactly. No member of STS is binary, so it must be UTF-8, too.
    - ``-``: as ``file://``, from standard input.

    Source: AWS CLI User Guide, "Loading a parameter from a file".
    """

    def __init__(self) -> None:
        self._taken_by: str | None = None

    def read(self, given: Any, *, option: str, inside: bool = False) -> Any:
        """
        Return the value that *given* stands for.

        Args:
            given: What was given; what is no text stands for itself.
            option: The option that it was given for; messages begin with it.
            inside: Whether it is a part of a structure, where ``-`` is text.

        Raises:
            ValueError: The file cannot be read, it is not text in UTF-8 of at most 256 KiB, or standard input has been
                read already.
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
    """Return what is in a file, a pipe or a device, of which no more is read than a value may have."""
    data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"{what} is larger than {MAX_BYTES:,} bytes")
    text = attempt(UnicodeDecodeError, data.decode, "utf-8")
    if text is None:
        raise ValueError(f"{what} is not text in UTF-8")
    return text
