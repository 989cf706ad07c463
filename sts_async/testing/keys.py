"""
Access key ids. An id contains its account, so GetAccessKeyInfo works for unknown keys.

After the prefix are 80 bits in base 32: a one, the account in 40 bits, and 39 bits that distinguish the keys of an
account. Older ids begin with a zero, and contain no account.

Source: Tal Be'ery, "A short note on AWS KEY ID" (2023). AWS has not published the format.
"""

import base64
import itertools
import re
import secrets

NUMBER_BITS = 39
MAX_ACCOUNT = 10**12 - 1

_KEY_ID = re.compile(r"A[A-Z]IA([Q-Z2-7][A-Z2-7]{15})", re.ASCII)
# With an odd step, all numbers occur before one repeats. Random numbers would collide after about 100,000 sessions.
_STEP = 0x5E_6A_7D_0F_35
_serial = itertools.count(secrets.randbits(NUMBER_BITS))


def new_key_id(prefix: str, account: str) -> str:
    """
    Return an id that is unique in this process.

    Args:
        prefix: ``AKIA`` for the key of a user, ``ASIA`` for the key of a session.
        account: The account id, twelve digits.
    """
    number = next(_serial) * _STEP % (1 << NUMBER_BITS)
    bits = 1 << 79 | int(account) << NUMBER_BITS | number
    return prefix + base64.b32encode(bits.to_bytes(10, "big")).decode()


def account_of_key(key_id: str) -> str | None:
    """Return the account in an access key id, or None if it has none."""
    found = _KEY_ID.fullmatch(key_id)
    if found is None:
        return None
    bits = int.from_bytes(base64.b32decode(found[1]), "big")
    account = bits >> NUMBER_BITS & (1 << 40) - 1
    return f"{account:012d}" if account <= MAX_ACCOUNT else None
