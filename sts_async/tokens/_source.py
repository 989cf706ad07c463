"""The credentials, the time and the region with which the coroutines sign."""

from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from ..client import STSClient
from ..errors import ConfigurationError
from ..protocols import CredentialsProvider
from ..shapes import Credentials

if TYPE_CHECKING:
    from .._engine.context import ClientContext

Source = STSClient | CredentialsProvider


class Signing(NamedTuple):
    """
    The values for one signature.

    Attributes:
        credentials: The keys.
        at: The time of the service's clock, as far as it is known.
        region: The region of the client, or None.
        context: The client's connections, clocks and options.
    """

    credentials: Credentials
    at: datetime
    region: str | None
    context: "ClientContext"


def client_of(source: Source) -> STSClient:
    """
    Return the client whose credentials are meant: a client or view itself, or a view for the provider of a fleet.

    The coroutines replace data by `without_data` before they call this function, because tracebacks show arguments.

    Raises:
        ConfigurationError: It is neither.
    """
    if isinstance(source, STSClient):
        return source
    # By its attributes, because this room does not import the fleet.
    sts = getattr(getattr(source, "fleet", None), "_sts", None)
    if isinstance(sts, STSClient):
        return sts.with_options(credentials=source)
    raise ConfigurationError(
        "credentials must be an STSClient, one of its views, or a provider of a fleet. For another provider, pass "
        "sts.with_options(credentials=provider); for Credentials, use the functions whose names begin with sign_"
    )


async def signing_of(source: Source) -> Signing:
    """
    Return the credentials of a client, view or provider, with the time and the region.

    Raises:
        ConfigurationError: *source* is of another type.
        CredentialsError: There are no credentials, or fetching them failed.
        STSError: A provider that calls STS failed.
    """
    sts = client_of(source)
    engine, elapsed = await sts._ready()
    credentials = await engine.get_credentials(elapsed=elapsed)
    return Signing(credentials, engine.context.now(), sts.region, engine.context)
