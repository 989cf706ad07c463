"""Output of a command that runs for long: a stopped terminal stops neither the event loop nor the command's end."""

import threading

import pytest
from patience import soon, turns, until

from sts_async._cli import output, terminal
from sts_async._cli.output import Output
from sts_async._cli.terminal import OutputLost


class Blocked:
    """A writer that is stopped, as by Ctrl-S at a terminal."""

    def __init__(self) -> None:
        self.may_write = threading.Event()
        self.written: list[str] = []
        self.threads: set[str] = set()

    def write(self, text: str) -> None:
        self.threads.add(threading.current_thread().name)
        self.may_write.wait()
        self.written.append(text)


@pytest.fixture
def blocked(monkeypatch: pytest.MonkeyPatch) -> Blocked:
    writer = Blocked()
    monkeypatch.setattr(terminal, "say", writer.write)
    monkeypatch.setattr(terminal, "complain", lambda text: writer.write(f"error {text}"))
    return writer


async def test_a_stopped_terminal_does_not_stop_the_event_loop(
    blocked: Blocked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines wait in a bounded queue. Those that it cannot take are counted, and only the last picture is drawn."""
    monkeypatch.setattr(output, "MAX_LINES", 3)
    pictures: list[int] = []
    async with Output() as out:
        out.say("first\n")
        await until(lambda: blocked.threads)
        for number in range(5):
            out.say(f"{number}\n")
            out.draw(lambda number=number: pictures.append(number))
        await turns()
        assert blocked.written == []
        blocked.may_write.set()
        await soon(out.flush())
        out.complain("a\n")
        out.call(lambda: blocked.write("called"))
        out.say("b\n")

    lost = "error sts-async: the output was blocked: 2 lines are missing\n"
    assert blocked.written == ["first\n", "0\n1\n2\n", lost, "error a\n", "called", "b\n"]
    assert pictures == [4]
    assert {name.rstrip("0123456789 -") for name in blocked.threads} == {"sts-async-output"}


async def test_a_stopped_terminal_does_not_keep_the_command_from_ending(
    blocked: Blocked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "END_SECONDS", 0.01)
    async with Output() as out:
        out.say("first\n")
        await until(lambda: blocked.threads)
    assert blocked.written == []
    blocked.may_write.set()
    await until(lambda: blocked.written)


@pytest.mark.parametrize("ends_by", ["flush", "end"])
async def test_output_that_cannot_be_written_ends_the_command(ends_by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(text: str) -> None:
        raise OutputLost("No space left on device")

    monkeypatch.setattr(terminal, "say", fail)
    with pytest.raises(OutputLost, match="No space left"):
        async with Output() as out:
            out.say("text\n")
            if ends_by == "flush":
                await soon(out.flush())
