"""
Options from outside of the program: what is given in code, then the environment, then the profile, then a default.

Finding them never raises. An option that cannot be read has a *fault*, which is raised when the option is needed: an
option that no call needs breaks none. There are two sorts of faults. That of a value is its option's own. That of the
place, such as a profile that is missing or a file that is broken, is the fault of every option that could stand there.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from .._shape.secret import redact, redact_userinfo
from .._wording import option_names
from .._wording.option_names import GIVEN
from ..errors import ConfigurationError, InvalidConfigFile
from .lookup import Text, texts
from .options import DESTINATION, TRUST, Option
from .sections import Section, SharedConfig
from .services import STS, ProfileSettings, configured_url

DEFAULT_PROFILE = "default"
DEFAULT, PASSED_OVER = "the default", "passed over"  # origins that are no place outside, as GIVEN is
FAULTY = "not known"


class ProfileName(NamedTuple):
    """
    The profile that is in force.

    Attributes:
        name: Its name.
        origin: In words where the name comes from; None for the default, which may be missing.
    """

    name: str
    origin: str | None = None


class Resolution(NamedTuple):
    """
    The options of a client, as they were found.

    Attributes:
        values: The value of each option; the default where it has a fault.
        origins: In words where each comes from.
        faults: Why options cannot be read.
        place: Why the profile cannot be read, or None.
        warnings: What was read otherwise than it stands, or not read, and stops no call.
        unread: Default files that cannot be read, and why: what is found nowhere could stand there.
        doubtful: Those of them that may say something all the same.
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
    Return a copy of the variables that options are read from, without the blank ones.

    A copy, because the others hold keys, and a traceback that shows local variables must not.

    Args:
        environ: The environment.
        names: The variables.
        hidden: Those of them whose values are secret.
    """
    # CVE-2016-1000110: under CGI, a request's Proxy header sets HTTP_PROXY.
    passed_over = {"HTTP_PROXY"} if "REQUEST_METHOD" in environ else set()
    return {
        name: redact(value) if name in hidden else redact_userinfo(value)
        for name in names
        if name not in passed_over and (value := environ.get(name, "").strip())
    }


def pass_on(faults: dict[str, ConfigurationError], name: str, *, to: str) -> None:
    """Have an option whose default follows from another one share its fault."""
    if name in faults:
        faults.setdefault(to, faults[name])


def profile_name(given: str | None, *, variables: tuple[str, ...], environ: Mapping[str, str]) -> ProfileName:
    """Return the profile that is in force: the one that is given in code, or that the first of *variables* names."""
    if given is not None:
        return ProfileName(given, GIVEN)
    for variable in variables:
        if variable in environ:
            return ProfileName(environ[variable], f"named by {variable}")
    return ProfileName(DEFAULT_PROFILE)


def section_of(shared: SharedConfig, profile: ProfileName) -> Section | None:
    """
    Return the profile that is in force, or None where it is the default one and missing.

    Raises:
        InvalidConfigFile: A profile that was named is missing. Or a profile is there, or was named, and a file that
            could say more of it cannot be read: the keys of one file may be those for a role in the other.
    """
    section = shared.profiles.get(profile.name)
    if profile.origin is None and (section is None or not shared.doubtful):
        return section
    called = f"profile {profile.name!r}, {option_names.origin(profile.origin or DEFAULT)},"
    if section is not None and shared.doubtful:
        raise InvalidConfigFile(
            f"{called} stands in {section.file}, but a file that cannot be read may say more of it: "
            f"{'; '.join(shared.doubtful)}"
        )
    if section is None and shared.unread:
        raise InvalidConfigFile(f"{called} may stand in a file that cannot be read: {'; '.join(shared.unread)}")
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
    Return the value of each option, and where it comes from, or why it cannot be read.

    Args:
        given: The value of each option that is given in code, else None.
        options: What each can be, and where it can come from.
        environ: The variables, without the blank ones.
        shared: What the shared files say, or why they cannot be read.
        profile: The profile that is in force.
    """
    section, place, blocked = _place(shared, profile)
    said = SharedConfig() if isinstance(shared, InvalidConfigFile) else shared
    found = Resolution({}, {}, {}, place, [], said.unread, said.doubtful)
    defaulted = []
    for name, known in options.items():
        if given[name] is not None:
            found.values[name], found.origins[name] = given[name], GIVEN
        elif place is not None and known.key is not None and not _is_set(known, environ):
            found.values[name], found.origins[name] = known.default, DEFAULT
            if known.decides in blocked:
                found.origins[name] = FAULTY
                found.faults[name] = _of_place(place, name)
            else:
                defaulted.append(name)
        else:
            _read(found, name, known, environ, section)
    if given["endpoint_url"] is None:
        _choose_endpoint_url(found, options["endpoint_url"], environ, shared, section)
    if defaulted and not {"region", "endpoint_url"} & found.faults.keys():  # else an error says it
        found.warnings.append(f"{place}; defaults apply for: {', '.join(defaulted)}")
    return found


def _place(
    shared: SharedConfig | InvalidConfigFile, profile: ProfileName
) -> tuple[Section | None, InvalidConfigFile | None, frozenset[str]]:
    """Return the profile; or why it cannot be read, and what the options decide that have no default then."""
    if isinstance(shared, InvalidConfigFile):
        return None, shared, frozenset({DESTINATION, TRUST})
    try:
        return section_of(shared, profile), None, frozenset()
    except InvalidConfigFile as error:
        place = error.with_traceback(None)
    # A profile that does not exist names no authorities. In a file that cannot be read there may be some.
    return None, place, frozenset({DESTINATION, TRUST} if shared.doubtful else {DESTINATION})


def _of_place(place: InvalidConfigFile, name: str) -> InvalidConfigFile:
    aside = f"{option_names.option(name)} could be set there: pass {option_names.setting(name)}"
    fault = InvalidConfigFile(f"{place}; correct that first ({aside})")
    fault.recoverable = place.recoverable
    return fault


def _is_set(known: Option, environ: Mapping[str, str]) -> bool:
    return any(variable in environ for variable in known.variables)


def _read(found: Resolution, name: str, known: Option, environ: Mapping[str, str], section: Section | None) -> None:
    """Read an option that is not given in code from the first variable that is set, or from the profile."""
    found.values[name], found.origins[name] = known.default, DEFAULT
    said = next(texts(known, environ, [] if section is None else [section]), None)
    if said is not None:
        _take(found, name, known, said)


def _take(found: Resolution, name: str, known: Option, said: Text) -> None:
    text, origin, remark = said
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
    """Pass over the endpoint that was found, or put that of the service in its place."""
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
        found.faults.pop(name, None)  # of the endpoint of all services, which is not used
        _take(found, name, known, url)
