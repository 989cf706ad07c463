"""Options of a client: what is given explicitly, then the environment, then the profile, then a default."""

import logging
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import attrs

from ._config.options import (
    ADDRESS,
    ANY_REGION,
    APP_ID,
    DNS_CACHE_TTL,
    FLAG,
    HANDLERS,
    HOSTS,
    KEEPALIVE_TIMEOUT,
    METADATA,
    NOTHING,
    NUMBER,
    OPPOSITE_FLAG,
    PRODUCTS,
    PROXY,
    REGION,
    SECONDS,
    SERVICE_NAME,
    SHOW_PROCESS_STDERR,
    TEXT,
    TRUST,
    TRUST_TOKEN_FILES,
    WHOLE,
    Option,
    known,
    known_seconds,
    one_of,
    option,
    setting,
)
from ._config.resolution import (
    DEFAULT,
    FAULTY,
    PASSED_OVER,
    ProfileName,
    Resolution,
    pass_on,
    profile_name,
    resolve,
    variables_of,
)
from ._config.shared_files import HOME_VARIABLES, SharedFiles
from ._runtime.defaults import ATTEMPT_TIMEOUT, CONNECT_TIMEOUT, DEADLINE, MAX_CONNECTIONS, MAX_RESPONSE_BYTES
from ._runtime.outcome import copy_without_traceback
from ._shape.arguments import in_seconds, in_seconds_or_none
from ._shape.secret import HiddenMapping, hiding, redact, redact_userinfo
from ._wording import option_names
from ._wording.option_names import GIVEN
from .errors import ConfigurationError, InvalidConfigFile
from .handlers import RequestHandler

if TYPE_CHECKING:
    from ._config.sections import SharedConfig

__all__ = ["Config", "ProfileName", "Resolution", "SettingsSources"]

# Source of the timeouts: AWS SDKs Reference Guide, "Smart configuration defaults".
CONNECT_TIMEOUTS = {"legacy": CONNECT_TIMEOUT, "in-region": 1.1, "mobile": 30.0}  # s; in all other modes, the first


log = logging.getLogger("sts_async")


@attrs.frozen
class _Found:
    """The value of an option that was found outside of the program, and where."""

    value: Any
    origin: str


@attrs.frozen
class _Fault:
    """Why an option could not be read outside of the program, and the value that it has in the meantime."""

    value: Any
    error: ConfigurationError


@hiding(
    proxy=redact,
    https_proxy=redact,
    http_proxy=redact,
    endpoint_url=redact_userinfo,
    ec2_metadata_endpoint=redact_userinfo,
)
@attrs.frozen(kw_only=True)
class Config:
    """
    Options of a client. None means: what the environment says, else the profile, else the default.

    Seconds are given as a number or as a `timedelta`, and kept as a number.

    Attributes:
        profile: Profile of the shared files. When it is given here, keys in the environment are passed over.
            Default: ``default``, which may be missing.
        config_file: Path of the shared config file. Default: ``~/.aws/config``. A file that is missing counts as empty;
            if it was named, here or by AWS_CONFIG_FILE, a warning is logged. One that was named and cannot be read is
            an error where the profile is needed. The default file then counts as empty, and a warning is logged.
        credentials_file: Path of the shared credentials file. Default: ``~/.aws/credentials``. The rest is as for
            *config_file*; the variable is AWS_SHARED_CREDENTIALS_FILE.
        region: AWS region, such as ``eu-west-1``.
        endpoint_url: URL of STS to use in place of the region's own. Given here, it holds for no other service.
        ignore_configured_endpoint_urls: Whether endpoints of the environment and the profile are passed over, those of
            SSO and AWS sign-in included. Default: False.
        use_fips_endpoint: Whether STS, SSO and AWS sign-in are called at hosts with FIPS 140 validated cryptography.
            With it, a configured URL is refused. Default: False.
        use_dualstack_endpoint: Whether STS, SSO and AWS sign-in are called at hosts that also speak IPv6. With it, a
            configured URL is refused. Default: False.
        sts_regional_endpoints: ``legacy`` uses the global endpoint for the fifteen oldest regions: ap-northeast-1,
            ap-south-1, ap-southeast-1, ap-southeast-2, ca-central-1, eu-central-1, eu-north-1, eu-west-1, eu-west-2,
            eu-west-3, sa-east-1, us-east-1, us-east-2, us-west-1 and us-west-2. Default: ``regional``.
        signing_region: The region that requests are signed for, where it is not that of the endpoint.
            Default: the endpoint's.
        signing_name: The name of the service that requests are signed for. Default: ``sts``.
        allow_http: Whether endpoints beyond this host may be reached without TLS: those of STS, SSO and AWS sign-in.
            Default: False.
        validate_parameters: Whether requests are checked against the API's constraints before they are sent.
            Default: True.
        retry_mode: ``legacy``, ``standard`` or ``adaptive``. Default: ``adaptive``.
        max_attempts: Attempts per call, the first included. Default: 3, and 5 in the legacy mode.
        defaults_mode: ``in-region`` takes 1.1 s as the default of *connect_timeout*, ``mobile`` 30. Default:
            ``legacy``; the others change nothing here.
        connect_timeout: Seconds for a new connection to an address, including TLS, excluding the look-up of addresses.
            Default: 3.1.
        attempt_timeout: Seconds for one attempt, including connecting, excluding time queued for a connection.
            Default: 10.
        deadline: Seconds for a whole call, retries and the wait for credentials included. Default: 30.
        time_offset: Seconds by which the service's clock is ahead of this host's. Default: learnt from its answers,
            where they come over TLS or from this host.
        disable_clock_skew_correction: Whether *time_offset* is not learnt from answers. Default: False.
        handlers: What takes part in every request, in this order: see `handlers`. Default: none.
        max_connections: Greatest number of connections, and of requests under way. Default: 50.
        max_response_bytes: Greatest size of the body of an answer. Default: 1 MiB.
        keepalive_timeout: Seconds for which an idle connection is kept. Default: 15.
        tcp_keepalive: Whether the system probes idle connections. Default: False.
        local_address: IPv4 or IPv6 address of this host that connections begin at. Default: the system's choice.
        dns_cache_ttl: Seconds for which the addresses of a host are kept. Default: 10.
        proxy: URL of the proxy for all requests, such as ``http://user:password@host:3128``; ``https://`` when it is
            to be reached by TLS. It is hidden in every ``repr``. This host, its link, and what serves credentials to
            instances and containers are always reached directly.
        https_proxy: The same for requests with TLS, where *proxy* is not given. An invalid one of the environment is an
            error only when a request would go by it.
        http_proxy: The same for requests without TLS. Under CGI, where a request could set it, HTTP_PROXY is not read.
        no_proxy: Hosts that are reached directly, separated by commas: names, which stand for all names below them,
            addresses, and networks such as ``10.0.0.0/8``, each with or without a port; ``*`` for all hosts.
        ca_bundle: Path of a PEM file with the authorities to trust, in place of the system's. Text outside of its
            certificates may have any encoding. It is read before the first connection with TLS.
        verify: Whether TLS peers are verified. If not, credentials can be intercepted, and a warning is logged.
            Default: True.
        client_certificate: Path of a PEM file with a certificate to show to TLS peers, followed by the intermediate
            certificates that it needs.
        client_key: Path of a PEM file with its private key, not encrypted. Default: it is in the same file.
        app_id: Name of the application, for the User-Agent header; at most 50 characters. A longer one of the
            environment or the profile is cut, and hyphens replace characters that a header cannot hold; a warning is
            logged.
        user_agent_suffix: The end of the User-Agent header, such as ``shop/1.0``; at most 128 characters.
        ec2_metadata_disabled: Whether the instance metadata service is never asked. Default: False.
        ec2_metadata_endpoint: URL of the instance metadata service.
        ec2_metadata_endpoint_mode: ``IPv4`` or ``IPv6``: which of its own addresses is used. Default: ``IPv4``.
        ec2_metadata_timeout: Seconds for each request to it. Default: 1.
        ec2_metadata_attempts: Attempts for each request to it. Default: 1.
        ec2_instance_profile_name: The role to ask it for. Default: it is asked for the name first.
        imds_v1_fallback: Whether version 1 of the service, which any process on the host can be tricked into asking,
            is asked when version 2 is not there. A variable or a profile says the opposite: that version 1 is disabled
            or not. Default: False, unlike in other SDKs.
        trust_token_files: Whether token files of ``aws sso login`` and ``aws login`` are used although another user
            owns them or others may write to them, as in a container with a mounted home directory or on a Windows
            drive under WSL. Users who can write to them choose the credentials. Default: False.
        show_process_stderr: Whether the errors of a ``credential_process`` end with what it last wrote to standard
            error: at most 5 lines and 1,000 characters. Secrets that are known are replaced by ``***``; others are
            shown. Default: False.

    Raises:
        ConfigurationError: A value is out of its range.

    Source: AWS SDKs and Tools Reference Guide, "Settings reference".
    """

    profile: str | None = option(TEXT, variables=("AWS_PROFILE", "AWS_DEFAULT_PROFILE"))
    config_file: str | None = option(TEXT, variables=("AWS_CONFIG_FILE",))
    credentials_file: str | None = option(TEXT, variables=("AWS_SHARED_CREDENTIALS_FILE",))
    region: str | None = option(ANY_REGION, variables=("AWS_REGION", "AWS_DEFAULT_REGION"), key="region")
    endpoint_url: str | None = option(TEXT, variables=("AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"), key="endpoint_url")
    ignore_configured_endpoint_urls: bool | None = option(
        FLAG,
        variables=("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",),
        key="ignore_configured_endpoint_urls",
        default=False,
    )
    use_fips_endpoint: bool | None = option(
        FLAG, variables=("AWS_USE_FIPS_ENDPOINT",), key="use_fips_endpoint", default=False
    )
    use_dualstack_endpoint: bool | None = option(
        FLAG, variables=("AWS_USE_DUALSTACK_ENDPOINT",), key="use_dualstack_endpoint", default=False
    )
    sts_regional_endpoints: Literal["regional", "legacy"] | None = option(
        one_of("regional", "legacy"),
        variables=("AWS_STS_REGIONAL_ENDPOINTS",),
        key="sts_regional_endpoints",
        default="regional",
    )
    signing_region: str | None = option(REGION)
    signing_name: str | None = option(SERVICE_NAME)
    allow_http: bool = setting(FLAG, default=False)
    validate_parameters: bool = setting(FLAG, default=True)
    retry_mode: Literal["legacy", "standard", "adaptive"] | None = option(
        one_of("legacy", "standard", "adaptive"),
        variables=("AWS_RETRY_MODE",),
        key="retry_mode",
        default="adaptive",
        decides=NOTHING,
    )
    max_attempts: int | None = option(WHOLE, variables=("AWS_MAX_ATTEMPTS",), key="max_attempts", decides=NOTHING)
    defaults_mode: Literal["legacy", "standard", "in-region", "cross-region", "mobile", "auto"] | None = option(
        one_of("legacy", "standard", "in-region", "cross-region", "mobile", "auto"),
        variables=("AWS_DEFAULTS_MODE",),
        key="defaults_mode",
        default="legacy",
        decides=NOTHING,
    )
    # Spelled out: type checkers read from the converter of such a field what it takes.
    connect_timeout: float | None = attrs.field(default=None, converter=in_seconds_or_none, metadata=known(SECONDS))
    attempt_timeout: float = attrs.field(
        default=ATTEMPT_TIMEOUT, converter=in_seconds, metadata=known_seconds(ATTEMPT_TIMEOUT)
    )
    deadline: float = attrs.field(default=DEADLINE, converter=in_seconds, metadata=known_seconds(DEADLINE))
    time_offset: float | None = attrs.field(default=None, converter=in_seconds_or_none, metadata=known(NUMBER))
    disable_clock_skew_correction: bool | None = option(
        FLAG,
        variables=("AWS_DISABLE_CLOCK_SKEW_CORRECTION",),
        key="disable_clock_skew_correction",
        default=False,
        decides=NOTHING,
    )
    handlers: Sequence[RequestHandler] = setting(HANDLERS, default=())
    max_connections: int = setting(WHOLE, default=MAX_CONNECTIONS)
    max_response_bytes: int = setting(WHOLE, default=MAX_RESPONSE_BYTES)
    keepalive_timeout: float = attrs.field(
        default=KEEPALIVE_TIMEOUT, converter=in_seconds, metadata=known_seconds(KEEPALIVE_TIMEOUT)
    )
    tcp_keepalive: bool | None = option(
        FLAG, variables=("BOTOCORE_TCP_KEEPALIVE",), key="tcp_keepalive", default=False, decides=NOTHING
    )
    local_address: str | None = option(ADDRESS)
    dns_cache_ttl: float = attrs.field(
        default=DNS_CACHE_TTL, converter=in_seconds, metadata=known_seconds(DNS_CACHE_TTL)
    )
    proxy: str | None = option(PROXY)
    https_proxy: str | None = option(PROXY, variables=("https_proxy", "HTTPS_PROXY"))
    http_proxy: str | None = option(PROXY, variables=("http_proxy", "HTTP_PROXY"))
    no_proxy: str | None = option(HOSTS, variables=("no_proxy", "NO_PROXY"))
    ca_bundle: str | None = option(TEXT, variables=("AWS_CA_BUNDLE",), key="ca_bundle", decides=TRUST)
    verify: bool = setting(FLAG, default=True)
    client_certificate: str | None = option(TEXT)
    client_key: str | None = option(TEXT)
    app_id: str | None = option(APP_ID, variables=("AWS_SDK_UA_APP_ID",), key="sdk_ua_app_id", decides=NOTHING)
    user_agent_suffix: str | None = option(PRODUCTS)
    ec2_metadata_disabled: bool | None = option(FLAG, variables=("AWS_EC2_METADATA_DISABLED",), default=False)
    ec2_metadata_endpoint: str | None = option(
        TEXT, variables=("AWS_EC2_METADATA_SERVICE_ENDPOINT",), key="ec2_metadata_service_endpoint"
    )
    ec2_metadata_endpoint_mode: Literal["IPv4", "IPv6"] | None = option(
        one_of("IPv4", "IPv6"),
        variables=("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",),
        key="ec2_metadata_service_endpoint_mode",
        default="IPv4",
    )
    ec2_metadata_timeout: float | None = attrs.field(
        default=None,
        converter=in_seconds_or_none,
        metadata=known(
            SECONDS,
            variables=("AWS_METADATA_SERVICE_TIMEOUT",),
            key="metadata_service_timeout",
            default=1.0,
            decides=NOTHING,
        ),
    )
    ec2_metadata_attempts: int | None = option(
        WHOLE,
        variables=("AWS_METADATA_SERVICE_NUM_ATTEMPTS",),
        key="metadata_service_num_attempts",
        default=1,
        decides=NOTHING,
    )
    ec2_instance_profile_name: str | None = option(
        TEXT, variables=("AWS_EC2_INSTANCE_PROFILE_NAME",), key="ec2_instance_profile_name"
    )
    imds_v1_fallback: bool | None = option(
        OPPOSITE_FLAG, variables=("AWS_EC2_METADATA_V1_DISABLED",), key="ec2_metadata_v1_disabled", default=False
    )
    trust_token_files: bool | None = option(FLAG, variables=(TRUST_TOKEN_FILES,), default=False)
    show_process_stderr: bool | None = option(FLAG, variables=(SHOW_PROCESS_STDERR,), default=False)
    _found: Mapping[str, _Found] = attrs.field(factory=dict, alias="_found", repr=False, eq=False)
    _faults: Mapping[str, _Fault] = attrs.field(factory=dict, alias="_faults", repr=False, eq=False)
    _unread: tuple[str, ...] = attrs.field(default=(), alias="_unread", repr=False, eq=False)
    _doubtful: tuple[str, ...] = attrs.field(default=(), alias="_doubtful", repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        for name, one in OPTIONS.items():
            value = getattr(self, name)
            if not one.accepts(value) and not self.is_found(name):
                raise ConfigurationError(f"{option_names.option(name)} must be {one.kind.rule}")

    def origin_of(self, name: str) -> str:
        """
        Return what messages call an option: the variable or the key of the profile that it was taken from, or else
        its name.
        """
        return self._found[name].origin if self.is_found(name) else option_names.option(name)

    def is_found(self, name: str) -> bool:
        """Say whether an option was found outside of the program, in a variable or in the profile."""
        found = self._found.get(name)  # another value may have taken its place since
        return found is not None and found.value == getattr(self, name)

    def fault(self, *names: str) -> ConfigurationError | None:
        """Return why one of these options could not be read, of options that have been resolved."""
        for name in names:
            fault = self._faults.get(name)  # another value may have taken its place since
            if fault is not None and fault.value == getattr(self, name):
                error = copy_without_traceback(fault.error)
                assert isinstance(error, ConfigurationError)  # noqa: S101 - a copy is of the same class
                return error
        return None

    @property
    def unread(self) -> tuple[str, ...]:
        """Default files that could not be read, each with the reason, of options that have been resolved."""
        return self._unread

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why files, or a profile in them, could not be read: resolving again may find more."""
        faults = [str(fault.error) for fault in self._faults.values() if isinstance(fault.error, InvalidConfigFile)]
        return (*faults, *self._doubtful)

    def need(self, *names: str) -> None:
        """
        Refuse to go on without one of these options. To be called by all that read an option that may have a fault.

        Raises:
            ConfigurationError: It could not be read.
        """
        fault = self.fault(*names)
        if fault is not None:
            raise fault

    async def resolve(self, environ: Mapping[str, str] | None = None) -> "Config":
        """
        Return these options with those that are None taken from *environ* (the process environment when None), from
        the profile, or from the defaults. The shared files are read in a thread.

        A client is less strict: it raises these errors only when it needs an option that is affected.

        Raises:
            InvalidConfigFile: A shared file cannot be read, or there is no profile of a name that was given.
            ConfigurationError: A variable or a key of the profile has a value that its option cannot have.
        """
        here = SettingsSources(self, environ)
        del environ  # it has keys in it, and a traceback that shows local variables must not
        found = await here.look()
        if found.place is not None:
            raise found.place
        config = here.filled(found)
        config.need(*OPTIONS)
        return config


OPTIONS: dict[str, Option] = {
    field.name: field.metadata[METADATA] for field in attrs.fields(Config) if METADATA in field.metadata
}
VARIABLES = tuple(variable for one in OPTIONS.values() for variable in one.variables)
HIDDEN = frozenset(variable for one in OPTIONS.values() if one.kind.secret for variable in one.variables)


class SettingsSources:
    """
    What surrounds the options of one client: the environment, and the shared files.

    Args:
        config: The options as they were given.
        environ: The environment; that of the process when it is None.

    Attributes:
        environ: The environment as it is at any time, with all that it holds.
        files: The shared files.
    """

    def __init__(self, config: Config, environ: Mapping[str, str] | None = None) -> None:
        environ = self.environ = HiddenMapping(os.environ if environ is None else environ)
        self.config = config
        self._warned: set[str] = set()
        self.variables = variables_of(environ, names=(*VARIABLES, *HOME_VARIABLES), hidden=HIDDEN)
        self.files = SharedFiles.from_environ(
            config=self._path("config_file"), credentials=self._path("credentials_file"), environ=self.variables
        )

    def _path(self, name: str) -> tuple[str, str] | None:
        """Return the path of a file that was named, and what names it."""
        given = getattr(self.config, name)
        if given is not None:
            return given, option_names.option(name)
        return next(((self.variables[one], one) for one in OPTIONS[name].variables if one in self.variables), None)

    @property
    def profile(self) -> ProfileName:
        """The profile that is in force."""
        return profile_name(self.config.profile, variables=OPTIONS["profile"].variables, environ=self.variables)

    async def resolve(self) -> Config:
        """
        Return the options with none missing. One that could not be read has a default, and a fault: see `Config.need`.

        Raises:
            InvalidConfigFile: The files cannot be read because this process is short of something: it may pass.
        """
        found = await self.look()
        if found.place is not None and found.place.recoverable:
            raise found.place
        return self.filled(found)

    async def look(self) -> Resolution:
        """Return what is found for each option, and log what is odd about it: each warning once."""
        shared: SharedConfig | InvalidConfigFile
        try:
            shared = await self.files.load()
        except InvalidConfigFile as error:
            shared = error.with_traceback(None)
        found = resolve(
            {name: getattr(self.config, name) for name in OPTIONS},
            options=OPTIONS,
            environ=self.variables,
            shared=shared,
            profile=self.profile,
        )
        for warning in found.warnings:
            if warning not in self._warned:
                self._warned.add(warning)
                log.warning("%s", warning)
        return found

    def filled(self, found: Resolution) -> Config:
        """Return the options with what was found."""
        values, faults = found.values, found.faults
        if values["max_attempts"] is None:
            values["max_attempts"] = 5 if values["retry_mode"] == "legacy" else 3
            pass_on(faults, "retry_mode", to="max_attempts")
        if values["connect_timeout"] is None:
            values["connect_timeout"] = CONNECT_TIMEOUTS.get(values["defaults_mode"], CONNECT_TIMEOUT)
            pass_on(faults, "defaults_mode", to="connect_timeout")
        outside = {
            name: _Found(values[name], origin)
            for name, origin in found.origins.items()
            if origin not in (GIVEN, DEFAULT, PASSED_OVER, FAULTY)
        }
        return Config(
            **values,
            _found={**self.config._found, **outside},
            _faults={name: _Fault(values[name], error) for name, error in faults.items()},
            _unread=found.unread,
            _doubtful=found.doubtful,
        )

    def __repr__(self) -> str:
        return f"SettingsSources({self.config!r})"
