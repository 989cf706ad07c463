"""
Credentials that a process writes to its standard output.

Source: AWS SDKs and Tools Reference Guide, "Process credential provider".
"""

import os
import re
import signal

from .. import _process
from .._core import freshness
from .._core.checks import check_flag, check_seconds
from .._core.documents import MOST_BYTES, Names, read_credentials, read_object
from .._core.options import SHOW_PROCESS_STDERR, flag
from .._core.redaction import Redaction
from .._core.secret import HiddenMapping, Secret, SecretBytes, conceal
from .._core.sections import with_remark
from .._core.wording import setting
from .._seams import Lender
from ..errors import ConfigurationError, CredentialsError
from ..shapes import Credentials
from ._account import check_account_id, in_account
from .cache import RefreshingProvider

MOST_CHARACTERS = 32_767  # of a command. Source: CreateProcess of Windows; a longer one takes long to split
SECONDS = 60.0  # s for the whole process
MOST_LINES = 5  # of standard error in an error
MOST_SHOWN = 1_000  # characters of them
LONG_ARGUMENT = 8  # characters of an argument that may be a secret
# Variables that a process inherits, and may repeat. Those that end otherwise are paths and names.
SECRET_VARIABLES = r"(?:SECRET|TOKEN|PASSWORD|PASSWD|KEY|KEY_ID|CREDENTIALS?)$"  # noqa: S105 - of their names

NAMES = Names(session_token="SessionToken", temporary=False)  # noqa: S106 - the name of a member


class ProcessProvider(RefreshingProvider):
    """
    Provide the credentials that a process writes: a JSON object with Version 1, AccessKeyId and SecretAccessKey, and
    optionally SessionToken, Expiration and AccountId. Without Expiration, the process is run once.

    The command is split into words as by a POSIX shell. It is found in ``PATH`` and run without a shell, in a session
    of its own, without standard input. After *seconds*, after 64 KiB of output, or when the client is closed, it is
    killed with all processes that it started. Processes that it left behind are killed if they keep its output open.
    On Windows, the command is passed on unsplit, only the process itself can be killed, and an output that is too large
    is noticed only at its end.

    At most 16 such processes of this program run at once. Others are queued, first in, first out, and the wait in the
    queue does not count as time of the process. A process inherits the whole environment of this one, as with every
    other SDK: keys in ``AWS_SECRET_ACCESS_KEY`` and secrets of other programs included.

    Args:
        command: The command, up to 32,767 characters. Never shown, for it may hold passwords.
        name: Name of the source in messages.
        seconds: Time limit in seconds, from the start of the process.
        show_process_stderr: Whether an error ends with the last lines that the process wrote to standard error, at
            most 5 lines and 1,000 characters. None follows ``STS_ASYNC_SHOW_PROCESS_STDERR``, whose default is
            false. Its output, long arguments of the command, and variables with names such as ``API_TOKEN`` are
            replaced by ``***`` there. Other secrets are shown.
        account_id: The account of the credentials, 12 digits, where the process writes no AccountId.

    Raises:
        ConfigurationError: The command is too long, has a NUL, or is not text; or *account_id* is not 12 digits.

    Attributes:
        name: Name of the source in messages.
        remark: The end of its errors: a remark about the command as it stands in a file.
        stderr: The last 4 KiB that it wrote to standard error. Never in a ``repr``, because it may hold secrets.
    """

    schedule = freshness.CACHED
    depends_on_client = False
    fetch_seconds = None  # the process has a bound of its own, and may have to wait for its turn

    def __init__(
        self,
        command: str,
        *,
        name: str = "credential_process",
        seconds: float = SECONDS,
        show_process_stderr: bool | None = None,
        account_id: str | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.stderr = SecretBytes()
        check_seconds("seconds", seconds)
        check_account_id(account_id)
        self._account_id = account_id
        self._seconds = seconds
        if show_process_stderr is not None:
            check_flag("show_process_stderr", show_process_stderr)
        self._show_stderr = show_process_stderr
        self.remark = ""
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
            ConfigurationError: The command is empty, a quotation in it does not end, or
                ``STS_ASYNC_SHOW_PROCESS_STDERR`` is neither true nor false.
            CredentialsError: The process cannot be run, fails, takes too long, or writes something else.
        """
        shows = flag(SHOW_PROCESS_STDERR, HiddenMapping(os.environ), given=self._show_stderr)
        ended = await _process.run(self._command, seconds=self._seconds, most=MOST_BYTES)
        if isinstance(ended, _process.NoCommand):
            raise ConfigurationError(self._text("the command is empty, or a quotation in it does not end"))
        if isinstance(ended, _process.NotRun):
            raise CredentialsError(self._text(f"the program cannot be run ({ended.reason})"))
        self.stderr = ended.stderr
        try:
            return self._read(ended)
        except CredentialsError as error:
            problem = str(error)
        if self.stderr.strip():
            problem += self._reason(ended) if shows else f"; {_advice()}"
        raise CredentialsError(with_remark(problem, self.remark))

    def _text(self, problem: str) -> str:
        return with_remark(f"{self.name}: {problem}", self.remark)

    def _read(self, ended: _process.Ended) -> Credentials:
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

    def _reason(self, ended: _process.Ended) -> str:
        """Return the last lines of standard error, as an error has them."""
        secrets = [Secret(SecretBytes(ended.stdout.strip()).decode("utf-8", "replace"))]
        secrets += arguments_of(self._command)
        secrets += [Secret(value) for name, value in os.environ.items() if re.search(SECRET_VARIABLES, name.upper())]
        return f"; its last words: {last_lines(ended.stderr, Redaction(*secrets))}"

    def __repr__(self) -> str:
        return f"ProcessProvider({getattr(self, 'name', None)!r})"


def _failure(returncode: int) -> str:
    if returncode > 0:
        return f"ended with exit code {returncode}"
    try:
        return f"ended by signal {signal.Signals(-returncode).name}"
    except ValueError:
        return f"ended by signal {-returncode}"


def arguments_of(command: Secret) -> list[Secret]:
    """Return the parts of a command that may be secrets: long arguments, and the long values of its options."""
    words = re.split(r"[\s'\"=]+", command)[1:]
    return [Secret(word) for word in words if len(word) >= LONG_ARGUMENT and not word.startswith("-")]


def last_lines(stderr: bytes, hide: Redaction) -> str:
    """Return the last lines of a text as one line, at most 1,000 characters, without what is to be hidden."""
    text = hide(SecretBytes(stderr).decode("utf-8", "replace"))
    text = re.sub(r"\x1b\[[0-9;?]*[ -/]*[@-~]", "", text)  # colours of a terminal
    lines = ["".join(one if one.isprintable() else "?" for one in line.strip()) for line in text.splitlines()]
    shown = " | ".join([line for line in lines if line][-MOST_LINES:])
    return shown if len(shown) <= MOST_SHOWN else f"...{shown[3 - MOST_SHOWN :]}"


def _advice() -> str:
    return (
        f"to see what it wrote to standard error, which may hold secrets, set {SHOW_PROCESS_STDERR}=true or "
        f"{setting('show_process_stderr', 'True')}"
    )
