"""What each source of credentials says, and whether STS accepts the credentials."""

from collections.abc import Collection
from typing import NamedTuple

from .._engine.build import engine_of, transport_of
from .._protocol.endpoints import Endpoint
from ..client import STSClient
from ..config import Config
from ..credentials.chain import Finding
from ..credentials.default import DefaultChain
from ..errors import ServiceError, STSError
from ._report import Cause, Row

NOT_ASKED = Row("credentials", "not asked: correct what is WRONG above first")


class Answers(NamedTuple):
    """
    What the sources of credentials said.

    Attributes:
        rows: The rows for it.
        findings: What each source said; empty if none was asked.
    """

    rows: list[Row]
    findings: tuple[Finding, ...] = ()


async def ask_sources(
    chain: DefaultChain,
    config: Config,
    endpoint: Endpoint | None,
    *,
    given: Config,
    cause: Cause,
    known: Collection[str],
) -> Answers:
    """
    Ask every source of *chain*, over connections for this alone.

    Args:
        chain: The sources.
        config: The options with none missing.
        endpoint: Where requests go; None if that is not known.
        given: The options as they were given.
        cause: Why the profile cannot be read.
        known: What is wrong, as other rows say it.
    """
    try:
        findings = await _findings(chain, config, endpoint, given=given)
    except STSError as error:  # an option that every client needs cannot be read
        return Answers([NOT_ASKED if str(error) in known else Row("credentials", str(error), wrong=True)])
    return Answers(_source_rows(findings, cause), findings)


async def _findings(
    chain: DefaultChain, config: Config, endpoint: Endpoint | None, *, given: Config
) -> tuple[Finding, ...]:
    transport = transport_of(config)
    engine = engine_of(
        config,
        endpoint=endpoint,
        transport=transport,
        credentials=chain,
        default_credentials=lambda: chain,
        given=given,
    )
    try:
        return await chain.findings(engine.context)
    finally:
        try:
            await engine.context.tasks.aclose()  # first, as for a client: a task that renews a login may still send it
        finally:
            await transport.aclose()


def _source_rows(findings: tuple[Finding, ...], cause: Cause) -> list[Row]:
    """Return a row for each source, and one more if none has credentials."""
    width = max(len(finding.source) for finding in findings) + 2
    rows = []
    for number, finding in enumerate(findings, 1):
        outcome = "used" if finding.used else finding.outcome
        rows.append(Row(f"{number}.", f"{finding.source:<{width}}{outcome:<16}{cause.referred(finding.detail)}"))
    if not any(finding.used for finding in findings):
        failed = next((finding.source for finding in findings if finding.outcome == "failed"), None)
        reason = "no source has any" if failed is None else f"{failed} is configured and fails"
        rows.append(Row("credentials", f"none: {reason}", wrong=True))
    return rows


async def identity_row(config: Config, chain: DefaultChain) -> Row:
    """Return whose credentials they are, as STS says when it is called with the options *config*."""
    try:
        async with STSClient(config=config, credentials=chain) as sts:
            return Row("identity", (await sts.get_caller_identity()).arn or "STS named none")
    except ServiceError as error:
        return Row("identity", f"unknown: {error.with_encoded_message(str(error))}", wrong=True)
    except STSError as error:
        return Row("identity", f"unknown: {error}", wrong=True)
