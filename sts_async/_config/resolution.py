"""
Resolution of options: code first, then the environment, then the profile, then the default.

Resolution never raises. An option that cannot be read has a *fault*: an error that is raised when a call needs the
option. Calls that do not need it still work. There are two kinds of faults. A fault of the value, such as an unknown
word, concerns one option. A fault of the place, such as a missing profile or an unreadable file, concerns every option
that the place could set.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from .._shape.secret import redact, redact_userinfo
from .._wording import option_names
from .._wording.option_names import GIVEN
from ..errors import ConfigurationError, InvalidConfigFile
from .options import DESTINATION, TRUST, Option, Text
from .sections import Section, SharedConfig
from .services import STS, ProfileSettings, configured_url

DEFAULT_PROFILE = "default"
# Origins that are neither a variable nor a profile key. `GIVEN` is a further one.
DEFAULT, PASSED_OVER, FAULTY = "the default", "ignored", "invalid"


class ProfileName(NamedTuple):
    """
    The selected profile.

    Attributes:
        name: Name of the profile.
        origin: Where the name comes from, for messages; None for the default profile, which may be missing.
    """

    name: str
    origin: str | None = None


class Resolution(NamedTuple):
    """
    The resolved options of a client.

    Attributes:
        values: The value of each option; the default if the option has a fault.
        origins: The origin of each value, for messages.
        faults: The errors of the options that cannot be read.
        place: The error if the profile cannot be read, or None.
        warnings: Values that were changed, and settings that were not read, without an effect on calls.
        unread: Default files that cannot be read, each with the reason. They could contain a missing setting.
        doubtful: Those of *unread* that exist or may exist.
    """

    values: dict[str, Any]
    origins: dict[str, str]
    faults: dict[str, ConfigurationError]
    place: InvalidConfigFile | None
    warnings: list[str]
    unread: tuple[str, ...]
    doubtful: tuple[str, ...]


def variables_of(environ: Mapping[str, str], *, names: Sequence[str], hidden: Collection[str]) -> Mapping[str, str]:
    """
    Return a copy of the variables that set options, without blank ones.

    Other variables hold keys. With the copy, a traceback that shows local variables cannot show them.

    Args:
        environ: The environment.
        names: Names of the variables to copy.
        hidden: Names of the variables with secret values.
    """
    # CVE-2016-1000110: under CGI, a request's Proxy header sets HTTP_PROXY.
    ignored = {"HTTP_PROXY"} if "REQUEST_METHOD" in environ else set()
    return {
        name: redact(value) if name in hidden else redact_userinfo(value)
        for name in names
        if name not in ignored and (value := environ.get(name, "").strip())
    }


def pass_on(faults: dict[str, ConfigurationError], name: str, *, to: str) -> None:
    """Copy the fault of an option to the option *to*, whose default depends on it."""
    if name in faults:
        faults.setdefault(to, faults[name])


def profile_name(given: str | None, *, variables: tuple[str, ...], environ: Mapping[str, str]) -> ProfileName:
    """Return the selected profile: from code, else from the first variable that is set, else the default profile."""
    if given is not None:
        return ProfileName(given, GIVEN)
    for variable in variables:
        if variable in environ:
            return ProfileName(environ[variable], f"named by {variable}")
    return ProfileName(DEFAULT_PROFILE)


def section_of(shared: SharedConfig, profile: ProfileName) -> Section | None:
    """
    Return the section of the selected profile, or None if the default profile is missing.

    Raises:
        InvalidConfigFile: A profile that was named is missing. Or the profile exists, or was named, and a file that
            could add to it cannot be read. For example, the keys in one file can be the source of a role in the other.
    """
    section = shared.profiles.get(profile.name)
    if profile.origin is None and (section is None or not shared.doubtful):
        return section
    called = f"profile {profile.name!r}, {option_names.origin(profile.origin or DEFAULT)},"
    if section is not None and shared.doubtful:
        raise InvalidConfigFile(
            f"{called} is in {section.file}, but a file that cannot be read may contain more of it: "
            f"{'; '.join(shared.doubtful)}"
        )
    if section is None and shared.unread:
        raise InvalidConfigFile(f"{called} may be in a file that cannot be read: {'; '.join(shared.unread)}")
    if section is None:
        absent = f" ({'; '.join(shared.absent)})" if shared.absent else ""
        problem = f"{called} is neither in the config nor in the credentials file{absent}"
        raise InvalidConfigFile(shared.lacks(problem, "profile", profile.name, others=True))
    return section


def resolve(
    given: Mapping[str, Any],
    *,
    options: Mapping[str, Option],
    environ: Mapping[str, str],
    shared: SharedConfig | InvalidConfigFile,
    profile: ProfileName,
) -> Resolution:
    """
    Return the value and the origin of each option, or its fault.

    Args:
        given: The value of each option in code, or None.
        options: The definition of each option.
        environ: The variables, without blank ones.
        shared: The contents of the shared files, or the error if they cannot be read.
        profile: The selected profile.
    """
    section, place, blocked = _selected_section(shared, profile)
    contents = SharedConfig() if isinstance(shared, InvalidConfigFile) else shared
    found = Resolution({}, {}, {}, place, [], contents.unread, contents.doubtful)
    defaulted = []
    for name, known in options.items():
        if given[name] is not None:
            found.values[name], found.origins[name] = given[name], GIVEN
        elif place is not None and known.key is not None and not _is_set(known, environ):
            found.values[name], found.origins[name] = known.default, DEFAULT
            if known.decides in blocked:
                found.origins[name] = FAULTY
                found.faults[name] = _fault_of_place(place, name)
            else:
                defaulted.append(name)
        else:
            _read_option(found, name, known, environ, section)
    if given["endpoint_url"] is None:
        _choose_endpoint_url(found, options["endpoint_url"], environ, shared, section)
    # A fault of the region or the endpoint already has the same text as this warning.
    if defaulted and not {"region", "endpoint_url"} & found.faults.keys():
        found.warnings.append(f"{place}; defaults apply for: {', '.join(defaulted)}")
    return found


def _selected_section(
    shared: SharedConfig | InvalidConfigFile, profile: ProfileName
) -> tuple[Section | None, InvalidConfigFile | None, frozenset[str]]:
    """
    Return the section of the profile, the error if it cannot be read, and the kinds of options without a default then.

    The kinds are values of `Option.decides`.
    """
    if isinstance(shared, InvalidConfigFile):
        return None, shared, frozenset({DESTINATION, TRUST})
    try:
        return section_of(shared, profile), None, frozenset()
    except InvalidConfigFile as error:
        place = error.with_traceback(None)
    # A profile that does not exist sets no certificate authorities. A file that cannot be read may set some.
    return None, place, frozenset({DESTINATION, TRUST} if shared.doubtful else {DESTINATION})


def _fault_of_place(place: InvalidConfigFile, name: str) -> InvalidConfigFile:
    alternative = f"{option_names.option(name)} could be set there: pass {option_names.setting(name)}"
    fault = InvalidConfigFile(f"{place}; correct that first ({alternative})")
    fault.recoverable = place.recoverable
    return fault


def _is_set(known: Option, environ: Mapping[str, str]) -> bool:
    return any(variable in environ for variable in known.variables)


def _read_option(
    found: Resolution, name: str, known: Option, environ: Mapping[str, str], section: Section | None
) -> None:
    """Read an option that is not given in code from the first variable that is set, or from the profile."""
    found.values[name], found.origins[name] = known.default, DEFAULT
    text = next(known.texts(environ, [] if section is None else [section]), None)
    if text is not None:
        _parse_option(found, name, known, text)


def _parse_option(found: Resolution, name: str, known: Option, source: Text) -> None:
    """Store the value that a text means, or the fault of the option."""
    text, origin, remark = source
    try:
        value = known.read(text, origin=origin, remark=remark)
    except ConfigurationError as error:
        found.values[name], found.origins[name] = known.default, FAULTY
        found.faults[name] = error.with_traceback(None)
        return
    found.values[name], found.origins[name] = value, origin
    if known.kind.repair is not None and value != text:
        found.warnings.append(f"{origin} is sent as {str.__str__(value)!r}: {known.kind.repaired}")


def _choose_endpoint_url(
    found: Resolution,
    known: Option,
    environ: Mapping[str, str],
    shared: SharedConfig | InvalidConfigFile,
    section: Section | None,
) -> None:
    """Remove the endpoint URL if configured URLs are ignored; replace it if the profile has a URL for STS."""
    name = "endpoint_url"
    if found.values["ignore_configured_endpoint_urls"]:
        found.values[name], found.origins[name] = None, PASSED_OVER
        found.faults.pop(name, None)
        return
    if section is None or isinstance(shared, InvalidConfigFile) or _is_set(known, environ):
        return
    try:
        url = configured_url(STS, environ, [ProfileSettings.from_section(shared, section)])
    except InvalidConfigFile as error:
        found.values[name], found.origins[name] = None, FAULTY
        found.faults[name] = error.with_traceback(None)
        return
    if url is not None:
        # The URL for all services is not used, so its fault does not count.
        found.faults.pop(name, None)
        _parse_option(found, name, known, url)
