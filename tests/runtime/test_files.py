import contextlib
import errno
import gc
import json
import os
import stat
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from patience import PATIENCE, in_a_thread
from support import held

from sts_async._runtime import files
from sts_async._runtime.files import NotPrivate, Stamp, UnsuitableFile, expand, read, stamp, take_lock, write_private
from sts_async._shape.secret import SecretBytes
from sts_async.errors import ConfigurationError

SENTINEL = b"SENTINEL-e1f7"
NOBODY = 65_534

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="modes, FIFOs and links as POSIX has them")


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """Yield an empty directory. The test runs as another user if this is root, because root ignores modes."""
    with tempfile.TemporaryDirectory() as name:
        root = os.geteuid() == 0
        if root:
            os.chown(name, NOBODY, NOBODY)
            os.seteuid(NOBODY)
        try:
            yield Path(name)
        finally:
            if root:
                os.seteuid(0)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


# Where a file is.


@pytest.mark.parametrize(
    ("path", "environ", "expanded"),
    [
        ("~/.aws/config", {"HOME": "/home/me"}, "/home/me/.aws/config"),
        ("~/x", {"HOME": "/home/me", "USERPROFILE": "/users/me"}, "/home/me/x"),
        ("~", {"HOME": "/home/me"}, "~"),
        ("~you/x", {"HOME": "/home/me"}, "~you/x"),
        ("/a/~/x", {"HOME": "/home/me"}, "/a/~/x"),
        ("$HOME/%HOME%/x", {"HOME": "/home/me"}, "$HOME/%HOME%/x"),
        ("/etc/x", {}, "/etc/x"),
        ("x", {}, "x"),
    ],
)
def test_only_a_leading_tilde_is_expanded(path: str, environ: dict[str, str], expanded: str) -> None:
    """Source: AWS SDKs Reference Guide, "Location of the shared files"."""
    assert expand(path, environ) == Path(expanded)


@pytest.mark.parametrize(
    ("environ", "expanded"),
    [
        ({"HOME": "/home/me", "USERPROFILE": "/users/me"}, "/home/me/x"),
        ({"HOME": " ", "USERPROFILE": "/users/me", "HOMEDRIVE": "/c", "HOMEPATH": "/me"}, "/users/me/x"),
        ({"HOMEDRIVE": "/c", "HOMEPATH": "/me"}, "/c/me/x"),
    ],
)
def test_windows_has_more_variables_for_the_home_directory(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], expanded: str
) -> None:
    monkeypatch.setattr(files, "_WINDOWS", True)

    assert expand("~/x", environ) == Path(expanded)


@pytest.mark.parametrize("environ", [{}, {"HOME": ""}, {"HOME": " "}, {"USERPROFILE": "/users/me"}])
def test_a_missing_home_directory_is_an_error_that_names_the_variable(environ: dict[str, str]) -> None:
    """F38: some containers have no home directory."""
    with pytest.raises(ConfigurationError, match="'~/x' is in the home directory, which is not known: HOME is not set"):
        expand("~/x", environ)


def test_an_error_about_the_home_directory_shows_no_other_variable() -> None:
    """T16, T45: the environment is a local variable of `expand`, and the path may come from it."""
    with pytest.raises(ConfigurationError, match=r"'~/\\x1b\[2J' is in the home directory") as caught:
        expand("~/\x1b[2J", {"AWS_SECRET_ACCESS_KEY": "SENTINEL"})

    frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True).stack
    assert "SENTINEL" not in repr(frames[-1].locals)


def test_on_windows_the_error_names_all_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_WINDOWS", True)

    with pytest.raises(ConfigurationError, match="HOME, USERPROFILE, HOMEDRIVE and HOMEPATH are not set"):
        expand("~/x", {"HOMEDRIVE": " "})


# Reading.


@given(st.binary(max_size=200_000))
def test_what_was_written_is_read(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "written"
    write_private(path, data)
    content, seen = read(path)

    assert content == data
    assert type(content) is SecretBytes
    assert seen == stamp(path)


def test_links_are_followed(tmp_path: Path) -> None:
    """T38: Kubernetes mounts a secret as a link to a link."""
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "token").write_bytes(b"x")
    (tmp_path / "token").symlink_to(tmp_path / "..data" / "token")
    (tmp_path / "again").symlink_to("token")

    assert read(tmp_path / "again") == (b"x", stamp(tmp_path / "..data" / "token"))
    assert read(str(tmp_path / "token"))[0] == b"x"


def test_a_file_without_a_size_is_read(tmp_path: Path) -> None:
    """Files of /proc are regular, and report a size of 0 bytes."""
    if not Path("/proc/self/status").exists():
        pytest.skip("no /proc")

    assert read("/proc/self/status")[0].startswith(b"Name:")


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_loop(path: Path) -> None:
    path.symlink_to(path)


def make_dangling(path: Path) -> None:
    path.symlink_to(path.with_name("missing"))


@pytest.mark.parametrize(
    ("make", "error", "reason"),
    [
        (make_fifo, UnsuitableFile, "is a FIFO, not a regular file"),
        (make_device, UnsuitableFile, "is a device, not a regular file"),
        (Path.mkdir, UnsuitableFile, "is a directory, not a regular file"),
        (make_dangling, FileNotFoundError, "No such file"),
        (make_loop, OSError, "symbolic link"),
        (lambda path: None, FileNotFoundError, "No such file"),
    ],
    ids=["FIFO", "device", "directory", "dangling link", "link to itself", "missing"],
)
def test_anything_but_a_regular_file_is_refused_at_once(
    tmp_path: Path, make: Callable[[Path], None], error: type[OSError], reason: str
) -> None:
    """T38: a FIFO would block for ever, and /dev/zero has no end."""
    path = tmp_path / "file"
    make(path)
    with pytest.raises(error, match=reason) as caught:
        in_a_thread(read, path)

    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["a\0b", "\udfff", "a\0b/c", "\ud800/c"], ids=ascii)
@pytest.mark.parametrize("kind", [str, Path])
def test_characters_that_no_path_can_have_are_an_unsuitable_file(
    tmp_path: Path, kind: Callable[[str], str | Path], name: str
) -> None:
    """T38: the system's own errors would be a ValueError and a UnicodeEncodeError."""
    path = kind(f"{tmp_path}/{name}")
    for attempt in (read, stamp, take_lock, lambda path: write_private(path, b"SENTINEL")):
        with pytest.raises(UnsuitableFile, match="has characters that no path can have") as caught:
            attempt(path)

        assert str(caught.value).isprintable()
    assert names(tmp_path) == []


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    """A process reads files as long as it lives, so a leak would grow."""
    if not Path("/proc/self/fd").exists():
        pytest.skip("no /proc")
    before = len(names(Path("/proc/self/fd")))
    for attempt in (lambda: read(tmp_path), lambda: read("/dev/zero"), lambda: write_private(tmp_path, b"")):
        with pytest.raises(OSError):
            attempt()
    with held(tmp_path / "x"):
        assert take_lock(tmp_path / "x") is None

    assert len(names(Path("/proc/self/fd"))) == before


@pytest.mark.parametrize(("size", "fits"), [(99, True), (100, True), (101, False), (200_000, False)])
def test_a_file_is_read_up_to_the_size_limit(tmp_path: Path, size: int, fits: bool) -> None:
    """T37."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * size)

    if fits:
        assert len(read(path, max_bytes=100)[0]) == size
    else:
        with pytest.raises(UnsuitableFile, match="larger than 100 bytes") as caught:
            read(path, max_bytes=100)
        assert caught.value.filename == str(path)
        assert caught.value.errno == errno.EFBIG


def test_the_size_limit_holds_for_a_file_that_reports_size_zero() -> None:
    """T37: the reported size may be wrong, and a file may grow while it is read."""
    if not Path("/proc/self/status").exists():
        pytest.skip("no /proc")

    with pytest.raises(UnsuitableFile, match="larger than 10 bytes"):
        read("/proc/self/status", max_bytes=10)


def test_the_default_size_limit_is_one_mebibyte(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * (1 << 20))
    assert len(read(path)[0]) == 1 << 20

    path.write_bytes(b"x" * ((1 << 20) + 1))
    with pytest.raises(UnsuitableFile, match="1,048,576 bytes"):
        read(path)


@pytest.mark.parametrize("permissions", [0o620, 0o602, 0o666])
def test_a_private_file_is_refused_when_others_may_write_it(tmp_path: Path, permissions: int) -> None:
    """T40: another user could insert credentials."""
    path = tmp_path / "file"
    path.write_bytes(b"x")
    path.chmod(permissions)

    assert read(path)[0] == b"x"
    with pytest.raises(UnsuitableFile, match=f"mode {permissions:04o}: others may write"):
        read(path, private=True)


@pytest.mark.parametrize("permissions", [0o640, 0o604, 0o444])
def test_a_secret_file_is_refused_when_others_may_read_it(tmp_path: Path, permissions: int) -> None:
    """T39: a private file may be readable, such as a certificate; a key may not."""
    path = tmp_path / "file"
    path.write_bytes(b"x")
    path.chmod(permissions)

    assert read(path, private=True)[0] == b"x"
    with pytest.raises(NotPrivate, match=f"mode {permissions:04o}: others may read it"):
        read(path, secret=True)
    path.chmod(0o600)
    assert read(path, secret=True)[0] == b"x"


def test_a_private_file_is_refused_when_another_user_owns_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """T40."""
    path = tmp_path / "file"
    write_private(path, b"x")
    assert read(path, private=True)[0] == b"x"

    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    assert read(path)[0] == b"x"
    with pytest.raises(UnsuitableFile, match="belongs to user"):
        read(path, private=True)


def test_a_file_without_read_permission_is_a_permission_error(unprivileged: Path) -> None:
    path = unprivileged / "file"
    path.write_bytes(b"x")
    path.chmod(0)

    with pytest.raises(PermissionError, match="file"):
        read(path)


def test_a_stamp_shows_every_change(tmp_path: Path) -> None:
    """Users rotate keys under a running process and expect the new ones to be used."""
    path = tmp_path / "file"
    assert stamp(path) is None
    write_private(path, b"x")
    first = stamp(path)

    assert first == stamp(str(path)) == read(path)[1]
    assert type(first) is Stamp
    write_private(path, b"x")  # the same content: still another file
    assert stamp(path) != first
    path.unlink()
    make_dangling(path)
    assert stamp(path) is None


# Writing.


@pytest.mark.parametrize("mask", [0, 0o022, 0o077, 0o777])
def test_only_the_owner_can_read_a_written_file(tmp_path: Path, mask: int) -> None:
    """T39: this holds for every umask, for the file and for each new directory."""
    path = tmp_path / "a" / "b" / "file"
    with umask(mask):
        write_private(path, b"1")
        with held(path):
            write_private(path, b"2")

    assert path.read_bytes() == b"2"
    assert [mode(place) for place in (path, path.with_name("file.lock"), path.parent, path.parent.parent)] == [
        0o600,
        0o600,
        0o700,
        0o700,
    ]
    assert names(path.parent) == ["file", "file.lock"]


def test_writing_replaces_a_readable_file_by_a_private_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"1")
    path.chmod(0o666)
    write_private(path, b"2")

    assert mode(path) == 0o600


def test_a_planted_link_is_replaced_not_followed(tmp_path: Path) -> None:
    """T39: following it would overwrite another file."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"1")
    path = tmp_path / "file"
    path.symlink_to(victim)
    write_private(path, b"2")

    assert victim.read_bytes() == b"1"
    assert not path.is_symlink()
    assert path.read_bytes() == b"2"


def test_a_planted_link_is_not_locked(tmp_path: Path) -> None:
    """T39: opening it would create a file elsewhere."""
    (tmp_path / "file.lock").symlink_to(tmp_path / "victim")

    with pytest.raises(OSError):
        take_lock(tmp_path / "file")
    assert not (tmp_path / "victim").exists()


@pytest.mark.parametrize("permissions", [0o770, 0o707, 0o1777])
def test_a_directory_that_others_may_write_to_is_refused(tmp_path: Path, permissions: int) -> None:
    """T39: other users could replace the file at any time."""
    directory = tmp_path / "shared"
    directory.mkdir()
    directory.chmod(permissions)

    with pytest.raises(UnsuitableFile, match=f"mode {permissions:04o}: others may write.*shared"):
        write_private(directory / "file", b"x")
    with pytest.raises(UnsuitableFile):
        take_lock(directory / "file")
    assert names(directory) == []


def test_a_directory_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """T39."""
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)

    with pytest.raises(UnsuitableFile, match="belongs to user"):
        write_private(tmp_path / "file", b"x")
    assert names(tmp_path) == []


def test_a_directory_that_others_may_read_is_used(tmp_path: Path) -> None:
    """``~/.aws`` usually has this mode, and it is not changed."""
    tmp_path.chmod(0o755)
    write_private(tmp_path / "file", b"x")

    assert mode(tmp_path) == 0o755


def test_a_file_in_the_place_of_the_directory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")

    with pytest.raises(NotADirectoryError, match="file"):
        write_private(tmp_path / "file" / "below", b"x")


def test_a_directory_that_another_process_creates_first_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F39: at the first start, several processes find the directory missing."""
    real = Path.mkdir

    def second(self: Path, mode: int = 0o777) -> None:
        real(self, mode)
        real(self, mode)

    monkeypatch.setattr(Path, "mkdir", second)
    write_private(tmp_path / "a" / "file", b"x")

    assert (tmp_path / "a" / "file").read_bytes() == b"x"


def test_a_read_only_directory_is_a_permission_error(unprivileged: Path) -> None:
    """F38."""
    unprivileged.chmod(0o500)

    for attempt in (unprivileged / "file", unprivileged / "a" / "file"):
        with pytest.raises(PermissionError):
            write_private(attempt, b"x")
        with pytest.raises(PermissionError):
            take_lock(attempt)
    unprivileged.chmod(0o700)
    assert names(unprivileged) == []


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    """F38, T39: as on a full disk. The system stops the file at 100,000 bytes."""
    resource = pytest.importorskip("resource")
    path = tmp_path / "file"
    write_private(path, b"before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OSError) as caught:
            write_private(path, b"x" * 300_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert caught.value.errno == errno.EFBIG
    assert path.read_bytes() == b"before"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
@pytest.mark.parametrize(("owner", "function"), [(os, "fsync"), (Path, "replace")])
def test_a_failed_write_removes_its_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, owner: object, function: str
) -> None:
    """T39: the temporary file holds a secret. The error shows no part of it."""

    def fail(*args: object) -> None:
        raise error

    monkeypatch.setattr(owner, function, fail)
    with pytest.raises(type(error)) as caught:
        write_private(tmp_path / "file", bytes(SENTINEL))
    monkeypatch.undo()
    own = caught.value.__traceback__.tb_next  # type: ignore[union-attr]

    assert names(tmp_path) == []
    shown = "".join(traceback.TracebackException(type(error), error, own, capture_locals=True).format())
    assert "in write_private" in shown
    assert SENTINEL.decode() not in shown


def test_a_directory_at_the_target_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()

    with pytest.raises(OSError):
        write_private(tmp_path / "file", b"x")
    assert names(tmp_path) == ["file"]


# Concurrency and locks.


@pytest.mark.slow
def test_a_reader_never_sees_a_mixture_of_two_versions(tmp_path: Path) -> None:
    """F36: 10,000 reads while another thread keeps replacing the file."""
    path = tmp_path / "file"
    write_private(path, b"a" * 10_000)
    done = threading.Event()

    def replace() -> None:
        turn = 0
        while not done.is_set():
            turn += 1
            write_private(path, bytes([97 + turn % 26]) * (10_000 + turn % 26))

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        seen = {(len(data), mark.size, mark, *set(data)) for data, mark in (read(path) for _ in range(10_000))}
    finally:
        done.set()
        writer.join()

    whole = {(10_000 + turn, 10_000 + turn, 97 + turn) for turn in range(26)}
    assert {(length, size, *letters) for length, size, _, *letters in seen} <= whole
    assert len(seen) > 2


COUNT = """
import json, sys, time
from sts_async._runtime.files import read, take_lock, write_private
path, who = sys.argv[1:]
for _ in range(50):
    while (lock := take_lock(path)) is None:
        time.sleep(0.001)
    with lock:
        counts = json.loads(read(path)[0])
        counts[who] = counts.get(who, 0) + 1
        write_private(path, json.dumps(counts).encode())
"""


@pytest.mark.slow
def test_no_change_under_the_lock_is_lost(tmp_path: Path) -> None:
    """F39: eight processes change one file 50 times each. A lost refresh token would require a new login."""
    path = tmp_path / "counts"
    write_private(path, b"{}")
    processes = [subprocess.Popen([sys.executable, "-c", COUNT, str(path), str(who)]) for who in range(8)]
    codes = [process.wait(PATIENCE) for process in processes]

    assert codes == [0] * 8
    assert json.loads(path.read_bytes()) == {str(who): 50 for who in range(8)}
    assert names(tmp_path) == ["counts", "counts.lock"]


def test_a_lock_that_is_held_cannot_be_taken(tmp_path: Path) -> None:
    """This holds between threads as well, and the call does not wait. Other files have other locks."""
    with held(tmp_path / "x"):
        assert take_lock(tmp_path / "x") is None
        with held(tmp_path / "y"):
            pass
    with held(tmp_path / "x"):
        pass


def test_a_lock_is_released_when_its_block_raises(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), held(tmp_path / "x"):
        raise ZeroDivisionError

    with held(tmp_path / "x"):
        pass


def test_releasing_a_lock_twice_does_not_release_the_next_one(tmp_path: Path) -> None:
    """The number of its descriptor may already belong to another file."""
    first = held(tmp_path / "x")
    first.release()
    with held(tmp_path / "x"):
        first.release()

        assert take_lock(tmp_path / "x") is None


def test_a_lock_that_is_garbage_collected_is_released(tmp_path: Path) -> None:
    """A caller that asked a thread for the lock may be cancelled before it receives the lock."""
    lock = held(tmp_path / "x")
    del lock
    gc.collect()

    with held(tmp_path / "x"):
        pass


def test_a_lock_that_cannot_be_taken_leaves_nothing_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network file systems have no locks."""
    if not Path("/proc/self/fd").exists():
        pytest.skip("no /proc")

    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(files, "_lock", refuse)
    before = len(names(Path("/proc/self/fd")))
    with pytest.raises(OSError, match="No locks available"):
        take_lock(tmp_path / "x")

    assert len(names(Path("/proc/self/fd"))) == before


def test_a_lock_is_released_when_its_process_dies(tmp_path: Path) -> None:
    """A killed process must not keep the others from refreshing."""
    script = (
        f"from sts_async._runtime.files import take_lock\n"
        f"lock = take_lock({str(tmp_path / 'x')!r})\n"
        f"print(1, flush=True)\n"
        f"input()"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline()
    assert take_lock(tmp_path / "x") is None
    process.kill()
    process.communicate()

    with held(tmp_path / "x"):
        pass


def test_a_lock_is_released_although_a_child_has_a_copy_of_its_descriptor(tmp_path: Path) -> None:
    """Closing the parent's descriptor alone would leave the lock with the child."""
    if not Path("/proc/self/fd").exists():
        pytest.skip("no /proc")
    with held(tmp_path / "x"):
        script = "import sys; sys.stdin.read()"
        open_here = [int(link.name) for link in Path("/proc/self/fd").iterdir() if link.resolve().name == "x.lock"]
        child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, pass_fds=open_here)
    try:
        with held(tmp_path / "x"):
            pass
    finally:
        child.communicate()


CHILDREN = """
import gc, os, sys, time
from sts_async._runtime.files import take_lock

path, way = sys.argv[1:]
with take_lock(path) as lock:
    pid = os.fork()
    if not pid:
        if way == "release":
            lock.release()
        elif way == "garbage":
            del lock
            gc.collect()
        elif way == "exit":
            sys.exit(0)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    print(take_lock(path) is None)
print(take_lock(path) is not None)
"""


@pytest.mark.parametrize("way", ["release", "garbage", "exit", "_exit"])
def test_a_forked_child_does_not_release_the_lock_of_its_parent(tmp_path: Path, way: str) -> None:
    """G13: copies of a descriptor share its lock, so unlocking a copy would unlock the parent's file."""
    done = subprocess.run([sys.executable, "-c", CHILDREN, str(tmp_path / "x"), way], capture_output=True, text=True)

    assert (done.returncode, done.stdout, done.stderr) == (0, "True\nTrue\n", "")


ORPHAN = """
import os, sys
from sts_async._runtime.files import take_lock

lock = take_lock(sys.argv[1])
if os.fork():
    os._exit(0)
print(1, flush=True)
sys.stdin.read()
"""


def test_a_forked_child_does_not_hold_the_lock_of_a_parent_that_has_ended(tmp_path: Path) -> None:
    """G13: otherwise a worker that lives longer would keep all other processes from refreshing."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", ORPHAN, str(tmp_path / "x")], stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        assert process.wait(PATIENCE) == 0
        with held(tmp_path / "x"):
            pass
        process.communicate()


# Temporary files of killed processes.

HALTED = """
import os, sys
from sts_async._runtime import files

def halt(descriptor):
    print(1, flush=True)
    sys.stdin.readline()

os.fsync = halt
files.write_private(sys.argv[1], b"SENTINEL-halted")
"""


def halted(path: Path) -> "subprocess.Popen[bytes]":
    """Return a process that has stopped while it writes a file, before the rename."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", HALTED, str(path)], stdin=pipe, stdout=pipe)
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


def temporaries(directory: Path) -> list[Path]:
    return [path for path in directory.iterdir() if path.name.startswith(".sts-async-")]


def test_the_next_write_removes_the_temporary_file_of_a_killed_writer(tmp_path: Path) -> None:
    """G13: the temporary file holds a token, and nothing else removes it."""
    process = halted(tmp_path / "file")
    process.kill()
    process.communicate()
    (left,) = temporaries(tmp_path)
    assert left.read_bytes() == b"SENTINEL-halted"

    write_private(tmp_path / "other", b"x")

    assert names(tmp_path) == ["other"]


def test_the_temporary_file_of_a_living_writer_is_not_removed(tmp_path: Path) -> None:
    """G13: this holds even if the file looks old."""
    process = halted(tmp_path / "file")
    (writing,) = temporaries(tmp_path)
    os.utime(writing, (0, 0))
    write_private(tmp_path / "other", b"x")
    process.communicate(b"go on\n" * 2)

    assert process.returncode == 0
    assert names(tmp_path) == ["file", "other"]


def test_only_our_own_temporary_files_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """G13: name, kind, owner and directory must match."""
    others = {".sts-async-abcdefg.tmp", ".sts-async-abcdefgh.txt", "sts-async-abcdefgh.tmp", ".sts-async-ABCDEFGH.tmp"}
    for name in others:
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / ".sts-async-abcdefgh.tmp").write_bytes(b"x")
    (tmp_path / ".sts-async-00000001.tmp").symlink_to(tmp_path / "below")
    (tmp_path / ".sts-async-00000002.tmp").mkdir()
    make_fifo(tmp_path / ".sts-async-00000003.tmp")
    before = names(tmp_path)
    write_private(tmp_path / "file", b"x")

    assert names(tmp_path) == sorted([*before, "file"])
    assert (tmp_path / "below" / ".sts-async-abcdefgh.tmp").exists()

    (tmp_path / ".sts-async-00000004.tmp").write_bytes(b"x")
    real = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: real + 1)
    files._sweep(tmp_path)
    assert (tmp_path / ".sts-async-00000004.tmp").exists()

    monkeypatch.setattr(os, "geteuid", lambda: real)
    files._sweep(tmp_path)
    assert not (tmp_path / ".sts-async-00000004.tmp").exists()


@pytest.mark.parametrize(("age", "left"), [(540.0, True), (660.0, False)])
def test_without_locks_the_age_of_a_temporary_file_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, age: float, left: bool
) -> None:
    """G13: some network file systems have no locks."""

    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(files, "_lock", refuse)
    leftover = tmp_path / ".sts-async-abcdefgh.tmp"
    leftover.write_bytes(b"x")
    now = time.time()
    os.utime(leftover, (now - age, now - age))
    write_private(tmp_path / "file", b"x")

    assert names(tmp_path) == ([leftover.name] if left else []) + ["file"]


def test_a_temporary_file_that_is_removed_before_it_is_locked_is_created_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G13: before the file is locked, another process may treat it as abandoned."""
    real, turns = files._lock, iter(["swept", "being swept", "ours"])

    def lock(descriptor: int) -> None:
        match next(turns):
            case "swept":
                (path,) = temporaries(tmp_path)
                path.unlink()
                real(descriptor)
            case "being swept":
                (path,) = temporaries(tmp_path)
                path.unlink()
                raise BlockingIOError
            case _:
                real(descriptor)

    monkeypatch.setattr(files, "_lock", lock)
    write_private(tmp_path / "file", b"x")

    assert (tmp_path / "file").read_bytes() == b"x"
    assert names(tmp_path) == ["file"]


def test_the_directory_is_synced_after_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """G13: otherwise the used refresh token could reappear after a crash of the machine."""
    seen: list[tuple[str, list[str]]] = []

    def sync(descriptor: int) -> None:
        kind = "directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        seen.append((kind, [name for name in names(tmp_path) if name == "file"]))

    monkeypatch.setattr(os, "fsync", sync)
    write_private(tmp_path / "file", b"x")

    assert seen == [("file", []), ("directory", ["file"])]


def test_a_directory_that_cannot_be_synced_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """G13: some file systems cannot sync directories, and the file has already been renamed."""

    def sync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", sync)
    write_private(tmp_path / "file", b"x")

    assert names(tmp_path) == ["file"]
