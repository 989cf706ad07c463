"""
Who may enter a fleet, and the lane of each identity.

A new identity is checked, its source enters before it, and its entry gets the lane of the account that signs for it. If
there are too many entries on demand, the least recently used ones leave.
"""

from collections.abc import Callable, Sequence
from typing import Any

from .._engine.context import ClientContext
from ..errors import ConfigurationError, ParamValidationError
from ._budget import Budgets, Lane
from ._entries import Entries, Entry
from ._refresher import Refresher
from .identities import check_identity, operation_of, request_of, role_in, source_of


class Members:
    """
    Checks identities, and makes their entries.

    Args:
        entries: The entries of the fleet.
        budgets: The budgets of the fleet.
        allowed_accounts: Ids of the accounts that identities may belong to; None for any.
        strict_arns: Whether role ARNs must follow the grammar of IAM.
    """

    def __init__(
        self, entries: Entries, budgets: Budgets, *, allowed_accounts: frozenset[str] | None, strict_arns: bool
    ) -> None:
        self._entries = entries
        self._budgets = budgets
        self._allowed_accounts = allowed_accounts
        self._strict_arns = strict_arns
        self._context: ClientContext | None = None

    def open(self, context: ClientContext) -> None:
        """Begin to make entries, with the context of the client."""
        self._context = context
        self._client_lane, self._unsigned_lane = self._new_lane(), self._new_lane()
        # The requests of a provider are paced when they are sent, because it may send none, or several.
        self._provider_lane = self._new_lane(paced=False)

    def check(self, identity: object) -> None:
        """
        Check an identity; see `identities.check_identity`.

        Lengths, ranges and patterns are checked as soon as it is known whether the client validates parameters.
        """
        check_identity(
            identity,
            allowed_accounts=self._allowed_accounts,
            strict_arns=self._strict_arns,
            bounds=self._context is not None and self._context.validates,
        )
        try:
            hash(identity)
        except TypeError:
            raise ConfigurationError(
                f"an identity must be hashable: a {type(identity).__name__} cannot be hashed"
            ) from None

    def check_all(self, identities: Sequence[object], *, known: Callable[[Any], object]) -> None:
        """
        Check identities.

        Args:
            identities: The identities.
            known: The function that returns None for an identity that was not checked before.

        Raises:
            ConfigurationError: As for `check`. If there are several identities, a note says which one it is about.
            ParamValidationError: As for `check`, with such a note.
        """
        for number, identity in enumerate(identities, 1):
            if known(identity) is None:
                try:
                    self.check(identity)
                except (ConfigurationError, ParamValidationError) as error:
                    if len(identities) > 1:
                        # The message itself names no account: a user may have chosen it (T43).
                        error.add_note(f"This is about identity {number:,} of {len(identities):,}{role_in(identity)}.")
                    raise

    def entry_of(self, identity: Any, refresher: Refresher, *, keep: bool = False, checked: bool = False) -> Entry:
        """
        Return the entry of an identity. A new one is added on demand, together with those that sign for it.

        Args:
            identity: The identity.
            refresher: The refresher of the fleet.
            keep: Whether to keep it fresh. A new one then takes no place on demand.
            checked: Whether it was checked already.
        """
        try:
            entry = self._entries.by_identity.get(identity)
        except TypeError:
            entry = None  # it cannot be hashed; the check says so
        if entry is None:
            if not checked:
                self.check(identity)
            entry = self._new_entry(identity, refresher, keep=keep)
            self._evict(entry, refresher)
        elif keep:
            self._entries.keep(entry)
        return entry

    def _new_entry(self, identity: Any, refresher: Refresher, *, keep: bool) -> Entry:
        context = self._context
        assert context is not None  # noqa: S101 - the fleet has started
        signing = source_of(identity)
        source = None if signing is None else self.entry_of(signing, refresher, checked=True)
        entry = Entry(identity, lane=self._lane_of(identity, source), source=source, now=context.monotonic())
        entry.schedule = refresher.schedule_of(entry)
        self._entries.add(entry)
        if keep:
            self._entries.keep(entry)
        refresher.reporter.added(entry)
        return entry

    def _evict(self, new: Entry, refresher: Refresher) -> None:
        now = refresher.now().monotonic
        new.dependents += 1  # so that the new entry is not evicted
        while (evicted := self._entries.overflow(now)) is not None:
            refresher.forget(evicted)
        new.dependents -= 1

    def _lane_of(self, identity: Any, source: Entry | None) -> Lane:
        """Return the lane of an identity: one for each identity that signs, and one for requests without signature."""
        request = request_of(identity)
        if request is None:
            return self._provider_lane
        if source is not None:
            if source.signs is None:
                source.signs = self._new_lane()
            return source.signs
        return self._client_lane if operation_of(request).signed else self._unsigned_lane

    def _new_lane(self, *, paced: bool = True) -> Lane:
        return Lane(self._budgets.new(), paced=paced)
