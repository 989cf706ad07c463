"""The common part of the SSO and login sources: the URLs of the sign-in services, and requests with retries."""

from collections.abc import Awaitable, Callable

import attrs

from .._config import services
from .._protocol.http_errors import Refusal
from .._protocol.http_messages import HttpRequest, HttpResponse
from .._protocol.redaction import Redaction
from .._protocol.redirects import describe_redirect, is_redirect
from .._shape.arguments import other_than
from .._shape.secret import HiddenMapping
from ..config import OPTIONS, Config
from ..errors import (
    ConfigurationError,
    ConnectError,
    CredentialsError,
    RedirectRefused,
    ServiceError,
    STSError,
    TransportError,
)
from ..protocols import ProviderContext
from ..retries import StandardRetries

ATTEMPTS = 3  # maximum number of attempts of a request
REQUEST_SECONDS = 10.0  # s for one attempt


@attrs.frozen(kw_only=True)
class Services:
    """
    The settings for the URLs of the services that a source calls.

    Attributes:
        config: Options that the program passed to the source, or None. They take precedence over those of the client.
        environ: The environment variables.
        place: The profile that configures the source.
    """

    config: Config | None = attrs.field(default=None, repr=False)
    environ: HiddenMapping
    place: services.InProfile = services.NO_PROFILE

    def locate(self, service: services.Service, *, region: str, context: ProviderContext) -> services.Location:
        """
        Return the URL of a service in a region, by the settings of the source and of the client of *context*.

        Raises:
            InvalidEndpoint: The configured URL is invalid.
            InvalidConfigFile: A profile names a services section that does not exist.
            ConfigurationError: The settings contradict each other, or a flag is neither true nor false.
        """
        settings = services.Settings(
            options=OPTIONS,
            given=(services.said_by(self.config), services.said_by(context.given)),
            environ=self.environ,
            profiles=self.place.settings,
            otherwise=services.said_by(context.config),
        )
        return services.locate(service, region=region, settings=settings)


def checked_config(config: Config | None) -> Config | None:
    """
    Return *config* unchanged.

    Raises:
        ConfigurationError: It is neither a `Config` nor None.
    """
    if not isinstance(config, Config | None):
        raise ConfigurationError(f"config must be a Config, not {other_than('Config', config)}")
    return config


async def exchange(
    context: ProviderContext,
    request: HttpRequest,
    *,
    who: str,
    hint: str = "",
    prepare: Callable[[HttpRequest], Awaitable[HttpRequest]] | None = None,
) -> HttpResponse:
    """
    Send a request to a sign-in service, and return its response.

    There are up to 3 attempts while the service is unavailable or throttling.

    Args:
        context: Sends the request.
        request: The request.
        who: Name of the service in messages.
        hint: Advice that is added to the error if no connection can be made; empty for none.
        prepare: Returns the request of an attempt, such as one with a new proof; None to send *request* each time.

    Raises:
        CredentialsError: The service is still unavailable or throttling after 3 attempts.
        RedirectRefused: The service answered with a redirect.
        TransportError: The service did not respond.
    """
    retries = StandardRetries(max_attempts=ATTEMPTS)
    attempt = 0
    while True:
        attempt += 1
        prepared = request if prepare is None else await prepare(request)
        try:
            response = await context.send(attrs.evolve(prepared, timeout=REQUEST_SECONDS))
        except TransportError as error:
            delay = _pause(retries, error, context, attempt=attempt)
            if delay is None:
                error.attempts = attempt
                if hint and isinstance(error, ConnectError):
                    error.args = (f"{error}; {hint}",)
                raise
        else:
            if is_redirect(response.status):
                host = describe_redirect(response, Redaction(prepared))
                raise RedirectRefused(f"{who} answered {host}", status=response.status)
            refused = Refusal.from_response(response, sent=prepared) if response.status >= 400 else None
            if refused is None or not (why := _passing(refused)):
                return response
            delay = _pause(retries, why, context, attempt=attempt)
            if delay is None:
                raise _given_up(f"{who} answered {refused}, {attempt} times", attempts=attempt)
        await context.sleep(delay)


def _pause(retries: StandardRetries, why: STSError, context: ProviderContext, *, attempt: int) -> float | None:
    """Return the seconds to wait before the next attempt, or None if there is none."""
    return retries.after_failure(why, scope="", attempt=attempt, now=context.monotonic(), jitter=context.jitter())


def _given_up(text: str, *, attempts: int) -> CredentialsError:
    error = CredentialsError(text)
    error.attempts = attempts
    return error


def _passing(refusal: Refusal) -> ServiceError | None:
    """Return an error for the retry policy if a further attempt may help, otherwise None."""
    status = 429 if "SlowDownException" in refusal.codes else refusal.status
    error = ServiceError.class_for("", status)("", code="", status=status)
    return error if error.retryable else None
