"""States of a fleet as a live table at a terminal. Needs the package rich: ``sts-async[fleet]``."""

import sys
from collections import deque
from collections.abc import Sequence
from functools import partial

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table as Grid
from rich.text import Text

from ..events import IdentityStateChanged
from ..fleet.reports import BudgetUse, FailingIdentity, FleetSnapshot
from .fleet_lines import STATES, change_in_words, in_one_moment, in_time
from .output import Output
from .terminal import OutputLost, in_one_line

SECONDS = 0.5  # between two pictures
MANY = 10_000  # identities, above which a picture is drawn every `SECONDS_OF_MANY`
SECONDS_OF_MANY = 5.0
MAX_CHANGES = 6
STYLES = {
    "fresh": "green",
    "ended": "magenta",
    "waiting": "cyan",
    "stale": "yellow",
    "failing": "red",
    "paused": "blue",
}


class Table:
    """
    Display with a live table. It is drawn by the thread of *output*.

    Attributes:
        seconds: Time between two pictures.
    """

    def __init__(self, output: Output, *, title: str, console: Console | None = None) -> None:
        self._output = output
        self._title = title
        self._changes: deque[str] = deque(maxlen=MAX_CHANGES)
        self._live = Live(
            console=console or Console(file=sys.stdout),
            auto_refresh=False,
            redirect_stdout=False,
            # rich would write standard error to standard output, also if it is a file.
            redirect_stderr=sys.stderr is not None and sys.stderr.isatty(),
        )
        self._stopped = False
        self.seconds = SECONDS

    def note(self, text: str) -> None:
        """Show a message among the latest changes."""
        self._changes.append(f"{in_one_moment()} {text}")

    def changed(self, name: str, event: IdentityStateChanged) -> None:
        """Show a change of state among the latest changes."""
        self.note(change_in_words(name, event))

    def show(self, snapshot: FleetSnapshot, failing: Sequence[tuple[str, FailingIdentity]]) -> None:
        """Draw a picture."""
        self.seconds = SECONDS_OF_MANY if snapshot.kept > MANY else SECONDS
        self._output.draw(partial(self._draw, picture_of(self._title, snapshot, failing, [*self._changes])))

    def end(self) -> None:
        """Leave the last picture at the terminal, and show the cursor again."""
        self._output.call(self._stop)

    def _draw(self, picture: RenderableType) -> None:
        """Draw a picture. It blocks, so the thread of the output calls it."""
        if self._stopped:
            return
        if not self._live.console.is_terminal:
            # The terminal was closed. rich would then draw nothing, and raise no error.
            raise OutputLost("the terminal was closed")
        try:
            self._live.start()
            self._live.update(picture, refresh=True)
            return
        except OSError as error:
            reason = error.strerror or type(error).__name__
        except SystemExit:  # rich raises it if the terminal is closed
            reason = ""
        raise OutputLost(reason)

    def _stop(self) -> None:
        self._stopped = True
        try:
            self._live.stop()
        except (OSError, SystemExit):
            return  # the terminal was closed


def picture_of(
    title: str,
    snapshot: FleetSnapshot,
    failing: Sequence[tuple[str, FailingIdentity]],
    changes: Sequence[str],
) -> RenderableType:
    """
    Return the picture of a fleet.

    Args:
        title: The file of roles.
        snapshot: The state of the fleet.
        failing: The first of its identities that fail, with their names.
        changes: The latest changes, oldest first.
    """
    parts: list[RenderableType] = [_progress(snapshot), _counts(snapshot)]
    if snapshot.budgets:
        parts.append(_budgets(snapshot.budgets))
    if failing:
        parts.append(_failing(failing, total=snapshot.stale + snapshot.failing))
    if changes:
        parts.append(Text("\n".join(changes), style="dim", no_wrap=True, overflow="ellipsis"))
    return Panel(Group(*parts), title=Text(f"sts-async fleet: {title}"), title_align="left")


def _progress(snapshot: FleetSnapshot) -> RenderableType:
    """Return the share of identities with credentials as a bar."""
    ready, total = snapshot.fresh + snapshot.stale, snapshot.kept + snapshot.on_demand
    grid = Grid.grid(padding=(0, 1))
    grid.add_row(
        ProgressBar(total=max(total, 1), completed=ready, width=30),
        Text(f"{ready:,} of {total:,} have credentials"),
    )
    times = {"next refresh": snapshot.next_due, "first end": snapshot.soonest_end}
    told = [f"{name} in {in_time(seconds)}" for name, seconds in times.items() if seconds is not None]
    return Group(grid, Text(", ".join(told), style="dim")) if told else grid


def _counts(snapshot: FleetSnapshot) -> RenderableType:
    found = {state: getattr(snapshot, state) for state in STATES}
    counts = [(f"{count:,} {state}  ", STYLES[state]) for state, count in found.items() if count]
    counts.append((f"{snapshot.refreshing:,} being fetched, {snapshot.queued:,} queued", "dim"))
    return Text.assemble(*counts)


def _budgets(budgets: Sequence[BudgetUse]) -> RenderableType:
    grid = _grid("account and region", "allowed/s", "limit", "sent", "throttled")
    for budget in budgets:
        style = "yellow" if budget.throttled else ""
        grid.add_row(
            Text(in_one_line(budget.scope or "not signed")),
            f"{budget.rate:.1f}",
            f"{budget.limit:g}",
            f"{budget.sent:,}",
            Text(f"{budget.throttled:,}", style=style),
        )
    return grid


def _failing(failing: Sequence[tuple[str, FailingIdentity]], *, total: int) -> RenderableType:
    grid = _grid("identity", "state", "error", "since", "next try", "failures")
    for name, one in failing:
        grid.add_row(
            Text(name),
            Text(one.state, style=STYLES[one.state]),
            Text(one.code or type(one.error).__name__),
            in_one_moment(one.since)[11:],
            "-" if one.next_try is None else in_one_moment(one.next_try)[11:],
            f"{one.failures:,}",
        )
    more = total - len(failing)
    return Group(grid, Text(f"and {more:,} more", style="dim")) if more > 0 else grid


def _grid(*headings: str) -> Grid:
    grid = Grid(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        grid.add_column(heading, no_wrap=True, overflow="ellipsis")
    return grid
