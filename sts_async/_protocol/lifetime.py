"""How long what the service issued can be believed to last."""

from datetime import datetime, timedelta
from typing import Any, TypeVar

import attrs

T = TypeVar("T")

GRACE = timedelta(hours=1)  # that a lifetime may exceed what was asked for, for clocks that differ
MAX_LIFETIME = timedelta(hours=36)  # GetSessionToken and GetFederationToken; roles last at most 12 h
FOR_EVER = 10_000 * 366 * 86_400  # s, from any year to any other


def bounded(holder: T, *, now: datetime, requested: int | None, default: int | None) -> T:
    """
    Return *holder* with an absurd expiration, such as the year 9999, brought down to the lifetime that was asked for.

    Absurd is more than an hour beyond *requested*, however long that is: a server may grant more than AWS does. When
    nothing was requested, absurd is beyond 36 hours; then *default*, the lifetime that the service gives unasked, is
    what counts.

    Args:
        holder: A shape with ``expiration``, or with ``credentials`` that have one; others are returned unchanged.
        now: When it was issued.
        requested: Lifetime that was asked for, in seconds, or None.
        default: Lifetime when none is asked for, in seconds, or None for 36 hours.
    """
    credentials: Any = getattr(holder, "credentials", None)
    if credentials is not None:
        sound = bounded(credentials, now=now, requested=requested, default=default)
        return holder if sound is credentials else attrs.evolve(holder, credentials=sound)  # type: ignore[misc]
    expiration: datetime | None = getattr(holder, "expiration", None)
    if not isinstance(requested, int) or isinstance(requested, bool) or requested < 0:
        requested = None  # it was not checked, and no service can have granted it
    longest = MAX_LIFETIME if requested is None else timedelta(seconds=min(requested, FOR_EVER)) + GRACE
    if expiration is None or expiration - now <= longest:
        return holder
    lifetime = requested if requested is not None else default
    granted = MAX_LIFETIME if lifetime is None else timedelta(seconds=lifetime)
    return attrs.evolve(holder, expiration=now + granted)  # type: ignore[misc]
