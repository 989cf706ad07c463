"""
Credentials that processes share through Redis: `RedisCache`, beside `FileCache` and no cache.

    python benchmarks/bench_shared.py [--rounds 3] [--only cold,signals] [--quick] [--json]

It needs redis-server, and the packages of the extra ``redis``. The server of STS, the redis-server and the processes
run at the same time, so a machine with two cores is busy. Contenders take turns: see `bench_fleet.py`.

cold: 8 processes start at once, with the same 200 identities. Redis is measured, too.
signals: 200 identities are due within 25 s in 8 processes. Meanwhile 10 processes are killed and started again, and 10
are suspended for longer than a lease of 3 s. A call of STS takes 0.3 s. A wait is that of one call of a process,
without the time in which its process was suspended.
away: 8 fleets in one process, on a virtual clock. Redis is away for 10 minutes in the middle of 2 hours.
many: 1,000 workers with 10,000 identities, on a virtual clock.
warm: `get` of credentials in memory, in fleets with and without the cache.
reading: CPU of reading and writing one value.

--quick measures a part of each row, to show that the program works. Its figures mean nothing.
"""

import argparse

import _goals
import _shared_network as network
import _shared_virtual as virtual
from _goals import Goal
from _rounds import Measurement

REDIS = "redis"
ROWS = {
    "cold": Measurement("8 processes, 200 identities, cold start", network.cold, (REDIS, "file", "none"), pinned=False),
    "signals": Measurement(
        "8 processes, 200 identities in 25 s, 10 SIGKILLs and 10 SIGSTOPs", network.signals, (REDIS,), pinned=False
    ),
    "away": Measurement("2 virtual hours, 8 workers, Redis is away for 10 minutes", virtual.away, (REDIS,)),
    "many": Measurement("1,000 workers, 10,000 identities, virtual time", virtual.many, (REDIS,)),
    "warm": Measurement("A warm call, CPU in µs", network.warm, (REDIS,)),
    "reading": Measurement("One value, CPU in µs", network.reading, (REDIS,)),
}
GOALS = {
    ("cold", "calls of STS"): Goal(200),
    ("cold", "identities of the process with the fewest"): Goal(200, at_least=True),
    ("cold", "operations on Redis for each identity and process"): Goal(6),
    ("signals", "calls of STS"): Goal(230),
    ("signals", "values published over newer ones"): Goal(0),
    ("signals", "longest wait of a call, s"): Goal(network.LEASE + 1),
    ("signals", "identities of the process with the fewest"): Goal(200, at_least=True),
    ("away", "requests signed with ended credentials"): Goal(0),
    ("away", "callers without credentials"): Goal(0),
    ("away", "most requests in 60 s, over the budget"): Goal(1),
    ("away", "the same, over what budgets allow, at most"): Goal(1),
    ("away", "all workers use Redis again after, s"): Goal(5),
    ("many", "STS calls, all over one"): Goal(1.05),
    ("many", "Redis operations for a refresh, with the beats"): Goal(6),
    ("warm", "with over without"): Goal(1.05),
    ("warm", "reads of Redis in all these calls"): Goal(0),
    ("reading", "read one value, µs"): Goal(100),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Credentials that processes share through Redis.")
    _goals.main(parser, ROWS, ours=REDIS, goals=GOALS, one_round=("away", "many"))


if __name__ == "__main__":
    main()
