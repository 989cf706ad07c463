"""
The grammar of IAM's ARNs: an account id of twelve digits, and no characters that could forge a request or a log line.

Other servers than AWS have other names of roles: Ceph RGW has ``arn:aws:iam:::role/name``, Dell ECS has
``urn:ecs:iam::namespace:role/name``. `is_plain` accepts these names.

Source: IAM User Guide, "IAM identifiers"; IAM API Reference, CreateRole and CreateSAMLProvider.
"""

import re

ACCOUNT_ID_RULE = "12 digits"
ROLE_RULE = "an ARN such as arn:aws:iam::123456789012:role/name"
SAML_PROVIDER_RULE = "an ARN such as arn:aws:iam::123456789012:saml-provider/name"
PLAIN_RULE = "printable ASCII without spaces"

# Strings: `re` compiles them on first use and caches them. A path has at most 512 characters, including both slashes.
_ACCOUNT_ID = r"[0-9]{12}"
_IAM = r"arn:aws(?:-[a-z]+)*:iam::(?P<account>[0-9]{12})"
_ROLE = rf"{_IAM}:role/(?:[!-~]{{1,510}}/)?[A-Za-z0-9_+=,.@-]{{1,64}}"
_SAML_PROVIDER = rf"{_IAM}:saml-provider/[A-Za-z0-9._-]{{1,128}}"


def is_account_id(value: object) -> bool:
    """Return True if *value* is an account id: text of 12 digits."""
    return isinstance(value, str) and re.fullmatch(_ACCOUNT_ID, value) is not None


def account_of(arn: str | None) -> str | None:
    """Return the account id in an ARN of any service, or None if it has none."""
    parts = (arn or "").split(":", 5)
    return str(parts[4]) if len(parts) == 6 and parts[0] == "arn" and is_account_id(parts[4]) else None


def account_of_role(arn: str) -> str | None:
    """Return the account id of a role, or None if *arn* is not the ARN of a role."""
    found = re.fullmatch(_ROLE, arn)
    return None if found is None else found["account"]


def is_role(arn: str) -> bool:
    """Return True if *arn* is the ARN of an IAM role."""
    return account_of_role(arn) is not None


def is_saml_provider(arn: str) -> bool:
    """Return True if *arn* is the ARN of an IAM SAML provider."""
    return re.fullmatch(_SAML_PROVIDER, arn) is not None


def is_plain(arn: str) -> bool:
    """Return True if *arn* is printable ASCII without spaces, which other servers than AWS can use."""
    return re.fullmatch(r"[!-~]+", arn) is not None
