"""
The scalar types of the API with their constraints.

Source: the API model in botocore, compared member by member in ``tests/test_model.py``.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

from .constraints import Category, Length, OneOf, Pattern, Range

# The model writes the last range as \u10000-\u10FFFF, which most engines misread.
_ARN_CHARACTERS = r"[\t\n\r\u0020-\u007E\u0085\u00A0-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]+"
_POLICY_CHARACTERS = r"[\t\n\r\u0020-\u00FF]+"
_TAG_CHARACTERS = Category("LZN", "_.:/=+-@")
_SCOPE = r"[\x21\x23-\x2B\x2D-\x5B\x5D-\x7E]+"

PolicyDocument = str | Mapping[str, Any]
"""JSON text, or a mapping that is sent as compact JSON text."""

Seconds = int | timedelta
"""A whole number of seconds, or a `timedelta` of whole seconds. It is stored as a number."""

Arn = Annotated[str, Length(20, 2048), Pattern(_ARN_CHARACTERS)]
RoleSessionName = Annotated[str, Length(2, 64), Pattern(r"[\w+=,.@-]*")]
SourceIdentity = Annotated[str, Length(2, 256), Pattern(r"[\w+=,.@-]*")]
UserName = Annotated[str, Length(2, 32), Pattern(r"[\w+=,.@-]*")]
ExternalId = Annotated[str, Length(2, 1224), Pattern(r"[\w+=,.@:\/-]*")]
SerialNumber = Annotated[str, Length(9, 256), Pattern(r"[\w+=/:,.@-]*")]
TokenCode = Annotated[str, Length(6, 6), Pattern(r"[\d]*")]
AccessKeyId = Annotated[str, Length(16, 128), Pattern(r"[\w]*")]
ProviderId = Annotated[str, Length(4, 2048)]
EncodedMessage = Annotated[str, Length(1, 10_240)]
TargetPrincipal = Annotated[str, Length(12, 2048)]
SAMLAssertion = Annotated[str, Length(4, 100_000)]
WebIdentityToken = Annotated[str, Length(4, 20_000)]
ContextAssertion = Annotated[str, Length(4, 3072)]
SigningAlgorithm = Annotated[str, Length(5, 5), OneOf(("RS256", "ES384"))]
Scope = Annotated[str, Length(1, 256), Pattern(f"{_SCOPE}( {_SCOPE})*")]
SubjectMode = Annotated[str, OneOf(("AWSIdentity", "OriginIdentity"))]
SessionDescription = Annotated[str, Length(2, 256), Pattern(r"[\t\n\r\u0020-\u007E\u00A1-\u00FF]*")]
TagKey = Annotated[str, Length(1, 128), _TAG_CHARACTERS]
TagValue = Annotated[str, Length(0, 256), _TAG_CHARACTERS]
UnrestrictedPolicy = Annotated[PolicyDocument, Length(1), Pattern(_POLICY_CHARACTERS)]
Policy = Annotated[PolicyDocument, Length(1, 2048), Pattern(_POLICY_CHARACTERS)]
RoleDurationSeconds = Annotated[Seconds, Range(900, 43_200, "s")]
DurationSeconds = Annotated[Seconds, Range(900, 129_600, "s")]
ScopedDurationSeconds = Annotated[Seconds, Range(1, 129_600, "s")]
RootDurationSeconds = Annotated[Seconds, Range(0, 900, "s")]
TokenDurationSeconds = Annotated[Seconds, Range(60, 3600, "s")]
MinimumSessionTokenSize = Annotated[int, Range(0, 4096, "bytes")]
