"""
Credentials in environment variables.

Source: AWS SDKs and Tools Reference Guide, "AWS access keys".
"""

import os
from collections.abc import Mapping

from .._config.sections import quotes_remark
from .._protocol.arns import is_account_id
from .._protocol.timestamps import timestamp
from .._shape.secret import HiddenMapping, Unpicklable, redact
from ..errors import CredentialsError, CredentialsExpired, CredentialsNotFound
from ..protocols import ProviderContext
from ..shapes import Credentials
from .static import ended_when, has_ended

ACCESS_KEY_ID = "AWS_ACCESS_KEY_ID"
SECRET_ACCESS_KEY = "AWS_SECRET_ACCESS_KEY"  # noqa: S105 - the name of the variable
SESSION_TOKEN = "AWS_SESSION_TOKEN"  # noqa: S105 - the name of the variable
SECURITY_TOKEN = "AWS_SECURITY_TOKEN"  # noqa: S105 - the older name of the same
EXPIRATION = "AWS_CREDENTIAL_EXPIRATION"
ACCOUNT_ID = "AWS_ACCOUNT_ID"
VARIABLES = (ACCESS_KEY_ID, SECRET_ACCESS_KEY, SESSION_TOKEN, SECURITY_TOKEN, EXPIRATION, ACCOUNT_ID)


class EnvironmentProvider(Unpicklable):
    """
    Provide what ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_SESSION_TOKEN`` (or ``AWS_SECURITY_TOKEN``) and
    ``AWS_CREDENTIAL_EXPIRATION`` (such as ``2026-01-01T00:00:00Z``) say at the time of each call. A blank variable
    counts as unset. ``AWS_ACCOUNT_ID`` says which account they belong to; it is ignored when it is not 12 digits.

    Args:
        environ: Where to look; the process environment when it is None.
    """

    name = "environment"
    bounds_itself = True
    depends_on_client = False

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = HiddenMapping(os.environ if environ is None else environ)
        self._last: tuple[tuple[str | None, ...], Credentials] | None = None

    async def provide_credentials(self, context: ProviderContext) -> Credentials:
        """
        Return the credentials. Nothing is sent.

        Raises:
            CredentialsNotFound: Neither key variable is set.
            CredentialsError: One of the two is missing, or the expiration is not a time.
            CredentialsExpired: The expiration is past, by this host's clock and by the service's.
        """
        credentials = self._unchanged()
        if credentials is None:
            seen = tuple(redact(self._environ.get(name)) for name in VARIABLES)
            credentials = _read(*(redact((value or "").strip() or None) for value in seen))
            self._last = seen, credentials  # the same object while the variables stand, for its signer
        if has_ended(credentials, context):
            raise CredentialsExpired(
                f"the credentials in the environment expired {ended_when(credentials, context)}: "
                f"set new ones, and their {EXPIRATION}"
            )
        return credentials

    def _unchanged(self) -> Credentials | None:
        """Return the last credentials while the variables stand. Apart, so that no frame that raises has their text."""
        last = self._last
        return last[1] if last is not None and last[0] == tuple(map(self._environ.get, VARIABLES)) else None

    def __repr__(self) -> str:
        return "EnvironmentProvider()"


def _read(
    key_id: str | None,
    secret: str | None,
    token: str | None,
    older: str | None,
    expires: str | None,
    account_id: str | None,
) -> Credentials:
    if key_id is None and secret is None:
        raise CredentialsNotFound(f"{ACCESS_KEY_ID} and {SECRET_ACCESS_KEY} are not set")
    if key_id is None or secret is None:
        present, absent = (ACCESS_KEY_ID, SECRET_ACCESS_KEY) if secret is None else (SECRET_ACCESS_KEY, ACCESS_KEY_ID)
        raise CredentialsError(f"{present} is set and {absent} is not: set both or neither")
    said = {ACCESS_KEY_ID: key_id, SECRET_ACCESS_KEY: secret, SESSION_TOKEN: token, SECURITY_TOKEN: older}
    quoted = next((name for name, value in said.items() if value is not None and quotes_remark(value)), None)
    if quoted is not None:  # a program that reads a file of variables may leave them
        raise CredentialsError(f"{quoted} must not be in quotes; {quotes_remark(said[quoted] or '')}")
    try:
        expiration = None if expires is None else timestamp(expires)
    except ValueError:
        pass
    else:
        return Credentials(
            access_key_id=key_id,
            secret_access_key=secret,
            session_token=token or older,
            expiration=expiration,
            account_id=str(account_id) if is_account_id(account_id) else None,
        )
    raise CredentialsError(f"{EXPIRATION} is not a time such as 2026-01-01T00:00:00Z")
