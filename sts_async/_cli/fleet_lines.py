"""States of a fleet as lines: one for each change of a state, and a summary at intervals."""

from collections.abc import Sequence
from datetime import UTC, datetime

from ..events import IdentityStateChanged
from ..fleet.reports import FailingIdentity, FleetSnapshot
from .output import Output
from .terminal import in_one_line

MAX_FAILING = 10  # identities that a picture names
STATES = ("fresh", "ended", "waiting", "stale", "failing", "paused")


class Lines:
    """
    Display for logs and pipes.

    Attributes:
        seconds: Time between two summaries.
    """

    def __init__(self, output: Output, *, seconds: float) -> None:
        self._output = output
        self.seconds = seconds

    def note(self, text: str) -> None:
        """Write a message with the time."""
        self._output.say(f"{in_one_moment()} {text}\n")

    def changed(self, name: str, event: IdentityStateChanged) -> None:
        """Write a line about a change of state."""
        self.note(change_in_words(name, event))

    def show(self, snapshot: FleetSnapshot, failing: Sequence[tuple[str, FailingIdentity]]) -> None:
        """Write a summary. It does not list the failing identities, because earlier lines report each of them."""
        self.note(summary_of(snapshot))

    def end(self) -> None:
        """Do nothing: all lines are complete."""


def change_in_words(name: str, event: IdentityStateChanged) -> str:
    """Return a change of state as one line, such as ``demo: fresh -> stale: Throttling: Rate exceeded``."""
    if event.before is None:
        return f"{name}: added"
    if event.state is None:
        return f"{name}: removed"
    text = f"{name}: {event.before} -> {event.state}"
    return text if event.error is None else f"{text}: {in_one_line(event.error)}"


def summary_of(snapshot: FleetSnapshot) -> str:
    """Return the counts of a fleet as one line."""
    counts = [f"{count:,} {state}" for state in STATES if (count := getattr(snapshot, state))]
    text = f"{snapshot.kept:,} {plural(snapshot.kept, 'identity')}: {', '.join(counts) or 'none'}"
    text += f"; {sum(budget.sent for budget in snapshot.budgets):,} requests"
    throttled = sum(budget.throttled for budget in snapshot.budgets)
    if throttled:
        text += f", {throttled:,} throttled"
    if snapshot.next_due is not None:
        text += f"; next refresh in {in_time(snapshot.next_due)}"
    if snapshot.restarts:
        text += f"; {snapshot.restarts:,} restarts"
    return text


def in_one_moment(moment: datetime | None = None) -> str:
    """Return a time as ISO 8601 in UTC, such as ``2026-11-26T12:00:00Z``; None for now."""
    return (moment or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def in_time(seconds: float) -> str:
    """Return a duration for people: ``43 s``, ``12 min`` or ``3.5 h``."""
    if abs(seconds) < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if abs(seconds) < 7200 else f"{seconds / 3600:.1f} h"


def plural(count: int, word: str) -> str:
    """Return a word in the singular or plural form that *count* needs."""
    if count == 1:
        return word
    return f"{word[:-1]}ies" if word.endswith("y") else f"{word}s"
