"""
What a call would use on this machine, where each part comes from, and what is wrong with it.

`DefaultChain.explain` asks the sources of credentials. This module adds the files, the proxy, the authorities of TLS
and all other options that are set. It goes on after an option that is wrong, so one run shows everything.
"""

import os
from pathlib import Path
from typing import Any

import attrs

from ._config.certificates import Trust
from ._config.resolution import DEFAULT, FAULTY, PASSED_OVER, Resolution
from ._engine.build import endpoint_of, proxies_of
from ._protocol import regions
from ._protocol.endpoints import Endpoint, is_known_region
from ._protocol.proxies import bypasses_proxy
from ._runtime.file_reads import FILE_READS
from ._runtime.files import read
from ._wording import option_names
from ._wording.os_errors import reason_of
from ._wording.printable import printable
from .config import OPTIONS, Config, SettingsSources
from .credentials.default import DefaultChain
from .credentials.source import MFACode
from .errors import ServiceError, STSError

NAME_WIDTH = 18  # characters
ROWS_OF_THEIR_OWN = {"profile", "config_file", "credentials_file", "region", "endpoint_url", "proxy", "https_proxy"}
ROWS_OF_THEIR_OWN |= {"http_proxy", "ca_bundle", "verify", "handlers"}


@attrs.frozen
class Row:
    """
    One line of a report.

    Attributes:
        name: Subject of the line, such as ``region``.
        text: The value that was found, and its origin. Nothing secret.
        wrong: Whether a call would fail because of it.
    """

    name: str
    text: str
    wrong: bool = False


@attrs.frozen(kw_only=True)
class Report:
    """
    What a call would use. Printed, it is a table; nothing in it is secret.

    Attributes:
        rows: The lines, in the order in which a call needs their subjects.
    """

    rows: tuple[Row, ...]

    @property
    def healthy(self) -> bool:
        """Whether a call has all that it needs. Only a check asks STS whether it accepts the credentials."""
        return not any(row.wrong for row in self.rows)

    def __str__(self) -> str:
        lines = [f"{row.name:<{NAME_WIDTH}}{'WRONG: ' if row.wrong else ''}{row.text}" for row in self.rows]
        return "\n".join(map(printable, lines))


async def examine(config: Config, *, mfa_code: MFACode | None = None, check: bool = False) -> Report:
    """
    Return what a call with these options would use.

    Every source of credentials is asked, also those behind the one that a call takes. So processes run, and SSO,
    containers and the metadata service get requests.

    Args:
        config: The options, as they are given.
        mfa_code: Asked for the code of a profile with ``mfa_serial``.
        check: Whether to call GetCallerIdentity, to find out whether STS accepts the credentials.
    """
    settings_sources = SettingsSources(config)
    name, why = settings_sources.profile
    found = await settings_sources.look()
    resolved = settings_sources.filled(found)
    cause = _Cause("" if found.place is None else str(found.place))
    files = await _files(settings_sources, cause)
    profile = Row("profile", f"{name} ({option_names.origin(why or DEFAULT)})")
    if cause.text and not cause.row:
        cause.row, profile = "profile", Row("profile", cause.text, wrong=True)
    rows = [profile, *files, _region(resolved, found, cause)]
    endpoint: Endpoint | None = None
    try:
        endpoint = endpoint_of(resolved)
        rows.append(Row("endpoint", f"{endpoint.url} ({_origin(found.origins, 'endpoint_url')})"))
    except STSError as error:
        region = found.faults.get("region")
        known = region is not None and str(region) == str(error)  # its line has said so
        text = "the region is not known" if known else cause.referred(str(error))
        rows.append(Row("endpoint", f"none: {text}", wrong=text == str(error)))
    if endpoint is not None:
        rows.append(_proxy(resolved, found.origins, endpoint))
    trust = await _trust(resolved, found.origins, cause)
    rows += [*trust, *_other_options(resolved, found.origins), *_faults(found, cause)]
    chain = DefaultChain(mfa_code=mfa_code, settings_sources=settings_sources)
    if any(row.wrong for row in trust):
        rows.append(Row("credentials", "not asked: correct the CA bundle above first"))
    else:
        rows += await _sources(chain, said={row.text for row in rows if row.wrong}, cause=cause)
    if check and any(row.wrong for row in rows):
        rows.append(Row("identity", "not checked: correct what is WRONG above first"))
    elif check:
        rows.append(await _identity(config, chain))
    return Report(rows=tuple(rows))


def _origin(origins: dict[str, str], option: str) -> str:
    where = origins[option]
    if where == PASSED_OVER:
        because = _origin(origins, "ignore_configured_endpoint_urls")
        return f"the region's own; those of environment and profile are passed over: {because}"
    return option_names.origin(where)


@attrs.define
class _Cause:
    """Why the profile cannot be read. It is said once, and other lines refer to that."""

    text: str
    row: str = ""  # the name of the line that says it

    def referred(self, text: str) -> str:
        """Return a text, or a reference when it only says this cause again."""
        return f"see {self.row} above" if self.text and self.text in text else text


async def _files(settings_sources: SettingsSources, cause: _Cause) -> list[Row]:
    rows = []
    for file in settings_sources.files.files:
        name = f"{file.kind} file"
        places = (f"{file.path}, line ", f"{file.path}: ", f"{file.shown}: ", file.fault or "\0")
        if cause.text.startswith(places):
            cause.row = name
            rows.append(Row(name, cause.text, wrong=True))
            continue
        if file.path is None:
            rows.append(Row(name, file.fault or "none: there is no home directory", wrong=bool(file.fault)))
            continue
        try:
            state = await FILE_READS.run(file.path, _state, file.path)
        except OSError as error:
            state = f"cannot be read: {reason_of(error)}"
        if file.named_by is not None and state == "missing":
            state = f"missing, although it is named: {file.named_by}"
        else:
            state += f" ({file.named_by or DEFAULT})"
        rows.append(Row(name, f"{file.path}: {state}"))
    return rows


def _state(path: Path) -> str:
    """Say whether a file can be read."""
    if str(path) == os.devnull:
        return "empty"
    try:
        read(path)  # as the library reads it: opening a FIFO would wait for its writer
        return "there"
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return f"cannot be read: {reason_of(error)}"


def _region(config: Config, found: Resolution, cause: _Cause) -> Row:
    fault = found.faults.get("region")
    if fault is not None:
        text = cause.referred(str(fault))
        return Row("region", f"none: {text}", wrong=text == str(fault))
    where = _origin(found.origins, "region")
    if config.region is None:
        return Row("region", f"none ({where})")
    known = is_known_region(config.region) or config.endpoint_url is not None
    remark = "no partition of AWS has regions with such a name"
    if known:
        remark = regions.unknown(config.region) if config.endpoint_url is None else ""
    return Row("region", f"{config.region} ({where})" + (f"; {remark}" if remark else ""), wrong=not known)


def _faults(found: Resolution, cause: _Cause) -> list[Row]:
    """Return a row for each option that cannot be read and has no line of its own."""
    own = {"region", "endpoint_url", "ca_bundle"}
    rows = []
    for name, fault in found.faults.items():
        if name not in own and cause.referred(str(fault)) == str(fault):
            # Options of the metadata service are needed only where it is asked.
            rows.append(Row("option", str(fault), wrong=not name.startswith("ec2_")))
    return rows


def _proxy(config: Config, origins: dict[str, str], endpoint: Endpoint) -> Row:
    option = "https_proxy" if endpoint.url.startswith("https:") else "http_proxy"
    option = option if config.proxy is None else "proxy"
    if getattr(config, option) is None:
        return Row("proxy", f"none ({DEFAULT})")
    where = _origin(origins, option)
    try:
        proxy = proxies_of(config).for_url(endpoint.url)
        if proxy is None:
            return Row("proxy", f"none: {_passed_by(config, origins, endpoint)} ({where} names one)")
        login = ", with a user and a password" if proxy.authorization else ""
        return Row("proxy", f"{proxy.url}{login} ({where})")
    except STSError as error:
        return Row("proxy", str(error), wrong=True)


def _passed_by(config: Config, origins: dict[str, str], endpoint: Endpoint) -> str:
    host = endpoint.host.rpartition(":")[0] if endpoint.host.rpartition(":")[2].isdigit() else endpoint.host
    if bypasses_proxy(host.strip("[]")):
        return f"{host} is reached directly, as this host and its link always are"
    return f"{_origin(origins, 'no_proxy')} excepts {host}"


async def _trust(config: Config, origins: dict[str, str], cause: _Cause) -> list[Row]:
    if not config.verify:
        return [Row("CA bundle", f"none: TLS verification is disabled ({option_names.setting('verify', 'False')})")]
    try:
        config.need("ca_bundle")
        trust = Trust.from_config(config)
        if config.ca_bundle is None or trust is None:
            return []
        context = await trust.load()
    except STSError as error:
        text = cause.referred(str(error))
        return [Row("CA bundle", text, wrong=text == str(error))]
    count = len(context.get_ca_certs())
    return [Row("CA bundle", f"{config.ca_bundle}: {count} certificates ({_origin(origins, 'ca_bundle')})")]


def _other_options(config: Config, origins: dict[str, str]) -> list[Row]:
    """Return a row for each further option that is not what it would be if nothing had set it."""
    rows = []
    for name, known in OPTIONS.items():
        value: Any = getattr(config, name)
        if name in ROWS_OF_THEIR_OWN or value == known.default or origins[name] in (DEFAULT, FAULTY):
            continue
        shown = "hidden" if known.kind.secret else value
        rows.append(Row("option", f"{name} = {shown} ({_origin(origins, name)})"))
    return rows


async def _sources(chain: DefaultChain, *, said: set[str], cause: _Cause) -> list[Row]:
    try:
        findings = (await chain.explain()).findings
    except STSError as error:
        if str(error) in said:
            return [Row("credentials", "not asked: correct what is WRONG above first")]
        return [Row("credentials", str(error), wrong=True)]
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


async def _identity(config: Config, chain: DefaultChain) -> Row:
    from .client import STSClient

    try:
        async with STSClient(config=config, credentials=chain) as sts:
            return Row("identity", (await sts.get_caller_identity()).arn or "STS named none")
    except ServiceError as error:
        return Row("identity", f"unknown: {error.with_encoded_message(str(error))}", wrong=True)
    except STSError as error:
        return Row("identity", f"unknown: {error}", wrong=True)
