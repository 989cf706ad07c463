"""The longest lifetime that an expiration in a response can have."""

from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import attrs

T = TypeVar("T")

# Seconds that a lifetime may exceed the requested one: the clocks of client and server differ.
GRACE = 3600
# Seconds. GetSessionToken and GetFederationToken grant as much; roles last at most 12 hours.
MAX_LIFETIME = 36 * 3600
# Seconds from any year to any other.
FOR_EVER = 10_000 * 366 * 86_400


def bounded(holder: T, *, issued_at: float, requested: int | None, default: int | None) -> T:
    """
    Return *holder* with an absurd expiration, such as the year 9999, reduced to the lifetime that was asked for.

    An expiration is absurd if it is more than an hour beyond *requested*, however long that is: a server may grant more
    than AWS does. If no lifetime was requested, an expiration beyond 36 hours is absurd, and *default* counts: the
    lifetime that the service grants unasked.

    Args:
        holder: A shape with ``expiration``, or with ``credentials`` that have one; others are returned unchanged.
        issued_at: When it was issued, in seconds since 1970.
        requested: The lifetime that was asked for, in seconds, or None.
        default: The lifetime if none is asked for, in seconds, or None for 36 hours.
    """
    credentials: Any = getattr(holder, "credentials", None)
    expiration: datetime | None = getattr(holder if credentials is None else credentials, "expiration", None)
    if expiration is None:
        return holder
    if not isinstance(requested, int) or isinstance(requested, bool) or requested < 0:
        requested = None  # Validation is off, and no service can have granted such a lifetime.
    longest = MAX_LIFETIME if requested is None else min(requested, FOR_EVER) + GRACE
    if expiration.timestamp() - issued_at < longest:
        return holder
    # Compared again as dates, which are exact at the limit.
    now = datetime.fromtimestamp(issued_at, UTC)
    if expiration - now <= timedelta(seconds=longest):
        return holder
    lifetime = requested if requested is not None else default
    expiration = now + timedelta(seconds=MAX_LIFETIME if lifetime is None else lifetime)
    if credentials is None:
        return attrs.evolve(holder, expiration=expiration)  # type: ignore[misc]
    return attrs.evolve(holder, credentials=attrs.evolve(credentials, expiration=expiration))  # type: ignore[misc]
