"""Displays of `sts-async fleet`: pictures of the table, and lines."""

import io
from datetime import UTC, datetime
from typing import Any

import pytest
from patience import soon
from rich.console import Console
from support import ROLE

from sts_async import AssumeRoleRequest
from sts_async._cli.fleet_lines import change_in_words, in_time, plural, summary_of
from sts_async._cli.fleet_table import Table, picture_of
from sts_async._cli.output import Output
from sts_async._cli.terminal import OutputLost
from sts_async.errors import CredentialsError
from sts_async.events import IdentityStateChanged
from sts_async.fleet import BudgetUse, FailingIdentity, FleetSnapshot, IdentityState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
COUNTS = {"waiting": 0, "fresh": 0, "stale": 0, "failing": 0, "paused": 0, "refreshing": 0, "queued": 0, "restarts": 0}


def snapshot(**changed: Any) -> FleetSnapshot:
    given = {"kept": 0, "on_demand": 0, **COUNTS, "next_due": None, "oldest": None, "soonest_end": None, "budgets": ()}
    return FleetSnapshot(**{**given, **changed})


def failing(number: int = 1, **changed: Any) -> tuple[str, FailingIdentity]:
    request = AssumeRoleRequest(role_arn=ROLE, role_session_name="me")
    given: dict[str, Any] = {
        "identity": request,
        "name": "a role",
        "state": IdentityState.FAILING,
        "code": "AccessDenied",
        "error": CredentialsError("x"),
        "since": NOW,
        "next_try": NOW,
        "failures": number,
        "expiration": None,
    }
    return f"demo-{number}", FailingIdentity(**{**given, **changed})


BUDGET = BudgetUse(scope="123456789012/eu-west-1", limit=200.0, rate=12.5, left=1.0, sent=1234, throttled=3)


def drawn(*arguments: Any) -> str:
    console = Console(file=io.StringIO(), width=120, no_color=True)
    console.print(picture_of(*arguments))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_picture_has_counts_budgets_failures_and_changes() -> None:
    counts = snapshot(
        kept=1500, waiting=2, fresh=1400, stale=3, failing=95, next_due=43.2, soonest_end=7000.0, budgets=(BUDGET,)
    )
    failures = [failing(number) for number in range(1, 11)]
    failures[1] = failing(2, state=IdentityState.STALE, code=None, next_try=None)
    text = drawn("roles.txt", counts, failures, ["[red]demo[/]: waiting -> fresh"])

    for part in (
        "sts-async fleet: roles.txt",
        "1,403 of 1,500 have credentials",
        "next refresh in 43 s, first end in 117 min",
        "1,400 fresh  2 waiting  3 stale  95 failing  0 being fetched, 0 queued",
        "123456789012/eu-west-1  12.5       200    1,234  3",
        "demo-1    failing  AccessDenied      00:00:00Z  00:00:00Z  1",
        "demo-2    stale    CredentialsError  00:00:00Z  -          2",
        "and 88 more",
        "[red]demo[/]: waiting -> fresh",  # text of a server is not markup
    ):
        assert part in text, part
    assert "demo-11" not in text


class Closed(io.StringIO):
    """A terminal that was closed."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self._error = error

    def write(self, text: str) -> int:
        raise self._error


@pytest.mark.parametrize(
    ("error", "reason"),
    [(OSError(5, "Input/output error"), "Input/output error"), (OSError(), "OSError"), (SystemExit(1), "")],
    ids=repr,
)
async def test_a_terminal_that_was_closed_is_output_that_is_lost(error: BaseException, reason: str) -> None:
    """rich ends the process at a closed pipe, which a thread cannot do. The end of the display raises nothing more."""
    with pytest.raises(OutputLost) as caught:
        async with Output() as output:
            table = Table(output, title="roles", console=Console(file=Closed(error), force_terminal=True))
            table.show(snapshot(kept=1, fresh=1), [])
            await soon(output.flush())

    table._stop()
    assert str(caught.value) == reason


async def test_nothing_is_drawn_after_the_end() -> None:
    """A picture that waited would hide the cursor again."""
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    async with Output() as output:
        table = Table(output, title="roles", console=console)
        table.show(snapshot(kept=10_001, fresh=1), [])
        assert table.seconds > 1
        await soon(output.flush())
        table.end()
        table.show(snapshot(kept=1, waiting=1), [])

    assert isinstance(console.file, io.StringIO)
    assert "10,001 have" in console.file.getvalue()
    assert "1 waiting" not in console.file.getvalue()
    assert console.file.getvalue().endswith("\x1b[?25h")


def test_a_picture_of_an_empty_fleet_can_be_drawn() -> None:
    assert "0 of 0 have credentials" in drawn("roles.txt", snapshot(), [], [])


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        (snapshot(), "0 identities: none; 0 requests"),
        (snapshot(kept=1, fresh=1, next_due=0.4), "1 identity: 1 fresh; 0 requests; next refresh in 0 s"),
        (snapshot(kept=2, paused=2, budgets=(BUDGET, BUDGET), restarts=1),
         "2 identities: 2 paused; 2,468 requests, 6 throttled; 1 restarts"),
    ],
)  # fmt: skip
def test_a_summary_is_one_line(counts: FleetSnapshot, text: str) -> None:
    assert summary_of(counts) == text


@pytest.mark.parametrize(
    ("before", "state", "error", "text"),
    [
        (None, "waiting", None, "demo: added"),
        ("fresh", None, None, "demo: removed"),
        ("fresh", "stale", CredentialsError("a\nb\x1b[2J"), "demo: fresh -> stale: a b\\x1b[2J"),
    ],
)
def test_a_change_is_one_line(before: str | None, state: str | None, error: Any, text: str) -> None:
    """T45: the text of an error cannot control the terminal."""
    event = IdentityStateChanged(identity="x", account_id=None, before=before, state=state, error=error)

    assert change_in_words("demo", event) == text


def test_durations_and_numbers_are_words() -> None:
    assert [in_time(seconds) for seconds in (0.4, 119, 120, 7199, 7200)] == [
        "0 s",
        "119 s",
        "2 min",
        "120 min",
        "2.0 h",
    ]
    assert [plural(count, word) for count, word in ((1, "problem"), (2, "problem"), (0, "identity"))] == [
        "problem",
        "problems",
        "identities",
    ]
