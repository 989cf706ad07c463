"""E10: no test depends on the speed of the machine; a test that would is found in its source."""

import ast
import asyncio
import functools
import textwrap
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import patience
import pytest
from patience import PATIENCE

TESTS = Path(__file__).parent
STOPWATCHES = {"monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time", "thread_time", "time_ns"}
GUARDS = {
    "timeout", "timeout_at", "wait_for", "wait", "join", "communicate", "settimeout", "result", "get", "acquire",
    "Barrier", "create_connection", "run", "check_output", "urlopen", "Timeout",
}  # fmt: skip
"""Functions that raise, or go on, when something takes longer than they are told."""
POSITIONS = {"timeout": 0, "wait": 0, "join": 0, "settimeout": 0, "wait_for": 1}
"""Which positional argument of theirs is the seconds."""

MUST_END = "it must end what hangs for ever"
AT_LEAST = "more time does no harm"
WATCH = "it takes the time that threads waited for a CPU off"
POLLS = "it waits for a file of the test, which has a guard around it"
OTHER_CLOCKS = "real time has to pass for other SDKs; a use in each of the four seconds before the end is enough"
OWN_AFFAIR = "credentials/test_watchdog.py:" + ("test_calls_of_a_test_function_that_the_library_calls_are_not_reported")
ALLOWED = {
    "agent/test_consumers.py:(program).each": OTHER_CLOCKS,
    "agent/test_consumers.py:test_our_own_provider_uses_keys_that_are_replaced": OTHER_CLOCKS,
    "config/test_profile_grammar.py:seconds_for": "a ratio of CPU times",
    "credentials/test_chain.py:test_a_source_can_declare_its_own_time_limit.Slow.provide_credentials": AT_LEAST,
    "credentials/test_watchdog.py:test_a_test_may_keep_the_cpu_busy.burst": AT_LEAST,
    "credentials/test_watchdog.py:test_a_wait_of_a_test_is_not_reported": AT_LEAST,
    OWN_AFFAIR: AT_LEAST,
    "credentials/watchdog.py:Watchdog._look": WATCH,
    "credentials/watchdog.py:Watchdog.run": WATCH,
    "credentials/watchdog.py:_Running.__init__": WATCH,
    "credentials/watchdog.py:_Running.stands_still": WATCH,
    "credentials/test_token_file.py:(program).ProviderContext": "a clock of a client",
    "faults/faulty.py:_perform": "the pace of a server in the loop of the test",
    "faults/leaks.py:Leaks.found": "between two looks; only a test that fails looks for long",
    "fleet/redis_server.py:Proxy._pass_on": "the pace of a proxy in the loop of the test",
    "faults/servers.py:identities.ask": "connections are closed meanwhile, or not: both are right",
    "faults/stepping.py:left_by": "only a test that fails looks for long",
    "faults/test_cancellation.py:quickly.a_moment": AT_LEAST,
    "faults/test_cancellation.py:test_a_timeout_around_a_call_is_a_timeout_outside_and_a_cancellation_inside": MUST_END,
    "faults/test_forks.py:(program).until": POLLS,
    "faults/test_lasting.py:(program).main": AT_LEAST,
    "faults/test_loops.py:(program).main": POLLS,
    "faults/test_leaks.py:test_a_task_that_is_left_is_found": "it is cancelled",
    "faults/test_sources.py:refreshed_behind": "between two looks, with a guard around them",
    "runtime/test_files.py:(program)": "it waits for a lock, and its parent has a guard",
    "runtime/test_single_flight.py:"
    "test_closing_reaches_the_tasks_of_other_loops_without_waiting_for_them.run.main": "it is cancelled",
    "runtime/test_timeouts.py:test_a_timeout_around_the_block_works_as_everywhere": MUST_END,
    "http/test_transport_options.py:test_addresses_are_looked_up_again_after_the_time_that_was_said": AT_LEAST,
    "http/test_transport_options.py:test_an_idle_connection_is_kept_for_as_long_as_was_said": AT_LEAST,
    "testing/test_imds.py:test_a_late_token_comes_late": MUST_END,
}
"""What may, and why: by file and function."""


def numbers_of(tree: ast.Module) -> dict[str, float]:
    """Return the constants of a module that are numbers."""
    return {
        target.id: float(node.value.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, int | float)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def name_of(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def seconds_of(call: ast.Call, numbers: dict[str, float]) -> float | None:
    """Return the seconds that a guard is given, or None if it is none, or they are not known from the source."""
    name = name_of(call.func)
    if name not in GUARDS:
        return None
    found = [keyword.value for keyword in call.keywords if keyword.arg == "timeout"]
    position = POSITIONS.get(name)
    if position is not None and len(call.args) > position:
        found.append(call.args[position])
    for value in found:
        if isinstance(value, ast.Constant) and isinstance(value.value, int | float):
            return float(value.value)
        if isinstance(value, ast.Name) and value.id in numbers:
            return numbers[value.id]
    return None


def sleeps(call: ast.Call) -> bool:
    return (
        name_of(call.func) == "sleep"
        and isinstance(call.func, ast.Attribute)
        and name_of(call.func.value) in ("asyncio", "time")
        and not (isinstance(call.args[0], ast.Constant) and call.args[0].value == 0)
    )


def faults_in(node: ast.AST, numbers: dict[str, float]) -> Iterator[str]:
    """Yield what depends on the machine's speed in a node, without what is in it."""
    if isinstance(node, ast.Attribute) and node.attr in STOPWATCHES and name_of(node.value) == "time":
        yield f"time.{node.attr}"
    if isinstance(node, ast.Compare):
        inner = [name for part in ast.walk(node) if isinstance(part, ast.Attribute) for name in [ast.unparse(part)]]
        if "time.time" in inner:
            yield "a comparison with time.time"
    if isinstance(node, ast.Call):
        if name_of(node.func) == "settings" and any(keyword.arg == "deadline" for keyword in node.keywords):
            yield "a deadline for examples"
        if (seconds := seconds_of(node, numbers)) is not None and seconds < PATIENCE:
            yield f"{name_of(node.func)} with {seconds:g} s"
        if sleeps(node):
            yield f"sleep({ast.unparse(node.args[0])})"


def program_of(value: object) -> ast.Module | None:
    """Return the Python program in a text, or None if it is none."""
    if not isinstance(value, str) or "import " not in value or "\n" not in value.strip():
        return None
    try:
        return ast.parse(textwrap.dedent(value))
    except SyntaxError:
        return None


def faults_of(source: str) -> Iterator[tuple[str, str]]:
    """Yield what depends on the machine's speed, each with the function or method that it is in."""
    tree = ast.parse(source)
    numbers = numbers_of(tree)

    def search(node: ast.AST, path: Sequence[str]) -> Iterator[tuple[str, str]]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            path = [*path, node.name]
        for fault in faults_in(node, numbers):
            yield ".".join(path), fault
        if isinstance(node, ast.Constant) and (program := program_of(node.value)) is not None:
            yield from search(program, [*path, "(program)"])
        for child in ast.iter_child_nodes(node):
            yield from search(child, path)

    yield from search(tree, [])


@functools.cache
def found() -> dict[str, list[str]]:
    """Return what depends on the machine's speed in all tests, by file and function."""
    faults: dict[str, list[str]] = {}
    for path in sorted({*TESTS.rglob("*.py")} - {Path(__file__), Path(patience.__file__)}):
        for where, fault in faults_of(path.read_text()):
            faults.setdefault(f"{path.relative_to(TESTS)}:{where}", []).append(fault)
    return faults


def test_no_test_depends_on_the_speed_of_the_machine() -> None:
    """E10: use `patience`: `soon` and `until` against a hang, the loop's own clock for how long something waits."""
    assert {where: faults for where, faults in found().items() if where not in ALLOWED} == {}


def test_each_exception_is_still_one() -> None:
    """E10."""
    assert ALLOWED.keys() - found().keys() == set()


FAULTY = {
    "import time\nassert time.perf_counter() - began < 1": "time.perf_counter",
    "import time\nassert time.monotonic() < ends": "time.monotonic",
    "import time\nassert time.time() - began < 1": "a comparison with time.time",
    "@settings(deadline=200)\ndef test(): ...": "a deadline for examples",
    "async with asyncio.timeout(5): ...": "timeout with 5 s",
    "SOON = 0.5\nasync with asyncio.timeout(SOON): ...": "timeout with 0.5 s",
    "await asyncio.wait_for(task, 1)": "wait_for with 1 s",
    "await asyncio.wait([task], timeout=0.2)": "wait with 0.2 s",
    "thread.join(10)": "join with 10 s",
    "process.communicate(timeout=20)": "communicate with 20 s",
    "subprocess.run(command, timeout=30)": "run with 30 s",
    "await asyncio.sleep(0.01)": "sleep(0.01)",
    "time.sleep(0.1)": "sleep(0.1)",
    'PROGRAM = """\nimport asyncio\nasyncio.timeout(1)\n"""': "timeout with 1 s",
}


@pytest.mark.parametrize(("source", "fault"), FAULTY.items(), ids=FAULTY.values())
def test_what_depends_on_the_speed_of_the_machine_is_found(source: str, fault: str) -> None:
    """E10."""
    assert [found for _, found in faults_of(source)] == [fault]


@pytest.mark.parametrize(
    "source",
    [
        "async def test():\n    async with asyncio.timeout(PATIENCE): ...",
        "async def test():\n    await asyncio.sleep(0)",
        "def test():\n    thread.join(120)\n    ', '.join(names)\n    sts = LocalSTS(clock=lambda: time.time() + 60)",
        "async def test():\n    begun = loop.time()\n    assert loop.time() - begun < 1",
    ],
)
def test_what_does_not_is_let_pass(source: str) -> None:
    """E10: the clock of a loop counts waiting alone."""
    assert list(faults_of(source)) == []


async def test_the_clock_of_a_test_stands_still_while_the_machine_is_busy() -> None:
    """E10: a turn of the loop that computes for 50 ms does not use up a time-out of 1 ms."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with asyncio.timeout(0.001):
        for _ in range(5):
            compute(0.05)
            await asyncio.sleep(0)

    assert loop.time() - begun < 0.001


async def test_the_clock_of_a_test_counts_waits_for_a_timer() -> None:
    """E10."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await asyncio.sleep(0.05)

    assert loop.time() - begun >= 0.05


async def test_a_thread_that_is_late_costs_next_to_nothing() -> None:
    """E10: it may have waited for a CPU."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await asyncio.to_thread(compute, 0.1)

    assert loop.time() - begun < 0.1


async def test_a_loop_that_never_waits_reaches_its_timers() -> None:
    """E10."""
    reached: list[int] = []
    asyncio.get_running_loop().call_later(0.001, reached.append, 1)
    while not reached:
        await asyncio.sleep(0)


def compute(seconds: float) -> None:
    """Take some seconds of CPU time."""
    ends = time.thread_time() + seconds
    while time.thread_time() < ends:
        pass
