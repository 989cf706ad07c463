"""C1: default files that cannot be read say nothing, with a warning; what was named and cannot be read is an error."""

import asyncio
import errno
import gc
import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from patience import PATIENCE, turns, until
from support import KEYS, START, Answering, engine_of

from sts_async import Config, STSClient, cli
from sts_async._config.shared_files import SharedFiles
from sts_async._engine import lifecycle
from sts_async._engine.context import ClientContext
from sts_async._runtime import file_reads as _file_reads
from sts_async._runtime import files as _files
from sts_async._runtime.threads import NoThread
from sts_async._wording.os_errors import PASSING
from sts_async.config import SettingsSources
from sts_async.credentials import ProfileProvider, ProviderChain
from sts_async.doctor import Row, examine
from sts_async.errors import ClientClosedError, ConfigurationError, CredentialsNotFound, InvalidConfigFile
from sts_async.shapes import Credentials
from sts_async.testing import LocalSTS, VirtualClock

CONFIG = "[default]\nregion = eu-west-1\n[profile mine]\nregion = eu-west-2\n"
IN_PROFILE = "aws_access_key_id = AKIAPROFILE\naws_secret_access_key = SENTINEL-of-the-profile\n"
ENVIRON = {"AWS_ACCESS_KEY_ID": KEYS.access_key_id, "AWS_SECRET_ACCESS_KEY": KEYS.secret_access_key}
ROLE = "arn:aws:iam::123456789012:role/demo"
NUMBERS = sorted(set(errno.errorcode) - {errno.ENOENT})
OF_CONTENT = {errno.EFBIG}  # an error, as when the file breaks the grammar


def _not_a_directory(home: Path) -> Path:
    (home / "file").write_text("")
    return home / "file"


def _directory(home: Path) -> Path:
    (home / ".aws/config").mkdir(parents=True)
    return home


def _fifo(home: Path) -> Path:
    (home / ".aws").mkdir()
    os.mkfifo(home / ".aws/config")
    return home


def _loop(home: Path) -> Path:
    (home / ".aws").symlink_to(home / ".aws")
    return home


def _device(home: Path) -> Path:
    (home / ".aws").mkdir()
    (home / ".aws/config").symlink_to("/dev/zero")
    return home


HOMES: dict[str, tuple[Callable[[Path], Path | str], str]] = {
    "the null device": (lambda _: os.devnull, "Not a directory"),
    "a file": (_not_a_directory, "Not a directory"),
    "a directory in the place of the file": (_directory, "is a directory, not a regular file"),
    "a FIFO": (_fifo, "is a FIFO, not a regular file"),
    "a device": (_device, "is a device, not a regular file"),
    "a circle of links": (_loop, "Too many levels of symbolic links"),
    "a name that is too long": (lambda home: home / ("x" * 300), "File name too long"),
    "no path": (lambda home: f"{home}/\ud800", "has characters that no path can have"),
}
IN_ENVIRONMENT = {
    name: home for name, home in HOMES.items() if name != "no path"
}  # no variable of a process can hold it
each_home = pytest.mark.parametrize(("make", "reason"), HOMES.values(), ids=HOMES)


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home directory with both files."""
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/config").write_text(CONFIG)
    (tmp_path / ".aws/credentials").write_text(f"[other]\n{IN_PROFILE}")
    return tmp_path


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return a function after which no shared file can be opened, with the error of a number; 0 for none."""
    real, numbers = os.open, [0]

    def opened(path: Any, *arguments: Any, **options: Any) -> int:
        if numbers[-1] and ".aws" in str(path):
            raise OSError(numbers[-1], os.strerror(numbers[-1]), str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", opened)
    return numbers.append


# Default files


def context_by_a_clock() -> tuple[ClientContext, list[float]]:
    """Return what a client lends, and its time in seconds, which the test sets."""
    now = [0.0]
    context = engine_of(Answering()).context
    context.monotonic = context.shared.monotonic = lambda: now[0]
    context.wall_clock = context.shared.wall_clock = lambda: START + now[0]
    return context, now


@each_home
async def test_a_home_directory_that_cannot_be_read_says_nothing_with_one_warning(
    tmp_path: Path, make: Callable[[Path], Path | str], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """C1."""
    here = SettingsSources(Config(), {"HOME": str(make(tmp_path))})
    resolved = [await here.resolve() for _ in range(3)]

    (warning,) = warnings_in(caplog)
    assert [config.region for config in resolved] == [None] * 3
    assert warning.startswith("default files that cannot be read count as empty: ")
    assert reason in warning
    assert f".aws{os.sep}config'" in warning


@pytest.mark.parametrize("number", [*{*NUMBERS} - OF_CONTENT], ids=errno.errorcode.get)
async def test_whatever_keeps_a_default_file_from_being_read_it_says_nothing(
    home: Path, failing: Callable[[int], None], number: int, caplog: pytest.LogCaptureFixture
) -> None:
    """C1: but for what passes by itself, after which another identity would have been taken. F62."""
    failing(number)
    here = SettingsSources(Config(), {"HOME": str(home)})

    if number in PASSING:
        with pytest.raises(InvalidConfigFile, match=os.strerror(number)) as caught:
            await here.resolve()
        assert caught.value.recoverable
        failing(0)
        assert (await here.resolve()).region == "eu-west-1"
    else:
        assert (await here.resolve()).region is None
        assert len(warnings_in(caplog)) == 1
        assert os.strerror(number) in caplog.text
        failing(0)
        assert (await here.resolve()).region == "eu-west-1"


async def test_files_that_are_missing_are_not_worth_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for environ in ({"HOME": str(tmp_path)}, {"HOME": str(tmp_path / "missing")}, {}):
        assert (await SettingsSources(Config(), environ).resolve()).region is None

    assert warnings_in(caplog) == []


async def test_a_file_that_goes_while_it_is_read_is_missing(
    home: Path, failing: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    failing(errno.ENOENT)

    assert (await SettingsSources(Config(), {"HOME": str(home)}).resolve()).region is None
    assert warnings_in(caplog) == []


@pytest.mark.parametrize("text", ["[default\n", "x" * ((1 << 20) + 1)], ids=["grammar", "size"])
async def test_a_default_file_whose_content_is_at_fault_is_an_error(home: Path, text: str) -> None:
    """C1: it is there, and was meant to count."""
    (home / ".aws/config").write_text(text)

    with pytest.raises(InvalidConfigFile, match=r"\.aws.config'?(, line 1)?: "):
        await Config().resolve({"HOME": str(home)})


# What was named


@pytest.mark.parametrize("number", NUMBERS, ids=errno.errorcode.get)
@pytest.mark.parametrize("code", [True, False], ids=["in code", "variable"])
async def test_a_named_file_that_cannot_be_read_is_an_error_with_the_option_or_variable(
    home: Path, failing: Callable[[int], None], number: int, *, code: bool
) -> None:
    """C1."""
    path = str(home / ".aws/config")
    failing(number)
    name = "config_file" if code else "AWS_CONFIG_FILE"
    config = Config(config_file=path) if code else Config()

    with pytest.raises(InvalidConfigFile) as caught:
        await config.resolve({} if code else {"AWS_CONFIG_FILE": path})
    assert str(caught.value) == f"{name}: {path!r}: {os.strerror(number)}"
    assert caught.value.recoverable == (number in PASSING)


@each_home
@pytest.mark.parametrize(
    ("config", "environ", "origin"),
    [
        (Config(profile="mine"), {}, "given in code"),
        (Config(), {"AWS_PROFILE": "mine"}, "named by AWS_PROFILE"),
        (Config(), {"AWS_PROFILE": "default"}, "named by AWS_PROFILE"),
    ],
    ids=["code", "variable", "default"],
)
async def test_a_profile_that_was_named_makes_it_an_error_that_says_which_file_and_why(
    tmp_path: Path,
    make: Callable[[Path], Path | str],
    reason: str,
    config: Config,
    environ: dict[str, str],
    origin: str,
) -> None:
    """C1: for options and for credentials."""
    here = SettingsSources(config, {**environ, "HOME": str(make(tmp_path))})

    for needs in (
        config.resolve({**environ, "HOME": here.variables["HOME"]}),
        ProfileProvider(settings_sources=here).provide_credentials(engine_of(Answering()).context),
    ):
        with pytest.raises(InvalidConfigFile, match=rf"{origin}, may be in a file that cannot be read: .*{reason}"):
            await needs


async def test_a_profile_that_was_named_is_an_error_also_where_the_other_file_has_keys_for_it(
    home: Path, failing: Callable[[int], None]
) -> None:
    """C1: the file that cannot be read may give it a role, so the keys may be of another identity."""
    (home / "credentials").write_text(f"[mine]\n{IN_PROFILE}")
    failing(errno.EACCES)
    here = SettingsSources(
        Config(), {"HOME": str(home), "AWS_PROFILE": "mine", "AWS_SHARED_CREDENTIALS_FILE": f"{home}/credentials"}
    )

    with pytest.raises(InvalidConfigFile, match=r"\.aws.config': Permission denied"):
        await ProfileProvider(settings_sources=here).provide_credentials(engine_of(Answering()).context)


@pytest.mark.parametrize("there", [True, False])
async def test_a_source_profile_that_may_be_in_an_unreadable_file_is_an_error_that_says_so(
    home: Path, failing: Callable[[int], None], *, there: bool
) -> None:
    """C1: and so may the profile that names it."""
    base = f"[base]\n{IN_PROFILE}" if there else ""
    (home / "credentials").write_text(f"[default]\nrole_arn = {ROLE}\nsource_profile = base\n{base}")
    failing(errno.EACCES)
    here = SettingsSources(Config(), {"HOME": str(home), "AWS_SHARED_CREDENTIALS_FILE": f"{home}/credentials"})

    with pytest.raises(InvalidConfigFile, match=r"'default'.* may contain more of it: '.*config': Permission denied"):
        await ProfileProvider(settings_sources=here).provide_credentials(engine_of(Answering()).context)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ELOOP, errno.ESTALE], ids=errno.errorcode.get)
async def test_keys_of_the_default_profile_do_not_replace_a_role_in_an_unreadable_file(
    home: Path, failing: Callable[[int], None], number: int
) -> None:
    """C1: the keys are those for the role, and can have more permissions. The advice of the error works."""
    (home / "credentials").write_text(f"[default]\n{IN_PROFILE}")
    failing(number)
    environ = {"HOME": str(home), "AWS_SHARED_CREDENTIALS_FILE": f"{home}/credentials"}

    async def key_of(environ: dict[str, str]) -> str:
        provider = ProfileProvider(settings_sources=SettingsSources(Config(), environ))
        return (await provider.provide_credentials(engine_of(Answering()).context)).access_key_id

    with pytest.raises(InvalidConfigFile, match=r"may contain more of it: .*set AWS_CONFIG_FILE=/dev/null\)$"):
        await key_of(environ)
    with pytest.raises(InvalidConfigFile, match="may contain more of it"):
        await Config().resolve(environ)
    assert await key_of({**environ, "AWS_CONFIG_FILE": "/dev/null"}) == "AKIAPROFILE"


async def test_the_other_file_counts_where_a_directory_is_in_the_place_of_a_file(tmp_path: Path) -> None:
    """C1: a directory says nothing, so there is no doubt."""
    (_directory(tmp_path) / ".aws/credentials").write_text(f"[default]\n{IN_PROFILE}region = eu-west-3\n")
    here = SettingsSources(Config(), {"HOME": str(tmp_path), "AWS_PROFILE": "default"})

    assert (await here.resolve()).region == "eu-west-3"
    provider = ProfileProvider(settings_sources=here)
    assert (await provider.provide_credentials(engine_of(Answering()).context)).access_key_id == "AKIAPROFILE"


async def test_a_chain_that_passed_over_a_file_searches_again_until_it_can_be_read(
    home: Path, failing: Callable[[int], None]
) -> None:
    """C1: the source that was found stays in use until then, and no longer."""
    (home / ".aws/credentials").write_text(f"[default]\n{IN_PROFILE}")
    context, now = context_by_a_clock()
    chain = ProviderChain(ProfileProvider(settings_sources=SettingsSources(Config(), {"HOME": str(home)})), KEYS)

    async def key_after(seconds: float) -> str:
        now[0] += seconds
        key = (await chain.provide_credentials(context)).access_key_id
        await until(lambda: not context.tasks._running)
        return key

    failing(errno.EACCES)
    assert [await key_after(seconds) for seconds in (0, 1, 10)] == [KEYS.access_key_id] * 3
    failing(0)
    assert [await key_after(seconds) for seconds in (1, 10, 0)] == [KEYS.access_key_id] * 2 + ["AKIAPROFILE"]
    await context.tasks.aclose()


async def test_a_chain_does_not_keep_its_source_when_the_file_turns_out_to_be_at_fault(
    home: Path, failing: Callable[[int], None]
) -> None:
    """C1: as if it had been read at first."""
    context, now = context_by_a_clock()
    chain = ProviderChain(ProfileProvider(settings_sources=SettingsSources(Config(), {"HOME": str(home)})), KEYS)
    failing(errno.EACCES)
    await chain.provide_credentials(context)
    now[0] += 10
    failing(errno.EMFILE)  # passes by itself
    await chain.provide_credentials(context)
    await until(lambda: not context.tasks._running)
    (home / ".aws/config").write_text("[default]\nrole_arn = nonsense\n")
    failing(0)
    now[0] += 10
    await chain.provide_credentials(context)
    await until(lambda: not context.tasks._running)

    with pytest.raises(InvalidConfigFile, match="role_arn"):
        await chain.provide_credentials(context)
    await context.tasks.aclose()


async def test_the_error_that_follows_says_which_default_file_cannot_be_read(
    home: Path, failing: Callable[[int], None]
) -> None:
    """C1."""
    failing(errno.EACCES)
    here = SettingsSources(Config(), {"HOME": str(home)})

    with pytest.raises(CredentialsNotFound, match=r"no profile 'default' .*; cannot be read: '.*config': Permission"):
        await ProfileProvider(settings_sources=here).provide_credentials(engine_of(Answering()).context)


async def test_a_missing_region_may_be_in_an_unreadable_file(
    home: Path, failing: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """C1: the error says so, with and without an endpoint. The credentials need none, and what it advises helps."""
    failing(errno.EACCES)
    monkeypatch.setenv("HOME", str(home))
    said = r"^no region: pass region=.* \(default files that cannot be read: '.*config': Permission denied; .*\)$"
    async with LocalSTS() as server:
        for url in (None, server.url):
            async with STSClient(credentials=server.credentials, endpoint_url=url) as sts:
                assert await sts.get_credentials() == server.credentials
                with pytest.raises(ConfigurationError, match=said):
                    await sts.get_caller_identity()
        monkeypatch.setenv("AWS_REGION", server.region)
        async with STSClient(credentials=server.credentials, endpoint_url=server.url) as sts:
            await sts.get_caller_identity()


async def test_a_file_that_was_named_and_is_missing_counts_as_empty_with_a_warning(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """C1: as for every SDK; the error for a profile that is not there then says so."""
    environ = {"HOME": str(home), "AWS_CONFIG_FILE": str(home / "missing")}
    said = f"AWS_CONFIG_FILE: {str(home / 'missing')!r} does not exist, and counts as empty"

    assert (await SettingsSources(Config(), environ).resolve()).region is None
    assert warnings_in(caplog) == [said]
    with pytest.raises(InvalidConfigFile, match="neither in the config nor in the credentials file") as caught:
        await Config().resolve({**environ, "AWS_PROFILE": "mine"})
    assert said in str(caught.value)


# After it was read once


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE, errno.ENOTCONN], ids=errno.errorcode.get)
async def test_a_default_file_that_was_read_once_stays_in_effect_when_it_cannot_be_read_again(
    home: Path, failing: Callable[[int], None], number: int, caplog: pytest.LogCaptureFixture
) -> None:
    """C1, F36: else the keys of the other file would take its place."""
    config, credentials = home / ".aws/config", home / ".aws/credentials"
    config.write_text(f"[default]\nrole_arn = {ROLE}\nsource_profile = other\nrole_session_name = me\n")
    credentials.write_text(f"[default]\n{IN_PROFILE}[other]\n{IN_PROFILE}")
    context, now = context_by_a_clock()
    provider = ProfileProvider(settings_sources=SettingsSources(Config(), {"HOME": str(home)}))
    await provider.provide_credentials(context)
    plan = provider._current
    failing(number)
    config.write_text(f"{config.read_text()}# changed\n")
    now[0] += 10
    await provider.provide_credentials(context)
    await until(lambda: not context.tasks._running)

    assert provider._current is plan
    (warning,) = [text for text in warnings_in(caplog) if "stay in effect" in text]
    assert os.strerror(number) in warning
    await context.tasks.aclose()


# Mounts that hang


@pytest.fixture
def back(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Every file of the tests hangs until this is set."""
    event, real = threading.Event(), _files.stamp

    def stamp(path: Any) -> Any:
        assert event.wait(PATIENCE)
        return real(path)

    monkeypatch.setattr(_files, "stamp", stamp)
    monkeypatch.setattr(_file_reads, "FILE_SECONDS", 0.02)
    yield event
    event.set()


async def test_a_home_directory_that_hangs_says_nothing_with_one_warning(
    home: Path, back: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    """C1."""
    here = SettingsSources(Config(), {"HOME": str(home)})

    assert [(await here.resolve()).region for _ in range(3)] == [None] * 3
    assert [text.count("did not answer within 0.02 s") for text in warnings_in(caplog)] == [2]


async def test_a_file_that_was_named_and_hangs_is_an_error(home: Path, back: threading.Event) -> None:
    """C1."""
    with pytest.raises(InvalidConfigFile, match=r"^AWS_CONFIG_FILE: '.*config': did not answer within 0\.02 s"):
        await Config().resolve({"AWS_CONFIG_FILE": str(home / ".aws/config")})


async def test_a_call_goes_on_while_the_home_directory_hangs(
    home: Path, back: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C1: with keys in the environment, nothing in the files is needed."""
    monkeypatch.setenv("HOME", str(home))
    async with LocalSTS() as server:
        set_keys(monkeypatch, server)
        async with STSClient(region=server.region, endpoint_url=server.url) as sts:
            assert (await sts.get_caller_identity()).account == "123456789012"


# Calls, and the doctor


def set_keys(monkeypatch: pytest.MonkeyPatch, server: LocalSTS) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.credentials.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.credentials.secret_access_key)


@pytest.mark.parametrize(("make", "reason"), IN_ENVIRONMENT.values(), ids=IN_ENVIRONMENT)
async def test_keys_in_the_environment_work_whatever_the_home_directory_is(
    tmp_path: Path, make: Callable[[Path], Path | str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C1: region and endpoint come from the environment, too. The doctor says the same, and why."""
    monkeypatch.setenv("HOME", str(make(tmp_path)))
    async with LocalSTS() as server:
        set_keys(monkeypatch, server)
        monkeypatch.setenv("AWS_REGION", server.region)
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.url)
        async with STSClient() as sts:
            assert (await sts.get_caller_identity()).account == "123456789012"
        report = await examine()

    assert report.healthy
    assert [finding.outcome for finding in report.findings][:2] == ["found", "not configured"]
    assert reason in report.findings[1].detail
    assert any(reason in row.text for row in report.rows if row.name.endswith(" file"))


@pytest.mark.parametrize("profile", [None, "mine"])
def test_the_doctor_works_without_a_home_directory(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], profile: str | None
) -> None:
    """C1."""
    monkeypatch.setenv("HOME", os.devnull)
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    status = cli.main(["doctor"] if profile is None else ["doctor", "--profile", profile])
    out = capsys.readouterr().out

    assert "Not a directory" in out
    assert ("AKIAIOSFODNN7EXAMPLE" in out) == (profile is None)  # a profile in code comes before the environment
    assert status == (0 if profile is None else 1)


async def test_no_home_directory_for_a_file_that_was_named_is_an_error_when_it_is_needed() -> None:
    """C5."""
    here = SettingsSources(Config(), {"AWS_CONFIG_FILE": "~/mine"})

    assert (await here.resolve()).retry_mode == "adaptive"
    with pytest.raises(ConfigurationError, match=r"^AWS_CONFIG_FILE: '~/mine' is in the home .*HOME is not set"):
        await Config().resolve({"AWS_CONFIG_FILE": "~/mine"})


async def test_when_the_system_starts_no_more_threads_the_error_may_pass(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F62: and no other identity is taken."""

    def full(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    files = SharedFiles.from_environ(environ={"HOME": str(home)})
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", full)
        with pytest.raises(InvalidConfigFile, match="no more threads") as caught:
            await files.load()

    assert caught.value.recoverable
    assert "mine" in (await files.load()).profiles


async def test_the_doctor_shows_a_profile_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """C1, C5: the problem is reported where it matters."""
    monkeypatch.setenv("AWS_PROFILE", "gone")
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    report = await examine()

    profile, region, endpoint = map(report.row, ("profile", "region", "endpoint"))
    assert profile is not None
    assert profile.wrong
    assert profile.text.startswith("profile 'gone', named by AWS_PROFILE, is neither in")
    assert region == Row("region", "none: see profile above")
    assert endpoint is not None
    assert endpoint.text == "none: see profile above"
    assert [finding.outcome for finding in report.findings][:2] == ["found", "failed"]
    assert report.findings[1].detail.startswith("InvalidConfigFile: profile 'gone'")


async def test_a_temporary_error_ends_a_report_and_the_start_of_a_client(
    home: Path, failing: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """F62: the next call starts the client again."""
    monkeypatch.setenv("HOME", str(home))
    async with LocalSTS() as server:
        sts = STSClient(endpoint_url=server.url, credentials=server.credentials)
        failing(errno.EMFILE)
        report = await examine()
        with pytest.raises(InvalidConfigFile, match="Too many open files") as caught:
            await sts.get_caller_identity()
        failing(0)

        assert [row.text for row in report.rows if row.wrong] == [str(caught.value)]
        assert (report.rows[-1].text, report.findings) == ("not asked: correct what is WRONG above first", ())
        assert caught.value.recoverable
        assert (await sts.get_caller_identity()).account == "123456789012"
        assert sts.region == "eu-west-1"
        await sts.aclose()


@pytest.mark.parametrize("named", [False, True], ids=["default", "named"])
async def test_a_client_finds_its_region_when_a_file_that_could_not_be_read_can_be_read(
    home: Path, failing: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, *, named: bool
) -> None:
    """C1: and so do its views. Until then they share one start, and provide credentials."""
    monkeypatch.setenv("HOME", str(home))
    if named:
        monkeypatch.setenv("AWS_CONFIG_FILE", str(home / ".aws/config"))
    failing(errno.ENOTCONN)
    engines = set()
    async with LocalSTS(region="eu-west-1") as server:
        sts = STSClient(credentials=server.credentials, endpoint_url=server.url)
        view = sts.with_options(deadline=10)
        for caller in (sts, view, sts, view):
            assert await caller.get_credentials() == server.credentials
            with pytest.raises(ConfigurationError, match=os.strerror(errno.ENOTCONN)):
                await caller.get_caller_identity()
            engines.add(await sts._life.ready())
        failing(0)
        for caller in (view, sts, view):
            assert (await caller.get_caller_identity()).account == "123456789012"
            engines.add(await sts._life.ready())
        await sts.aclose()
        with pytest.raises(ClientClosedError):
            await sts.get_credentials()

    assert len(engines) == 2
    assert sts.region == "eu-west-1"


async def test_a_client_that_looks_for_its_region_can_be_closed(
    home: Path, failing: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """F56."""
    monkeypatch.setenv("HOME", str(home))
    failing(errno.EACCES)
    async with STSClient(credentials=KEYS) as sts:
        assert await sts.get_credentials() == KEYS

    for needs in (sts.get_credentials(), sts.get_caller_identity()):
        with pytest.raises(ClientClosedError):
            await needs


@pytest.mark.parametrize("same", [False, True], ids=["other options", "the same options"])
async def test_a_client_with_an_endpoint_starts_again_when_a_file_that_could_not_be_read_can_be_read(
    home: Path, failing: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, *, same: bool
) -> None:
    """C1: in the background, at most every 10 s. Nothing is rebuilt if the contents of the file are the same."""
    monkeypatch.setenv("HOME", str(home))
    async with LocalSTS(region="us-east-1") as wrong, LocalSTS(region="eu-west-1") as right:
        (home / ".aws/config").write_text(f"[default]\n{'#' if same else ''}endpoint_url = {right.url}\n")
        set_keys(monkeypatch, wrong)
        monkeypatch.setenv("AWS_REGION", "us-east-1" if same else "eu-west-1")
        failing(errno.EACCES)
        clock = VirtualClock()
        sts = STSClient(clock=clock)
        engines = [await sts._life.ready()]
        failing(0)
        for seconds in (9, 2, 0):
            clock.advance(seconds)
            engines.append(await sts._life.ready())
            await until(lambda: not sts._life._starting._running)
        assert engines[0] is engines[1] is engines[2]
        assert (engines[3] is engines[0]) == same
        assert sts._life.engine is engines[3]
        if not same:
            assert sts.endpoint_url == f"{right.url}/"
        await sts.aclose()


async def test_a_client_reports_the_errors_in_a_file_that_has_become_readable(
    home: Path, failing: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """C1: it does not go on with what it took in the meantime."""
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    failing(errno.EACCES)
    clock = VirtualClock()
    async with STSClient(clock=clock, credentials=KEYS) as sts:
        await sts._life.ready()
        (home / ".aws/config").write_text("[default]\nmax_attempts = many\n")
        failing(0)
        clock.advance(11)
        await sts._life.ready()
        await until(lambda: not sts._life._starting._running)
        with pytest.raises(ConfigurationError, match="max_attempts"):
            await sts._life.ready()


@pytest.mark.parametrize("former", [False, True])
async def test_closing_ends_the_calls_of_a_client_that_could_not_read_its_files(
    home: Path, failing: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, *, former: bool
) -> None:
    """F56: those of the engine in use, and those of one that has been replaced."""
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    failing(errno.EACCES)
    waits = asyncio.Event()

    async def never() -> Credentials:
        waits.set()
        return await asyncio.Future()

    clock = VirtualClock()
    sts = STSClient(clock=clock, credentials=never, endpoint_url="http://127.0.0.1:9")
    call = asyncio.ensure_future(sts.get_caller_identity())
    await waits.wait()
    if former:
        (home / ".aws/config").write_text("[default]\nmax_attempts = 7\n")
        failing(0)
        clock.advance(11)
        await sts._life.ready()
        await until(lambda: sts._life.engine is not None)
    await sts.aclose()

    with pytest.raises(ClientClosedError):
        await call


async def test_former_transports_are_closed_and_dropped_once_their_calls_have_ended(
    home: Path, failing: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """F56: not before."""
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setattr(lifecycle, "DROP_EVERY", 0.001)
    failing(errno.EACCES)
    clock = VirtualClock()
    asked, go_on = asyncio.Event(), asyncio.Event()
    async with LocalSTS(region="eu-west-1") as server:

        async def keys() -> Credentials:
            asked.set()
            await go_on.wait()
            return server.credentials

        async with STSClient(clock=clock, credentials=keys, endpoint_url=server.url) as sts:
            call = asyncio.ensure_future(sts.get_caller_identity())
            await asked.wait()
            (home / ".aws/config").write_text("[default]\nmax_attempts = 7\n")
            failing(0)
            clock.advance(11)
            await sts._life.ready()
            await until(lambda: sts._life.engine is not None)
            ((transport, _),) = sts._life._former
            gc.collect()
            await turns()
            assert not transport._closed
            go_on.set()
            assert (await call).account == "123456789012"
            del call
            await until(lambda: gc.collect() >= 0 and not sts._life._former)
            assert transport._closed
            assert (await sts.get_caller_identity()).account == "123456789012"


async def test_a_client_starts_while_the_threads_of_the_program_are_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """C5: it does not wait for the default executor of the event loop, also where no thread can be started."""

    def default_executor(*_: object, **__: object) -> None:
        raise AssertionError("the threads are the program's")

    async def full(*_: object) -> None:
        raise NoThread

    monkeypatch.setattr(asyncio, "to_thread", default_executor)
    monkeypatch.setattr(asyncio.get_running_loop(), "run_in_executor", default_executor)
    async with LocalSTS() as server:
        set_keys(monkeypatch, server)
        for _ in range(2):
            async with STSClient(region=server.region, endpoint_url=server.url) as sts:
                assert (await sts.get_caller_identity()).account == "123456789012"
            monkeypatch.setattr(lifecycle, "reading", full)
