"""The account of credentials. It is only a label, which sources add if they know it."""

import attrs

from .._protocol.arns import ACCOUNT_ID_RULE, is_account_id
from ..errors import ConfigurationError
from ..shapes import Credentials


def in_account(credentials: Credentials, account_id: str | None) -> Credentials:
    """Return *credentials* with *account_id* added. They are unchanged if it is None or if they already have one."""
    if account_id is None or credentials.account_id is not None:
        return credentials
    return attrs.evolve(credentials, account_id=account_id)  # type: ignore[misc]


def check_account_id(account_id: object) -> None:
    """
    Check an account id that the program passed. An invalid id in a document is ignored instead.

    Raises:
        ConfigurationError: *account_id* is neither None nor 12 digits.
    """
    if account_id is not None and not is_account_id(account_id):
        raise ConfigurationError(f"account_id must be {ACCOUNT_ID_RULE}")
