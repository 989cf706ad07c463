"""
A file of roles: the identities that a command keeps, one on each line.

`read_roles` reads the text of a file. It returns the identities that can be used, and all problems of the others. So
one wrong line harms no other line. It reads no file itself.

The grammar of a line is in `_role_lines`.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from functools import partial

import attrs

from .._protocol import arns
from .._protocol.endpoints import PARTITION_NAMES
from ..errors import ConfigurationError
from ._role_lines import Malformed, RoleLine, read_entry
from .identities import MAX_CHAIN, ChainedRequest, Identity, account_of, check_target

MAX_BYTES = 8 << 20  # of a file
MAX_COMPARED = 1000  # names that a misspelt name is compared with, at about 10 us each


@attrs.frozen
class Problem:
    """
    A problem of a line.

    Attributes:
        line: Number of the line; the first is 1.
        text: The problem. It can have names of identities, roles and accounts, but no other value.
    """

    line: int
    text: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.text}"


@attrs.frozen(kw_only=True)
class RolesFile:
    """
    The contents of a file of roles.

    Attributes:
        identities: The identities that can be used, by their names, in the order of the file. Each name and each
            identity occurs once.
        problems: The problems, in the order of their lines. A line with a problem has no identity.
    """

    identities: Mapping[str, Identity]
    problems: tuple[Problem, ...] = ()


def read_roles(
    text: str,
    *,
    partition: str | None = None,
    allowed_accounts: Collection[str] | None = None,
    strict_arns: bool = True,
) -> RolesFile:
    """
    Return the identities in the text of a file, and all problems of the file. No text raises an error.

    Of two lines that contradict each other, such as two identities with one name, the first is used.

    Args:
        text: The text. A byte order mark is skipped; lines end with LF or CRLF.
        partition: The partition of the endpoint, such as ``aws-cn``; None for that of most roles in the file.
        allowed_accounts: Ids of the accounts that identities may belong to; None for any (T43).
        strict_arns: Whether ARNs of roles must follow the grammar of IAM, which some other servers do not.
    """
    reading = _Reading()
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        try:
            entry = read_entry(line)
        except Malformed as malformed:
            reading.refuse(number, *malformed.problems)
        else:
            if entry is not None:
                reading.entries[number] = entry
    if strict_arns:
        reading.check_arns()
        reading.check_partitions(partition)
    if allowed_accounts is not None:
        reading.check_accounts(allowed_accounts)
    reading.refuse_repetitions()
    names = reading.choose_names()
    reading.check_chains()
    return RolesFile(
        identities=reading.identities(names),
        problems=tuple(sorted(reading.problems, key=lambda problem: problem.line)),
    )


class _Reading:
    """
    The state of reading one file.

    Attributes:
        entries: The usable lines by their numbers. A line that is refused is removed.
        problems: The problems so far.
    """

    def __init__(self) -> None:
        self.entries: dict[int, RoleLine] = {}
        self.problems: list[Problem] = []
        self._refused: dict[str, int] = {}  # names of refused lines
        self._lines: dict[str, int] = {}  # the line of each name
        self._shared: dict[str, list[str]] = {}  # the names of the identities that could have a shorter name
        self._made: dict[int, Identity] = {}

    def refuse(self, number: int, *problems: str) -> None:
        """Add problems of a line, and do not use the line."""
        self.problems += map(partial(Problem, number), problems)
        entry = self.entries.pop(number, None)
        for name in () if entry is None else filter(None, (entry.name, *entry.derived)):
            self._refused.setdefault(name, number)

    # -- Roles ---------------------------------------------------------------------------------------------------------

    def check_arns(self) -> None:
        """Refuse roles whose ARN does not follow the grammar of IAM."""
        for number, entry in [*self.entries.items()]:
            role_arn = getattr(entry.request, "role_arn", None)
            if role_arn is not None and not arns.is_role(role_arn):
                self.refuse(number, f"the ARN of the role must be {arns.ROLE_RULE}")

    def check_partitions(self, wanted: str | None) -> None:
        """Refuse roles of another partition than *wanted*, or than most roles."""
        found = {number: found for number, entry in self.entries.items() if (found := _partition_of(entry))}
        reason = "but the endpoint is in"
        if wanted is None and found:
            wanted, reason = Counter(found.values()).most_common(1)[0][0], "but most roles of the file are in"
        for number, partition in found.items():
            if partition != wanted:
                self.refuse(number, f"the role is in the partition {partition}, {reason} {wanted}")

    def check_accounts(self, allowed: Collection[str]) -> None:
        """Refuse identities of accounts that are not allowed."""
        for number, entry in [*self.entries.items()]:
            account = account_of(entry.request)
            try:
                check_target(entry.request, allowed)
            except ConfigurationError:
                self.refuse(number, f"the account {account or 'of this ARN'} is not allowed")

    def refuse_repetitions(self) -> None:
        """Refuse lines that repeat an earlier line."""
        first: dict[object, int] = {}
        for number, entry in [*self.entries.items()]:
            earlier = first.setdefault((entry.name, entry.request, entry.through), number)
            if earlier != number:
                self.refuse(number, f"the identity of line {earlier} is repeated")

    # -- Names ---------------------------------------------------------------------------------------------------------

    def choose_names(self) -> dict[int, str]:
        """
        Return the name of each line.

        A derived name is the shortest that no other line has. If several lines could have it, none has it, so the order
        of the lines does not matter.
        """
        for number, entry in [*self.entries.items()]:
            if entry.name is not None and self._lines.setdefault(entry.name, number) != number:
                self.refuse(number, f"line {self._lines[entry.name]} already has the name {entry.name!r}")
        names = {number: entry.name for number, entry in self.entries.items() if entry.name is not None}
        unnamed = [number for number, entry in self.entries.items() if entry.name is None]
        for length in range(max((len(self.entries[number].derived) for number in unnamed), default=0)):
            derived = {number: _at(self.entries[number].derived, length) for number in unnamed}
            counts = Counter(derived.values())
            chosen = {number: name for number, name in derived.items() if counts[name] == 1 and name not in self._lines}
            names |= chosen
            self._lines |= {name: number for number, name in chosen.items()}
            unnamed = [number for number in unnamed if number not in names]
        self._name_the_rest(unnamed, names)
        for number, name in sorted(names.items()):
            for shorter in self.entries[number].derived:
                self._shared.setdefault(shorter, []).append(name)
        return names

    def _name_the_rest(self, unnamed: Iterable[int], names: dict[int, str]) -> None:
        """Name the first of the lines that share even their longest name, and refuse the others."""
        for number in unnamed:
            longest = self.entries[number].derived[-1]
            earlier = self._lines.setdefault(longest, number)
            if earlier == number:
                names[number] = longest
            else:
                self.refuse(number, f"line {earlier} has the same role and session: give this line a name of its own")

    # -- Chains --------------------------------------------------------------------------------------------------------

    def check_chains(self) -> None:
        """Refuse lines whose chain is broken, a cycle or too long."""
        refused = {}
        for number in self.entries:
            problem = self._problem_of_chain(number)
            if problem:
                refused[number] = problem
        for number, problem in refused.items():
            self.refuse(number, problem)

    def _problem_of_chain(self, number: int) -> str:
        """Return the problem of the chain that begins at a line; empty if there is none."""
        chain = [number]
        while (through := self.entries[chain[-1]].through) is not None:
            following = self._lines.get(through)
            if following is None or following not in self.entries:
                problem = self._unknown(through)
                return problem if len(chain) == 1 else f"{self._shown(number)}: in line {chain[-1]}, {problem}"
            if following in chain:
                return (
                    f"{self._shown(number)}: lines {_listed([*chain[chain.index(following) :], following])} are a cycle"
                )
            chain.append(following)
            if len(chain) > MAX_CHAIN:
                return f"{self._shown(number)}: more than {MAX_CHAIN} identities are chained"
        return ""

    def _shown(self, number: int) -> str:
        return f"through {self.entries[number].through!r}"

    def _unknown(self, name: str) -> str:
        """Return the problem of a chain to a name that no usable line has."""
        shared = self._shared.get(name, [])
        if len(shared) > 1:
            return f"the name {name!r} is not unique: use {' or '.join(map(repr, shared[:3]))}"
        if name in self._refused:
            return f"through {name!r}, but line {self._refused[name]} has a problem"
        import difflib  # imported here, because it is needed only for a misspelt name

        near = shared or difflib.get_close_matches(name, [*self._lines][:MAX_COMPARED], 1)
        return f"through {name!r}, but no identity has this name" + (f" (did you mean {near[0]!r}?)" if near else "")

    # -- The result ----------------------------------------------------------------------------------------------------

    def identities(self, names: Mapping[int, str]) -> dict[str, Identity]:
        """Return the identities by their names, and refuse a second name of an identity."""
        first: dict[Identity, int] = {}
        for number in [*self.entries]:
            identity = self._identity(number)
            earlier = first.setdefault(identity, number)
            if earlier != number:
                self.refuse(number, f"the identity is that of line {earlier}, under another name")
        return {names[number]: self._identity(number) for number in self.entries}

    def _identity(self, number: int) -> Identity:
        """Return the identity of a line. Its chain has been checked, so it is short and without a cycle."""
        made = self._made.get(number)
        if made is None:
            entry = self.entries[number]
            made = entry.request
            if entry.through is not None:
                made = ChainedRequest(entry.request, source=self._identity(self._lines[entry.through]))
            self._made[number] = made
        return made


def _at(names: tuple[str, ...], length: int) -> str:
    """Return the name of a length, or the longest."""
    return names[min(length, len(names) - 1)]


def _partition_of(entry: RoleLine) -> str | None:
    """Return the partition of the role or principal of an identity; None if the partition is not known."""
    request = entry.request
    arn = getattr(request, "role_arn", None) or getattr(request, "target_principal", "")
    found = str(arn).partition(":")[2].partition(":")[0]
    return found if found in PARTITION_NAMES else None


def _listed(numbers: list[int]) -> str:
    """Return numbers of lines as ``3, 5 and 3``."""
    return f"{', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"
