"""
Shapes for trusted identity propagation: the end user of a session, as the identity provider describes the user.

The API model marks the whole context as sensitive, because it describes an end user. So every member is a secret.
"""

# Annotations are read at run time: no `from __future__ import annotations` here.
from .frozen_map import FrozenMap
from .shape import Shape, secret, shape


@shape
class OriginIdentity(Shape):
    """The end user that a session acts for. A member is None if the session has no such key."""

    subject: str | None = secret(default=None)
    subject_type: str | None = secret(default=None)
    issuer: str | None = secret(default=None)
    federated_provider_arn: str | None = secret(default=None)


@shape
class TransactionContext(Shape):
    """Further claims about the request, by the last part of ``aws:TransactionContext/IdentityProvider/...``."""

    identity_provider: FrozenMap[str] | None = secret(default=None)


@shape
class TrustedIdentityPropagationContext(Shape):
    """The context that STS sets in a session from the identity provider's token. It describes a user: do not log it."""

    origin_identity: OriginIdentity | None = secret(default=None)
    transaction_context: TransactionContext | None = secret(default=None)
