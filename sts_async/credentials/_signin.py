"""What the two sources share that somebody signs in to: where their services are, and how those are asked."""

from collections.abc import Awaitable, Callable, Mapping

import attrs

from .._core import endpoints
from .._core.message import HttpRequest, HttpResponse
from .._core.options import FLAG, Option
from .._core.redaction import Redaction
from .._core.refusals import Refusal, is_redirect, refusal
from .._core.secret import HiddenMapping
from .._seams import Lender
from ..errors import (
    CredentialsError,
    RedirectRefused,
    ServiceError,
    STSError,
    TransportError,
)
from ..retries import StandardRetries

ATTEMPTS = 3  # at most, of one request
REQUEST_SECONDS = 10.0  # for one attempt

IGNORE_ENDPOINTS = "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"
ENDPOINT_URL = "AWS_ENDPOINT_URL"


def service_url(variable: str, *, host: str, environ: Mapping[str, str]) -> str:
    """
    Return the URL of a service, without a slash at its end.

    Args:
        variable: The environment variable that can say another one; ``AWS_ENDPOINT_URL`` comes after it.
        host: Where it is when nobody says otherwise.
        environ: Where to look.

    Raises:
        InvalidEndpoint: A variable says a URL that cannot be used.
        ConfigurationError: ``AWS_IGNORE_CONFIGURED_ENDPOINT_URLS`` is neither true nor false.
    """
    environ = HiddenMapping(environ)  # in the frames of the errors below
    ignored = environ.get(IGNORE_ENDPOINTS, "").strip()
    if not (ignored and Option(kind=FLAG).read(ignored, origin=IGNORE_ENDPOINTS)):
        for name in (variable, ENDPOINT_URL):
            if url := environ.get(name, "").strip():
                return endpoints.resolve(region=None, endpoint_url=url, what=name).url.rstrip("/")
    return f"https://{host}"


async def exchange(
    lender: Lender,
    request: HttpRequest,
    *,
    who: str,
    prepare: Callable[[HttpRequest], Awaitable[HttpRequest]] | None = None,
) -> HttpResponse:
    """
    Return the answer of a sign-in service, asked up to 3 times while it is not there or asks to slow down.

    Args:
        lender: Sends.
        request: What is sent.
        who: What messages call the service.
        prepare: Returns what is sent in its place, anew for each attempt.

    Raises:
        CredentialsError: It still is not, or does; the message begins with *who*.
        RedirectRefused: It points elsewhere.
        TransportError: No answer came.
    """
    retries = StandardRetries(max_attempts=ATTEMPTS)
    attempt = 0
    failure: STSError
    why: STSError | None
    while True:
        attempt += 1
        prepared = request if prepare is None else await prepare(request)
        try:
            response = await lender.send(attrs.evolve(prepared, timeout=REQUEST_SECONDS))
        except TransportError as error:
            failure = why = error
        else:
            if is_redirect(response.status):
                host = refusal(response, Redaction(prepared))
                raise RedirectRefused(f"{who} answered {host}", status=response.status)
            refused = Refusal.of(response, sent=prepared) if response.status >= 400 else None
            if refused is None or not (why := _passing(refused)):
                return response
            failure = CredentialsError(f"{who} answered {refused}, {attempt} times")
        delay = retries.after_failure(why, scope="", attempt=attempt, now=lender.monotonic(), jitter=lender.jitter())
        if delay is None:
            failure.attempts = attempt
            raise failure
        await lender.sleep(delay)


def _passing(refusal: Refusal) -> ServiceError | None:
    """Return an error that retries understand when trying again may help."""
    status = 429 if "SlowDownException" in refusal.codes else refusal.status
    error = ServiceError.of("", status)("", code="", status=status)
    return error if error.retryable else None
