"""
The shares of the workers in the limit of one calling account. Nothing here waits or reads a clock.

In each beat, a worker tells how much it needs, and gets its share. A script on the server knows all needs and computes
all shares: see `_redis_shares`. In each scope (an account and region), there is a part of the limit for

- what each worker needs, in nine tenths of the limit at most. If all need more, each gets the same part of its need. So
  a request has the same weight in every worker, and all queues become empty at the same time.
- the rest, in equal parts. So a worker whose need grows can send some requests before its next beat.

Other weights were rejected. Equal parts for all workers leave most of the limit unused if few of them have work. To
give all workers as much as those that need little, the script would have to look at all needs in each beat.

A share that becomes smaller is free at once for others, but a share grows only into what is free. So the sum never
exceeds the whole, in whatever order the beats arrive, and whatever the workers need. There are three exceptions of
one beat each. If an answer with a smaller share is lost, its worker uses the old share. If a worker starts just after
the server lost its data, it uses the share for `expected_workers`. A worker that joins can use its part of the rest in
an account before it has told its need there.

Without answers, a worker first keeps its shares. Later each worker takes an equal part. No part may grow before those
of all others have shrunk. So larger shares shrink one beat before the server would forget the worker, and smaller ones
grow one beat after that.
"""

from collections.abc import Mapping
from typing import NamedTuple

WHOLE = 10**9  # shares and needs are whole numbers of such parts of the limit: their sums have no rounding errors
RESERVED = 10**8  # parts of the limit that are never divided by need
MAX_NEED = 10**4 * WHOLE  # more would not be exact in the numbers of the server
MAX_SCOPES = 32  # that a worker tells in a beat; a fleet has one for each calling account and region

BEAT_SECONDS = 1.0  # s between two beats of a worker
BEAT_SECONDS_OF_ALL = 0.01  # s between the beats of any two workers, on average: the server has 100 in a second at most
MAX_BEAT_SECONDS = 100.0  # s: with more than 10,000 workers, the server has more beats
LAPSE_BEATS = 5  # beats without a message from a worker, after which the server forgets it
SHRINK_AFTER = LAPSE_BEATS - 1  # beats without an answer, after which shares are equal parts at most
GROW_AFTER = LAPSE_BEATS + 1  # beats without an answer, after which shares are equal parts


def beat_seconds(workers: int) -> float:
    """Return the seconds between two beats of each of *workers* workers."""
    return min(max(BEAT_SECONDS, BEAT_SECONDS_OF_ALL * workers), MAX_BEAT_SECONDS)


def need_of(requests: float, *, seconds: float, limit: float) -> int:
    """
    Return what a worker needs, in parts of the limit: the rate that would send its requests within a beat.

    Args:
        requests: The requests that it sent in the last beat, and those that wait.
        seconds: The length of the beat, greater than 0.
        limit: Requests per second of the whole account, greater than 0.
    """
    return min(int(requests / seconds / limit * WHOLE), MAX_NEED)


class Answer(NamedTuple):
    """
    The answer to a beat.

    Attributes:
        workers: Number of workers, with this one.
        parts: The parts of the limit that this worker may use, by scope.
    """

    workers: int
    parts: Mapping[str, int]


class Shares:
    """
    The shares that one worker may use.

    Args:
        expected_workers: Number of workers that are expected before the first answer.

    Attributes:
        workers: Number of workers, as far as it is known.
        parts: Parts of the limit by scope.
        other_parts: Parts of the limit for each other scope.
        unanswered: Beats without an answer since the last one.
    """

    __slots__ = ("other_parts", "parts", "unanswered", "workers")

    def __init__(self, expected_workers: int) -> None:
        self.workers = expected_workers
        self.parts: Mapping[str, int] = {}
        self.other_parts = WHOLE // expected_workers
        self.unanswered = 0

    def part_of(self, scope: str) -> int:
        """Return the parts of the limit that may be used in *scope*."""
        return self.parts.get(scope, self.other_parts)

    def answered(self, answer: Answer) -> None:
        """Use the shares of an answer. In a scope that no beat has told, the equal part of the reserve is free."""
        self.unanswered = 0
        self.workers = answer.workers
        self.parts = answer.parts
        self.other_parts = WHOLE if answer.workers == 1 else RESERVED // answer.workers

    def failed(self) -> bool:
        """Record that a beat was not answered. Return True if this changes shares."""
        self.unanswered += 1
        equal = WHOLE // self.workers
        before = self.parts, self.other_parts
        if self.unanswered >= GROW_AFTER:
            self.parts, self.other_parts = {}, equal
        elif self.unanswered >= SHRINK_AFTER:
            self.parts = {scope: min(part, equal) for scope, part in self.parts.items()}
        return before != (self.parts, self.other_parts)
