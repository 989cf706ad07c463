"""A client without settings of this host, so that tests do not depend on the host."""

from collections.abc import Mapping
from typing import Any

from .._shape.secret import HiddenMapping
from ..client import STSClient


class LocalClient(STSClient):
    """
    A client with the environment of a local server. It reads no variables and no shared files of this host.

    So its default chain returns the credentials of the server's user.

    Args:
        environ: The environment of the server, which replaces that of the process.
        options: The options of `STSClient`.
    """

    def __init__(self, environ: Mapping[str, str], **options: Any) -> None:
        self._environ = HiddenMapping(environ)
        super().__init__(**options)
