"""A client that nothing on this machine has a say in: tests must not depend on where they run."""

from typing import TYPE_CHECKING, Any

from .._core.secret import HiddenMapping
from ..client import STSClient

if TYPE_CHECKING:
    from .server import LocalSTS


class LocalClient(STSClient):
    """
    A client whose environment is that of a server, and neither that nor the shared files of this machine.

    So the default chain, where it is asked for, finds the user of the server.

    Args:
        server: The server, which has to run.
        options: Those of `STSClient`.
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
