"""
The chain that is taken when nothing is given: what every AWS SDK looks at, in one order.

Source: AWS SDKs and Tools Reference Guide, "AWS SDKs and Tools standardized credential providers".
"""

from .._shape.secret import Unpicklable, without_data
from ..config import Config, SettingsSources
from ..protocols import ProviderContext
from ..shapes import Credentials
from .chain import LOOK_AGAIN, ProviderChain
from .container import ContainerProvider
from .environment import EnvironmentProvider
from .imds import IMDSProvider, imds_of
from .profile import ProfileProvider
from .source import MFACode
from .web_identity import WebIdentityProvider


class _Instance(Unpicklable):
    """The instance metadata service, by options that are read when it is asked: most chains find something before."""

    name = IMDSProvider.name
    bounds_itself = True

    def __init__(self, settings_sources: SettingsSources) -> None:
        self._surroundings = settings_sources
        self._provider: IMDSProvider | None = None
        self._config: Config | None = None  # while files could not be read that may say something else
        self._look_again_at = 0.0

    async def provide_credentials(self, context: ProviderContext) -> Credentials:
        if self._provider is None or (self._config is not None and context.monotonic() >= self._look_again_at):
            self._look_again_at = context.monotonic() + LOOK_AGAIN
            config = await self._surroundings.resolve()
            if self._provider is None or config != self._config:  # another thread may have been quicker
                self._provider = imds_of(config)
            self._config = config if config.doubts else None
        return await self._provider.provide_credentials(context)

    def invalidate(self, access_key_id: str) -> None:
        if self._provider is not None:
            self._provider.invalidate(access_key_id)


class DefaultChain(ProviderChain):
    """
    Provide what the first of these has: environment variables, the profile, a web identity in the environment, the
    container endpoint, the instance metadata service.

    A profile that is given in code, in *config*, comes before the environment, whose keys and web identity are then
    passed over. The rest is as in `ProviderChain`. `sts_async.doctor.examine` shows what each source says.

    Args:
        config: Options, for the profile, the files, the region and the metadata service.
        mfa_code: A coroutine function that is given the serial number of an MFA device and returns its code, for
            profiles with ``mfa_serial``.
        settings_sources: Environment and files, where other parts of a program use them, too. None for those of the
            process. With it, *config* has no effect.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        mfa_code: MFACode | None = None,
        settings_sources: SettingsSources | None = None,
    ) -> None:
        mfa_code = without_data(mfa_code)
        here = self._surroundings = settings_sources or SettingsSources(config or Config())
        profile = ProfileProvider(mfa_code=mfa_code, settings_sources=here)
        container = ContainerProvider(environ=here.environ)
        if here.config.profile is not None:
            super().__init__(profile, container)
        else:
            web_identity = WebIdentityProvider.from_environment(here.environ)
            super().__init__(EnvironmentProvider(here.environ), profile, web_identity, container)
        self.sources += (_Instance(here),)

    def __repr__(self) -> str:
        here = getattr(self, "_surroundings", None)  # there is none in the traceback of an error in the constructor
        return f"DefaultChain({f'profile={here.profile[0]!r}' if isinstance(here, SettingsSources) else ''})"
