"""The file of roles of a command, and roles that are generated for ``--local``. Files are read in a thread."""

from collections.abc import Collection, Iterator
from pathlib import Path

from .._protocol.endpoints import is_known_region, partition_of
from .._runtime import files
from .._runtime.file_reads import FILE_READS
from .._runtime.threads import reading
from .._shape.secret import attempt
from .._wording.os_errors import reason_of
from ..config import Config, SettingsSources
from ..fleet.roles_file import MAX_BYTES, RolesFile, read_roles
from .command_client import DEFAULT_REGION
from .fleet_lines import plural
from .terminal import PREFIX, in_one_line

NO_IDENTITY = "the file has no identity that can be used"
MAX_PROBLEMS = 20  # of a file, one line each
ACCOUNT = "123456789012"  # of the generated roles


class RolesSource:
    """
    A file of roles, or generated roles.

    Args:
        path: The file; None for generated roles.
        generated: Number of generated roles.
        region: Region of the generated roles.
        partition: Partition of the endpoint; None if it is not known.
        allowed_accounts: Ids of the accounts that identities may belong to; None for any (T43).
        strict_arns: Whether ARNs of roles must follow the grammar of IAM.

    Attributes:
        shown: The file in messages.
    """

    def __init__(
        self,
        path: str | None,
        *,
        generated: int = 0,
        region: str = DEFAULT_REGION,
        partition: str | None = None,
        allowed_accounts: Collection[str] | None = None,
        strict_arns: bool = True,
    ) -> None:
        self._path = path
        self._generated = generated
        self._region = region
        self._partition = partition
        self._allowed_accounts = allowed_accounts
        self._strict_arns = strict_arns
        self.shown = "generated roles" if path is None else in_one_line(path)

    async def read(self) -> RolesFile:
        """
        Return the contents of the file as it is now.

        Raises:
            ValueError: The file cannot be read, is larger than 8 MiB, or is not text in UTF-8.
        """
        text = self._generate() if self._path is None else await self._text_of(self._path)
        return await reading(
            read_roles,
            text,
            partition=self._partition,
            allowed_accounts=self._allowed_accounts,
            strict_arns=self._strict_arns,
        )

    def _generate(self) -> str:
        role = f"arn:{partition_of(self._region).name}:iam::{ACCOUNT}:role/demo"
        return "".join(f"{role}-{number:04}\n" for number in range(1, self._generated + 1))

    async def _text_of(self, path: str) -> str:
        try:
            data, _ = await FILE_READS.run(Path(path), files.read, path, max_bytes=MAX_BYTES)
        except OSError as error:
            raise ValueError(f"{self.shown}: {reason_of(error)}") from None
        text = attempt(UnicodeDecodeError, bytes.decode, data)
        if text is None:
            raise ValueError(f"{self.shown}: the file is not text in UTF-8")
        return text

    def problems_of(self, found: RolesFile) -> Iterator[str]:
        """Yield lines for standard error: one for each of the first 20 problems, and then the number of the others."""
        for problem in found.problems[:MAX_PROBLEMS]:
            yield f"{PREFIX}{self.shown}, {in_one_line(problem)}\n"
        more = len(found.problems) - MAX_PROBLEMS
        if more > 0:
            yield f"{PREFIX}{self.shown} has {more:,} more {plural(more, 'problem')}\n"


async def partition_of_endpoint(config: Config) -> str | None:
    """Return the partition of the endpoint of STS; None for a URL of the user, and without a known region."""
    found = await SettingsSources(config).resolve()
    if found.region is None or found.endpoint_url is not None or not is_known_region(found.region):
        return None
    return partition_of(found.region).name
