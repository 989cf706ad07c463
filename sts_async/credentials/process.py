"""
Credentials that a process writes to its standard output.

Source: AWS SDKs and Tools Reference Guide, "Process credential provider".
"""

import signal

from .. import _process
from .._core import freshness
from .._core.checks import check_seconds
from .._core.documents import MOST_BYTES, Names, read_credentials, read_object
from .._core.secret import Secret, SecretBytes, conceal
from .._seams import Lender
from ..errors import ConfigurationError, CredentialsError
from ..shapes import Credentials
from ._account import check_account_id, in_account
from .cache import RefreshingProvider

MOST_CHARACTERS = 32_767  # of a command. Source: CreateProcess of Windows; a longer one takes long to split
SECONDS = 60.0  # s for the whole process

NAMES = Names(session_token="SessionToken", temporary=False)  # noqa: S106 - the name of a member


class ProcessProvider(RefreshingProvider):
    """
    Provide what a process writes: a JSON object with Version 1, AccessKeyId, SecretAccessKey, and SessionToken,
    Expiration and AccountId where there are some. Without Expiration, it is run once.

    The command is split into words as a POSIX shell does it, and run without a shell, found in ``PATH``, in a session
    of its own, without standard input. It has *seconds*; then, and when it writes more than 64 KiB, or the client is
    closed, it is killed with all that it began. What it began and left behind is killed when it holds on to the
    output. On Windows the command is not split, but passed on as it is; only the process itself can be killed; and
    too large an output is found out only at its end.

    At most 16 such processes of this program run at once. Others are queued, first in, first out, and the wait in the
    queue does not count as time of the process. A process inherits the whole environment of this one, as with every
    other SDK: keys in ``AWS_SECRET_ACCESS_KEY`` and secrets of other programs included.

    Args:
        command: The command, up to 32,767 characters. Never shown, for it may hold passwords.
        name: What messages call it.
        seconds: How long it may take once it has begun, in seconds.
        account_id: The account of the credentials, 12 digits, where the process writes no AccountId.

    Raises:
        ConfigurationError: The command is too long, has a NUL, or is no text; or *account_id* is not 12 digits.

    Attributes:
        name: What messages call it.
        stderr: What it last wrote to standard error, the first 4 KiB. Never shown, for it may hold secrets.
    """

    schedule = freshness.CACHED
    fetch_seconds = None  # the process has a bound of its own, and may have to wait for its turn

    def __init__(
        self,
        command: str,
        *,
        name: str = "credential_process",
        seconds: float = SECONDS,
        account_id: str | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.stderr = SecretBytes()
        check_seconds("seconds", seconds)
        check_account_id(account_id)
        self._account_id = account_id
        self._seconds = seconds
        command = conceal(command)  # the frames of the errors below have it
        if not isinstance(command, Secret) or len(command) > MOST_CHARACTERS or "\0" in command:
            raise ConfigurationError(
                f"{name}: a command must be text without NUL, of up to {MOST_CHARACTERS:,} characters"
            )
        self._command = command

    async def fetch(self, lender: Lender) -> Credentials:
        """
        Run the process and return its credentials.

        Raises:
            ConfigurationError: The command is empty, or a quotation in it does not end.
            CredentialsError: The process cannot be run, fails, takes too long, or writes something else.
        """
        return self._read(await _process.run(self._command, seconds=self._seconds, most=MOST_BYTES))

    def _read(self, ended: _process.Outcome) -> Credentials:
        if isinstance(ended, _process.NoCommand):
            raise ConfigurationError(f"{self.name}: the command is empty, or a quotation in it does not end")
        if isinstance(ended, _process.NotRun):
            raise CredentialsError(f"{self.name}: the program cannot be run ({ended.reason})")
        self.stderr = ended.stderr
        if ended.fault == "slow":
            raise CredentialsError(f"{self.name}: not done within {self._seconds:g} s")
        if ended.fault == "large":
            raise CredentialsError(f"{self.name}: wrote more than {MOST_BYTES:,} bytes")
        if ended.returncode:
            raise CredentialsError(f"{self.name}: {_failure(ended.returncode)}")
        if ended.returncode is None:
            raise CredentialsError(
                f"{self.name}: whether it succeeded is not known: SIGCHLD is ignored, or it still runs"
            )
        document = read_object(ended.stdout, what=f"{self.name}: the output")
        if type(document.get("Version")) is not int or document["Version"] != 1:
            raise CredentialsError(f"{self.name}: the output has a Version other than 1, or none")
        found = read_credentials(document, NAMES, what=f"{self.name}: the output")
        return in_account(found, self._account_id)

    def __repr__(self) -> str:
        return f"ProcessProvider({getattr(self, 'name', None)!r})"


def _failure(returncode: int) -> str:
    if returncode > 0:
        return f"ended with exit code {returncode}"
    try:
        return f"ended by signal {signal.Signals(-returncode).name}"
    except ValueError:
        return f"ended by signal {-returncode}"
