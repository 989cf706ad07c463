"""C5: what is wrong with an option breaks the calls that need it, and no others."""

import base64
import contextlib
import json
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn

import attrs
import pytest
import trustme
from patience import PATIENCE
from support import KEYS, Answering, engine_of

from sts_async import Config, STSClient, errors
from sts_async._config import certificates
from sts_async._engine.build import endpoint_of, transport_of
from sts_async._http.transport import AiohttpTransport
from sts_async._protocol.http_messages import HttpRequest
from sts_async._shape.secret import SecretBytes
from sts_async.config import OPTIONS, SettingsSources
from sts_async.credentials import DefaultChain
from sts_async.credentials.imds import imds_of
from sts_async.errors import ConfigurationError, InvalidConfigFile, InvalidRegion
from sts_async.retries import StandardRetries
from sts_async.testing import LocalSTS

WriteFile = Callable[[str, str], Path]
ROLE = "arn:aws:iam::123456789012:role/demo"
CLAIMS = {"iss": "https://idp.example", "sub": "me", "aud": "sts", "exp": 4_102_444_800}
JWT = ".".join(
    base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({"alg": "none"}, CLAIMS, {})
)

# What each option that can come from outside is needed for: the names of situations below.
DESTINATION = {"no endpoint"}
NEEDED_FOR: dict[str, set[str]] = {
    "profile": {"no endpoint", "no region", "metadata service", "credentials"},
    "config_file": {"no endpoint", "no region", "metadata service", "credentials", "TLS"},
    "credentials_file": {"no endpoint", "no region", "metadata service", "credentials", "TLS"},
    "region": {"no region"},
    "endpoint_url": DESTINATION,
    "ignore_configured_endpoint_urls": DESTINATION,
    "use_fips_endpoint": DESTINATION,
    "use_dualstack_endpoint": DESTINATION,
    "sts_regional_endpoints": DESTINATION,
    "retry_mode": {"no retries"},
    "max_attempts": {"no retries"},
    "defaults_mode": {"no time for connections"},
    "disable_clock_skew_correction": {"no clock"},
    "tcp_keepalive": {"no probes"},
    "https_proxy": set(),  # it is looked at when a request would go by it, see `test_transport_options`
    "http_proxy": set(),
    "no_proxy": set(),
    "ca_bundle": {"TLS"},
    "app_id": set(),  # it is repaired
    "ec2_metadata_disabled": {"metadata service"},
    "ec2_metadata_endpoint": {"metadata service"},
    "ec2_metadata_endpoint_mode": {"metadata service"},
    "ec2_metadata_timeout": {"metadata service"},
    "ec2_metadata_attempts": {"metadata service"},
    "ec2_instance_profile_name": {"metadata service"},
    "imds_v1_fallback": {"metadata service"},
    "trust_token_files": set(),  # the sources that they are about read them, see `test_profile_sources`
    "show_process_stderr": set(),
}
ODD = "odd \x01 value"
SOURCES = [(name, variable) for name, known in OPTIONS.items() for variable in known.variables]
SOURCES += [(name, known.key) for name, known in OPTIONS.items() if known.key]


class Nowhere(Answering):
    """A network without a metadata service."""

    async def send(self, request: HttpRequest) -> NoReturn:
        raise errors.ConnectError("refused")


@attrs.frozen
class Machine:
    """A machine with an STS, and the options that a client on it is given in code."""

    server: LocalSTS

    def client(self, **changed: Any) -> STSClient:
        """Return a client that is given all that a call needs, but for what is None here."""
        config = {name: changed.pop(name) for name in list(changed) if name in OPTIONS and name != "region"}
        given = {"connect_timeout": 3.0, "tcp_keepalive": False, "time_offset": 0.0, **config}
        options = {
            "region": self.server.region,
            "credentials": self.server.credentials,
            "endpoint_url": self.server.url,
            "retries": StandardRetries(),
            **changed,
        }
        return STSClient(config=Config(**given), **options)

    async def call(self, **changed: Any) -> None:
        async with self.client(**changed) as sts:
            await sts.get_caller_identity()

    async def unsigned(self) -> None:
        async with self.client(region=None) as sts:
            await sts.assume_role_with_web_identity(role_arn=ROLE, role_session_name="demo-job", web_identity_token=JWT)

    async def with_tls(self) -> None:
        async with transport() as made:
            with pytest.raises(errors.ConnectError):
                await made.send(_request("https://127.0.0.1:9/"))

    async def destination(self) -> None:
        endpoint_of(await SettingsSources(Config(region="eu-west-1")).resolve())

    async def metadata(self) -> None:
        nothing_there = engine_of(Nowhere()).context
        with pytest.raises(errors.CredentialsNotFound):
            await imds_of(await SettingsSources(Config()).resolve()).provide_credentials(nothing_there)

    async def chain(self) -> None:
        chain = DefaultChain(Config(ec2_metadata_disabled=True))
        with pytest.raises(errors.CredentialsNotFound):
            await chain.provide_credentials(engine_of(Answering()).context)


SITUATIONS: dict[str, Callable[[Machine], Awaitable[None]]] = {
    "all in code": Machine.call,
    "no retries": lambda machine: machine.call(retries=None),
    "no time for connections": lambda machine: machine.call(connect_timeout=None),
    "no probes": lambda machine: machine.call(tcp_keepalive=None),
    "no clock": lambda machine: machine.call(time_offset=None),
    "no region, unsigned": Machine.unsigned,
    "no region": lambda machine: machine.call(region=None),
    "no endpoint": Machine.destination,
    "TLS": Machine.with_tls,
    "metadata service": Machine.metadata,
    "credentials": Machine.chain,
}


@contextlib.asynccontextmanager
async def transport(**options: Any) -> AsyncIterator[AiohttpTransport]:
    """Yield the transport of a client that is given these options, and all others that one needs."""
    made = transport_of(
        await SettingsSources(Config(**{"connect_timeout": 3.0, "tcp_keepalive": False, **options})).resolve()
    )
    try:
        yield made
    finally:
        await made.aclose()


def _request(url: str) -> HttpRequest:
    return HttpRequest("POST", url, {}, SecretBytes(b"a=1"))


@pytest.fixture
async def machine(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Machine]:
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    async with LocalSTS() as server:
        yield Machine(server)


async def broken(machine: Machine) -> dict[str, ConfigurationError]:
    """Return the situations in which a call fails, and why."""
    failures = {}
    for name, situation in SITUATIONS.items():
        try:
            await situation(machine)
        except ConfigurationError as error:
            failures[name] = error
    return failures


# "no region" fails without any fault: the region is nowhere.
NO_REGION = {"no region"}


def test_the_table_has_every_option_that_can_come_from_outside() -> None:
    """C5: a new option must be put into it."""
    assert NEEDED_FOR.keys() == {name for name, known in OPTIONS.items() if known.variables or known.key}
    assert set().union(*NEEDED_FOR.values()) <= SITUATIONS.keys()


async def test_without_an_odd_value_only_the_region_is_missed(machine: Machine) -> None:
    assert (await broken(machine)).keys() == NO_REGION


@pytest.mark.parametrize(("name", "source"), SOURCES, ids=lambda text: str(text))
async def test_an_odd_value_breaks_exactly_the_calls_that_need_it(
    machine: Machine,
    name: str,
    source: str,
    monkeypatch: pytest.MonkeyPatch,
    write_file: WriteFile,
    tmp_path: Path,
) -> None:
    """C5: and each error names the variable or the key."""
    odd = str(tmp_path) if name in ("config_file", "credentials_file") else ODD
    if source == OPTIONS[name].key:
        monkeypatch.setenv("AWS_CONFIG_FILE", str(write_file("config", f"[default]\n{source} = {odd}\n")))
    else:
        monkeypatch.setenv(source, odd)
    failures = await broken(machine)

    assert failures.keys() == NEEDED_FOR[name] | NO_REGION
    assert all(source in str(failures[situation]) for situation in NEEDED_FOR[name])


@pytest.mark.parametrize("wrong", ["missing profile", "broken file", "unreadable file", "no home directory"])
async def test_an_unreadable_profile_is_a_fault_of_each_option_that_it_could_set_and_that_has_an_effect(
    machine: Machine,
    wrong: str,
    monkeypatch: pytest.MonkeyPatch,
    write_file: WriteFile,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """C5: other options take their defaults, and one warning says so."""
    match wrong:
        case "missing profile":
            monkeypatch.setenv("AWS_PROFILE", "gone")
        case "broken file":
            monkeypatch.setenv("AWS_CONFIG_FILE", str(write_file("config", "[default\n")))
        case "unreadable file":
            monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path))
        case _:
            monkeypatch.setenv("AWS_CONFIG_FILE", "~/mine")
            monkeypatch.delenv("HOME")
    failures = await broken(machine)
    caplog.clear()
    await machine.call()

    needed = {"no endpoint", "no region", "metadata service", "credentials"}
    # A profile that does not exist names no authorities; in a file that cannot be read there may be some.
    assert failures.keys() == needed | (set() if wrong == "missing profile" else {"TLS"})
    assert {type(error) for error in failures.values()} == {InvalidConfigFile}
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "; defaults apply for: retry_mode, max_attempts, defaults_mode, " in warning
    assert str(failures["no region"]).endswith("; correct that first (region could be set there: pass region=...)")


async def test_the_advice_of_such_an_error_helps(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, write_file: WriteFile
) -> None:
    """C18: the advice is tried."""
    monkeypatch.setenv("AWS_CONFIG_FILE", str(write_file("config", "[default\n")))
    bundle = write_file("ca.pem", _certificate())
    with pytest.raises(InvalidConfigFile, match=r"pass endpoint_url=\.\.\.\)$"):
        await machine.destination()
    endpoint_of(await SettingsSources(Config(region="eu-west-1", endpoint_url="https://sts.example/")).resolve())
    with pytest.raises(InvalidConfigFile, match=r"pass region=\.\.\.\)$"):
        await machine.call(region=None)
    await machine.call(region="eu-west-1")
    for given, error in ((None, InvalidConfigFile), (str(bundle), errors.ConnectError)):
        async with transport(ca_bundle=given) as made:
            with pytest.raises(error):
                await made.send(_request("https://127.0.0.1:9/"))


def _certificate() -> str:
    return trustme.CA().cert_pem.bytes().decode()


async def test_a_profile_that_is_missing_changes_no_call_that_is_given_all_in_code(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C5."""
    monkeypatch.setenv("AWS_PROFILE", "gone")
    server = machine.server
    async with STSClient(region=server.region, credentials=server.credentials, endpoint_url=server.url) as sts:
        assert (await sts.get_caller_identity()).account == "123456789012"
        assert (await sts.with_options(region="eu-west-2").get_caller_identity()).account == "123456789012"


async def test_the_region_of_a_view_takes_the_place_of_one_that_could_not_be_read(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C5."""
    monkeypatch.setenv("AWS_REGION", "evil.com#")
    server = machine.server
    async with STSClient(credentials=server.credentials, endpoint_url=server.url) as sts:
        with pytest.raises(InvalidRegion, match=r"^AWS_REGION is not a region"):
            await sts.get_caller_identity()
        await sts.with_options(region=server.region).get_caller_identity()


async def test_resolving_raises_all_that_a_client_would_pass_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """C5: `Config.resolve` is for those who want to know."""
    with pytest.raises(InvalidConfigFile, match=r"^profile 'gone', named by AWS_PROFILE, is neither"):
        await Config().resolve({"AWS_PROFILE": "gone"})
    with pytest.raises(ConfigurationError, match=r"^AWS_METADATA_SERVICE_TIMEOUT must be"):
        await Config(region="eu-west-1").resolve({"AWS_METADATA_SERVICE_TIMEOUT": "odd"})


@pytest.mark.parametrize(
    ("options", "environ"),
    [
        ({"connect_timeout": 1.0}, {"AWS_DEFAULTS_MODE": ODD}),
        ({"max_attempts": 2, "retry_mode": "standard"}, {"AWS_RETRY_MODE": ODD, "AWS_MAX_ATTEMPTS": ODD}),
        ({"ignore_configured_endpoint_urls": True}, {"AWS_ENDPOINT_URL": ODD}),
        ({"endpoint_url": "https://sts.example/"}, {"AWS_ENDPOINT_URL": ODD, "AWS_ENDPOINT_URL_STS": ODD}),
    ],
    ids=str,
)
async def test_an_option_in_code_is_not_searched_for(options: dict[str, Any], environ: dict[str, str]) -> None:
    """C5."""
    resolved = await SettingsSources(Config(**options), environ).resolve()

    assert resolved.fault(*options) is None
    assert {name: getattr(resolved, name) for name in options} == options


async def test_the_endpoint_of_the_service_replaces_an_invalid_one_of_all_services(write_file: WriteFile) -> None:
    """C5: the one of all services is not used."""
    text = (
        "[default]\nservices = x\nendpoint_url = odd\x01\n[services x]\nsts =\n  endpoint_url = https://sts.example/\n"
    )
    resolved = await Config().resolve({"AWS_CONFIG_FILE": str(write_file("config", text))})

    assert resolved.endpoint_url == "https://sts.example/"


async def test_verification_that_is_off_needs_no_authorities(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """C5."""
    monkeypatch.setenv("AWS_CA_BUNDLE", "/nowhere")
    for verify, error in ((True, ConfigurationError), (False, errors.ConnectError)):
        async with transport(verify=verify) as made:
            with pytest.raises(error):
                await made.send(_request("https://127.0.0.1:9/"))


async def test_keys_are_found_in_the_environment_whatever_the_options_of_the_metadata_service_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """C5: they are read when the service is asked."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEYS.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEYS.secret_access_key)
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", ODD)
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    context = engine_of(Answering()).context

    assert (await DefaultChain().provide_credentials(context)).access_key_id == KEYS.access_key_id
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ConfigurationError, match=r"^AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE must be IPv4 or IPv6"):
        await DefaultChain().provide_credentials(context)
    await context.tasks.aclose()


# Certificates


async def test_certificates_are_read_once_before_the_first_connection_with_tls(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, write_file: WriteFile
) -> None:
    """C5: and again after an error."""
    read, real = [], certificates.trust_of

    def counting(config: Config) -> Any:
        read.append(config.ca_bundle)
        return real(config)

    monkeypatch.setattr(certificates, "trust_of", counting)
    path = write_file("ca.pem", "nothing")
    async with transport(ca_bundle=str(path)) as made:
        await made.send(_request(machine.server.url))
        assert read == []
        with pytest.raises(ConfigurationError, match=r"^ca_bundle: '.*ca\.pem': contains no PEM certificates$"):
            await made.send(_request("https://127.0.0.1:9/"))
        path.write_text(_certificate())
        for url in ("https://127.0.0.1:9/", "https://127.0.0.1:9/x", "https://127.0.0.1:10/"):
            with pytest.raises(errors.ConnectError):
                await made.send(_request(url))

    assert read == [str(path)] * 2


async def test_a_bundle_that_hangs_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch, machine: Machine) -> None:
    """C1, C5."""
    back = threading.Event()
    monkeypatch.setattr("sts_async._runtime.file_reads.FILE_SECONDS", 0.01)
    monkeypatch.setattr("sts_async._config.certificates.trust_of", lambda _: back.wait(PATIENCE))
    try:
        async with transport(ca_bundle="/nowhere/of/this/test/ca.pem") as made:
            with pytest.raises(ConfigurationError, match=r"^ca_bundle: '/nowhere/.*': did not answer within 0\.01 s$"):
                await made.send(_request("https://127.0.0.1:9/"))
    finally:
        back.set()
