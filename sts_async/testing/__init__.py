"""
An STS on this host, for demos and tests: `LocalSTS`, its accounts, users and roles, and faults for its answers.
`LocalIMDS`, `LocalContainer`, `LocalSSO` and `LocalSignIn` are the services that SDKs fetch credentials from.

    async with LocalSTS(roles=[Role("arn:aws:iam::123456789012:role/demo", external_id="ext-1")]) as server:
        server.faults.add(Throttle(times=2))
        async with server.client() as sts:
            await sts.get_caller_identity()

    async with LocalIMDS(credentials=lambda: server.issue("arn:aws:iam::123456789012:role/demo")) as imds:
        os.environ.update(imds.environ)

Each runs in a thread of its own, and serves clients of every kind. Tests that use no event loop write ``with``:

    with LocalSTS() as server:
        subprocess.run(["aws", "sts", "get-caller-identity"], env={"PATH": os.environ["PATH"], **server.environ})

In pytest, the fixtures ``sts_server``, ``sts_client`` and ``sts_environ`` need no import.

server      LocalSTS                                service     the path of one request, without a socket
directory   accounts, users, roles, sessions        verify      SigV4, from the service's side
handlers    one function for each operation         rules       what several operations refuse
claims      SAML assertions and JWTs, unverified    wire        forms in, XML out
keys        ids of access keys                      validation  constraints, in the words of the service
propagation on whose behalf a session acts
faults      what can go wrong, as values            plugin      the pytest fixtures
clock       VirtualClock: time that a test moves    records     what was asked
base        what every server is                    server_thread  where it runs
vending     what those below share: tokens, JSON    local_client   a client that reads nothing of the machine
imds        LocalIMDS: metadata of an instance      container   LocalContainer: the endpoint of ECS and EKS
sso         LocalSSO: access portal and OIDC        signin      LocalSignIn: what refreshes `aws login`
"""

from typing import TYPE_CHECKING

from .._runtime.lazy_imports import lazily

if TYPE_CHECKING:
    from .claims import Claims
    from .clock import TellsTime, VirtualClock
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
]

if not TYPE_CHECKING:  # else every misspelt name would be of type Any
    # The pytest plugin is loaded in programs that never use it. Those that need lxml come last.
    __getattr__, __dir__ = lazily(
        __name__,
        names=__all__,
        homes="clock directory propagation faults vending container imds sso signin claims service server".split(),
    )
