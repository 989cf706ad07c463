"""A client that nothing on this machine has a say in: tests must not depend on where they run."""

from ..client import STSClient
from .base import ALONE


class LocalClient(STSClient):
    """A client whose environment is empty but for what turns off shared files and the metadata service."""

    _environ = ALONE
