"""
Credentials in environment variables.

Source: AWS SDKs and Tools Reference Guide, "AWS access keys".
"""

import os
from collections.abc import Mapping

from .._config.sections import quotes_remark
from .._protocol.arns import is_account_id
from .._protocol.timestamps import timestamp
from .._shape.secret import HiddenMapping, Unpicklable
from ..errors import CredentialsError, CredentialsExpired, CredentialsNotFound
from ..protocols import ProviderContext
from ..shapes import Credentials
from .static import describe_expiry, is_expired

ACCESS_KEY_ID = "AWS_ACCESS_KEY_ID"
SECRET_ACCESS_KEY = "AWS_SECRET_ACCESS_KEY"  # noqa: S105 - the name of the variable
SESSION_TOKEN = "AWS_SESSION_TOKEN"  # noqa: S105 - the name of the variable
SECURITY_TOKEN = "AWS_SECURITY_TOKEN"  # noqa: S105 - the older name of the same
EXPIRATION = "AWS_CREDENTIAL_EXPIRATION"
ACCOUNT_ID = "AWS_ACCOUNT_ID"
VARIABLES = (ACCESS_KEY_ID, SECRET_ACCESS_KEY, SESSION_TOKEN, SECURITY_TOKEN, EXPIRATION, ACCOUNT_ID)


class EnvironmentProvider(Unpicklable):
    """
    Provide the credentials in environment variables.

    The variables are ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_SESSION_TOKEN`` (or its older name
    ``AWS_SECURITY_TOKEN``), ``AWS_CREDENTIAL_EXPIRATION``, such as ``2026-01-01T00:00:00Z``, and ``AWS_ACCOUNT_ID``,
    which is ignored unless it is 12 digits. They are read at each call. A blank variable counts as unset.

    Args:
        environ: The variables; None for the process environment.
    """

    name = "environment"
    bounds_itself = True
    depends_on_client = False

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = HiddenMapping(os.environ if environ is None else environ)
        self._last: tuple[tuple[str | None, ...], Credentials] | None = None

    async def provide_credentials(self, context: ProviderContext) -> Credentials:
        """
        Return the credentials. No request is sent.

        Raises:
            CredentialsNotFound: Neither key variable is set.
            CredentialsError: One of the two is missing, a value is in quotes, or the expiration is not a time.
            CredentialsExpired: The credentials have expired by the clock of this host and by the clock of the service.
        """
        credentials = self._unchanged()
        if credentials is None:
            values = self._environ.secrets(VARIABLES)
            # No variable is set: the usual case in a chain, which needs no further work.
            nothing = values.count(None) == len(values)
            credentials = _read(*(values if nothing else map(_without_blanks, values)))
            # The same object is returned until a variable changes, because signers are cached by object.
            self._last = values, credentials
        if is_expired(credentials, context):
            raise CredentialsExpired(
                f"the credentials in the environment expired {describe_expiry(credentials, context)}: "
                f"set new ones, and their {EXPIRATION}"
            )
        return credentials

    def _unchanged(self) -> Credentials | None:
        """
        Return the last credentials if no variable has changed, otherwise None.

        This is a function of its own, so that no frame of a traceback contains the values.
        """
        last = self._last
        return last[1] if last is not None and last[0] == self._environ.secrets(VARIABLES) else None

    def __repr__(self) -> str:
        return "EnvironmentProvider()"


def _without_blanks(value: str | None) -> str | None:
    return (value or "").strip() or None


def _read(
    key_id: str | None,
    secret: str | None,
    token: str | None,
    security_token: str | None,
    expiration_text: str | None,
    account_id: str | None,
) -> Credentials:
    if key_id is None and secret is None:
        raise CredentialsNotFound(f"{ACCESS_KEY_ID} and {SECRET_ACCESS_KEY} are not set")
    if key_id is None or secret is None:
        present, absent = (ACCESS_KEY_ID, SECRET_ACCESS_KEY) if secret is None else (SECRET_ACCESS_KEY, ACCESS_KEY_ID)
        raise CredentialsError(f"{present} is set and {absent} is not: set both or neither")
    values = {ACCESS_KEY_ID: key_id, SECRET_ACCESS_KEY: secret, SESSION_TOKEN: token, SECURITY_TOKEN: security_token}
    quoted = next((name for name, value in values.items() if value is not None and quotes_remark(value)), None)
    # A program that reads variables from a file may leave the quotes in their values.
    if quoted is not None:
        raise CredentialsError(f"{quoted} must not be in quotes; {quotes_remark(values[quoted] or '')}")
    try:
        expiration = None if expiration_text is None else timestamp(expiration_text)
    except ValueError:
        pass
    else:
        return Credentials(
            access_key_id=key_id,
            secret_access_key=secret,
            session_token=token or security_token,
            expiration=expiration,
            account_id=str(account_id) if is_account_id(account_id) else None,
        )
    raise CredentialsError(f"{EXPIRATION} is not a time such as 2026-01-01T00:00:00Z")
