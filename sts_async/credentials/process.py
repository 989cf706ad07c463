"""
Credentials that a process writes to its standard output.

Source: AWS SDKs and Tools Reference Guide, "Process credential provider".
"""

import os
import re
import signal
from collections.abc import Iterator
from datetime import timedelta

from .._config.options import SHOW_PROCESS_STDERR, flag
from .._config.sections import with_remark
from .._protocol.json_documents import MAX_BYTES, Names, read_credentials, read_object
from .._protocol.redaction import Redaction
from .._runtime import process
from .._runtime.threads import NoThread, reading
from .._shape.arguments import check_flag, check_seconds, in_seconds
from .._shape.secret import HiddenMapping, Secret, SecretBytes, redact
from .._wording.option_names import setting
from ..errors import ConfigurationError, CredentialsError
from ..protocols import ProviderContext
from ..shapes import Credentials
from . import _schedule
from ._account import check_account_id, in_account
from .cache import RefreshingProvider

MAX_CHARACTERS = 32_767  # of a command. Source: CreateProcess of Windows; a longer one takes long to split
SECONDS = 60.0  # s for the whole process
MAX_LINES = 5  # of standard error in an error
MAX_SHOWN = 1_000  # characters of them
LONG_ARGUMENT = 8  # characters of an argument that may be a secret
TOO_LONG = f"(a line of more than {process.MAX_ERROR_BYTES:,} bytes, which is not shown)"
# Variables that a process inherits, and may repeat. Those that end otherwise are paths and names.
SECRET_VARIABLES = r"(?:SECRET|TOKEN|PASSWORD|PASSWD|KEY|KEY_ID|CREDENTIALS?)$"  # noqa: S105 - of their names

# Colours and other CSI sequences; titles, links and other strings; character sets. Source: ECMA-48.
CONTROL_SEQUENCE = (
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]+[0-~]"
)

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
        seconds: Time limit, from the start of the process: seconds, or a `timedelta`.
        show_process_stderr: Whether an error ends with the last lines that the process wrote to standard error, at
            most 5 lines and 1,000 characters. None follows ``STS_ASYNC_SHOW_PROCESS_STDERR``, whose default is
            false. Three kinds of text are replaced by ``***`` there: the output of the process; arguments of the
            command of at least 8 characters, options and their values included; and variables with names such as
            ``API_TOKEN``. Control characters are removed first. Other secrets are shown.
        account_id: The account of the credentials, 12 digits, where the process writes no AccountId.

    Raises:
        ConfigurationError: The command is too long, has a NUL, or is not text; or *account_id* is not 12 digits.

    Attributes:
        name: Name of the source in messages.
        remark: The end of its errors: a remark about the command as it stands in a file.
        stderr: The last 4 KiB that it wrote to standard error. Never in a ``repr``, because it may hold secrets.
    """

    schedule = _schedule.CACHED
    depends_on_client = False
    fetch_seconds = None  # the process has a bound of its own, and may have to wait for its turn

    def __init__(
        self,
        command: str,
        *,
        name: str = "credential_process",
        seconds: float | timedelta = SECONDS,
        show_process_stderr: bool | None = None,
        account_id: str | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.stderr = SecretBytes()
        seconds = in_seconds(seconds)
        check_seconds("seconds", seconds)
        check_account_id(account_id)
        self._account_id = account_id
        self._seconds = seconds
        if show_process_stderr is not None:
            check_flag("show_process_stderr", show_process_stderr)
        self._show_stderr = show_process_stderr
        self.remark = ""
        command = redact(command)  # the frames of the errors below have it
        if not isinstance(command, Secret) or len(command) > MAX_CHARACTERS or "\0" in command:
            raise ConfigurationError(
                f"{name}: a command must be text without NUL, of up to {MAX_CHARACTERS:,} characters"
            )
        self._command = command

    async def fetch(self, context: ProviderContext) -> Credentials:
        """
        Run the process and return its credentials.

        Raises:
            ConfigurationError: The command is empty, a quotation in it does not end, or
                ``STS_ASYNC_SHOW_PROCESS_STDERR`` is neither true nor false.
            CredentialsError: The process cannot be run, fails, takes too long, or writes something else.
        """
        shows = flag(SHOW_PROCESS_STDERR, HiddenMapping(os.environ), given=self._show_stderr)
        ended = await process.run(self._command, seconds=self._seconds, max_bytes=MAX_BYTES)
        if isinstance(ended, process.EmptyCommand):
            raise ConfigurationError(self._text("the command is empty, or a quotation in it does not end"))
        if isinstance(ended, process.StartFailed):
            raise CredentialsError(self._text(f"the program cannot be run ({ended.reason})"))
        self.stderr = ended.stderr
        try:
            return self._read(ended)
        except CredentialsError as error:
            problem = str(error)
        if self.stderr.strip():
            problem += await self._reason(ended) if shows else f"; {_advice()}"
        raise CredentialsError(with_remark(problem, self.remark))

    def _text(self, problem: str) -> str:
        return with_remark(f"{self.name}: {problem}", self.remark)

    def _read(self, ended: process.ProcessResult) -> Credentials:
        if ended.fault == "timed out":
            raise CredentialsError(f"{self.name}: not done within {self._seconds:g} s")
        if ended.fault == "too large":
            raise CredentialsError(f"{self.name}: wrote more than {MAX_BYTES:,} bytes")
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

    async def _reason(self, ended: process.ProcessResult) -> str:
        """Return the last lines of standard error, as an error has them."""
        try:
            # In a thread: a long command is split, and each of its words is looked for.
            return f"; its last words: {await reading(_last_words, self._command, ended)}"
        except NoThread:
            return "; its last words cannot be shown: no thread can be started"

    def __repr__(self) -> str:
        return f"ProcessProvider({getattr(self, 'name', None)!r})"


def _failure(returncode: int) -> str:
    if returncode > 0:
        return f"ended with exit code {returncode}"
    try:
        return f"ended by signal {signal.Signals(-returncode).name}"
    except ValueError:
        return f"ended by signal {-returncode}"


def _last_words(command: Secret, ended: process.ProcessResult) -> str:
    """Return what is shown of standard error. Takes time."""
    stdout = Secret(SecretBytes(ended.stdout.strip()).decode("utf-8", "replace"))
    variables = [Secret(value) for name, value in os.environ.items() if re.search(SECRET_VARIABLES, name.upper())]
    secrets = [visible(secret) for secret in (stdout, *arguments_of(command), *variables)]
    return last_lines(ended.stderr, Redaction(*secrets), is_cut=ended.stderr_is_cut)


def arguments_of(command: Secret) -> list[Secret]:
    """
    Return the parts of a command that may be secrets and are long: its arguments, and the values of its options.

    A word is one as a shell splits the command, or as a person reads it: a quoted argument may have words of its own.
    """
    words = [*process.split_command(command)[1:], *map(Secret, re.split(r"[\s'\"]+", command)[1:])]
    parts = [part for word in words for part in _parts_of(word)]
    return [part for part in dict.fromkeys(parts) if len(part) >= LONG_ARGUMENT]


def _parts_of(word: Secret) -> Iterator[Secret]:
    """Yield a word of a command, and what of it may be the value of an option: ``-pVALUE``, ``--name=VALUE``."""
    yield word
    if word.startswith("-"):
        yield Secret(word.lstrip("-"))
        yield Secret(word[2:])
    _, equals, value = word.partition("=")
    if equals:
        yield Secret(value)
        yield from (Secret(part) for part in word.split("="))


def visible(text: Secret) -> Secret:
    """Return a text as a terminal shows it: without colours and control characters, which could part a secret."""
    text = Secret(re.sub(CONTROL_SEQUENCE, "", text).replace("\r\n", "\n").replace("\t", " "))
    return Secret("".join(one for one in text if one.isprintable() or one in "\r\n"))


def last_lines(stderr: bytes, hide: Redaction, *, is_cut: bool = False) -> str:
    """
    Return the last lines of a text as one line, at most 1,000 characters, without what is to be hidden.

    When the text is cut, its first line is left out: it may begin in the middle of a secret.
    """
    if is_cut:
        parts = re.split(rb"[\r\n]+", stderr, maxsplit=1)
        stderr = SecretBytes(parts[1] if len(parts) > 1 else b"")
        if not stderr.strip():
            return TOO_LONG
    # What is redacted is what is shown: nothing is removed after it.
    text = hide(visible(Secret(SecretBytes(stderr).decode("utf-8", "replace"))))
    lines = [line.strip() for line in re.split("[\r\n]", text)]
    shown = " | ".join([line for line in lines if line][-MAX_LINES:])
    return shown if len(shown) <= MAX_SHOWN else f"...{shown[3 - MAX_SHOWN :]}"


def _advice() -> str:
    return (
        f"to see what it wrote to standard error, which may hold secrets, set {SHOW_PROCESS_STDERR}=true or "
        f"{setting('show_process_stderr', 'True')}"
    )
