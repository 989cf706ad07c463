"""The client of a command, and its credentials: those of the chain, of a local STS, or of a role that they assume."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from ..client import STSClient
from ..config import Config
from ..credentials import DefaultChain
from ..credentials.source import MFACode, Source
from ..shapes import AssumeRoleRequest

MIN_CONNECTIONS = 50
DEFAULT_REGION = "us-east-1"  # of a local STS


@contextlib.asynccontextmanager
async def client_of(
    options: Mapping[str, Any], *, local: bool, mfa_code: MFACode | None, concurrency: int = MIN_CONNECTIONS
) -> AsyncIterator[tuple[Config, Source]]:
    """
    Yield the options of the client and its credentials.

    Args:
        options: Options of the client, by their names in `Config`.
        local: Whether to use a local STS and its credentials.
        mfa_code: The function that returns the code of an MFA device.
        concurrency: Maximum number of requests at once.
    """
    # More requests at once need more connections than a client has by default.
    given = {"max_connections": max(concurrency, MIN_CONNECTIONS), **options}
    if not local:
        config = Config(**given)
        yield config, DefaultChain(config, mfa_code=mfa_code)
        return
    from ..testing import LocalSTS

    async with LocalSTS(region=str(given.get("region", DEFAULT_REGION))) as server:
        yield Config(**{**given, "region": server.region, "endpoint_url": server.url}), server.credentials


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
