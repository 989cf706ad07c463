"""
Contents of the shared files as values: profiles, sso-sessions, services and ignored lines.

Messages name the file, the line, the profile and the key. They never show a value, because any part of these files can
be a secret.
"""

import string
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import attrs

from .._shape.secret import Secret
from ..errors import InvalidConfigFile

SectionKind = Literal["profile", "sso-session", "services"]
Kind = Literal["config", "credentials"]
"""The kind of a shared file. The two files write the names of profiles differently."""

MAX_SHOWN = 128  # characters of a section's name in a message
MAX_PROFILES = 10  # names of profiles in a message
PLAIN = frozenset(string.ascii_letters + string.digits + "_-/.%@:+")  # characters of names without quotes
MAX_NAMED = 3  # ignored lines in a message

NOTHING: Mapping[str, Any] = MappingProxyType({})
# Prefixes that users write for a section, without spaces and hyphens.
_PREFIXES: dict[SectionKind, tuple[str, ...]] = {
    "profile": ("", "profile", "profiles"),
    "sso-session": ("", "ssosession", "ssosessions", "sso"),
    "services": ("", "services", "service"),
}


@attrs.frozen
class Value:
    """
    The value of a property, or of a sub-property.

    Two values are equal if their texts and sub-properties are equal; file and line do not count.

    Attributes:
        text: The value, without surrounding whitespace; newlines join continuation lines. Empty if there are
            sub-properties.
        file: The file, as messages show it.
        line: The line in the file; the first is 1.
        nested: The sub-properties by lower-case key.
        remark: A possible misunderstanding: a comment was removed, or the value continues on other lines. Errors about
            the value end with it. It can be empty.
    """

    text: Secret
    file: str = attrs.field(eq=False)
    line: int = attrs.field(eq=False)
    nested: Mapping[str, "Value"] = attrs.field(default=NOTHING, repr=False)
    remark: str = attrs.field(default="", eq=False)


@attrs.frozen
class Ignored:
    """
    A line that has no effect.

    Attributes:
        text: The text in the brackets of a section, or the key of a property.
        file: The file, as messages show it.
        line: The line in the file; the first is 1.
        reason: The rule that the line breaks.
        heading: The heading of a profile in this file, with ``{}`` for the name; empty for a property.
    """

    text: Secret
    file: str
    line: int
    reason: str
    heading: str = ""

    def __str__(self) -> str:
        return f"line {self.line} of {self.file} is ignored: {self.reason}"

    def may_mean(self, kind: SectionKind, name: str) -> bool:
        """Return True if this section looks like a misspelt section of this kind and name."""
        actual, wanted = _bare(self.text), _bare(name)
        return bool(wanted) and actual.endswith(wanted) and _bare(actual[: -len(wanted)], "-_:.") in _PREFIXES[kind]

    def may_set(self, key: str) -> bool:
        """Return True if this property looks like a misspelt *key*."""
        return _bare(self.text, "-_") == _bare(key, "-_")


@attrs.frozen
class Section:
    """
    A profile, an sso-session or a services section.

    Two sections are equal if they have the same settings; files and lines do not count. So a profile that only moved
    in its file has not changed.

    Attributes:
        kind: The kind of the section.
        name: Its name, without the prefix.
        values: Its properties by lower-case key. A value in the credentials file replaces the value in the config file.
        file: The file with its first heading, as messages show it.
        line: The line of that heading; the first line is 1.
        ignored: Its properties that have no effect.
    """

    kind: SectionKind
    name: str
    values: Mapping[str, Value] = attrs.field(repr=False)  # a torn secret can end up as a key
    file: str = attrs.field(eq=False)
    line: int = attrs.field(eq=False)
    ignored: tuple[Ignored, ...] = attrs.field(default=(), eq=False, repr=False)

    def get(self, key: str) -> Secret | None:
        """Return the value of a lower-case key; None if it is missing, blank, or has sub-properties."""
        value = self.values.get(key)
        return value.text if value is not None and str.strip(value.text) else None

    def where(self, key: str | None = None) -> str:
        """
        Return the place of the section or of a key: ``profile 'x', key region (~/.aws/config, line 7)``.

        The place of a missing key has the line of the section.
        """
        place = self if key is None else self.values.get(key, self)
        return f"{called(self.kind, self.name, key)} ({place.file}, line {place.line})"

    def remark(self, key: str) -> str:
        """Return the remark on the value of a key: see `Value.remark`."""
        value = self.values.get(key)
        return "" if value is None else value.remark

    def fault(self, problem: str, key: str) -> str:
        """
        Return the message of an error about the value of a key.

        Args:
            problem: The problem, which follows the place of the key, such as "must be true or false".
            key: The lower-case key.
        """
        return with_remark(f"{self.where(key)} {problem}", self.remark(key))

    def lacks(self, problem: str, key: str, *, because: str | None = None) -> str:
        """
        Return the message of an error about keys that are missing.

        The message names a blank value, and ignored lines that look like the key.

        Args:
            problem: The problem, which follows the place.
            key: The lower-case key that is missing.
            because: The key that requires it; None for the section.
        """
        text = f"{self.where(because)} {problem}"
        value = self.values.get(key)
        if value is not None:
            reason = "has indented properties below it" if value.nested else "is empty"
            text = with_remark(f"{text}; {key} in line {value.line} of {value.file} {reason}", value.remark)
        return text + named([line for line in self.ignored if line.may_set(key)])

    def lacks_all(self, problem: str) -> str:
        """Return the message of an error about a section without the keys that it needs, with its ignored lines."""
        return f"{self.where()} {problem}{named(self.ignored)}"


@attrs.frozen
class SharedConfig:
    """
    Contents of the shared files.

    Attributes:
        profiles: The profiles by name.
        sso_sessions: The sso-sessions by name.
        services: The services sections by name.
        warnings: Messages about ignored lines, at most 21 for each file; each names the file, and usually the line.
        ignored: The sections that have no effect.
        unread: Default files that cannot be read and count as empty, each with the reason.
        doubtful: Those of *unread* that exist or may exist as files: a directory is not one of them.
        absent: Named files that do not exist and count as empty, each with the option or variable that names it.
    """

    profiles: Mapping[str, Section] = NOTHING
    sso_sessions: Mapping[str, Section] = NOTHING
    services: Mapping[str, Section] = NOTHING
    warnings: tuple[str, ...] = ()
    ignored: tuple[Ignored, ...] = attrs.field(default=(), eq=False, repr=False)
    unread: tuple[str, ...] = ()
    doubtful: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()

    def lacks(self, problem: str, kind: SectionKind, name: str, *, others: bool = False) -> str:
        """
        Return the message of an error about a section that is missing.

        The message names ignored lines that look like the section.

        Args:
            problem: The problem.
            kind: The kind of the missing section.
            name: The name of the missing section.
            others: Whether to list the existing profiles, because the name may be misspelt.
        """
        meant = [line for line in self.ignored if line.may_mean(kind, name)]
        plain = PLAIN.issuperset(name) and len(name) <= MAX_SHOWN  # other names need quotes in a heading
        if kind == "profile" and plain:
            meant = [attrs.evolve(line, reason=f"write [{line.heading.format(name)}] there") for line in meant]
        return problem + (named(meant) or (self._others(name) if others else ""))

    def _others(self, name: str) -> str:
        """Return the part of a message that lists the existing profiles, after the profile *name* was not found."""
        if not self.profiles:
            return "; there is no profile in them"
        import difflib  # imported here, because it is needed only for a misspelt profile

        names = sorted(self.profiles)
        like = difflib.get_close_matches(str.__str__(name).strip("'\""), names, n=1)
        shown = ", ".join(repr(existing[:MAX_SHOWN]) for existing in names[:MAX_PROFILES])
        more = f" and {len(names) - MAX_PROFILES:,} more" if len(names) > MAX_PROFILES else ""
        text = f"; correct the name: the profiles there are {shown}{more}"
        return text + (f"; did you mean {like[0][:MAX_SHOWN]!r}?" if like else "")


EMPTY = SharedConfig()


def merge(config: SharedConfig, credentials: SharedConfig) -> SharedConfig:
    """Return the contents of both files. If both set a key of a profile, the value in *credentials* is used."""
    profiles = dict(config.profiles)
    for name, section in credentials.profiles.items():
        in_config = profiles.get(name)
        if in_config is not None:
            section = attrs.evolve(
                in_config,
                values=MappingProxyType({**in_config.values, **section.values}),
                ignored=in_config.ignored + section.ignored,
            )
        profiles[name] = section
    return SharedConfig(
        profiles=MappingProxyType(profiles),
        sso_sessions=MappingProxyType({**config.sso_sessions, **credentials.sso_sessions}),
        services=MappingProxyType({**config.services, **credentials.services}),
        warnings=config.warnings + credentials.warnings,
        ignored=config.ignored + credentials.ignored,
    )


def service_value(
    shared: SharedConfig, profile: Section, *, service: str = "sts", key: str = "endpoint_url"
) -> Value | None:
    """
    Return the value that a profile sets for one service.

    The profile has ``services = X``, and ``[services X]`` has the sub-property *key* of *service*. None if any of them
    is missing or blank.

    Raises:
        InvalidConfigFile: There is no section ``[services X]``.
    """
    name = profile.get("services")
    if name is None:
        return None
    section = shared.services.get(name)
    if section is None:
        problem = profile.fault("names a services section that does not exist", "services")
        raise InvalidConfigFile(shared.lacks(problem, "services", name))
    settings = section.values.get(service)
    value = None if settings is None else settings.nested.get(key)
    return value if value is not None and value.text.strip() else None


def called(kind: SectionKind, name: str, key: str | None) -> str:
    """Return the name of a section, or of one of its keys, for messages."""
    shown = name if len(name) <= MAX_SHOWN else name[:MAX_SHOWN] + "..."
    return f"{kind} '{shown}'" + ("" if key is None else f", key {key}")


def with_remark(problem: str, remark: str) -> str:
    """Return the message of an error about a value, followed by the remark on the value."""
    return f"{problem}; {remark}" if remark else problem


def in_quotes(text: str) -> bool:
    """Return True if a value is in quotes. The files have no quoting, so the quotes are part of the value."""
    text = str.__str__(text)
    return len(text) > 1 and text[0] in "'\"" and text[0] == text[-1] and text[0] not in text[1:-1]


def quotes_remark(text: str) -> str:
    """Return the remark on a value in quotes; empty for other values."""
    return "quotes are part of a value: write it without them" if in_quotes(text) else ""


def named(lines: Sequence[Ignored]) -> str:
    """Return the part of a message that lists ignored lines; empty if there are none."""
    text = "".join(f"; {line}" for line in lines[:MAX_NAMED])
    return f"{text}; {len(lines) - MAX_NAMED:,} more lines are ignored" if len(lines) > MAX_NAMED else text


def _bare(text: str, dropped: str = "") -> str:
    """Return a text in lower case without whitespace, quotes, backslashes and the characters of *dropped*."""
    return "".join(c for c in str.__str__(text).casefold() if not c.isspace() and c not in "'\"\\" + dropped)
