"""Trusted identity propagation: on whose behalf a session acts, and what a JWT can say of it."""

import unicodedata
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Literal

import attrs

from ..shapes import FrozenMap, OriginIdentity, TransactionContext, TrustedIdentityPropagationContext
from .refusals import access_denied, invalid

if TYPE_CHECKING:
    from .claims import Claims  # which imports lxml: not every stand-in needs it

AWS_IDENTITY = "AWSIdentity"
ORIGIN_IDENTITY = "OriginIdentity"

_UNFIT = frozenset({"Cc", "Cf", "Zl", "Zp", "Zs"})  # Unicode categories: control, format, separator


@attrs.frozen
class ContextProvider:
    """
    A context provider, attached to an identity provider. The sessions that its tokens open then have context.

    Attributes:
        provider: The identity provider: the issuer of web identity tokens, or the ARN of an OIDC or SAML provider.
        subject: The claim or SAML attribute that names the end user; None for the subject of the token.
        subject_type: What sort of caller the end user is.
        claims: Claims or SAML attributes that become transaction context: their names, by the key that they get. Only
            those that are text are taken.
    """

    provider: str
    subject: str | None = attrs.field(default=None, kw_only=True)
    subject_type: Literal["user", "workload"] = attrs.field(default="user", kw_only=True)
    claims: Mapping[str, str] = attrs.field(factory=dict, kw_only=True)

    def context_of(
        self, claims: "Claims", *, issuer: str | None, provider_arn: str
    ) -> TrustedIdentityPropagationContext:
        """Return the context that *claims* set in a session."""
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
    Return the end user in the context of a session, as the subject of a token.

    Raises:
        Refusal: The context lacks what a token needs, or the end user could be taken for another identity.
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
    """Refuse a scope that the service would not put into a token."""
    if scope is None:
        return
    if subject_mode != ORIGIN_IDENTITY or len(audience) != 1:
        raise invalid(f"Scope can only be specified with SubjectMode {ORIGIN_IDENTITY} and exactly one audience")
    values = scope.split(" ")
    if len({*values}) < len(values):
        raise invalid("Scope must not repeat a value")
