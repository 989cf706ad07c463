"""A client that takes no option from this machine: tests must not depend on where they run."""

from typing import TYPE_CHECKING, Any

from .._core.secret import HiddenMapping
from ..client import STSClient

if TYPE_CHECKING:
    from .server import LocalSTS


class LocalClient(STSClient):
    """
    A client whose environment is that of a server. It reads no variables and no shared files of this machine.

    So the default chain, where a test asks for it, finds the user of the server.

    Args:
        server: The server, which must be running.
        options: The options of `STSClient`.
    """

    def __init__(self, server: "LocalSTS", **options: Any) -> None:
        self._environ = HiddenMapping(server.environ)
        super().__init__(
            **{
                "endpoint_url": server.url,
                "region": server.region,
                "credentials": server.credentials,
                **options,
            }
        )
