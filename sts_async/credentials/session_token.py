"""
Temporary credentials of an IAM user, usually to prove MFA: GetSessionToken.

Source: AWS Security Token Service API Reference, "GetSessionToken".
"""

from .._shape.secret import without_data
from ..operations import GET_SESSION_TOKEN
from ..shapes import GetSessionTokenRequest, Seconds
from ._sts_providers import SignedProvider
from .source import MFACode, Source


class SessionTokenProvider(SignedProvider):
    """
    Provide temporary credentials of the IAM user whose keys sign, and keep them fresh.

    With an MFA device, the code is asked for at each fetch, never in the background, and again when STS asks to slow
    down: no code is sent twice.

    Args:
        source: The long-term credentials of the user: `Credentials`, a provider, or a coroutine function without
            arguments that returns `Credentials`; None for those of the client that it is used with.
        duration_seconds: Lifetime in seconds, or a `timedelta`, 900 to 129,600; the service's default is 43,200, and
            root users get at most 3,600.
        serial_number: MFA device, 9 to 256 characters; needs *mfa_code*.
        mfa_code: A coroutine function that is given the serial number and returns the code that the device shows, six
            digits. It is asked again when STS asks to slow down, at most 3 times for each fetch.
        minimum_session_token_size: Pad the session token to this many bytes, 0 to 4,096.

    Raises:
        ParamValidationError: Arguments are missing or of the wrong kind; all in one error. Lengths, ranges and patterns
            are checked by the first fetch, unless the client has ``Config(validate_parameters=False)``.
        ConfigurationError: One of *serial_number* and *mfa_code* came without the other, or *source* is not a source.
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
