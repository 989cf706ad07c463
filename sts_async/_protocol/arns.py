"""
ARNs of IAM, by one strict grammar: an account of twelve digits, and no character that could add to a request or a log.

Servers other than AWS name their roles otherwise: Ceph RGW with ``arn:aws:iam:::role/name``, Dell ECS with
``urn:ecs:iam::namespace:role/name``. For those there is `is_plain`.

Source: IAM User Guide, "IAM identifiers"; IAM API Reference, CreateRole and CreateSAMLProvider.
"""

import re

ACCOUNT_ID_RULE = "12 digits"
ROLE_RULE = "an ARN such as arn:aws:iam::123456789012:role/name"
SAML_PROVIDER_RULE = "an ARN such as arn:aws:iam::123456789012:saml-provider/name"
PLAIN_RULE = "printable ASCII without blanks"

# Text, which `re` compiles at first use and keeps. A path is of at most 512 characters, with the slashes at its ends.
_ACCOUNT_ID = r"[0-9]{12}"
_IAM = r"arn:aws(?:-[a-z]+)*:iam::(?P<account>[0-9]{12})"
_ROLE = rf"{_IAM}:role/(?:[!-~]{{1,510}}/)?[A-Za-z0-9_+=,.@-]{{1,64}}"
_SAML_PROVIDER = rf"{_IAM}:saml-provider/[A-Za-z0-9._-]{{1,128}}"


def is_account_id(value: object) -> bool:
    """Say whether *value* is the id of an account: a text of 12 digits."""
    return isinstance(value, str) and re.fullmatch(_ACCOUNT_ID, value) is not None


def account_of(arn: str | None) -> str | None:
    """Return the id of the account in an ARN of any service, or None when there is none in it."""
    parts = (arn or "").split(":", 5)
    return str(parts[4]) if len(parts) == 6 and parts[0] == "arn" and is_account_id(parts[4]) else None


def account_of_role(arn: str) -> str | None:
    """Return the id of the account that a role is in, twelve digits, or None when *arn* is not that of a role."""
    found = re.fullmatch(_ROLE, arn)
    return None if found is None else found["account"]


def is_role(arn: str) -> bool:
    """Say whether *arn* is that of a role of IAM."""
    return account_of_role(arn) is not None


def is_saml_provider(arn: str) -> bool:
    """Say whether *arn* is that of a SAML provider of IAM."""
    return re.fullmatch(_SAML_PROVIDER, arn) is not None


def is_plain(arn: str) -> bool:
    """Say whether *arn* can name something at a server of another kind: printable ASCII without blanks."""
    return re.fullmatch(r"[!-~]+", arn) is not None
