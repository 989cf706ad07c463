"""
Ids of access keys. One tells the account that it belongs to, which GetAccessKeyInfo returns without knowing the key.

Behind the prefix are 80 bits in base 32: a one, the account in 40 bits, and 39 bits that tell the keys of an account
apart. Older ids begin with a zero, and tell nothing.

Source: Tal Be'ery, "A short note on AWS KEY ID" (2023). AWS has not published the format.
"""

import base64
import itertools
import re
import secrets

NUMBER_BITS = 39
MAX_ACCOUNT = 10**12 - 1

_KEY_ID = re.compile(r"A[A-Z]IA([Q-Z2-7][A-Z2-7]{15})", re.ASCII)
# An odd step goes through all numbers before one comes again. Random ones would meet after some 100,000 sessions.
_STEP = 0x5E_6A_7D_0F_35
_serial = itertools.count(secrets.randbits(NUMBER_BITS))


def new_key_id(prefix: str, account: str) -> str:
    """
    Return an id that no other key of this process has.

    Args:
        prefix: ``AKIA`` for the key of a user, ``ASIA`` for that of a session.
        account: Id of the account, twelve digits.
    """
    number = next(_serial) * _STEP % (1 << NUMBER_BITS)
    bits = 1 << 79 | int(account) << NUMBER_BITS | number
    return prefix + base64.b32encode(bits.to_bytes(10, "big")).decode()


def account_of_key(key_id: str) -> str | None:
    """Return the account that an id tells, or None when it tells none."""
    found = _KEY_ID.fullmatch(key_id)
    if found is None:
        return None
    bits = int.from_bytes(base64.b32decode(found[1]), "big")
    account = bits >> NUMBER_BITS & (1 << 40) - 1
    return f"{account:012d}" if account <= MAX_ACCOUNT else None
