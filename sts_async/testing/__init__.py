"""
Local servers for demos and tests: `LocalSTS` with accounts, users and roles, and faults that a test can inject.
`LocalIMDS`, `LocalContainer`, `LocalSSO` and `LocalSignIn` are the services from which SDKs fetch credentials.

    async with LocalSTS(roles=[Role("arn:aws:iam::123456789012:role/demo", external_id="ext-1")]) as server:
        server.faults.add(Throttle(times=2))
        async with server.client() as sts:
            await sts.get_caller_identity()

    async with LocalIMDS(credentials=lambda: server.issue("arn:aws:iam::123456789012:role/demo")) as imds:
        os.environ.update(imds.environ)

Each server runs in its own thread, and serves synchronous and asynchronous clients. Tests without an event loop use
``with``:

    with LocalSTS() as server:
        subprocess.run(["aws", "sts", "get-caller-identity"], env={"PATH": os.environ["PATH"], **server.environ})

In pytest, the fixtures ``sts_server``, ``sts_client`` and ``sts_environ`` need no import.

server      LocalSTS                                service     the path of one request, without a socket
directory   accounts, users, roles, sessions        verify      verification of signatures
handlers    one function for each operation         rules       checks that several operations share
claims      SAML assertions and JWTs, unverified    wire        forms in, XML out
keys        ids of access keys                      validation  constraints, in the words of the service
propagation trusted identity propagation            plugin      the pytest fixtures
faults      faults that a test injects              records     records of requests
clock       VirtualClock: a test sets the time      server_thread  the thread of a server
base        the base class of all servers           local_client   a client without settings of this host
vending     shared code of the servers below        container   LocalContainer: the endpoint of ECS and EKS
imds        LocalIMDS: metadata of an instance      signin      LocalSignIn: tokens of `aws login`
sso         LocalSSO: access portal and OIDC
"""

from typing import TYPE_CHECKING

from .._runtime.lazy_imports import lazily

if TYPE_CHECKING:
    from .claims import Claims
    from .clock import TellsTime, VirtualClock, VirtualTimer
    from .container import LocalContainer
    from .directory import Account, Principal, Role, User
    from .faults import Answer, Delay, Fault, Refuse, Reset, Skew, Throttle, Truncate, Unavailable
    from .imds import LocalIMDS
    from .propagation import ContextProvider
    from .server import LocalSTS
    from .service import Served
    from .signin import LocalSignIn
    from .sso import LocalSSO
    from .vending import Exchange

__all__ = [
    "Account",
    "Answer",
    "Claims",
    "ContextProvider",
    "Delay",
    "Exchange",
    "Fault",
    "LocalContainer",
    "LocalIMDS",
    "LocalSSO",
    "LocalSTS",
    "LocalSignIn",
    "Principal",
    "Refuse",
    "Reset",
    "Role",
    "Served",
    "Skew",
    "TellsTime",
    "Throttle",
    "Truncate",
    "Unavailable",
    "User",
    "VirtualClock",
    "VirtualTimer",
]

if not TYPE_CHECKING:  # type checkers would give every misspelt name the type Any
    # The pytest plugin is loaded in programs that never use it. The classes that need lxml come last.
    __getattr__, __dir__ = lazily(
        __name__,
        names=__all__,
        homes="clock directory propagation faults vending container imds sso signin claims service server".split(),
    )
