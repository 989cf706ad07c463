"""
Credentials in environment variables.

Source: AWS SDKs and Tools Reference Guide, "AWS access keys".
"""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from .._core.convert import timestamp
from .._core.secret import Unpicklable, conceal
from ..errors import CredentialsError, CredentialsExpired, CredentialsNotFound
from ..shapes import Credentials

ACCESS_KEY_ID = "AWS_ACCESS_KEY_ID"
SECRET_ACCESS_KEY = "AWS_SECRET_ACCESS_KEY"  # noqa: S105 - the name of the variable
SESSION_TOKEN = "AWS_SESSION_TOKEN"  # noqa: S105 - the name of the variable
EXPIRATION = "AWS_CREDENTIAL_EXPIRATION"
VARIABLES = (ACCESS_KEY_ID, SECRET_ACCESS_KEY, SESSION_TOKEN, EXPIRATION)


class EnvironmentProvider(Unpicklable):
    """
    Provide what ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_SESSION_TOKEN`` and
    ``AWS_CREDENTIAL_EXPIRATION`` (ISO 8601) say at the time of each call. A blank variable counts as unset.

    Args:
        environ: Where to look; the process environment when it is None.
    """

    name = "environment"

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ
        self._last: tuple[tuple[str | None, ...], Credentials] | None = None

    async def provide_credentials(self, transport: Any) -> Credentials:
        """
        Return the credentials. Nothing is sent over *transport*.

        Raises:
            CredentialsNotFound: Neither key variable is set.
            CredentialsError: One of the two is missing, or the expiration is no ISO 8601 time.
            CredentialsExpired: The expiration is past.
        """
        seen = tuple(conceal((self._environ.get(name) or "").strip() or None) for name in VARIABLES)
        last = self._last
        if last is None or last[0] != seen:
            self._last = None
            last = self._last = (seen, _read(*seen))  # the same object while the variables stand, for its signer
        credentials = last[1]
        if credentials.is_expired(now=datetime.now(UTC)):
            raise CredentialsExpired(f"the credentials in the environment have expired: {EXPIRATION} is past")
        return credentials

    def __repr__(self) -> str:
        return "EnvironmentProvider()"


def _read(key_id: str | None, secret: str | None, token: str | None, expires: str | None) -> Credentials:
    if key_id is None and secret is None:
        raise CredentialsNotFound(f"{ACCESS_KEY_ID} and {SECRET_ACCESS_KEY} are not set")
    if key_id is None or secret is None:
        present, absent = (ACCESS_KEY_ID, SECRET_ACCESS_KEY) if secret is None else (SECRET_ACCESS_KEY, ACCESS_KEY_ID)
        raise CredentialsError(f"{present} is set and {absent} is not: set both or neither")
    try:
        expiration = None if expires is None else timestamp(expires)
    except (ValueError, OverflowError):
        pass
    else:
        return Credentials(access_key_id=key_id, secret_access_key=secret, session_token=token, expiration=expiration)
    raise CredentialsError(f"{EXPIRATION} is not an ISO 8601 time such as 2026-01-01T00:00:00Z")
