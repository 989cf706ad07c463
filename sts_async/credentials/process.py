"""
Credentials that an external program writes to its standard output (``credential_process``).

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

MAX_CHARACTERS = 32_767  # of a command; splitting a longer one takes long. Source: CreateProcess of Windows
SECONDS = 60.0  # s, default time limit of the process
MAX_LINES = 5  # lines of standard error in an error message
MAX_SHOWN = 1_000  # characters of these lines
LONG_ARGUMENT = 8  # characters; a shorter argument is not treated as a secret
TOO_LONG = f"(a line of more than {process.MAX_ERROR_BYTES:,} bytes, which is not shown)"
# Names of inherited variables whose values may be secrets and may appear in the output. Other names are for paths etc.
SECRET_VARIABLES = r"(?:SECRET|TOKEN|PASSWORD|PASSWD|KEY|KEY_ID|CREDENTIALS?)$"  # noqa: S105 - of their names

# In this order: colors and other CSI sequences; titles, links and other strings; character sets. Source: ECMA-48.
CONTROL_SEQUENCE = (
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]+[0-~]"
)

NAMES = Names(session_token="SessionToken", temporary=False)  # noqa: S106 - the name of a member


class ProcessProvider(RefreshingProvider):
    """
    Provide the credentials that a process writes to its standard output.

    The output must be a JSON object with Version 1, AccessKeyId and SecretAccessKey, and may have SessionToken,
    Expiration and AccountId. Without Expiration, the process is run only once.

    The command is split into words by the rules of a POSIX shell. The program is looked up in ``PATH`` and runs without
    a shell, in a session of its own, without standard input. It is killed together with the processes that it started
    after *seconds*, after 64 KiB of output, or when the client is closed. If it ends by itself, processes that keep its
    output open are killed. On Windows, the command is passed on unsplit, only the process itself can be killed, and
    output that is too large is noticed only at the end.

    At most 16 such processes run at once in this program. Further ones are queued, first in, first out, and the wait in
    the queue does not count against *seconds*. As with every other SDK, a process inherits the whole environment. This
    includes keys in ``AWS_SECRET_ACCESS_KEY`` and secrets of other programs.

    Args:
        command: The command, at most 32,767 characters. It is never shown, because it may contain passwords.
        name: Name of the source in messages.
        seconds: Time limit from the start of the process: seconds greater than 0, or a `timedelta`.
        show_process_stderr: Whether an error message ends with the last lines of standard error, at most 5 lines and
            1,000 characters. None follows ``STS_ASYNC_SHOW_PROCESS_STDERR``, whose default is false. In these lines,
            ``***`` replaces the output of the process, arguments and option values of at least 8 characters, and the
            values of variables with names such as ``API_TOKEN``. Control characters are removed. Other secrets are
            shown.
        account_id: Account of the credentials, 12 digits, if the process writes no AccountId; None if it is unknown.

    Raises:
        ConfigurationError: The command is too long, contains a NUL, or is not text; or *account_id* is not 12 digits;
            or another argument is invalid.

    Attributes:
        name: Name of the source in messages.
        remark: Text that is added to errors, if the command comes from a config file.
        stderr: The last 4 KiB of standard error. It is never part of a ``repr``, because it may contain secrets.
    """

    schedule = _schedule.CACHED
    depends_on_client = False
    # The process has its own time limit, which does not include the wait in the queue.
    fetch_seconds = None

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
        # A traceback with locals must not show the command.
        command = redact(command)
        if not isinstance(command, Secret) or len(command) > MAX_CHARACTERS or "\0" in command:
            raise ConfigurationError(
                f"{name}: a command must be text without NUL, of up to {MAX_CHARACTERS:,} characters"
            )
        self._command = command

    async def fetch(self, context: ProviderContext) -> Credentials:
        """
        Run the process and return its credentials.

        Raises:
            ConfigurationError: The command is empty, has an unclosed quotation mark, or
                ``STS_ASYNC_SHOW_PROCESS_STDERR`` is neither true nor false.
            CredentialsError: The process cannot be started, fails, takes too long, or writes something else.
        """
        shows = flag(SHOW_PROCESS_STDERR, HiddenMapping(os.environ), given=self._show_stderr)
        ended = await process.run(self._command, seconds=self._seconds, max_bytes=MAX_BYTES)
        if isinstance(ended, process.EmptyCommand):
            raise ConfigurationError(self._text("the command is empty, or has an unclosed quotation mark"))
        if isinstance(ended, process.StartFailed):
            raise CredentialsError(self._text(f"the program cannot be run ({ended.reason})"))
        self.stderr = ended.stderr
        try:
            return self._read(ended)
        except CredentialsError as error:
            problem = str(error)
        if self.stderr.strip():
            problem += await self._stderr_text(ended) if shows else f"; {_advice()}"
        raise CredentialsError(with_remark(problem, self.remark))

    def _text(self, problem: str) -> str:
        return with_remark(f"{self.name}: {problem}", self.remark)

    def _read(self, ended: process.ProcessResult) -> Credentials:
        if ended.fault == "timed out":
            raise CredentialsError(f"{self.name}: timed out after {self._seconds:g} s")
        if ended.fault == "too large":
            raise CredentialsError(f"{self.name}: wrote more than {MAX_BYTES:,} bytes")
        if ended.returncode:
            raise CredentialsError(f"{self.name}: {_failure(ended.returncode)}")
        if ended.returncode is None:
            raise CredentialsError(
                f"{self.name}: its exit code is unknown: this program ignores SIGCHLD, or the process still runs"
            )
        document = read_object(ended.stdout, what=f"{self.name}: the output")
        if type(document.get("Version")) is not int or document["Version"] != 1:
            raise CredentialsError(f"{self.name}: the output must have Version 1")
        found = read_credentials(document, NAMES, what=f"{self.name}: the output")
        return in_account(found, self._account_id)

    async def _stderr_text(self, ended: process.ProcessResult) -> str:
        """Return the last lines of standard error for an error message."""
        try:
            # In a thread, because a long command is split, and the text is searched for each word.
            return f"; it wrote to standard error: {await reading(_visible_stderr, self._command, ended)}"
        except NoThread:
            return "; its standard error cannot be shown: no thread can be started"

    def __repr__(self) -> str:
        return f"ProcessProvider({getattr(self, 'name', None)!r})"


def _failure(returncode: int) -> str:
    if returncode > 0:
        return f"ended with exit code {returncode}"
    try:
        return f"ended by signal {signal.Signals(-returncode).name}"
    except ValueError:
        return f"ended by signal {-returncode}"


def _visible_stderr(command: Secret, ended: process.ProcessResult) -> str:
    """Return the last lines of standard error without secrets. This blocks for a long command."""
    stdout = Secret(SecretBytes(ended.stdout.strip()).decode("utf-8", "replace"))
    variables = [Secret(value) for name, value in os.environ.items() if re.search(SECRET_VARIABLES, name.upper())]
    secrets = [visible(secret) for secret in (stdout, *arguments_of(command), *variables)]
    return last_lines(ended.stderr, Redaction(*secrets), is_cut=ended.stderr_is_cut)


def arguments_of(command: Secret) -> list[Secret]:
    """
    Return the parts of a command that may be secrets: its arguments and option values of at least 8 characters.

    The command is split by the rules of a shell, and also at blanks and quotes, because a quoted argument may contain
    several words.
    """
    words = [*process.split_command(command)[1:], *map(Secret, re.split(r"[\s'\"]+", command)[1:])]
    parts = [part for word in words for part in _parts_of(word)]
    return [part for part in dict.fromkeys(parts) if len(part) >= LONG_ARGUMENT]


def _parts_of(word: Secret) -> Iterator[Secret]:
    """Yield a word of a command, and each part that may be an option value: ``-pVALUE``, ``--name=VALUE``."""
    yield word
    if word.startswith("-"):
        yield Secret(word.lstrip("-"))
        yield Secret(word[2:])
    _, equals, value = word.partition("=")
    if equals:
        yield Secret(value)
        yield from (Secret(part) for part in word.split("="))


def visible(text: Secret) -> Secret:
    """Return a text without colors and control characters, which could split a secret so that it is not found."""
    text = Secret(re.sub(CONTROL_SEQUENCE, "", text).replace("\r\n", "\n").replace("\t", " "))
    return Secret("".join(character for character in text if character.isprintable() or character in "\r\n"))


def last_lines(stderr: bytes, hide: Redaction, *, is_cut: bool = False) -> str:
    """
    Return the last lines of a text as one line of at most 1,000 characters.

    Args:
        stderr: The text.
        hide: Replaces the secrets in it.
        is_cut: Whether the beginning of the text is missing. Then its first line is left out, because it may begin in
            the middle of a secret.
    """
    if is_cut:
        parts = re.split(rb"[\r\n]+", stderr, maxsplit=1)
        stderr = SecretBytes(parts[1] if len(parts) > 1 else b"")
        if not stderr.strip():
            return TOO_LONG
    # Redaction comes last: removing a character afterwards could join the parts of a secret.
    text = hide(visible(Secret(SecretBytes(stderr).decode("utf-8", "replace"))))
    lines = [line.strip() for line in re.split("[\r\n]", text)]
    shown = " | ".join([line for line in lines if line][-MAX_LINES:])
    return shown if len(shown) <= MAX_SHOWN else f"...{shown[3 - MAX_SHOWN :]}"


def _advice() -> str:
    return (
        f"to see what it wrote to standard error, which may hold secrets, set {SHOW_PROCESS_STDERR}=true or "
        f"{setting('show_process_stderr', 'True')}"
    )
