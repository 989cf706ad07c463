"""The state of a `LocalSTS`: declared accounts, users and roles, and issued sessions."""

import base64
import math
import re
import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from threading import Lock
from typing import Any, Literal

import attrs

from .._shape.secret import Secret
from ..shapes import Credentials, TemporaryCredentials, TrustedIdentityPropagationContext
from .keys import new_key_id
from .propagation import ContextProvider

ACCOUNT_ID = re.compile(r"\d{12}", re.ASCII)
ROLE_ARN = re.compile(
    r"arn:(?P<partition>aws[a-z-]*):iam::(?P<account>\d{12}):role/(?:[!-~]+/)?(?P<name>[\w+=,.@-]{1,64})", re.ASCII
)
DEFAULT_ACCOUNT = "123456789012"
MAX_SESSION = 43_200  # s, the limit of IAM for the maximum session duration of a role
TOKEN_BASE = 352  # characters of a session token without policies and tags
TOKEN_LIMIT = 4096  # characters. Source: AWS What's New, 15 September 2026
TOKEN_PREFIX = "IQoJb3JpZ2luX2Vj"  # noqa: S105 - the prefix of real tokens
MAX_SESSIONS = 100_000  # sessions; the oldest are removed

Kind = Literal["user", "root", "session", "assumed-role", "assumed-root", "federated-user", "anonymous"]

_KEY_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


def _matches(pattern: re.Pattern[str], what: str) -> Any:
    def check(instance: object, attribute: object, value: str) -> None:
        if not pattern.fullmatch(value):
            raise ValueError(f"not {what}: {value!a}")

    return check


def _names(given: str | Iterable[str]) -> frozenset[str]:
    """Return names as a set. Text is one name."""
    return frozenset([given] if isinstance(given, str) else given)


def _names_or_none(given: str | Iterable[str] | None) -> frozenset[str] | None:
    return None if given is None else _names(given)


def _new_long_term_credentials(user: "User") -> Credentials:
    return Credentials(
        access_key_id=new_key_id("AKIA", user.account or DEFAULT_ACCOUNT), secret_access_key=_new_secret_key()
    )


@attrs.frozen
class Account:
    """
    An account.

    Attributes:
        id: The account id, twelve digits.
        outbound_web_identity: Whether GetWebIdentityToken is enabled.
        disabled_regions: Regions where STS is not active for the account.
    """

    id: str = attrs.field(validator=_matches(ACCOUNT_ID, "twelve digits"))
    outbound_web_identity: bool = attrs.field(default=True, kw_only=True)
    disabled_regions: frozenset[str] = attrs.field(default=frozenset(), converter=_names, kw_only=True)


@attrs.frozen
class User:
    """
    An IAM user with one access key, or the root user of an account.

    Attributes:
        name: User name.
        account: Account id; None for the account of the server.
        root: Whether it is the account's root user, which has no name.
        mfa_serial: Serial number or ARN of the user's MFA device, or None.
        mfa_code: The code of the device, which never changes.
        credentials: The access key. Default: a random key, whose id contains *account* or, without it, the default
            account 123456789012.
    """

    name: str
    account: str | None = attrs.field(default=None, kw_only=True)
    root: bool = attrs.field(default=False, kw_only=True)
    mfa_serial: str | None = attrs.field(default=None, kw_only=True)
    mfa_code: str = attrs.field(default="123456", repr=False, kw_only=True)
    credentials: Credentials = attrs.field(
        default=attrs.Factory(_new_long_term_credentials, takes_self=True), kw_only=True
    )


@attrs.frozen
class Role:
    """
    A role with its trust policy.

    Attributes:
        arn: Its ARN.
        max_session_duration: Maximum lifetime of its sessions in seconds; IAM's default is 3,600.
        external_id: The external id that AssumeRole requires, or None.
        mfa_required: Whether the caller must have used MFA.
        trusts: ARNs of users, roles, sessions and identity providers, ids or root ARNs of accounts, issuers of web
            identity tokens, or ``*``; None trusts every caller.
    """

    arn: str = attrs.field(validator=_matches(ROLE_ARN, "the ARN of a role"))
    max_session_duration: int = attrs.field(default=3600, kw_only=True)
    external_id: str | None = attrs.field(default=None, kw_only=True)
    mfa_required: bool = attrs.field(default=False, kw_only=True)
    trusts: frozenset[str] | None = attrs.field(default=None, converter=_names_or_none, kw_only=True)


@attrs.frozen(kw_only=True)
class Principal:
    """
    The owner of an access key.

    Attributes:
        kind: The kind of principal.
        arn: The ARN that GetCallerIdentity returns.
        user_id: The user id that GetCallerIdentity returns.
        account: Account id.
        credentials: The credentials.
        user: The user of the key or of the session, whose MFA device is checked; None without a user.
        role_arn: ARN of the role, for a session of a role.
        mfa: Whether MFA was used.
        source_identity: Source identity of the session, or None.
        tags: Session tags, including those of earlier sessions in the chain.
        transitive_tag_keys: Keys of the transitive tags.
        scope_policies: The policies of GetScopedCredentials that restrict the session, oldest first.
        context: The identity context of the session. Sessions of other roles do not inherit it.
    """

    kind: Kind
    arn: str
    user_id: str
    account: str
    credentials: Credentials
    user: User | None = None
    role_arn: str | None = None
    mfa: bool = False
    source_identity: str | None = None
    tags: Mapping[str, str] = attrs.field(factory=dict)
    transitive_tag_keys: frozenset[str] = frozenset()
    scope_policies: tuple[str, ...] = attrs.field(default=(), repr=False)
    context: TrustedIdentityPropagationContext | None = attrs.field(default=None, repr=False)

    @property
    def names(self) -> frozenset[str]:
        """The names of the principal in trust policies."""
        partition = self.arn.split(":")[1]
        own = {self.arn, self.account, f"arn:{partition}:iam::{self.account}:root", "*"}
        return frozenset(own if self.role_arn is None else {*own, self.role_arn})

    def is_expired(self, *, now: float) -> bool:
        """Return True if the session has expired at *now*, in seconds since 1970."""
        ends = self.credentials.expiration
        return ends is not None and ends.timestamp() <= now


ANYBODY = Principal(
    kind="anonymous",
    arn="arn:aws:iam::anonymous:anonymous",
    user_id="anonymous",
    account="anonymous",
    credentials=Credentials(access_key_id="anonymous", secret_access_key=""),
)
"""The caller of operations that are not signed."""


class Directory:
    """
    Accounts, users, roles and sessions.

    Args:
        partition: Partition of new ARNs.
        account: The default account of users.
        trust_undeclared: Whether roles and accounts that are not declared exist and trust every caller.
    """

    def __init__(self, *, partition: str, account: Account, trust_undeclared: bool) -> None:
        self.partition = partition
        self.account = account
        self._trust_undeclared = trust_undeclared
        self._accounts = {account.id: account}
        self._roles: dict[str, Role] = {}
        self._role_ids: dict[str, str] = {}
        self._users: dict[str, Principal] = {}
        self._sessions: dict[str, Principal] = {}
        self._context_providers: dict[str, ContextProvider] = {}
        self.sealing_key = secrets.token_bytes(32)
        self._lock = Lock()  # for changes in several steps: a test changes the state while the server responds

    def declare(self, *things: Account | User | Role | ContextProvider) -> None:
        """Add accounts, users, roles and context providers, or replace them."""
        for thing in things:
            match thing:
                case Account():
                    self._accounts[thing.id] = thing
                case Role():
                    self._roles[thing.arn] = thing
                case User():
                    self._users[thing.credentials.access_key_id] = self._principal_of(thing)
                case ContextProvider():
                    self._context_providers[thing.provider] = thing
                case _:
                    raise TypeError(
                        f"declare takes Account, User, Role and ContextProvider, not {type(thing).__name__}"
                    )

    def _principal_of(self, user: User) -> Principal:
        account = user.account or self.account.id
        self._accounts.setdefault(account, Account(account))
        prefix = f"arn:{self.partition}:iam::{account}"
        return Principal(
            kind="root" if user.root else "user",
            arn=f"{prefix}:root" if user.root else f"{prefix}:user/{user.name}",
            user_id=account if user.root else new_id("AIDA"),
            account=account,
            credentials=user.credentials,
            user=user,
        )

    def holder(self, access_key_id: str) -> Principal | None:
        """Return the owner of an access key, or None."""
        return self._users.get(access_key_id) or self._sessions.get(access_key_id)

    def admit(self, session: Principal) -> None:
        """Add a session."""
        with self._lock:
            self._sessions[session.credentials.access_key_id] = session
            if len(self._sessions) > MAX_SESSIONS:
                del self._sessions[next(iter(self._sessions))]

    def expire(self, access_key_id: str) -> None:
        """
        Expire a session.

        Raises:
            KeyError: No session has this key.
        """
        with self._lock:
            session = self._sessions[access_key_id]
            ended: Credentials = attrs.evolve(session.credentials, expiration=datetime.fromtimestamp(0, UTC))  # type: ignore[misc]
            self._sessions[access_key_id] = attrs.evolve(session, credentials=ended)

    def find_role(self, arn: str) -> Role | None:
        """Return the role, or None if it does not exist. *arn* must match `ROLE_ARN`."""
        role = self._roles.get(arn)
        if role is None and self._trust_undeclared:
            return Role(arn, max_session_duration=MAX_SESSION)
        return role

    def find_account(self, account: str) -> Account | None:
        """Return the account, or None if it does not exist."""
        found = self._accounts.get(account)
        return Account(account) if found is None and self._trust_undeclared else found

    def find_context_provider(self, names: Iterable[str]) -> ContextProvider | None:
        """Return the context provider of an identity provider with any of these names, or None."""
        return next((self._context_providers[name] for name in names if name in self._context_providers), None)

    def role_id(self, arn: str) -> str:
        """Return the unique id of a role, which does not change."""
        return self._role_ids.get(arn) or self._role_ids.setdefault(arn, new_id("AROA"))


def new_id(prefix: str) -> str:
    """Return a unique id in the format of IAM: a prefix for the kind, and sixteen random characters."""
    return prefix + "".join(_KEY_ALPHABET[byte & 31] for byte in secrets.token_bytes(16))


def new_session_credentials(*, account: str, expires_at: int, token_size: int) -> TemporaryCredentials:
    """Return random temporary credentials of an account that expire at *expires_at*, in whole seconds since 1970."""
    return TemporaryCredentials(
        access_key_id=new_key_id("ASIA", account),
        secret_access_key=_new_secret_key(),
        session_token=TOKEN_PREFIX + _random_base64(token_size - len(TOKEN_PREFIX)),
        expiration=datetime.fromtimestamp(expires_at, UTC),
    )


def _new_secret_key() -> Secret:
    return Secret(_random_base64(40))


def _random_base64(length: int) -> str:
    return base64.b64encode(secrets.token_bytes(math.ceil(length * 3 / 4))).decode()[:length]
