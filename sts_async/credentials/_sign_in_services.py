"""What the two sources share that somebody signs in to: where their services are, and how those are asked."""

from collections.abc import Awaitable, Callable

import attrs

from .._config import services
from .._protocol.http_errors import Refusal, is_redirect, refusal
from .._protocol.http_messages import HttpRequest, HttpResponse
from .._protocol.redaction import Redaction
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

ATTEMPTS = 3  # at most, of one request
REQUEST_SECONDS = 10.0  # for one attempt


@attrs.frozen(kw_only=True)
class Services:
    """
    Where the services are that a source calls.

    Attributes:
        config: Options that were given in code, or None. They come before those of the client.
        environ: The environment.
        place: The profile that asks for the source.
    """

    config: Config | None = attrs.field(default=None, repr=False)
    environ: HiddenMapping
    place: services.InProfile = services.NO_PROFILE

    def locate(self, service: services.Service, *, region: str, context: ProviderContext) -> services.Location:
        """
        Return where a service of a region is, for a source that *context* lends to.

        Raises:
            InvalidEndpoint: The URL that was configured cannot be used.
            InvalidConfigFile: A profile names a services section that does not exist.
            ConfigurationError: The settings contradict each other, or one is neither true nor false.
        """
        settings = services.Settings(
            options=OPTIONS,
            given=(services.said_by(self.config), context.settings.given),
            environ=self.environ,
            profiles=self.place.settings,
            otherwise=context.settings.resolved,
        )
        return services.locate(service, region=region, settings=settings)


def checked_config(config: Config | None) -> Config | None:
    """Return *config*. Raises `ConfigurationError` when it is something else."""
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
    Return the answer of a sign-in service, asked up to 3 times while it is not there or asks to slow down.

    Args:
        context: Sends.
        request: What is sent.
        who: What messages call the service.
        hint: What to look at when no connection can be made; it becomes the end of the message.
        prepare: Returns what is sent in its place, anew for each attempt.

    Raises:
        CredentialsError: It still is not, or does; the message begins with *who*.
        RedirectRefused: It points elsewhere.
        TransportError: No answer came.
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
                host = refusal(response, Redaction(prepared))
                raise RedirectRefused(f"{who} answered {host}", status=response.status)
            refused = Refusal.from_response(response, sent=prepared) if response.status >= 400 else None
            if refused is None or not (why := _passing(refused)):
                return response
            delay = _pause(retries, why, context, attempt=attempt)
            if delay is None:
                raise _given_up(f"{who} answered {refused}, {attempt} times", attempts=attempt)
        await context.sleep(delay)


def _pause(retries: StandardRetries, why: STSError, context: ProviderContext, *, attempt: int) -> float | None:
    """Return how many seconds to wait before the next attempt, or None for no further attempt."""
    return retries.after_failure(why, scope="", attempt=attempt, now=context.monotonic(), jitter=context.jitter())


def _given_up(text: str, *, attempts: int) -> CredentialsError:
    error = CredentialsError(text)
    error.attempts = attempts
    return error


def _passing(refusal: Refusal) -> ServiceError | None:
    """Return an error that retries understand when trying again may help."""
    status = 429 if "SlowDownException" in refusal.codes else refusal.status
    error = ServiceError.class_for("", status)("", code="", status=status)
    return error if error.retryable else None
