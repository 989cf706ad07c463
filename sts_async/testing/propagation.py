"""Trusted identity propagation: the end user of a session, and the claims about the user in a JWT."""

import unicodedata
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Literal

import attrs

from ..shapes import FrozenMap, OriginIdentity, TransactionContext, TrustedIdentityPropagationContext
from .refusals import access_denied, invalid

if TYPE_CHECKING:
    from .claims import Claims  # imports lxml, which not every server needs

AWS_IDENTITY = "AWSIdentity"
ORIGIN_IDENTITY = "OriginIdentity"

_UNFIT = frozenset({"Cc", "Cf", "Zl", "Zp", "Zs"})  # Unicode categories: control, format, separator


@attrs.frozen
class ContextProvider:
    """
    A context provider of an identity provider. Sessions that are opened with the provider's tokens have context.

    Attributes:
        provider: The identity provider: the issuer of web identity tokens, or the ARN of an OIDC or SAML provider.
        subject: The claim or SAML attribute with the end user; None for the subject of the token.
        subject_type: The type of the end user.
        claims: Names of the claims or SAML attributes that become transaction context, by their keys there. Only text
            values are used.
    """

    provider: str
    subject: str | None = attrs.field(default=None, kw_only=True)
    subject_type: Literal["user", "workload"] = attrs.field(default="user", kw_only=True)
    claims: Mapping[str, str] = attrs.field(factory=dict, kw_only=True)

    def context_of(
        self, claims: "Claims", *, issuer: str | None, provider_arn: str
    ) -> TrustedIdentityPropagationContext:
        """Return the context of a session that is opened with *claims*."""
        found = {key: claims.texts[name] for key, name in self.claims.items() if name in claims.texts}
        return TrustedIdentityPropagationContext(
            origin_identity=OriginIdentity(
                subject=claims.subject if self.subject is None else claims.texts.get(self.subject),
                subject_type=self.subject_type,
                issuer=issuer,
                federated_provider_arn=provider_arn,
            ),
            transaction_context=TransactionContext(identity_provider=FrozenMap(found)) if found else None,
        )


def end_user(context: TrustedIdentityPropagationContext | None) -> str:
    """
    Return the end user in the context of a session, for the subject of a token.

    Raises:
        Refusal: The context is incomplete, or the name of the end user could be mistaken for another identity.
    """
    origin = (context and context.origin_identity) or OriginIdentity()
    subject = origin.subject or ""
    if not subject.strip() or not (origin.issuer or origin.federated_provider_arn):
        raise invalid(
            f"SubjectMode {ORIGIN_IDENTITY} needs a session with aws:OriginIdentity/Subject, and with "
            "aws:OriginIdentity/Issuer or aws:OriginIdentity/FederatedProviderArn"
        )
    odd = any(unicodedata.category(character) in _UNFIT and character != " " for character in subject)
    if odd or subject.lower().startswith("arn:") or subject != subject.strip(" "):
        raise access_denied("aws:OriginIdentity/Subject cannot be the subject of a token")
    return subject


def check_scope(scope: str | None, *, subject_mode: str, audience: Collection[str]) -> None:
    """Check a scope for a token by the rules of the service."""
    if scope is None:
        return
    if subject_mode != ORIGIN_IDENTITY or len(audience) != 1:
        raise invalid(f"Scope can only be specified with SubjectMode {ORIGIN_IDENTITY} and exactly one audience")
    values = scope.split(" ")
    if len({*values}) < len(values):
        raise invalid("Scope must not repeat a value")
