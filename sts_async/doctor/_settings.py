"""The rows of a report that come from files and options."""

import os
from pathlib import Path
from typing import Any

from .._config.certificates import Trust
from .._config.resolution import DEFAULT, FAULTY, PASSED_OVER, Resolution
from .._engine.build import endpoint_of, proxies_of
from .._protocol import known_regions
from .._protocol.endpoints import Endpoint, is_known_region
from .._protocol.proxies import bypasses_proxy
from .._runtime.file_reads import FILE_READS
from .._runtime.files import read
from .._wording import option_names
from .._wording.os_errors import reason_of
from ..config import OPTIONS, Config, SettingsSources
from ..errors import STSError
from ._report import Cause, Row

ROWS_OF_THEIR_OWN = {"profile", "config_file", "credentials_file", "region", "endpoint_url", "proxy", "https_proxy"}
ROWS_OF_THEIR_OWN |= {"http_proxy", "ca_bundle", "verify", "handlers"}


def origin_of(option: str, origins: dict[str, str]) -> str:
    """Return in words where the value of *option* comes from."""
    where = origins[option]
    if where == PASSED_OVER:
        because = origin_of("ignore_configured_endpoint_urls", origins)
        return f"the region's own; those of environment and profile are ignored: {because}"
    return option_names.origin(where)


async def file_rows(settings_sources: SettingsSources, cause: Cause) -> list[Row]:
    """Return a row for each shared file; note in *cause* if one of them says it."""
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
    """Return in words whether a file can be read. Blocks."""
    if str(path) == os.devnull:
        return "empty"
    try:
        read(path)  # as the library reads it: opening a FIFO would wait for its writer
        return "there"
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return f"cannot be read: {reason_of(error)}"


def region_row(config: Config, found: Resolution, cause: Cause) -> Row:
    """Return the row of the region."""
    fault = found.faults.get("region")
    if fault is not None:
        text = cause.referred(str(fault))
        return Row("region", f"none: {text}", wrong=text == str(fault))
    where = origin_of("region", found.origins)
    if config.region is None:
        return Row("region", f"none ({where})")
    known = is_known_region(config.region) or config.endpoint_url is not None
    remark = "no partition of AWS has regions with such a name"
    if known:
        remark = known_regions.unknown(config.region) if config.endpoint_url is None else ""
    return Row("region", f"{config.region} ({where})" + (f"; {remark}" if remark else ""), wrong=not known)


def endpoint_row(config: Config, found: Resolution, cause: Cause) -> tuple[Endpoint | None, Row]:
    """Return where requests go, or None if that is not known, and the row that says so."""
    try:
        endpoint = endpoint_of(config)
    except STSError as error:
        region = found.faults.get("region")
        known = region is not None and str(region) == str(error)  # its line has said so
        text = "the region is not known" if known else cause.referred(str(error))
        return None, Row("endpoint", f"none: {text}", wrong=text == str(error))
    return endpoint, Row("endpoint", f"{endpoint.url} ({origin_of('endpoint_url', found.origins)})")


def fault_rows(found: Resolution, cause: Cause) -> list[Row]:
    """Return a row for each option that cannot be read and has no line of its own."""
    own = {"region", "endpoint_url", "ca_bundle"}
    rows = []
    for name, fault in found.faults.items():
        if name not in own and cause.referred(str(fault)) == str(fault):
            # Options of the metadata service are needed only where it is asked.
            rows.append(Row("option", str(fault), wrong=not name.startswith("ec2_")))
    return rows


def proxy_row(config: Config, origins: dict[str, str], endpoint: Endpoint) -> Row:
    """Return the row of the proxy for *endpoint*."""
    option = "https_proxy" if endpoint.url.startswith("https:") else "http_proxy"
    option = option if config.proxy is None else "proxy"
    if getattr(config, option) is None:
        return Row("proxy", f"none ({DEFAULT})")
    where = origin_of(option, origins)
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
    return f"{origin_of('no_proxy', origins)} excepts {host}"


async def trust_rows(config: Config, origins: dict[str, str], cause: Cause) -> list[Row]:
    """Return the row of the CA bundle, if there is anything to say about it."""
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
    return [Row("CA bundle", f"{config.ca_bundle}: {count} certificates ({origin_of('ca_bundle', origins)})")]


def option_rows(config: Config, origins: dict[str, str]) -> list[Row]:
    """Return a row for each further option that is not what it would be if nothing had set it."""
    rows = []
    for name, known in OPTIONS.items():
        value: Any = getattr(config, name)
        if name in ROWS_OF_THEIR_OWN or value == known.default or origins[name] in (DEFAULT, FAULTY):
            continue
        shown = "hidden" if known.kind.secret else value
        rows.append(Row("option", f"{name} = {shown} ({origin_of(name, origins)})"))
    return rows
