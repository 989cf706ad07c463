"""
The default chain: the sources that every AWS SDK searches, in the same order.

Source: AWS SDKs and Tools Reference Guide, "AWS SDKs and Tools standardized credential providers".
"""

from collections.abc import Callable

from .._shape.secret import Unpicklable, without_data
from ..config import Config, SettingsSources
from ..protocols import ProviderContext
from ..shapes import Credentials
from .assume_role import AssumeRoleProvider
from .chain import LOOK_AGAIN, ProviderChain
from .container import ContainerProvider
from .environment import EnvironmentProvider
from .imds import IMDSProvider, imds_of
from .profile import ProfileProvider
from .source import MFACode
from .web_identity import WebIdentityProvider


class _Instance(Unpicklable):
    """
    The instance metadata service with options from files and the environment.

    The options are read when the chain reaches this source, because most chains find credentials before.
    """

    name = IMDSProvider.name
    bounds_itself = True

    def __init__(self, settings_sources: SettingsSources) -> None:
        self._surroundings = settings_sources
        self._provider: IMDSProvider | None = None
        # The config of the provider, while a file that may change it could not be read.
        self._config: Config | None = None
        self._look_again_at = 0.0

    async def provide_credentials(self, context: ProviderContext) -> Credentials:
        if self._provider is None or (self._config is not None and context.monotonic() >= self._look_again_at):
            self._look_again_at = context.monotonic() + LOOK_AGAIN
            config = await self._surroundings.resolve()
            # Another thread may have set the provider in the meantime.
            if self._provider is None or config != self._config:
                self._provider = imds_of(config)
            self._config = config if config.doubts else None
        return await self._provider.provide_credentials(context)

    def invalidate(self, access_key_id: str) -> None:
        if self._provider is not None:
            self._provider.invalidate(access_key_id)


class DefaultChain(ProviderChain):
    """
    Provide the credentials of the first configured source.

    The sources are, in this order: environment variables, the profile, a web identity in environment variables, the
    container endpoint, and the instance metadata service. If *config* names a profile, keys and web identity in
    environment variables are not used. See `ProviderChain` for the search. `sts_async.doctor.examine` shows the result
    of each source.

    Args:
        config: Options for the profile, the files, the region and the metadata service; None for the defaults.
        mfa_code: A coroutine function that takes the serial number of an MFA device and returns its code, for profiles
            with ``mfa_serial``.
        settings_sources: The environment and files to read; None for those of the process. If it is passed, *config* is
            ignored.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        mfa_code: MFACode | None = None,
        settings_sources: SettingsSources | None = None,
        _roles: Callable[..., AssumeRoleProvider] = AssumeRoleProvider,
    ) -> None:
        mfa_code = without_data(mfa_code)
        here = self._surroundings = settings_sources or SettingsSources(config or Config())
        profile = ProfileProvider(mfa_code=mfa_code, settings_sources=here, _roles=_roles)
        container = ContainerProvider(environ=here.environ)
        if here.config.profile is not None:
            super().__init__(profile, container)
        else:
            web_identity = WebIdentityProvider.from_environment(here.environ)
            super().__init__(EnvironmentProvider(here.environ), profile, web_identity, container)
        self.sources += (_Instance(here),)

    def __repr__(self) -> str:
        # A crash reporter may show an object whose constructor failed.
        here = getattr(self, "_surroundings", None)
        return f"DefaultChain({f'profile={here.profile[0]!r}' if isinstance(here, SettingsSources) else ''})"
