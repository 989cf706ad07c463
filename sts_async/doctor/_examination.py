"""One examination: the options are resolved once, and each part of a call is looked at in turn."""

from .._config.resolution import DEFAULT
from .._wording import option_names
from ..config import Config, SettingsSources
from ..credentials.default import DefaultChain
from ..credentials.source import MFACode
from ._report import Cause, Report, Row
from ._settings import endpoint_row, fault_rows, file_rows, option_rows, proxy_row, region_row, trust_rows
from ._sources import NOT_ASKED, Answers, ask_sources, identity_row


async def examine(config: Config | None = None, *, mfa_code: MFACode | None = None, check: bool = False) -> Report:
    """
    Return what a call with these options would use.

    Every source of credentials is asked, also those behind the one that a call takes. So processes run, and SSO,
    containers and the metadata service get requests.

    Args:
        config: The options, as they are given; None for no options.
        mfa_code: Asked for the code of a profile with ``mfa_serial``.
        check: Whether to call GetCallerIdentity, to find out whether STS accepts the credentials.
    """
    settings_sources = SettingsSources(config or Config())
    given = settings_sources.config
    name, why = settings_sources.profile
    found = await settings_sources.look()
    resolved = settings_sources.filled(found)
    cause = Cause("" if found.place is None else str(found.place))
    files = await file_rows(settings_sources, cause)
    profile = Row("profile", f"{name} ({option_names.origin(why or DEFAULT)})")
    if cause.text and not cause.row:
        cause.row, profile = "profile", Row("profile", cause.text, wrong=True)
    endpoint, where = endpoint_row(resolved, found, cause)
    rows = [profile, *files, region_row(resolved, found, cause), where]
    if endpoint is not None:
        rows.append(proxy_row(resolved, found.origins, endpoint))
    trust = await trust_rows(resolved, found.origins, cause)
    rows += [*trust, *option_rows(resolved, found.origins), *fault_rows(found, cause)]
    chain = DefaultChain(mfa_code=mfa_code, settings_sources=settings_sources)
    if any(row.wrong for row in trust):
        said = Answers([Row("credentials", "not asked: correct the CA bundle above first")])
    elif found.place is not None and found.place.recoverable:
        said = Answers([NOT_ASKED])  # the sources would read the same files
    else:
        known = {row.text for row in rows if row.wrong}
        said = await ask_sources(chain, resolved, endpoint, given=given, cause=cause, known=known)
    rows += said.rows
    if check and any(row.wrong for row in rows):
        rows.append(Row("identity", "not checked: correct what is WRONG above first"))
    elif check:
        rows.append(await identity_row(given, chain))
    return Report(rows=tuple(rows), findings=said.findings)
