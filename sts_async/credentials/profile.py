"""
Credentials of a profile in the shared config and credentials files.

`_config.profile_plans` decides from the files which sources the profile needs. This module creates these sources, and
checks the files for changes.

Source: AWS SDKs and Tools Reference Guide, "Using shared config and credentials files".
"""

import logging
from collections.abc import Callable

import attrs

from .._config import profile_plans as plans
from .._config import resolution
from .._config.options import SHOW_PROCESS_STDERR, flag
from .._config.profile_plans import Plan
from .._config.resolution import ProfileName
from .._config.sections import SharedConfig
from .._protocol.endpoints import is_of_aws
from .._runtime import files
from .._runtime.defaults import FETCH_SECONDS
from .._runtime.outcome import Outcome, copy_without_traceback
from .._runtime.single_flight import SingleFlight
from .._shape.secret import Unpicklable, without_data
from ..config import Config, SettingsSources
from ..errors import CredentialsError, CredentialsNotFound, InvalidConfigFile, STSError
from ..protocols import CredentialsProvider, ProviderContext, invalidate, is_attended
from ..shapes import Credentials
from .assume_role import AssumeRoleProvider
from .container import ContainerProvider
from .environment import EnvironmentProvider
from .imds import imds_of
from .login import LoginProvider
from .process import ProcessProvider
from .source import MFACode
from .sso import SSOProvider
from .static import StaticProvider
from .web_identity import WebIdentityProvider

LOOK_AGAIN = 10.0  # s between two checks of the files

log = logging.getLogger("sts_async")


@attrs.frozen
class _Current:
    """The plan of the profile when the files were last read, and the provider for it."""

    plan: Plan
    provider: CredentialsProvider


class ProfileProvider(Unpicklable):
    """
    Provide the credentials of a profile: a role, SSO, keys, a login session or a process.

    The files are read in a thread. While the provider is in use, they are checked every 10 s in the background, and
    later calls use the new contents. If the files become invalid, the last valid contents stay in effect, and one
    warning says why. A further message follows when they are valid again.

    A default file that cannot be read counts as empty until it has been read once. This is an error if the file exists
    and may contain a part of the profile: the profile was named, or the other file has it.

    Args:
        profile: Name of the profile; None for the one in ``AWS_PROFILE``, otherwise ``default``.
        mfa_code: A coroutine function that takes the serial number of an MFA device and returns its code, for a profile
            with ``mfa_serial``.
        settings_sources: The environment and files to read; None for those of the process.
    """

    bounds_itself = True
    depends_on_client = False

    def __init__(
        self,
        profile: str | None = None,
        *,
        mfa_code: MFACode | None = None,
        settings_sources: SettingsSources | None = None,
        _roles: Callable[..., AssumeRoleProvider] = AssumeRoleProvider,
    ) -> None:
        mfa_code = without_data(mfa_code)
        self._roles = _roles
        self._profile = profile or ""  # for `repr` in a traceback, until the name is known
        self._surroundings = settings_sources or SettingsSources(Config(profile=profile))
        if profile is None:
            self._profile, _ = self._surroundings.profile
        self._mfa_code = mfa_code
        self._current: _Current | None = None
        self._look_again_at = 0.0
        self._complaint = ""  # the last error of the files that was logged
        self._looks: SingleFlight[CredentialsProvider] = SingleFlight(make_timeout_error=self._timeout_error)
        self.name = f"profile {self._profile!r}"

    def is_attended(self, context: ProviderContext | None = None) -> bool:
        """Return True if a fetch asks a person, according to the files when they were last read."""
        return self._current is not None and is_attended(self._current.provider, context)

    async def provide_credentials(self, context: ProviderContext) -> Credentials:
        """
        Return the credentials.

        Raises:
            CredentialsNotFound: The profile has no credentials, or it is the default profile and does not exist.
            InvalidConfigFile: A named profile does not exist; a file cannot be read or breaks the grammar; or the
                settings of the profile contradict each other.
            STSError: The source of the profile failed.
        """
        current = self._current
        if current is None:
            provider = await self._looks.get(context.tasks, lambda: self._look(context), seconds=FETCH_SECONDS)
            return await provider.provide_credentials(context)
        if context.monotonic() >= self._look_again_at:
            self._look_again_at = context.monotonic() + LOOK_AGAIN
            self._looks.join(context.tasks, lambda: self._look(context), seconds=FETCH_SECONDS)
        return await current.provider.provide_credentials(context)

    def _timeout_error(self, seconds: float) -> CredentialsError:
        return CredentialsError(f"{self.name}: the shared files could not be read within {seconds:g} s")

    async def _look(self, context: ProviderContext) -> CredentialsProvider:
        self._look_again_at = context.monotonic() + LOOK_AGAIN
        before = self._current
        try:
            strict = context.endpoint is None or is_of_aws(context.endpoint)
            shared = await self._surroundings.files.load()
            plan = self._plan(shared, strict_arns=strict)
            self._mended()
            if before is not None and plan == before.plan:
                return before.provider
            self._current = _Current(plan, await self._provider(plan))
            for sentence in plans.unused(shared, self._profile, plan):
                log.warning("%s", sentence)
            return self._current.provider
        except STSError as error:
            if before is None:
                raise
            failure = copy_without_traceback(error)
        if str(failure) != self._complaint:
            self._complaint = str(failure)
            log.warning("%s: the files are invalid; their last valid contents stay in effect: %s", self.name, failure)
        return before.provider

    def _plan(self, shared: SharedConfig, *, strict_arns: bool) -> Plan:
        origin = self._surroundings.profile.origin
        resolution.section_of(shared, ProfileName(self._profile, origin))
        unread = f"; cannot be read: {'; '.join(shared.unread)}" if shared.unread else ""
        try:
            return plans.plan(shared, self._profile, strict_arns=strict_arns)
        except (CredentialsNotFound, InvalidConfigFile) as error:
            if not unread:
                raise
            outcome: Outcome[Plan] = Outcome(error=_in_doubt(error, unread, doubtful=bool(shared.doubtful)))
        return outcome.unwrap()

    def _mended(self) -> None:
        if self._complaint:
            self._complaint = ""
            log.info("%s: the files are valid again", self.name)

    async def _provider(self, plan: Plan) -> CredentialsProvider:
        environ = self._surroundings.environ
        match plan:
            case plans.KeysPlan():
                return StaticProvider(plan.credentials)
            case plans.RolePlan():
                return await self._role(plan)
            case plans.WebIdentityPlan():
                web_identity = WebIdentityProvider(
                    role_arn=plan.role_arn,
                    token_file=files.expand(plan.token_file, environ),
                    role_session_name=plan.role_session_name,
                    duration_seconds=plan.duration_seconds,
                    strict_arns=False,  # the plan has checked it
                )
                web_identity.remark = plan.remark
                return web_identity
            case plans.SSOPlan():
                return SSOProvider(
                    account_id=plan.account_id,
                    role_name=plan.role_name,
                    region=plan.region,
                    session_name=plan.session_name,
                    start_url=plan.start_url,
                    trust_token_files=self._surroundings.config.trust_token_files,
                    environ=environ,
                    config=self._surroundings.config,
                    _place=plan.place,
                )
            case plans.LoginPlan():
                region = plan.region or (await self._surroundings.resolve()).region
                return LoginProvider(
                    login_session=plan.login_session,
                    region=region,
                    trust_token_files=self._surroundings.config.trust_token_files,
                    environ=environ,
                    config=self._surroundings.config,
                    _place=plan.place,
                )
            case plans.ProcessPlan():
                shows = self._surroundings.config.show_process_stderr
                process = ProcessProvider(
                    plan.command,
                    name=f"credential_process of {self.name}",
                    account_id=plan.account_id,
                    show_process_stderr=flag(SHOW_PROCESS_STDERR, environ, given=shows),
                )
                process.remark = plan.remark
                return process
            case plans.NamedPlan(source="Environment"):
                return EnvironmentProvider(environ)
            case plans.NamedPlan(source="EcsContainer"):
                return ContainerProvider(environ=environ)
            case _:
                return imds_of(await self._surroundings.resolve())

    async def _role(self, plan: plans.RolePlan) -> AssumeRoleProvider:
        return self._roles(
            role_arn=plan.role_arn,
            strict_arns=False,  # the plan has checked it
            source=await self._provider(plan.source),
            role_session_name=plan.role_session_name,
            external_id=plan.external_id,
            duration_seconds=plan.duration_seconds,
            serial_number=plan.mfa_serial,
            mfa_code=(self._mfa_code or self._no_mfa_code) if plan.mfa_serial else None,
        )

    async def _no_mfa_code(self, serial_number: str) -> str:
        raise CredentialsError(
            f"{self.name} needs a code of its MFA device: pass mfa_code=..., a coroutine function that takes the "
            "serial number and returns the code, to DefaultChain or ProfileProvider"
        )

    def invalidate(self, access_key_id: str) -> None:
        """Read the files and fetch again before the next use, because the service refused *access_key_id*."""
        current = self._current
        self._current = None if current is None or isinstance(current.plan, plans.KeysPlan) else current
        if current is not None:
            invalidate(current.provider, access_key_id)

    def __repr__(self) -> str:
        return f"ProfileProvider({self._profile!r})"


def _in_doubt(error: CredentialsNotFound | InvalidConfigFile, unread: str, *, doubtful: bool) -> STSError:
    """Return a copy of *error* that also names the unreadable files, because they may contain the profile."""
    extended = type(error)(f"{error}{unread}")
    if isinstance(extended, CredentialsNotFound):
        extended.doubtful = doubtful
    return extended
