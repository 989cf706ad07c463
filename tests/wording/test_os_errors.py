"""Errors of the system: what is said of them, and that it is not what they were about."""

import errno
from pathlib import Path

import pytest

from sts_async._runtime.files import UnsuitableFile
from sts_async._wording.os_errors import code_of, reason_of


def failure(path: str) -> OSError:
    with pytest.raises(OSError) as caught:
        Path(path).read_bytes()
    return caught.value


def test_the_reason_is_the_systems_without_the_path() -> None:
    error = failure("/SENTINEL/missing")

    assert (reason_of(error), code_of(error)) == ("No such file or directory", "ENOENT")


@pytest.mark.parametrize(
    ("error", "reason", "code"),
    [
        (UnsuitableFile(errno.EINVAL, "is a FIFO", "/SENTINEL"), "is a FIFO", "EINVAL"),
        (OSError("SENTINEL"), "OSError", "OSError"),
        (OSError(), "OSError", "OSError"),
        (TimeoutError(), "TimeoutError", "TimeoutError"),
        (OSError(99_999, ""), "OSError", "OSError"),
        (OSError(errno.EACCES, ""), "EACCES", "EACCES"),
    ],
    ids=repr,
)
def test_an_error_without_a_reason_is_called_by_its_name(error: OSError, reason: str, code: str) -> None:
    assert (reason_of(error), code_of(error)) == (reason, code)


def test_an_error_without_a_number_has_the_name_of_its_class() -> None:
    """Its text may quote a command: `subprocess` and `open` raise such for what has a null character."""
    assert code_of(ValueError("SENTINEL")) == "ValueError"
