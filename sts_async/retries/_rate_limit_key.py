"""The key of the rate limit that a request counts against."""

import base64
import binascii

from .._protocol.endpoints import AWS_DOMAINS, Endpoint


def rate_limit_key(access_key_id: str, endpoint: Endpoint) -> str:
    """
    Return the key of a caller's rate limit: STS has one limit for each account and region.

    The account comes from the access key id. An id without an account is itself a part of the key. Hosts outside AWS
    have separate limits.
    """
    region = endpoint.signing_region or ""
    if not endpoint.host.endswith(AWS_DOMAINS):
        region = f"{endpoint.host}/{region}"
    return f"{account_of(access_key_id) or access_key_id}/{region}"


def account_of(access_key_id: str) -> str | None:
    """
    Return the account id in an access key id, or None if it has none.

    After the prefix of four characters, each character encodes five bits. The account is in the 40 bits after the
    first bit. Ids from before 2019 contain no account.
    """
    if len(access_key_id) != 20 or not access_key_id.startswith(("AKIA", "ASIA")):
        return None
    try:
        decoded = base64.b32decode(access_key_id[4:])
    except (binascii.Error, ValueError):
        return None
    account = (int.from_bytes(decoded[:6], "big") & 0x7FFF_FFFF_FF80) >> 7
    return f"{account:012}" if 0 < account < 10**12 else None
