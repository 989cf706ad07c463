"""
Many identities kept fresh: `CredentialsFleet`, compared with the ways in which programs do it without a fleet.

    python benchmarks/bench_fleet.py [--rounds 3] [--only small,warm] [--quick] [--json]

The contenders take turns. Each turn of each row has a new process, and the server has a process and a core of its own.
Figures are medians over the rounds; those of the fleet have quartiles in brackets. Rows that count, or that compare two
figures of one process, have one round. A contender that is not installed is left out. A slow run is not an error: the
program prints which goals are reached.

fleet: a `CredentialsFleet`. providers: an `AssumeRoleProvider` for each role, used through a view of one client.
aiobotocore: an `AioSession` for each role, with `AioAssumeRoleCredentialFetcher`, which makes a client for each fetch.
aiobotocore-1: `AioRefreshableCredentials` for each role, whose fetches share one client that the program made.
boto3: a session and a client for each role, in 50 threads.

On a busy machine, the event loop is also late because it waits for a CPU. So the CPU of its turns is shown, too.

--quick measures a part of each row in one or two minutes, to show that the program works. Its figures mean nothing.
"""

import argparse

import _fleet_network as network
import _fleet_virtual as virtual
import _goals
from _goals import Goal
from _rounds import Figures, Measurement

FLEET = "fleet"
ROWS = {
    "cold": Measurement(
        "10,000 identities, cold start, 50 requests at once", network.cold, (FLEET, "providers", "aiobotocore-1")
    ),
    "refreshes": Measurement("A refresh on the virtual clock", virtual.refreshes, (FLEET,)),
    "on-demand": Measurement("100,000 on demand, of which 1 % is in use", virtual.on_demand, (FLEET,)),
    "few": Measurement(
        "200 identities, cold, 50 at once, an STS that takes 10 ms",
        network.few,
        (FLEET, "providers", "aiobotocore", "aiobotocore-1", "boto3"),
    ),
    "warm": Measurement("A warm call, CPU in µs", network.warm, (FLEET, "providers", "aiobotocore", "aiobotocore-1")),
    "day": Measurement("24 virtual hours, 10,000 identities, 6 h of them without STS", virtual.day, (FLEET,)),
    "live": Measurement("1,000 identities for 60 s, whose credentials end after 5 s", network.live, (FLEET,)),
    "processes": Measurement(
        "8 processes share a directory, 200 identities", network.processes, (FLEET, "aiobotocore-1"), pinned=False
    ),
}
ONE_ROUND = ("refreshes", "on-demand", "day", "live")


GOALS = {
    ("cold", "answers per second, STS admits 1,000, budget 1,000"): Goal(900, at_least=True),
    ("cold", "kB of memory for each, no limit"): Goal(6.0),
    ("cold", "CPU of a turn of the event loop, p99, ms, no limit"): Goal(20.0),
    ("cold", "event loop late, p99, ms, no limit"): Goal(20.0),
    ("refreshes", "CPU of a refresh, large over small"): Goal(1.3),
    ("on-demand", "identities held over the bound"): Goal(1.0),
    ("on-demand", "MB of memory, all seen, over half"): Goal(1.1),
    ("on-demand", "tasks left"): Goal(0),
    ("on-demand", "three idle hours: requests, for each identity that was in use"): Goal(1),
    ("on-demand", "three idle hours: identities held at the end"): Goal(0),
    ("few", "aiobotocore's seconds over the fleet's"): Goal(15, at_least=True),
    ("few", "connections"): Goal(50),
    ("few", "CPU of a turn of the event loop, at most, ms"): Goal(20),
    ("few", "event loop late, at most, ms"): Goal(20),
    ("warm", "get"): Goal(2.0),
    ("warm", "peek"): Goal(1.0),
    ("day", "served after the end, though a refresh was possible"): Goal(0),
    ("day", "callers that failed, though a refresh was possible"): Goal(0),
    ("day", "outage: requests an hour and identity"): Goal(12),
    ("day", "outage: log lines of an identity, at most"): Goal(2),
    ("day", "outage: log lines for each identity"): Goal(2),
    ("day", "all fresh after the outage, s"): Goal(600),
    ("day", "peak minute over mean, steady"): Goal(2),
    ("day", "peak minute over mean, in the outage"): Goal(2),
    ("day", "peak minute over mean, in the 10 min after"): Goal(2),
    ("live", "requests signed with ended credentials"): Goal(0),
    ("live", "requests that failed"): Goal(0),
    ("processes", "calls of STS"): Goal(200),
}


def derive(row: str, measured: dict[str, list[Figures]]) -> None:
    """Add the figures that compare two others of the same round."""
    for peer in ("aiobotocore", "aiobotocore-1", "boto3") if row == "few" else ():
        for mine, theirs in zip(measured.get(FLEET, []), measured.get(peer, []), strict=False):
            mine[f"{peer}'s seconds over the fleet's"] = [theirs["seconds"][0] / mine["seconds"][0]]


def main() -> None:
    parser = argparse.ArgumentParser(description="Many identities kept fresh.")
    _goals.main(parser, ROWS, ours=FLEET, goals=GOALS, one_round=ONE_ROUND, derive=derive)


if __name__ == "__main__":
    main()
