"""The value that all tokens share, and the rule for its end."""

from datetime import UTC, datetime, timedelta

import attrs

from .._shape.secret import Secret, hiding, redact
from ..errors import CredentialsExpired
from ..shapes import Credentials
from ..sigv4._signing_input import expect_credentials, stamp_of


@hiding(value=redact)
@attrs.frozen(kw_only=True)
class Token:
    """
    A token, password or URL that was derived from credentials. Anyone who has it can use it.

    Attributes:
        value: The token as a `Secret`: a str whose repr is ``'***'``. Libraries take it as a str. For compiled
            ones that need a plain str, such as asyncpg, pass ``str(token.value)``.
        expiration: The end of the token, an aware datetime in UTC: of its own life or of the credentials that signed
            it, whichever is earlier.
    """

    value: Secret
    expiration: datetime


def check_alive(credentials: Credentials, *, at: datetime) -> None:
    """
    Check that credentials have not expired at the time of signing.

    Raises:
        CredentialsExpired: They have expired, so the service would refuse the token.
        CredentialsError: They are not `Credentials`.
        ConfigurationError: *at* is not an aware datetime.
    """
    stamp_of(at)
    expect_credentials(credentials)
    if credentials.is_expired(now=at):
        raise CredentialsExpired(
            f"the credentials expired at {credentials.expiration:%Y-%m-%dT%H:%M:%SZ}, before the time of signing"
        )


def end_of(credentials: Credentials, *, at: datetime, seconds: float) -> datetime:
    """Return the end of a token that was signed at *at* and whose own life is *seconds*."""
    own = at.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=seconds)
    return own if credentials.expiration is None else min(own, credentials.expiration)
