"""What the scripts of the workers do, in Python, on a time of the test. It keeps no sums: it looks at all workers."""

import attrs

from sts_async.fleet.caches._shares import (
    BEAT_SECONDS,
    BEAT_SECONDS_OF_ALL,
    LAPSE_BEATS,
    RESERVED,
    WHOLE,
    Answer,
    Shares,
)


@attrs.define
class Recorded:
    """What is known of a worker: when it is forgotten, in ms, and the need and the part of each scope."""

    ends: float
    scopes: dict[str, tuple[int, int]]


class SharesDouble:
    """
    The workers that share limits.

    Attributes:
        now: The time of the server in ms.
        beats: The number of beats.
    """

    def __init__(self) -> None:
        self.now = 1_000_000_000
        self.beats = 0
        self.members: dict[str, Recorded] = {}
        self.last = self.begun = 0

    def forget(self) -> None:
        """Lose all data, as a server that restarts."""
        self.members.clear()
        self.last = self.begun = 0

    def leave(self, worker: str) -> None:
        self.members.pop(worker, None)

    def beat(self, worker: str, *, workers: int, needs: dict[str, int], used: dict[str, int]) -> Answer:
        self.beats += 1
        if self.now < self.last:
            self.forget()
        ended = sorted((known.ends, name) for name, known in self.members.items() if known.ends <= self.now)
        for _, name in ended[:100]:
            del self.members[name]
        own = self.members.setdefault(worker, Recorded(self.now, {}))
        count = len(self.members)
        pause = self._pause(max(count, workers))
        if self.now - self.last > 2 * pause:
            self.begun = self.now
        learning = self.now - self.begun < pause
        if learning:
            count = max(count, workers)
        self.last = self.now
        own.ends = self.now + LAPSE_BEATS * self._pause(count)
        before, own.scopes = own.scopes, {}
        own.scopes = {scope: of for scope, of in before.items() if scope in needs}
        for scope, need in needs.items():
            self._tell(own, scope, need, used[scope], count, learning=learning)
        return Answer(count, {scope: own.scopes[scope][1] for scope in needs})

    def _tell(self, own: Recorded, scope: str, need: int, used: int, count: int, *, learning: bool) -> None:
        others = [known.scopes[scope] for known in self.members.values() if known is not own and scope in known.scopes]
        workers, needs = len(others) + 1, need + sum(other[0] for other in others)
        most = WHOLE - RESERVED * (count - workers) // count
        left = most - sum(part for _, part in others)  # what all others leave
        part = own.scopes[scope][1] if scope in own.scopes else max(0, min(used, left))
        divided = min(needs, WHOLE - RESERVED)
        fair = int((most - divided) / workers + (divided * (need / needs) if needs else 0))
        if fair < part:
            part = fair
        elif not learning:
            part = max(part, min(fair, left))
        own.scopes[scope] = need, part

    @staticmethod
    def _pause(workers: int) -> float:
        return max(BEAT_SECONDS * 1000, BEAT_SECONDS_OF_ALL * 1000 * workers)


class Worker:
    """
    One worker of a scope: what it needs, and the shares that it uses.

    Attributes:
        need: What it needs, in parts of the limit; None if it has never used the scope.
    """

    def __init__(self, name: str, server: SharesDouble, *, expected: int = 1) -> None:
        self.name = name
        self.server = server
        self.need: int | None = None
        self.shares = Shares(expected)

    @property
    def part(self) -> int:
        return self.shares.part_of("x")

    def beat(self) -> None:
        needs = {} if self.need is None else {"x": self.need}
        used = dict.fromkeys(needs, self.part)
        self.shares.answered(self.server.beat(self.name, workers=self.shares.workers, needs=needs, used=used))
