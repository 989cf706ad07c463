"""`benchmarks/bench_fleet.py` works. No assertion depends on a measured time."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from patience import PATIENCE

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "bench_fleet.py"
ROLES = 20  # of each row, in a quick run


@pytest.mark.slow
def test_the_benchmark_of_the_fleet_works() -> None:
    """Its counts hold in a quick run: requests, connections, identities, and calls of processes that share a cache."""
    rows = "cold,on-demand,few,warm,processes"
    command = [sys.executable, PROGRAM, "--quick", "--rounds=1", "--json", "--contenders=fleet", f"--only={rows}"]
    printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=PATIENCE).stdout
    found = {row: columns["fleet"] for row, columns in json.loads(printed.splitlines()[-1]).items()}

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
