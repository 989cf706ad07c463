"""Whose limit a request counts against."""

import base64
import binascii

from .._protocol.endpoints import AWS_DOMAINS, Endpoint


def rate_limit_key(access_key_id: str, endpoint: Endpoint) -> str:
    """
    Return what tells the limits of two callers apart: STS limits each account in each region.

    An access key id holds its account; of one that does not, the id itself stands for it. A host that is not of AWS has
    limits of its own.
    """
    where = endpoint.signing_region or ""
    if not endpoint.host.endswith(AWS_DOMAINS):
        where = f"{endpoint.host}/{where}"
    return f"{account_of(access_key_id) or access_key_id}/{where}"


def account_of(access_key_id: str) -> str | None:
    """
    Return the account id in an access key id, twelve digits, or None when there is none.

    Five bits a character follow the four of the prefix; the account is in 40 of the first 48, after one that says
    nothing. Ids from before 2019 hold none.
    """
    if len(access_key_id) != 20 or not access_key_id.startswith(("AKIA", "ASIA")):
        return None
    try:
        decoded = base64.b32decode(access_key_id[4:])
    except (binascii.Error, ValueError):
        return None
    account = (int.from_bytes(decoded[:6], "big") & 0x7FFF_FFFF_FF80) >> 7
    return f"{account:012}" if 0 < account < 10**12 else None
