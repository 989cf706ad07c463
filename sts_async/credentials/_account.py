"""The account that credentials belong to: a label, which sources add where they know it."""

import attrs

from .._protocol.arns import ACCOUNT_ID_RULE, is_account_id
from ..errors import ConfigurationError
from ..shapes import Credentials


def in_account(credentials: Credentials, account_id: str | None) -> Credentials:
    """Return *credentials* with the account that they belong to, unless they say one or it is not known."""
    if account_id is None or credentials.account_id is not None:
        return credentials
    return attrs.evolve(credentials, account_id=account_id)  # type: ignore[misc]


def check_account_id(account_id: object) -> None:
    """
    Refuse an account that a program gives and that is not one. One that a document says is ignored instead.

    Raises:
        ConfigurationError: It is neither None nor 12 digits.
    """
    if account_id is not None and not is_account_id(account_id):
        raise ConfigurationError(f"account_id must be {ACCOUNT_ID_RULE}")
