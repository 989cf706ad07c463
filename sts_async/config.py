"""Options of a client, and their sources: code, then the environment, then the profile, then the default."""

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
CONNECT_TIMEOUTS = {"legacy": CONNECT_TIMEOUT, "in-region": 1.1, "mobile": 30.0}  # s; other modes use the first


log = logging.getLogger("sts_async")


@attrs.frozen
class _Found:
    """The value of an option from the environment or the profile, and the variable or key that sets it."""

    value: Any
    origin: str


@attrs.frozen
class _Fault:
    """Why the variable or key of an option could not be read, and the default that the option has instead."""

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
    Options of a client.

    None means that the option comes from the environment, else from the profile, else from its default. Durations are
    numbers of seconds or `timedelta` objects; the attribute is always a number.

    Attributes:
        profile: Profile of the shared files. A profile that is given here disables the keys in the environment.
            Default: ``default``, which may be missing.
        config_file: Path of the shared config file. Default: ``~/.aws/config``. A missing file counts as empty; a
            warning is logged if this option or AWS_CONFIG_FILE names the file. A named file that cannot be read is an
            error in calls that need the profile. A default file that cannot be read counts as empty, with a warning.
        credentials_file: Path of the shared credentials file. Default: ``~/.aws/credentials``. The rules of
            *config_file* apply; the variable is AWS_SHARED_CREDENTIALS_FILE.
        region: AWS region, such as ``eu-west-1``.
        endpoint_url: URL of STS, instead of the region's endpoint. It applies to no other service.
        ignore_configured_endpoint_urls: Whether endpoint URLs of the environment and the profile are ignored. This
            includes the URLs of SSO and AWS sign-in. Default: False.
        use_fips_endpoint: Whether STS, SSO and AWS sign-in are called at hosts with FIPS 140 validated cryptography.
            A configured URL is then an error. Default: False.
        use_dualstack_endpoint: Whether STS, SSO and AWS sign-in are called at hosts that also support IPv6. A
            configured URL is then an error. Default: False.
        sts_regional_endpoints: ``legacy`` uses the global endpoint for the fifteen oldest regions: ap-northeast-1,
            ap-south-1, ap-southeast-1, ap-southeast-2, ca-central-1, eu-central-1, eu-north-1, eu-west-1, eu-west-2,
            eu-west-3, sa-east-1, us-east-1, us-east-2, us-west-1 and us-west-2. Default: ``regional``.
        signing_region: Region in the credential scope of signatures. Default: the region of the endpoint.
        signing_name: Service name in the credential scope of signatures. Default: ``sts``.
        allow_http: Whether requests to STS, SSO and AWS sign-in on other hosts may be sent without TLS.
            Default: False.
        validate_parameters: Whether requests are checked against the API's constraints before they are sent.
            Default: True.
        retry_mode: ``legacy``, ``standard`` or ``adaptive``. Default: ``adaptive``.
        max_attempts: Number of attempts per call, including the first. Default: 3; 5 in the legacy mode.
        defaults_mode: ``in-region`` sets the default of *connect_timeout* to 1.1 s, ``mobile`` to 30 s. The other
            modes change nothing. Default: ``legacy``.
        connect_timeout: Seconds to connect to one address, including TLS, excluding name resolution. Default: 3.1.
        attempt_timeout: Seconds for one attempt, including connecting, excluding time queued for a connection.
            Default: 10.
        deadline: Seconds for a whole call, including retries and the wait for credentials. Default: 30.
        time_offset: Seconds by which the service's clock is ahead of this host's clock. Default: learnt from responses
            over TLS or from this host.
        disable_clock_skew_correction: Whether *time_offset* is not learnt from responses. Default: False.
        handlers: Request handlers, which are called in this order for every request: see `handlers`. Default: none.
        max_connections: Maximum number of connections and of concurrent requests. Default: 50.
        max_response_bytes: Maximum size of a response body, in bytes. Default: 1 MiB.
        keepalive_timeout: Seconds until an idle connection is closed. Default: 15.
        tcp_keepalive: Whether the system sends keepalive probes on idle connections. Default: False.
        local_address: IPv4 or IPv6 address of this host to connect from. Default: chosen by the system.
        dns_cache_ttl: Seconds for which the addresses of a host are cached. Default: 10.
        proxy: URL of the proxy for all requests, such as ``http://user:password@host:3128``; with ``https://``, the
            connection to the proxy uses TLS. It is hidden in every ``repr``. Loopback and link-local addresses, and
            the metadata services of instances and containers, are always reached directly.
        https_proxy: URL of the proxy for requests with TLS, unless *proxy* is given. An invalid URL in the environment
            is an error only when a request would use it.
        http_proxy: URL of the proxy for requests without TLS, unless *proxy* is given. HTTP_PROXY is not read under
            CGI, where the client of the web server can set it.
        no_proxy: Hosts that are reached directly, separated by commas. An entry is a name, which includes its
            subdomains, an address, or a network such as ``10.0.0.0/8``. It can end with a port. ``*`` means all hosts.
        ca_bundle: Path of a PEM file with the certificate authorities to trust, instead of the system's. Text outside
            its certificates is ignored and may have any encoding. It is read before the first connection with TLS.
        verify: Whether the certificates of TLS peers are verified. Without verification, credentials can be
            intercepted, and a warning is logged. Default: True.
        client_certificate: Path of a PEM file with a client certificate for TLS, followed by its intermediate
            certificates.
        client_key: Path of a PEM file with the unencrypted private key of the client certificate. Default: the file of
            the certificate has the key too.
        app_id: Name of the application for the User-Agent header, at most 50 characters. A value of the environment or
            the profile is truncated, and hyphens replace characters that are invalid in a header. A warning is logged.
        user_agent_suffix: The end of the User-Agent header, such as ``shop/1.0``; at most 128 characters.
        ec2_metadata_disabled: Whether the instance metadata service is never called. Default: False.
        ec2_metadata_endpoint: URL of the instance metadata service. Default: its address for the mode.
        ec2_metadata_endpoint_mode: ``IPv4`` or ``IPv6``: the well-known address of the metadata service to use.
            Default: ``IPv4``.
        ec2_metadata_timeout: Seconds for each request to the metadata service. Default: 1.
        ec2_metadata_attempts: Number of attempts for each request to the metadata service. Default: 1.
        ec2_instance_profile_name: Role to get credentials for. Default: the metadata service returns the name.
        imds_v1_fallback: Whether version 1 of the metadata service is called when version 2 does not exist. Version 1
            has no protection against forged requests (SSRF). The variable and the profile key have the opposite
            meaning: they disable version 1. Default: False, unlike in other SDKs.
        trust_token_files: Whether token files of ``aws sso login`` and ``aws login`` are used even if another user
            owns them or can write to them. Such files occur in a container with a mounted home directory, or on a
            Windows drive under WSL. A user who can write to them chooses the credentials. Default: False.
        show_process_stderr: Whether errors of a ``credential_process`` end with its last output on standard error, at
            most 5 lines and 1,000 characters. Known secrets are replaced by ``***``; others are shown. Default: False.

    Raises:
        ConfigurationError: A value is outside its range.

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
    # These fields are not made by a function: type checkers derive the type of the argument from the converter.
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
        for name, definition in OPTIONS.items():
            value = getattr(self, name)
            if not definition.accepts(value) and not self.is_found(name):
                raise ConfigurationError(f"{option_names.option(name)} must be {definition.kind.rule}")

    def origin_of(self, name: str) -> str:
        """Return the name of an option for messages: the variable or profile key that set it, else its own name."""
        return self._found[name].origin if self.is_found(name) else option_names.option(name)

    def is_found(self, name: str) -> bool:
        """Return True if the value of an option comes from a variable or from the profile."""
        # `attrs.evolve` can have replaced the value since.
        found = self._found.get(name)
        return found is not None and found.value == getattr(self, name)

    def fault(self, *names: str) -> ConfigurationError | None:
        """Return the error of the first of these options that could not be read, or None. Only for resolved options."""
        for name in names:
            # `attrs.evolve` can have replaced the value since.
            fault = self._faults.get(name)
            if fault is not None and fault.value == getattr(self, name):
                error = copy_without_traceback(fault.error)
                assert isinstance(error, ConfigurationError)  # noqa: S101 - a copy is of the same class
                return error
        return None

    @property
    def unread(self) -> tuple[str, ...]:
        """Default files that could not be read, each with the reason; empty before the options are resolved."""
        return self._unread

    @property
    def doubts(self) -> tuple[str, ...]:
        """Reasons why a file or the profile could not be read: resolving again later may find more options."""
        faults = [str(fault.error) for fault in self._faults.values() if isinstance(fault.error, InvalidConfigFile)]
        return (*faults, *self._doubtful)

    def need(self, *names: str) -> None:
        """
        Raise the error of the first of these options that could not be read, and whose default must not be used.

        Raises:
            ConfigurationError: The variable, the profile key or the file of an option could not be read.
        """
        fault = self.fault(*names)
        if fault is not None:
            raise fault

    async def resolve(self, environ: Mapping[str, str] | None = None) -> "Config":
        """
        Return a copy in which every option has its value from the environment, the profile or the default.

        The shared files are read in a thread. A client is less strict than this method: it raises an error only when
        it needs the option.

        Args:
            environ: The environment; None for the environment of the process.

        Raises:
            InvalidConfigFile: A shared file cannot be read, or the named profile does not exist.
            ConfigurationError: The value of a variable or of a profile key is invalid.
        """
        environ = None if environ is None else HiddenMapping(environ)
        sources = SettingsSources(self, environ)
        found = await sources.look()
        if found.place is not None:
            raise found.place
        config = sources.filled(found)
        config.need(*OPTIONS)
        return config


OPTIONS: dict[str, Option] = {
    field.name: field.metadata[METADATA] for field in attrs.fields(Config) if METADATA in field.metadata
}
VARIABLES = tuple(variable for item in OPTIONS.values() for variable in item.variables)
HIDDEN = frozenset(variable for item in OPTIONS.values() if item.kind.secret for variable in item.variables)


class SettingsSources:
    """
    The sources of the options of one client: code, the environment and the shared files.

    Args:
        config: The options that are given in code.
        environ: The environment; None for the environment of the process.

    Attributes:
        environ: All variables of the environment. Later changes of the environment are visible.
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
        """Return the path of a file and the option or variable that sets it; None for the default path."""
        given = getattr(self.config, name)
        if given is not None:
            return given, option_names.option(name)
        set_variables = (variable for variable in OPTIONS[name].variables if variable in self.variables)
        return next(((self.variables[variable], variable) for variable in set_variables), None)

    @property
    def profile(self) -> ProfileName:
        """The selected profile."""
        return profile_name(self.config.profile, variables=OPTIONS["profile"].variables, environ=self.variables)

    async def resolve(self) -> Config:
        """
        Return the options with values. An option that could not be read has its default, and a fault (`Config.need`).

        Raises:
            InvalidConfigFile: The files cannot be read now, because the process lacks a resource such as file
                descriptors. A later attempt can succeed.
        """
        found = await self.look()
        if found.place is not None and found.place.recoverable:
            raise found.place
        return self.filled(found)

    async def look(self) -> Resolution:
        """Read the files, return the value of each option with its origin, and log each warning once."""
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
        """Return options with the values of *found*, and with defaults that depend on other options."""
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
