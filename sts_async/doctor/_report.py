"""The report of an examination: its rows, and what each source of credentials said."""

import attrs

from .._wording.printable import printable
from ..credentials.chain import Finding

NAME_WIDTH = 18  # characters


@attrs.frozen
class Row:
    """
    One line of a report.

    Attributes:
        name: Subject of the line, such as ``region``.
        text: The value that was found, and its origin. Nothing secret.
        wrong: Whether a call would fail because of it.
    """

    name: str
    text: str
    wrong: bool = False


@attrs.frozen(kw_only=True)
class Report:
    """
    What a call would use. Printed, it is a table; nothing in it is secret.

    Attributes:
        rows: The lines, in the order in which a call needs their subjects.
        findings: What each source of credentials said, in the order of the chain; empty if no source was asked.
    """

    rows: tuple[Row, ...]
    findings: tuple[Finding, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether a call has all that it needs. Only a check asks STS whether it accepts the credentials."""
        return not any(row.wrong for row in self.rows)

    def row(self, name: str) -> Row | None:
        """Return the first line with this subject, or None if there is none."""
        return next((row for row in self.rows if row.name == name), None)

    def __str__(self) -> str:
        lines = [f"{row.name:<{NAME_WIDTH}}{'WRONG: ' if row.wrong else ''}{row.text}" for row in self.rows]
        return "\n".join(map(printable, lines))


@attrs.define
class Cause:
    """
    Why the profile cannot be read. One line says it, and other lines refer to that line.

    Attributes:
        text: The reason; empty if the profile can be read.
        row: Name of the line that says it; empty until there is one.
    """

    text: str
    row: str = ""

    def referred(self, text: str) -> str:
        """Return *text*, or a reference to the line with the cause if *text* only repeats it."""
        return f"see {self.row} above" if self.text and self.text in text else text
