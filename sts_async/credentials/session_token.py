"""
Temporary credentials of an IAM user, usually with MFA: GetSessionToken.

Source: AWS Security Token Service API Reference, "GetSessionToken".
"""

from .._shape.secret import without_data
from ..operations import GET_SESSION_TOKEN
from ..shapes import GetSessionTokenRequest, Seconds
from ._sts_providers import SignedProvider
from .source import MFACode, Source


class SessionTokenProvider(SignedProvider):
    """
    Provide temporary credentials of the IAM user who signs the request, and refresh them before they expire.

    With an MFA device, *mfa_code* is called for each fetch, and again after a throttling error, so that no code is sent
    twice. Such a fetch never runs in the background.

    Args:
        source: The long-term credentials of the user: `Credentials`, a provider, or a coroutine function without
            arguments that returns `Credentials`; None for the credentials of the client that uses the provider.
        duration_seconds: Lifetime in seconds or as a `timedelta`, 900 to 129,600; the service's default is 43,200. Root
            users get at most 3,600.
        serial_number: Serial number or ARN of the MFA device, 9 to 256 characters; requires *mfa_code*.
        mfa_code: A coroutine function that takes the serial number and returns the code that the device shows, 6
            digits. It is called again after a throttling error, at most 3 times for each fetch.
        minimum_session_token_size: Minimum size of the session token in bytes, 0 to 4,096; STS pads a shorter one.

    Raises:
        ParamValidationError: Arguments are missing or have the wrong type. The error lists all of them. Lengths, ranges
            and patterns are checked by the first fetch, unless the client has ``Config(validate_parameters=False)``.
        ConfigurationError: Only one of *serial_number* and *mfa_code* is passed, or *source* has an invalid form.
    """

    operation = GET_SESSION_TOKEN

    def __init__(
        self,
        *,
        source: Source | None = None,
        duration_seconds: Seconds | None = None,
        serial_number: str | None = None,
        mfa_code: MFACode | None = None,
        minimum_session_token_size: int | None = None,
    ) -> None:
        source, mfa_code = without_data(source), without_data(mfa_code)
        request = GetSessionTokenRequest(
            duration_seconds=duration_seconds,
            serial_number=serial_number,
            minimum_session_token_size=minimum_session_token_size,
        )
        super().__init__(request, name="session token", source=source, mfa_code=mfa_code)
