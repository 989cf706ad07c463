"""LocalSTS: STS as a local server, with accounts, users, roles and sessions."""

import re
import ssl
import time
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .._protocol.endpoints import check_region, partition_of
from .._shape.secret import Secret
from ..shapes import Credentials, TemporaryCredentials
from .base import LocalServer, Reply
from .clock import TimeSource
from .directory import (
    DEFAULT_ACCOUNT,
    ROLE_ARN,
    TOKEN_BASE,
    Account,
    Directory,
    Principal,
    Role,
    User,
    new_session_credentials,
)
from .handlers import TRADE_IN_TOKEN
from .propagation import ContextProvider
from .refusals import Refusal
from .rules import AUTHORIZATION_MESSAGE
from .sealed import seal
from .service import Served, Service
from .verify import Received
from .wire import CONTENT_TYPE, operation_of, read_form

if TYPE_CHECKING:
    from ..client import STSClient

DEFAULT_USER = "developer"


class LocalSTS(LocalServer[Served]):
    """
    An STS on 127.0.0.1, with accounts, users, roles and sessions in memory.

        async with LocalSTS() as server, server.client() as sts:
            print(await sts.get_caller_identity())

    It verifies signatures, enforces the API's constraints, and accepts the credentials that it issues until they
    expire. SAML assertions and JWTs are read but NOT verified. No other server accepts the issued credentials.

    Args:
        account: The default account of users: its id, or an `Account`.
        region: The region of `client`, and of requests that are not signed. ARNs have its partition.
        regions: The accepted signing regions; None for any region.
        roles: The roles that exist; text is the ARN of a role that trusts every caller. With None, every role and
            every account exists and trusts every caller, except the declared ones.
        users: Further users. The user of `credentials` always exists.
        accounts: Further accounts.
        clock: A `VirtualClock`, another object with a method `time`, or a function that returns seconds since 1970.
            Signatures, lifetimes and the Date header follow it.
        honor_expires: Whether a presigned URL expires after its X-Amz-Expires. STS itself accepts it for 15 minutes.
        host: Address to listen on.
        port: Port to listen on; 0 for a free port.
        ssl_context: TLS context with a certificate, to serve https; None for http. Several SDKs send web identity
            tokens only over https. A client trusts the certificate with ``client(config=Config(ca_bundle=...))``.
        rate: Maximum number of requests per second; the rest are throttled. None for no limit.

    Attributes:
        user: The user of `credentials`. The MFA device is ``arn:...:mfa/developer``, and its code is always 123456.
        faults: The script of faults: see `faults`.
        requests: Records of the last 10,000 requests, oldest first.
    """

    def __init__(
        self,
        *,
        account: str | Account = DEFAULT_ACCOUNT,
        region: str = "us-east-1",
        regions: Collection[str] | None = None,
        roles: Iterable[Role | str] | None = None,
        users: Iterable[User] = (),
        accounts: Iterable[Account] = (),
        clock: TimeSource = time.time,
        honor_expires: bool = False,
        host: str = "127.0.0.1",
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
        rate: float | None = None,
    ) -> None:
        check_region(region)
        super().__init__(clock=clock, host=host, port=port, ssl_context=ssl_context, rate=rate)
        home = Account(account) if isinstance(account, str) else account
        partition = partition_of(region).name
        self.region = region
        self.user = User(DEFAULT_USER, account=home.id, mfa_serial=f"arn:{partition}:iam::{home.id}:mfa/{DEFAULT_USER}")
        self._directory = Directory(partition=partition, account=home, trust_undeclared=roles is None)
        self._directory.declare(
            self.user, *_listed("users", users, User), *_roles(roles), *_listed("accounts", accounts, Account)
        )
        self._service = Service(self._directory, region=region, regions=regions, honor_expires=honor_expires)

    # -- accounts, users, roles and sessions ----------------------------------------------------------------------

    @property
    def credentials(self) -> Credentials:
        """The long-term credentials of `user`."""
        return self.user.credentials

    def declare(self, *things: Account | User | Role | ContextProvider) -> None:
        """Add accounts, users, roles and context providers, or replace those that exist."""
        self._directory.declare(*things)

    def principal(self, credentials: Credentials) -> Principal | None:
        """Return the owner of *credentials*, or None if this server has not issued them."""
        return self._directory.holder(credentials.access_key_id)

    def expire(self, credentials: Credentials) -> None:
        """
        Expire the session of *credentials*.

        Raises:
            KeyError: This server has not issued the credentials.
        """
        self._directory.expire(credentials.access_key_id)

    def issue(self, role_arn: str, *, session_name: str = "local", seconds: float = 3600) -> TemporaryCredentials:
        """
        Return credentials for a new session of a role, which this server accepts. Trust is not checked.

        The other local servers can return them: ``LocalIMDS(credentials=lambda: sts.issue(role_arn))``.

        Args:
            role_arn: ARN of the role.
            session_name: Name of the session.
            seconds: Lifetime in seconds; if it is negative, the credentials have expired.

        Raises:
            ValueError: *role_arn* is not the ARN of a role.
        """
        parts = _parts_of(role_arn)
        credentials = new_session_credentials(
            account=parts["account"], expires_at=int(self._clock() + seconds), token_size=TOKEN_BASE
        )
        self._directory.admit(
            Principal(
                kind="assumed-role",
                arn=f"arn:{parts['partition']}:sts::{parts['account']}:assumed-role/{parts['name']}/{session_name}",
                user_id=f"{self._directory.role_id(role_arn)}:{session_name}",
                account=parts["account"],
                credentials=credentials,
                role_arn=role_arn,
            )
        )
        return credentials

    def encode_authorization_message(self, content: Mapping[str, Any]) -> Secret:
        """Return an encoded message, which DecodeAuthorizationMessage decodes to *content* as JSON."""
        return Secret(seal(self._directory.sealing_key, AUTHORIZATION_MESSAGE, content))

    def trade_in_token(self, role_arn: str, *, seconds: float = 900) -> Secret:
        """
        Return a token that GetDelegatedAccessToken exchanges for a session of a role.

        Args:
            role_arn: ARN of the role.
            seconds: Lifetime of the token in seconds.

        Raises:
            ValueError: *role_arn* is not the ARN of a role.
        """
        _parts_of(role_arn)
        content = {"role_arn": role_arn, "expires_at": self._clock() + seconds}
        return Secret(seal(self._directory.sealing_key, TRADE_IN_TOKEN, content))

    def client(self, **options: Any) -> "STSClient":
        """
        Return a client of this server. *options* are options of `STSClient`, which override the defaults.

        The client reads no environment and no shared files of this host: its environment is `environ`.
        """
        from .local_client import LocalClient

        own = {"endpoint_url": self.url, "region": self.region, "credentials": self.credentials}
        return LocalClient(self.environ, **{**own, **options})

    def _own_environ(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": self.credentials.access_key_id,
            "AWS_DEFAULT_REGION": self.region,  # botocore and the AWS CLI read only this variable
            "AWS_ENDPOINT_URL_STS": self.url,
            "AWS_REGION": self.region,
            "AWS_SECRET_ACCESS_KEY": self.credentials.secret_access_key,
        }

    def _operation(self, received: Received) -> str | None:
        try:
            return operation_of(read_form(received)).name
        except Refusal:
            return None

    def _answer(self, received: Received, *, now: float, refusal: Refusal | None) -> tuple[Reply, Served]:
        outcome = self._service.answer(received, now=now, refusal=refusal)
        served = outcome.served
        headers = {"Content-Type": CONTENT_TYPE, "x-amzn-RequestId": served.request_id}
        return Reply(status=served.status or 200, body=outcome.document.encode(), headers=headers), served


def _roles(given: Iterable[Role | str] | None) -> list[Role]:
    """Return the argument as a list of roles; text is the ARN of a role."""
    listed = _listed("roles", () if given is None else given, Role | str)
    return [Role(item) if isinstance(item, str) else item for item in listed]


def _listed(name: str, given: Any, kind: Any) -> list[Any]:
    """Return the argument *name* as a list, or raise a `TypeError` with an example."""
    of = {"roles": "Role", "users": "User", "accounts": "Account"}[name]
    listed = list(given) if isinstance(given, Iterable) and not isinstance(given, str | bytes) else None
    if listed is None or not all(isinstance(item, kind) for item in listed):
        raise TypeError(f"{name} must be a list such as {name}=[{of}(...)]")
    return listed


def _parts_of(role_arn: str) -> re.Match[str]:
    parts = ROLE_ARN.fullmatch(role_arn)
    if parts is None:
        raise ValueError(f"not the ARN of a role: {role_arn!a}")
    return parts
