"""
A thousand workers with ten thousand identities each, for `bench_shared.py`: counts of a simulation on a virtual clock.

Nothing here depends on the machine. `tests/fleet/shared_simulation.py` is the simulation.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from _rounds import Figures

WORKERS, IDENTITIES = 1_000, 10_000
SECONDS = 70 * 60.0  # with two fetches of each identity
RESTARTED = 0.01  # of the workers


def simulated(*, workers: int = WORKERS, identities: int = IDENTITIES) -> Figures:
    """Return the calls of STS of all workers and of one, and the operations on Redis for a refresh."""
    from fleet.shared_simulation import simulate

    one = simulate(1, identities, seconds=SECONDS, restarted=0)
    shared = simulate(workers, identities, seconds=SECONDS, restarted=round(RESTARTED * workers))
    assert not one.ended, "a worker had only credentials that had ended"
    assert not shared.ended, "a worker had only credentials that had ended"
    return {
        "STS calls of one worker": [one.calls],
        "STS calls of all workers": [shared.calls],
        "STS calls, all over one": [shared.calls / one.calls],
        "Redis operations for a refresh": [shared.operations / shared.refreshes],
        "Redis operations for a refresh, with the beats": [(shared.operations + shared.beats) / shared.refreshes],
    }


if __name__ == "__main__":
    for row, (value,) in simulated().items():
        print(f"{row}: {value:,.3f}")
