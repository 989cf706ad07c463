"""`bench_fleet.py` and `bench_shared.py` of `benchmarks/` work. No assertion depends on a measured time."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fleet.redis_server import needs_redis
from patience import PATIENCE

PROGRAMS = Path(__file__).parents[2] / "benchmarks"
ROLES = 20  # of each row, in a quick run


def measured(program: str, rows: str, *, contender: str) -> dict[str, dict[str, float]]:
    """Return the figures of a contender in a quick run, by row."""
    options = ["--quick", "--rounds=1", "--json", f"--contenders={contender}", f"--only={rows}"]
    command = [sys.executable, PROGRAMS / program, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return {row: columns[contender] for row, columns in json.loads(done.stdout.splitlines()[-1]).items()}


@pytest.mark.slow
def test_the_benchmark_of_the_fleet_works() -> None:
    """Its counts hold in a quick run: requests, connections, identities, and calls of processes that share a cache."""
    rows = "cold,on-demand,few,warm,processes"
    found = measured("bench_fleet.py", rows, contender="fleet")

    assert list(found) == rows.split(",")
    assert found["cold"]["requests for each, no limit"] == 1
    assert found["few"]["requests"] == ROLES
    assert found["few"]["connections"] <= ROLES
    assert found["on-demand"]["identities held over the bound"] <= 1
    assert found["on-demand"]["tasks left"] == 0
    assert found["on-demand"]["three idle hours: requests, for each identity that was in use"] <= 1
    assert found["on-demand"]["three idle hours: identities held at the end"] == 0
    assert found["processes"]["calls of STS"] == ROLES
    assert found["processes"]["roles of the process with the fewest"] == ROLES


@needs_redis
@pytest.mark.slow
def test_the_benchmark_of_shared_credentials_works() -> None:
    """What does not depend on the machine holds in a quick run. On a busy one, some processes fetch without Redis."""
    rows = "signals,away,reading"
    found = measured("bench_shared.py", rows, contender="redis")

    assert list(found) == rows.split(",")
    assert found["signals"]["identities of the process with the fewest"] == ROLES
    assert found["signals"]["calls of STS"] >= ROLES
    assert found["signals"]["values published over newer ones"] == 0
    assert found["away"]["requests signed with ended credentials"] == 0
    assert found["away"]["callers without credentials"] == 0
    assert found["away"]["the same, over what budgets allow, at most"] <= 1
    assert found["away"]["all workers use Redis again after, s"] <= 5
    assert found["reading"]["bytes of a value"] < 2000
