"""
Temporary credentials of a federated user: GetFederationToken.

Source: AWS Security Token Service API Reference, "GetFederationToken".
"""

from .. import shapes
from .._shape.secret import without_data
from ..operations import GET_FEDERATION_TOKEN
from ._sts_providers import SignedProvider
from .source import Source


class FederationTokenProvider(SignedProvider):
    """
    Provide temporary credentials of a federated user, and refresh them before they expire.

    Args:
        name: Name of the federated user, 2 to 32 characters of ``A-Z a-z 0-9 _ + = , . @ -``.
        source: The long-term credentials of an IAM user: `Credentials`, a provider, or a coroutine function without
            arguments that returns `Credentials`; None for the credentials of the client that uses the provider.
        policy: Session policy: JSON text, or a mapping that is sent as compact JSON; 1 to 2,048 characters. Without
            policies the session has no permissions.
        policy_arns: ARNs of managed policies, at most 10.
        duration_seconds: Lifetime in seconds or as a `timedelta`, 900 to 129,600; the service's default is 43,200. Root
            users get at most 3,600.
        tags: Session tags, such as ``{"team": "a"}``, or a list of `Tag`, at most 50.
        minimum_session_token_size: Minimum size of the session token in bytes, 0 to 4,096; STS pads a shorter one.

    Raises:
        ParamValidationError: Arguments are missing or have the wrong type. The error lists all of them. Lengths, ranges
            and patterns are checked by the first fetch, unless the client has ``Config(validate_parameters=False)``.
        ConfigurationError: *source* has an invalid form.
    """

    operation = GET_FEDERATION_TOKEN

    def __init__(
        self,
        *,
        name: str,
        source: Source | None = None,
        policy: shapes.PolicyDocument | None = None,
        policy_arns: shapes.Policies = (),
        duration_seconds: shapes.Seconds | None = None,
        tags: shapes.Tags = (),
        minimum_session_token_size: int | None = None,
    ) -> None:
        source = without_data(source)
        request = shapes.GetFederationTokenRequest(
            name=name,
            policy=policy,
            policy_arns=policy_arns,
            duration_seconds=duration_seconds,
            tags=tags,
            minimum_session_token_size=minimum_session_token_size,
        )
        super().__init__(request, name=f"federated user {name!a}", source=source)
