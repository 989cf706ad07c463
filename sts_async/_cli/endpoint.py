"""
``sts-async serve`` and ``sts-async exec``: the credentials of a file of roles, for every SDK of this host.

Both run a fleet and a credentials endpoint. `serve` writes where the credentials are, and runs until a signal comes.
`exec` runs a command, and ends with it.
"""

import asyncio
import contextlib
import os
import shlex
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NoReturn

import attrs

from .._runtime.commands import SIGNALLED
from .._runtime.signals import signal_queue
from ..agent.child import run_child
from ..agent.endpoint import CredentialsEndpoint, serve
from ..agent.environ import FULL_URI, TOKEN_FILE
from ..client import STSClient
from ..credentials.source import MFACode
from ..fleet.caches.protocol import CredentialsCache
from ..fleet.fleet import MAX_ON_DEMAND, CredentialsFleet
from ..fleet.identities import Identity
from .arguments import suggestion
from .cache_options import VARIABLES
from .command_client import DEFAULT_REGION, client_of
from .early_signals import ENDING
from .fleet_lines import plural
from .output import Output
from .roles_source import NO_IDENTITY, RolesSource, partition_of_endpoint
from .terminal import PREFIX, OutputLost, Warnings, complain, in_one_line

NOT_FOUND, NOT_EXECUTABLE = 127, 126  # exit statuses of a shell


@attrs.frozen(kw_only=True)
class Settings:
    """
    The options of the two commands.

    Attributes:
        roles: Path of the file of roles; None for one generated role.
        name: Name of the identity of a command; None to serve all identities.
        command: The command and its arguments.
        port: Port of the endpoint; 0 for a free port.
        directory: Directory for the token files; None for a temporary one.
        local: Whether to use a local STS.
        cache: The cache that processes share; None for no cache.
        cache_namespace: Name of the calling identity in the cache; None for its access key id.
        allowed_accounts: Ids of the accounts that identities may belong to; None for any.
        strict_arns: Whether ARNs of roles must follow the grammar of IAM.
        client: Options of the client, by their names in `Config`.
        mfa_code: The function that returns the code of an MFA device.
    """

    roles: str | None
    name: str | None = None
    command: Sequence[str] = ()
    port: int = 0
    directory: str | None = None
    local: bool = False
    cache: CredentialsCache | None = None
    cache_namespace: str | None = None
    allowed_accounts: Sequence[str] | None = None
    strict_arns: bool = True
    client: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    mfa_code: MFACode | None = None


async def run(settings: Settings, warnings: Warnings) -> int:
    """
    Run the command, and return its exit status. A signal ends it at any time, and no token file is left.

    Args:
        settings: The options.
        warnings: The handler for warnings of the library, which must not write in the event loop.

    Raises:
        OutputLost: Standard output cannot be written.
        STSError: An option is invalid, or no identity has credentials.
        ValueError: The file cannot be read, has no identity that can be used, or lacks the identity of the command.
    """
    # While the command of `exec` runs, it gets the signals (`run_child`).
    with signal_queue(ENDING) as signals:
        work = asyncio.create_task(_run(settings, warnings))
        signalled = asyncio.create_task(signals.get())
        try:
            await asyncio.wait([work, signalled], return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            return 0 if settings.name is None else SIGNALLED + signalled.result()
        finally:
            for task in (work, signalled):
                task.cancel()
            await asyncio.wait([work, signalled])


async def _run(settings: Settings, warnings: Warnings) -> int:
    async with Output() as output, _endpoint(settings, output, warnings) as (endpoint, environ):
        if settings.name is None:
            return await _serve(endpoint, output)
        try:
            return await run_child(endpoint, settings.name, settings.command, environ=environ)
        except OSError as error:
            complain(f"{PREFIX}{in_one_line(settings.command[0])}: {error.strerror}\n")
            return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE


@contextlib.asynccontextmanager
async def _endpoint(
    settings: Settings, output: Output, warnings: Warnings
) -> "AsyncIterator[tuple[CredentialsEndpoint, Mapping[str, str]]]":
    """Yield the endpoint, and the environment of a command before the changes of the endpoint."""
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(setattr, warnings, "write", warnings.write)
        warnings.write = output.complain
        config, credentials = await stack.enter_async_context(
            client_of(settings.client, local=settings.local, mfa_code=settings.mfa_code)
        )
        source = RolesSource(
            settings.roles,
            generated=1,
            region=str(settings.client.get("region", DEFAULT_REGION)),
            partition=await partition_of_endpoint(config),
            allowed_accounts=settings.allowed_accounts,
            strict_arns=settings.strict_arns,
        )
        found = await source.read()
        for line in source.problems_of(found):
            output.complain(line)
        identities = _chosen(found.identities, settings.name, source.shown)
        sts = await stack.enter_async_context(STSClient(config=config, credentials=credentials))
        fleet = await stack.enter_async_context(
            CredentialsFleet(
                sts,
                max_on_demand=max(MAX_ON_DEMAND, 2 * len(found.identities)),
                cache=settings.cache,
                cache_namespace=settings.cache_namespace,
                allowed_accounts=settings.allowed_accounts,
                strict_arns=settings.strict_arns,
            )
        )
        endpoint = await stack.enter_async_context(
            serve(fleet, identities, port=settings.port, directory=settings.directory)
        )
        local = {"AWS_ENDPOINT_URL_STS": str(config.endpoint_url)} if settings.local else {}
        # A command gets the credentials of one identity. The keys of the cache would give it those of all.
        inherited = {name: value for name, value in os.environ.items() if name not in VARIABLES}
        yield endpoint, {**inherited, **local}


def _chosen(identities: Mapping[str, Identity], name: str | None, shown: str) -> Mapping[str, Identity]:
    """Return the identities to serve."""
    if not identities:
        raise ValueError(f"{shown}: {NO_IDENTITY}")
    if name is None:
        return identities
    if name not in identities:
        raise ValueError(f"{shown}: no identity has this name{suggestion(name, [*identities])}")
    return {name: identities[name]}


async def _serve(endpoint: CredentialsEndpoint, output: Output) -> NoReturn:
    """Write where the credentials are, and wait until this is cancelled."""
    for name in endpoint.names:
        variables = {FULL_URI: endpoint.url(name), TOKEN_FILE: str(endpoint.token_file(name))}
        words = (f"{variable}={shlex.quote(value)}" for variable, value in variables.items())
        output.say(f"{name} {' '.join(words)}\n")
    count = len(endpoint.names)
    output.say(f"# ready: {count:,} {plural(count, 'identity')} on http://127.0.0.1:{endpoint.port}\n")
    await output.flush()
    # It ends only if standard output cannot be written.
    await asyncio.shield(output.ended)
    raise OutputLost
