"""
The credentials endpoint: identities of a fleet, for every SDK and native library of this host.

endpoint     serve, CredentialsEndpoint: the server, its life, its token files
environ      EndpointEnviron: the environment in which an SDK uses the endpoint
child        run_child: a command with this environment, its signals and its exit status

This room has the container credentials protocol, on the side of the server. The client of this protocol is
`credentials.container`. Bridges to libraries of this process belong in `bridges`.
"""

from typing import TYPE_CHECKING

from .._runtime.lazy_imports import lazily

if TYPE_CHECKING:
    from .child import run_child
    from .endpoint import CredentialsEndpoint, serve
    from .environ import EndpointEnviron

__all__ = ["CredentialsEndpoint", "EndpointEnviron", "run_child", "serve"]

if not TYPE_CHECKING:  # otherwise type checkers would accept any misspelled name
    __getattr__, __dir__ = lazily(__name__, names=__all__, homes=("environ", "endpoint", "child"))
