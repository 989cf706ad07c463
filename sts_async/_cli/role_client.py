"""The credentials that a command works with: those of the client, or of the role that they assume."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from ..client import STSClient
from ..credentials.source import MFACode
from ..shapes import AssumeRoleRequest
from .fleet_client import client_of


@contextlib.asynccontextmanager
async def client_with_role(
    options: Mapping[str, Any], *, local: bool, role: AssumeRoleRequest | None, mfa_code: MFACode | None
) -> AsyncIterator[STSClient]:
    """
    Yield a client with the credentials of a command.

    Args:
        options: Options of the client, by their names in `Config`.
        local: Whether to use a local STS and its credentials.
        role: The role that the credentials assume; None for none.
        mfa_code: The function that returns the code of an MFA device.

    Raises:
        STSError: An option is invalid.
    """
    async with (
        client_of(options, local=local, mfa_code=mfa_code) as (config, credentials),
        STSClient(config=config, credentials=credentials) as sts,
    ):
        if role is None:
            yield sts
            return
        members = {member.name: getattr(role, member.name) for member in role.__members__}
        del members["token_code"]
        yield sts.role(**members, mfa_code=mfa_code if role.serial_number else None)
