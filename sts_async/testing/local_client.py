"""A client that takes no option from this machine: tests must not depend on where they run."""

from collections.abc import Mapping
from typing import Any

from .._shape.secret import HiddenMapping
from ..client import STSClient


class LocalClient(STSClient):
    """
    A client whose environment is that of a server. It reads no variables and no shared files of this machine.

    So the default chain, where a test asks for it, finds the user of the server.

    Args:
        environ: The environment of the server, in place of that of the process.
        options: The options of `STSClient`.
    """

    def __init__(self, environ: Mapping[str, str], **options: Any) -> None:
        self._environ = HiddenMapping(environ)
        super().__init__(**options)
