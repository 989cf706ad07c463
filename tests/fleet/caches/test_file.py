"""The cache of files: what is stored, who may read it, and that no failure of a file is a failure of the program."""

import asyncio
import errno
import json
import os
import stat
import sys
import threading
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from credentials.watchdog import Watchdog
from fleet.caches.cases import KEY, KEYS, NOW, files_in, issued, key_of, warnings_in
from hypothesis import HealthCheck, given, settings
from patience import soon, until
from reporters import REPORTERS
from support import ROLE, START, held

from sts_async import AssumeRoleRequest, Credentials, GetSessionTokenRequest, Secret
from sts_async._runtime import file_reads, files
from sts_async._runtime.clock import SystemClock
from sts_async._runtime.files import Lock
from sts_async._runtime.threads import NoThread, Workers
from sts_async.errors import ConfigurationError
from sts_async.fleet.caches import CachedCredentials, CacheKey, CredentialsCache, FileCache, _entries, file
from sts_async.fleet.caches._directory import LOCKS
from sts_async.testing import VirtualClock

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="modes and owners as POSIX has them")


class Now(SystemClock):
    """Clocks that show a moment at which the credentials of `issued` are valid; they wait as the event loop does."""

    def __init__(self) -> None:
        self.wall = START
        self.later = 0.0

    def time(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time() + self.later


@pytest.fixture
def clock() -> Now:
    return Now()


@pytest.fixture
def cache(tmp_path: Path, clock: Now) -> FileCache:
    return FileCache(tmp_path / "cache", clock=clock)


def path_of(cache: FileCache, key: CacheKey = KEY) -> Path:
    assert cache.directory is not None
    return cache.directory / key.digest[:2] / f"{key.digest}.json"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# -- What is stored is loaded -------------------------------------------------------------------------------------


async def test_what_is_stored_is_loaded(cache: FileCache) -> None:
    await cache.store(KEY, issued())
    found = await cache.load(KEY)

    assert found == issued()
    assert isinstance(found, CachedCredentials)
    assert type(found.credentials.secret_access_key) is Secret
    assert cache.directory is not None
    assert files_in(cache.directory) == [f"{KEY.digest[:2]}/{KEY.digest}.json"]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=KEYS)
async def test_an_entry_of_any_request_is_loaded_as_it_was_stored(tmp_path: Path, key: CacheKey) -> None:
    """T40: the identity that the entry names is compared with the key, so it must survive JSON."""
    cache = FileCache(tmp_path / "cache", clock=Now())
    stored = issued(
        at=NOW + timedelta(microseconds=123456), token='SENTINEL-"\\\u00e9-token'.encode("ascii", "replace").decode()
    )
    await cache.store(key, stored)

    assert await cache.load(key) == stored


async def test_the_time_of_the_next_refresh_is_kept(cache: FileCache) -> None:
    """The other processes refresh a little later than the one that fetched the credentials."""
    stored = attrs.evolve(issued(), refresh_after=NOW + timedelta(minutes=50, microseconds=1))
    await cache.store(KEY, stored)

    assert await cache.load(KEY) == stored


@pytest.mark.parametrize("value", [True, "soon", [], {}, ""])
async def test_an_entry_with_an_invalid_time_of_the_next_refresh_is_ignored(
    cache: FileCache, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    await cache.store(KEY, issued())
    document = json.loads(path_of(cache).read_bytes())
    files.write_private(path_of(cache), json.dumps({**document, "RefreshAfter": None}).encode())
    assert await cache.load(KEY) == issued()  # as from another version
    files.write_private(path_of(cache), json.dumps({**document, "RefreshAfter": value}).encode())

    assert await cache.load(KEY) is None
    assert "RefreshAfter is not a time" in warnings_in(caplog)[0]


async def test_other_processes_see_each_store(cache: FileCache, tmp_path: Path, clock: Now) -> None:
    """Nothing is kept in memory, so a second cache of the directory stands for another process."""
    other = FileCache(str(tmp_path / "cache"), clock=clock)
    await cache.store(KEY, issued(token="SENTINEL-first"))
    await other.store(KEY, issued(token="SENTINEL-second"))

    assert await cache.load(KEY) == issued(token="SENTINEL-second")


async def test_the_account_is_kept(cache: FileCache) -> None:
    named = attrs.evolve(issued().credentials, account_id="123456789012")  # type: ignore[misc]
    await cache.store(KEY, CachedCredentials(credentials=named, issued=NOW))
    found = await cache.load(KEY)

    assert found is not None
    assert found.credentials.account_id == "123456789012"


async def test_an_empty_cache_has_nothing_and_says_nothing(cache: FileCache, caplog: pytest.LogCaptureFixture) -> None:
    assert await cache.load(KEY) is None
    assert warnings_in(caplog) == []


async def test_credentials_that_have_expired_are_not_loaded(
    cache: FileCache, clock: Now, caplog: pytest.LogCaptureFixture
) -> None:
    """An expired entry is no fault, so it is not logged."""
    await cache.store(KEY, issued(seconds=60))
    clock.wall += 59
    assert await cache.load(KEY) is not None
    clock.wall += 1

    assert await cache.load(KEY) is None
    assert warnings_in(caplog) == []


@pytest.mark.parametrize(
    "credentials",
    [
        Credentials(access_key_id="AKIA", secret_access_key="SENTINEL-secret"),
        Credentials(access_key_id="AKIA", secret_access_key="SENTINEL-secret", session_token="SENTINEL-token"),
        Credentials(access_key_id="AKIA", secret_access_key="SENTINEL-secret", expiration=NOW),
    ],
    ids=["keys of a user", "no expiration", "no token"],
)
async def test_only_temporary_credentials_are_stored(cache: FileCache, credentials: Credentials) -> None:
    """An entry without an end would be used for ever."""
    await cache.store(KEY, CachedCredentials(credentials=credentials, issued=NOW))

    assert await cache.load(KEY) is None


def test_a_file_cache_is_a_credentials_cache() -> None:
    """For type checkers, and for readers."""
    assert CredentialsCache in FileCache.__mro__


# -- Where it is --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "options", "directory"),
    [
        ({"HOME": "/home/me"}, {}, "/home/me/.cache/sts-async/credentials"),
        ({"HOME": "/home/me", "XDG_CACHE_HOME": "/var/c"}, {}, "/var/c/sts-async/credentials"),
        ({"XDG_CACHE_HOME": "/var/c"}, {}, "/var/c/sts-async/credentials"),
        ({"HOME": "/home/me", "XDG_CACHE_HOME": ""}, {}, "/home/me/.cache/sts-async/credentials"),
        ({"HOME": "/home/me", "XDG_CACHE_HOME": "relative"}, {}, "/home/me/.cache/sts-async/credentials"),
        ({"HOME": "/home/me", "XDG_CACHE_HOME": "/c"}, {"aws_cli_format": True}, "/home/me/.aws/cli/cache"),
        ({"HOME": "/home/me"}, {"directory": "~/here"}, "/home/me/here"),
        ({}, {"directory": Path("/here")}, "/here"),
        ({}, {}, None),
    ],
)
def test_the_directory_follows_the_conventions_of_the_system(
    environ: dict[str, str], options: dict[str, Any], directory: str | None
) -> None:
    """Source: XDG Base Directory Specification; AWS CLI."""
    found = FileCache(environ=environ, **options).directory

    assert found == (None if directory is None else Path(directory))


async def test_by_default_the_environment_of_the_process_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    cache = FileCache(clock=Now())
    await cache.store(KEY, issued())

    assert files_in(tmp_path) == [f".cache/sts-async/credentials/{KEY.digest[:2]}/{KEY.digest}.json"]


def test_windows_has_a_directory_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A drive letter makes no absolute path here, so this test takes one of POSIX."""
    monkeypatch.setattr(sys, "platform", "win32")
    environ = {"LOCALAPPDATA": "/Users/me/AppData/Local", "XDG_CACHE_HOME": "/c"}

    assert FileCache(environ=environ).directory == Path("/Users/me/AppData/Local/sts-async/credentials")


class InBytes(os.PathLike[bytes]):
    def __fspath__(self) -> bytes:
        return b"/x"

    def __repr__(self) -> str:
        return "in bytes"


@pytest.mark.parametrize(
    "options", [{"directory": 5}, {"directory": b"/x"}, {"directory": InBytes()}, {"aws_cli_format": "yes"}], ids=str
)
def test_arguments_of_wrong_types_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        FileCache(**options)

    # A cache whose constructor failed can be shown: a crash reporter does so.
    frame = next(frame for frame, _ in traceback.walk_tb(caught.value.__traceback__) if "self" in frame.f_locals)
    assert repr(frame.f_locals["self"]) == "FileCache()"


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({}, "FileCache()"),
        ({"directory": "/a\n"}, r"FileCache('/a\n')"),
        ({"directory": "/a", "aws_cli_format": True}, "FileCache('/a', aws_cli_format=True)"),
    ],
)
def test_a_cache_is_shown_with_its_directory(options: dict[str, Any], shown: str) -> None:
    assert repr(FileCache(environ={}, **options)) == shown


# -- Modes and owners (T39, T40) ----------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777], ids=oct)
async def test_only_the_owner_can_read_the_files(cache: FileCache, umask: int) -> None:
    """T39: under any umask, and for lock files too."""
    before = os.umask(umask)
    try:
        async with cache.lease(KEY) as has_lease:
            await cache.store(KEY, issued())
    finally:
        os.umask(before)
    assert cache.directory is not None

    assert has_lease
    found = {path.is_dir(): set() for path in cache.directory.rglob("*")}
    for path in [cache.directory, *cache.directory.rglob("*")]:
        found[path.is_dir()].add(oct(mode(path)))
    assert found == {True: {oct(0o700)}, False: {oct(0o600)}}


async def test_a_link_at_the_place_of_an_entry_is_replaced(cache: FileCache, tmp_path: Path) -> None:
    """T39: another user may have planted it to have a file of this user overwritten."""
    target = tmp_path / "target"
    target.write_text("precious")
    path = path_of(cache)
    path.parent.mkdir(parents=True, mode=0o700)
    path.symlink_to(target)
    await cache.store(KEY, issued())

    assert target.read_text() == "precious"
    assert not path.is_symlink()
    assert await cache.load(KEY) == issued()


@pytest.mark.parametrize("permissions", [0o770, 0o707, 0o777], ids=oct)
async def test_a_directory_that_others_may_write_to_is_not_used(
    cache: FileCache, caplog: pytest.LogCaptureFixture, permissions: int
) -> None:
    """T39: the warning says why, once, and the program goes on."""
    await cache.store(KEY, issued())
    assert cache.directory is not None
    cache.directory.chmod(permissions)
    await cache.store(key_of("other"), issued())
    async with cache.lease(KEY) as has_lease:
        assert not has_lease

    assert await cache.load(KEY) is None
    cache.directory.chmod(0o700)
    assert await cache.load(key_of("other")) is None
    assert await cache.load(KEY) == issued()
    (warning,) = warnings_in(caplog)
    assert f"has mode {permissions:04o}: others may write to it" in warning


async def test_a_directory_of_another_user_is_not_used(
    cache: FileCache, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T39, T40."""
    await cache.store(KEY, issued())
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)

    assert await cache.load(KEY) is None
    (warning,) = warnings_in(caplog)
    assert f"belongs to user {owner}, not to user {owner + 1}" in warning


@pytest.mark.parametrize("permissions", [0o620, 0o602, 0o666], ids=oct)
async def test_an_entry_that_others_may_write_to_is_not_used(
    cache: FileCache, caplog: pytest.LogCaptureFixture, permissions: int
) -> None:
    """T40."""
    await cache.store(KEY, issued())
    path_of(cache).chmod(permissions)

    assert await cache.load(KEY) is None
    (warning,) = warnings_in(caplog)
    assert f"{KEY.digest}.json' has mode {permissions:04o}: others may write to it" in warning
    await cache.store(KEY, issued())
    assert await cache.load(KEY) == issued()
    assert mode(path_of(cache)) == 0o600


# -- Entries that must not be used (T40, F37) ---------------------------------------------------------------------


def changed(**changes: Any) -> Callable[[bytes], bytes]:
    """Return a function that changes members of an entry; those of the credentials have a lower-case ``c_`` before."""

    def change(data: bytes) -> bytes:
        document = json.loads(data)
        for name, value in changes.items():
            part, name = (document["Credentials"], name[2:]) if name.startswith("c_") else (document, name)
            if value is None:
                del part[name]
            else:
                part[name] = value
        return json.dumps(document).encode()

    return change


INVALID: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "zeros": lambda data: bytes(len(data)),
    "half": lambda data: data[: len(data) // 2],
    "not UTF-8": lambda data: b"\xff" + data,
    "a list": lambda data: b"[" + data + b"]",
    "null": lambda data: b"null",
    "a name twice": lambda data: data.replace(b'"Version"', b'"Issued": "2026-01-01T00:00:00Z", "Version"'),
    "too many objects": lambda data: b'{"a": [' + b"[]," * 2000 + b"[]]}",
    "no credentials": changed(Credentials=None),
    "credentials of another kind": changed(Credentials="SENTINEL-text"),
    "no secret key": changed(c_SecretAccessKey=None),
    "a key that is no header value": changed(c_SecretAccessKey="SENTINEL-a\nb"),
    "no token": changed(c_SessionToken=None),
    "an empty token": changed(c_SessionToken=""),
    "no expiration": changed(c_Expiration=None),
    "an expiration that is no time": changed(c_Expiration="SENTINEL-soon"),
    "no time of issue": changed(Issued=None),
    "a time of issue that is no time": changed(Issued=[1]),
    "issued after its end": changed(Issued="2026-01-01T01:00:01Z"),
}
VERSIONS: dict[str, Callable[[bytes], bytes]] = {
    "no version": changed(Version=None),
    "a future version": changed(Version=2),
    "a version that is no number": changed(Version="1"),
    "a version that is a flag": changed(Version=True),
    "another schema": lambda data: b'{"accessToken": "SENTINEL-token", "expiresAt": "2030-01-01T00:00:00Z"}',
}
FOREIGN: dict[str, Callable[[bytes], bytes]] = {
    "another operation": changed(Operation="GetSessionToken"),
    "another role": changed(RoleArn="arn:aws:iam::123456789012:role/admin"),
    "another account": changed(Account="210987654321"),
    "another endpoint": changed(Endpoint="https://evil.example/"),
    "another source": changed(Source="AKIAEXAMPLE"),
    "another digest": changed(Digest="0" * 64),
    "no digest": changed(Digest=None),
    "credentials of another account": changed(c_AccountId="210987654321"),
}
KINDS = {"invalid": INVALID, "version": VERSIONS, "mismatch": FOREIGN}
UNUSABLE = [(kind, change) for kind, changes in KINDS.items() for change in changes.values()]


@pytest.mark.parametrize(("kind", "change"), UNUSABLE, ids=[name for changes in KINDS.values() for name in changes])
async def test_an_entry_that_cannot_be_trusted_counts_as_missing_and_is_replaced(
    cache: FileCache, caplog: pytest.LogCaptureFixture, kind: str, change: Callable[[bytes], bytes]
) -> None:
    """F37, T40: with one warning, which shows no part of the entry."""
    await cache.store(KEY, issued())
    path_of(cache).write_bytes(change(path_of(cache).read_bytes()))

    assert [await cache.load(KEY) for _ in range(3)] == [None] * 3
    (warning,) = warnings_in(caplog)
    assert f"{KEY.digest}.json' is ignored until it is replaced: " in warning
    await cache.store(KEY, issued())
    assert await cache.load(KEY) == issued()
    assert {logged for logged, _ in file._LOGGED} == {kind}


async def test_there_is_one_warning_for_each_kind_of_fault(cache: FileCache, caplog: pytest.LogCaptureFixture) -> None:
    """F37: 10,000 entries of another release give one line."""
    for number, (kind, change) in enumerate(UNUSABLE):
        key = key_of(f"{kind}-{number}")
        await cache.store(key, issued())
        path_of(cache, key).write_bytes(change(path_of(cache, key).read_bytes()))
        assert await cache.load(key) is None

    assert len(warnings_in(caplog)) == len(KINDS)


async def test_an_entry_that_was_moved_is_not_used(cache: FileCache) -> None:
    """T40, T42: another user, or a careless one, gives the file of one role the name of another."""
    other = CacheKey(
        request=AssumeRoleRequest(role_arn=f"{ROLE}2", role_session_name="me"), source=KEY.source, endpoint=KEY.endpoint
    )
    await cache.store(other, issued())
    path_of(cache).parent.mkdir(mode=0o700, exist_ok=True)
    path_of(cache, other).rename(path_of(cache))

    assert await cache.load(KEY) is None


async def test_each_truncation_of_an_entry_counts_as_missing(cache: FileCache) -> None:
    """F37: a file system may lose the end of a file when the machine crashes."""
    await cache.store(KEY, issued())
    data = path_of(cache).read_bytes()
    for length in range(0, len(data), 7):
        path_of(cache).write_bytes(data[:length])
        assert await cache.load(KEY) is None

    path_of(cache).write_bytes(data)
    assert await cache.load(KEY) == issued()


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to(path)])
async def test_anything_but_a_file_counts_as_missing(
    cache: FileCache, caplog: pytest.LogCaptureFixture, make: Callable[[Path], None]
) -> None:
    """F37: a FIFO does not block."""
    path = path_of(cache)
    path.parent.mkdir(parents=True, mode=0o700)
    make(path)

    assert await soon(cache.load(KEY)) is None
    assert len(warnings_in(caplog)) == 1


async def test_a_file_of_any_size_is_bounded(cache: FileCache, caplog: pytest.LogCaptureFixture) -> None:
    """F37."""
    await cache.store(KEY, issued())
    with path_of(cache).open("ab") as stream:
        stream.write(b" " * (64 * 1024))

    assert await cache.load(KEY) is None
    assert "is larger than 65,536 bytes" in warnings_in(caplog)[0]


# -- Failures of the file system (F38) ----------------------------------------------------------------------------


def refuse(number: int) -> Callable[..., Any]:
    def fail(*arguments: object, **named: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


STEPS = {
    "creating a directory": (Path, "mkdir"),
    "opening": (os, "open"),
    "syncing": (os, "fsync"),
    "renaming": (Path, "replace"),
    "changing a mode": (os, "fchmod"),
}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO, errno.EMFILE, errno.ESTALE])
@pytest.mark.parametrize("step", STEPS)
async def test_a_failure_of_the_file_system_is_a_warning(
    cache: FileCache, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, step: str, number: int
) -> None:
    """F38: nothing is raised, and no temporary file is left."""
    with monkeypatch.context() as broken:
        broken.setattr(*STEPS[step], refuse(number))
        for _ in range(3):
            async with cache.lease(KEY):
                assert await cache.load(KEY) is None
                await cache.store(KEY, issued())
    assert cache.directory is not None

    assert [name for name in files_in(cache.directory) if not name.startswith(LOCKS)] == []
    warnings = warnings_in(caplog)
    assert 1 <= len(warnings) <= 3  # of reading, writing and locking
    assert all(os.strerror(number) in warning for warning in warnings)
    await cache.store(KEY, issued())
    assert await cache.load(KEY) == issued()


async def test_a_full_disk_leaves_the_old_entry(cache: FileCache, caplog: pytest.LogCaptureFixture) -> None:
    """F38: the system stops the file at 300 bytes, as a full disk does."""
    resource = pytest.importorskip("resource")
    await cache.store(KEY, issued())
    before = files_in(cache.directory or Path())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))
    try:
        await cache.store(KEY, issued(token="SENTINEL-new"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert await cache.load(KEY) == issued()
    assert files_in(cache.directory or Path()) == before
    assert "File too large" in warnings_in(caplog)[0]


async def test_a_cache_that_is_mounted_read_only_is_read(
    cache: FileCache, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F38: an image may contain a cache. Only writes and locks fail."""
    await cache.store(KEY, issued())
    monkeypatch.setattr(files, "write_private", refuse(errno.EROFS))
    monkeypatch.setattr(files, "take_lock", refuse(errno.EROFS))
    async with cache.lease(KEY) as has_lease:
        assert not has_lease
        await cache.store(KEY, issued(token="SENTINEL-new"))

    assert await cache.load(KEY) == issued()
    assert len(warnings_in(caplog)) == 2


@pytest.mark.parametrize("options", [{}, {"directory": "~/x"}, {"aws_cli_format": True}], ids=str)
async def test_without_a_home_directory_there_is_no_cache(
    caplog: pytest.LogCaptureFixture, options: dict[str, Any]
) -> None:
    """F38: some containers have none."""
    cache = FileCache(environ={}, **options)
    await cache.store(KEY, issued())
    async with cache.lease(KEY) as has_lease:
        assert not has_lease

    assert await cache.load(KEY) is None
    (warning,) = warnings_in(caplog)
    assert "is in the home directory, which is not known: HOME is not set" in warning


@pytest.mark.parametrize("name", ["a\0b", "\ud800"], ids=ascii)
async def test_a_directory_that_no_system_has_is_a_warning(caplog: pytest.LogCaptureFixture, name: str) -> None:
    """F38."""
    cache = FileCache(f"/{name}")
    await cache.store(KEY, issued())

    assert await cache.load(KEY) is None
    (warning,) = warnings_in(caplog)
    assert "has characters that no path can have" in warning
    assert warning.isprintable()


async def test_without_threads_there_is_no_cache(
    cache: FileCache, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F38: the limit of processes of a container counts threads too."""

    def submit(*_: object) -> None:
        raise NoThread

    # A lock is then released in the event loop, because no other process may have to wait for this one to end.
    with monkeypatch.context() as broken, Watchdog() as watch:
        async with cache.lease(KEY):
            broken.setattr(Workers, "submit", submit)
            await cache.store(KEY, issued())
            assert await cache.load(KEY) is None

    assert [call.split(" at ")[0] for call in watch.calls] == ["fcntl.flock"]
    assert len([line for line in warnings_in(caplog) if "no thread can be started" in line]) == 1
    with held((cache.directory or Path()) / LOCKS / KEY.digest[:3]):
        pass


async def test_a_file_system_that_hangs_delays_one_call_and_is_then_left_alone(
    cache: FileCache, clock: Now, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F38: an NFS server may be down. Without this rule, each refresh would wait for each of its files."""
    hangs = threading.Event()
    calls: list[object] = []

    def hang(directory: Path) -> None:
        calls.append(directory)
        hangs.wait()

    with monkeypatch.context() as broken:
        broken.setattr(file_reads, "FILE_SECONDS", 0.05)
        broken.setattr(files, "ensure_private_directory", hang)
        try:
            assert await cache.load(KEY) is None
            assert await cache.load(key_of("other")) is None
            await cache.store(KEY, issued())
            async with cache.lease(KEY) as has_lease:
                assert not has_lease
        finally:
            hangs.set()
    await until(lambda: not file._THREADS.running)

    assert len(calls) == 1
    (warning,) = warnings_in(caplog)
    assert "did not answer within 0.05 s" in warning
    clock.later = file.OUT_OF_USE
    await cache.store(KEY, issued())
    assert await cache.load(KEY) == issued()


FAULTY: list[tuple[Any, str]] = [
    (os, "fsync"),
    (Path, "replace"),
    (json, "dumps"),
    (files, "Stamp"),
    (_entries, "read_temporary_credentials"),
    (_entries, "checked_entry"),
    (file, "datetime"),
]
"""Functions that fail while a store or a load has credentials in its frames."""


@pytest.mark.parametrize("reporter", REPORTERS.values(), ids=REPORTERS)
async def test_no_crash_reporter_shows_credentials(
    cache: FileCache, monkeypatch: pytest.MonkeyPatch, reporter: Any
) -> None:
    """G6, T16: a `SystemError` stands for a fault of this library, which is not caught."""
    if not reporter.installed:
        pytest.skip(f"{reporter.package} is not installed: it is in the extra `test`")

    def fail(*_: object, **__: object) -> None:
        raise SystemError

    await cache.store(KEY, issued())
    shown = ""
    for owner, name in FAULTY:
        with monkeypatch.context() as broken:
            broken.setattr(owner, name, fail)
            for call in (cache.store(KEY, issued()), cache.load(KEY)):
                try:
                    await call
                except (SystemError, AttributeError) as error:
                    shown += reporter.show(error)

    assert [f for f in ("write_private", "write_object", "decode", "load") if f not in shown] == []
    assert "SENTINEL" not in shown


# -- Leases -------------------------------------------------------------------------------------------------------


async def test_one_caller_at_a_time_has_the_lease(
    cache: FileCache, tmp_path: Path, clock: Now, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second cache of the directory stands for another process."""
    other = FileCache(tmp_path / "cache", clock=clock)
    order: list[str] = []
    attempts: list[object] = []
    real = files.take_lock

    def take_lock(path: Path) -> Lock | None:
        attempts.append(path)
        return real(path)

    monkeypatch.setattr(files, "take_lock", take_lock)

    async def second() -> None:
        async with other.lease(KEY) as has_lease:
            order.append(f"second {has_lease}")

    async with cache.lease(KEY) as has_lease:
        order.append(f"first {has_lease}")
        task = asyncio.create_task(second())
        await until(lambda: len(attempts) > 3)
        order.append("first ends")
    await soon(task)

    assert order == ["first True", "first ends", "second True"]


async def test_a_lease_that_is_not_to_be_had_in_time_is_done_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """F38: another process may hang while it has the lease."""
    clock = VirtualClock(START)
    cache = FileCache(tmp_path / "cache", clock=clock)
    (tmp_path / "cache").mkdir(mode=0o700)
    with held(tmp_path / "cache" / LOCKS / KEY.digest[:3]):
        async with cache.lease(KEY) as has_lease:
            assert not has_lease
            assert round(clock.time() - START, 3) == 30

    assert "another process has held a lock for 30 s" in warnings_in(caplog)[0]


async def test_a_lease_ends_with_its_block_whatever_happens(cache: FileCache) -> None:
    with pytest.raises(ZeroDivisionError):
        async with cache.lease(KEY):
            raise ZeroDivisionError
    entered = asyncio.Event()

    async def hold() -> None:
        async with cache.lease(KEY):
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hold())
    await soon(entered.wait())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    with held((cache.directory or Path()) / LOCKS / KEY.digest[:3]):
        pass


async def test_a_request_that_cannot_be_sent_is_not_cached(cache: FileCache, caplog: pytest.LogCaptureFixture) -> None:
    """Sending it raises the error. Python writes no integers of thousands of digits."""
    request = AssumeRoleRequest(role_arn=ROLE, role_session_name="me", duration_seconds=10**5000)
    key = CacheKey(request=request, source="", endpoint="")
    async with cache.lease(key) as has_lease:
        await cache.store(key, issued())

    assert not has_lease
    assert await cache.load(key) is None
    assert warnings_in(caplog) == []


async def test_requests_that_the_format_of_the_aws_cli_does_not_have_need_no_lease(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, aws_cli_format=True)
    key = CacheKey(request=GetSessionTokenRequest(), source="AKIA", endpoint=KEY.endpoint)
    async with cache.lease(key) as has_lease:
        await cache.store(key, issued())

    assert not has_lease
    assert await cache.load(key) is None
    assert files_in(tmp_path) == []


# -- Expired entries ----------------------------------------------------------------------------------------------


@pytest.fixture
def one_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put all entries into one subdirectory, so that a few of them show what happens to many."""
    digest = CacheKey.digest.fget  # type: ignore[attr-defined]
    monkeypatch.setattr(CacheKey, "digest", property(lambda key: f"00{digest(key)[2:]}"))


@pytest.mark.usefixtures("one_shard")
async def test_expired_entries_do_not_pile_up(cache: FileCache, clock: Now) -> None:
    """A gateway has new identities all the time, and no program asks for the old ones again."""
    for number in range(400):
        clock.wall += 60
        await cache.store(key_of(str(number)), issued(at=NOW + timedelta(seconds=clock.wall - START), seconds=900))
    assert cache.directory is not None

    # 15 entries are valid at any time, and four times as many look-ups as writes find the others.
    assert 15 <= len(files_in(cache.directory)) < 60


@pytest.mark.usefixtures("one_shard")
async def test_valid_entries_and_other_files_are_not_removed(
    cache: FileCache, clock: Now, caplog: pytest.LogCaptureFixture
) -> None:
    keys = [key_of(str(number)) for number in range(4)]
    for key in keys[:3]:
        await cache.store(key, issued())
    folder = path_of(cache).parent
    (folder / "notes.json").write_text("{}")
    (folder / f"{'0' * 64}.json").write_text("invalid")
    (folder / f"{'1' * 64}.json").mkdir()
    os.utime(folder / f"{'0' * 64}.json", (START, START))
    for _ in range(20):
        await cache.store(keys[3], issued())

    assert [await cache.load(key) for key in keys] == [issued()] * 4
    assert (folder / "notes.json").exists()
    assert (folder / f"{'0' * 64}.json").exists()
    clock.wall += 36 * 3600
    for _ in range(20):
        await cache.store(keys[3], issued(at=NOW + timedelta(hours=36)))
    assert files_in(folder) == [f"{keys[3].digest}.json", "notes.json"]
    assert warnings_in(caplog) == []


def test_a_url_is_no_directory() -> None:
    """T16: the credentials would lie in plain text in a directory of this name, which has the password of Redis."""
    with pytest.raises(ConfigurationError, match="must be a path and not a URL; RedisCache takes a URL") as caught:
        FileCache("redis://:SENTINEL@cache.example:6379/0")
    frame = caught.traceback[-1].frame

    assert frame.code.name == "__init__"
    assert "SENTINEL" not in f"{caught.value!r} {frame.f_locals!r}"
