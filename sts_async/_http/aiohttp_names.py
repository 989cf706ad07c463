"""
Names of aiohttp that it does not promise, and that the guards of our connections need.

If an aiohttp version lacks one of them, a guard would be missing without a sign: connections would accept unsolicited
bytes, or one event loop would use the connections of another. Then no request is sent at all.
"""

import aiohttp

from ..errors import ConfigurationError

CONNECTOR = ("_factory", "_loop")  # of `TCPConnector`: what makes protocols, and the event loop
PROTOCOL = ("connection_lost", "data_received", "should_close", "transport")  # of `client_proto.ResponseHandler`
SESSION = ("_loop",)  # of `ClientSession`; its public name is deprecated


def require_names(owner: object, names: tuple[str, ...]) -> None:
    """
    Check that an object or class of aiohttp has the attributes *names*.

    Raises:
        ConfigurationError: It lacks one; the message has the version of aiohttp.
    """
    missing = [name for name in names if not hasattr(owner, name)]
    if missing:
        kind = owner if isinstance(owner, type) else type(owner)
        raise unsupported(f"{kind.__name__} has no {', '.join(missing)}")


def unsupported(reason: str) -> ConfigurationError:
    """Return the error for a version of aiohttp that works in another way."""
    return ConfigurationError(
        f"aiohttp {aiohttp.__version__} is not supported: {reason}. Install an older aiohttp, or a newer sts_async"
    )
