"""The default chain: the sources that every AWS SDK searches, in the same order."""

import attrs

from .._engine.build import endpoint_of, engine_of, transport_of
from .._protocol.endpoints import Endpoint
from .._shape.secret import Unpicklable, without_data
from .._wording import option_names
from ..config import Config, SettingsSources
from ..errors import ConfigurationError
from ..protocols import ProviderContext
from ..shapes import Credentials
from .chain import LOOK_AGAIN, Finding, ProviderChain
from .container import ContainerProvider
from .environment import EnvironmentProvider
from .imds import IMDSProvider, imds_of
from .profile import ProfileProvider
from .source import MFACode
from .web_identity import WebIdentityProvider


@attrs.frozen(kw_only=True)
class Explanation:
    """
    What a default chain finds on this machine, and where. Printed, it is a table; nothing in it is secret.

    Attributes:
        profile: The profile that is in force, and why.
        region: The region, or None.
        region_source: Where the region comes from.
        endpoint_url: Where requests go, or None without a region.
        endpoint_source: Where the endpoint comes from; or why there is none.
        findings: What each source said, in the order of the chain.
        warnings: Files that count as empty, because they cannot be read, or were named and do not exist; and why.
    """

    profile: str
    region: str | None
    region_source: str
    endpoint_url: str | None
    endpoint_source: str
    findings: tuple[Finding, ...]
    warnings: tuple[str, ...] = ()

    @property
    def found(self) -> bool:
        """Whether the chain has credentials, and a client without other options would work."""
        return self.endpoint_url is not None and any(finding.used for finding in self.findings)

    def __str__(self) -> str:
        rows = [
            ("profile", self.profile),
            ("region", f"{self.region or 'none'} ({self.region_source})"),
            ("endpoint", f"{self.endpoint_url or 'none'} ({self.endpoint_source})"),
        ]
        rows += [("warning", text) for text in self.warnings]
        lines = [f"{name:<10}{text}" for name, text in rows]
        width = max(len(finding.source) for finding in self.findings) + 2
        for number, finding in enumerate(self.findings, 1):
            outcome = "used" if finding.used else finding.outcome
            lines.append(f"{number}. {finding.source:<{width}}{outcome:<16}{finding.detail}")
        return "\n".join(lines)


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
    environment variables are not used. See `ProviderChain` for the search.

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

    async def explain(self) -> Explanation:
        """
        Ask every source, also those that come after the one that is taken, and return what each said.

        Sources that ask AWS do so, over connections for this alone, and processes are run.

        Raises:
            ConfigurationError: Environment or files say what an option cannot be that every client needs.
        """
        here = self._surroundings
        found = await here.look()
        if found.place is not None and found.place.recoverable:
            raise found.place
        config = here.filled(found)
        endpoint, problem = _endpoint(config)
        no_region = config.fault("region")
        transport = transport_of(config)
        engine = engine_of(
            config,
            endpoint=endpoint,
            transport=transport,
            credentials=self,
            default_credentials=lambda: self,
            given=self._surroundings.config,
        )
        try:
            findings = await self.findings(engine.context)
        finally:
            try:
                await engine.context.tasks.aclose()  # first, as for a client: what renews a login may still send it
            finally:
                await transport.aclose()
        return Explanation(
            profile=f"{here.profile.name} ({option_names.origin(here.profile.origin or 'the default')})",
            region=config.region,
            region_source=option_names.origin(found.origins["region"]) if no_region is None else str(no_region),
            endpoint_url=None if endpoint is None else endpoint.url,
            endpoint_source=problem or option_names.origin(found.origins["endpoint_url"]),
            findings=findings,
            warnings=here.files.notes,
        )

    def __repr__(self) -> str:
        # A crash reporter may show an object whose constructor failed.
        here = getattr(self, "_surroundings", None)
        return f"DefaultChain({f'profile={here.profile[0]!r}' if isinstance(here, SettingsSources) else ''})"


def _endpoint(config: Config) -> tuple[Endpoint | None, str | None]:
    try:
        return endpoint_of(config), None
    except ConfigurationError as error:
        return None, str(error)
