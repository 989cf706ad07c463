"""
What the shared files say, as values: profiles, sso-sessions and services, and the lines that were ignored.

Messages name the file, the line, the profile and the key. They never show a value, since any part of these files can
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
"""Which of the two files it is: they spell profiles differently."""

MAX_SHOWN = 128  # characters of a section's name in a message
MAX_PROFILES = 10  # whose names one message lists
PLAIN = frozenset(string.ascii_letters + string.digits + "_-/.%@:+")  # characters of names without quotes
MAX_NAMED = 3  # ignored lines that one message names

NOTHING: Mapping[str, Any] = MappingProxyType({})
# What people write for the prefix of a section, without blanks and hyphens.
_PREFIXES: dict[SectionKind, tuple[str, ...]] = {
    "profile": ("", "profile", "profiles"),
    "sso-session": ("", "ssosession", "ssosessions", "sso"),
    "services": ("", "services", "service"),
}


@attrs.frozen
class Value:
    """
    The value of a property, or of a sub-property.

    Two are equal when they say the same, wherever they stand.

    Attributes:
        text: The value, without the blanks around it; continuation lines are joined with newlines. Empty when there
            are sub-properties.
        file: The file, as messages show it.
        line: The line in it, from 1.
        nested: The sub-properties by lower-case key.
        remark: How the value differs from what the line seems to say: a comment was cut off, or it continues on other
            lines. Errors about the value end with it. Empty when there is nothing to say.
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
        text: What is in the brackets of a section, or the key of a property.
        file: The file, as messages show it.
        line: The line in it, from 1.
        reason: The rule that it breaks.
        heading: How a profile is spelled in this file, with ``{}`` for its name; empty for a property.
    """

    text: Secret
    file: str
    line: int
    reason: str
    heading: str = ""

    def __str__(self) -> str:
        return f"line {self.line} of {self.file} is ignored: {self.reason}"

    def may_mean(self, kind: SectionKind, name: str) -> bool:
        """Return whether this section may have been meant to be the one of this kind and name."""
        said, wanted = _bare(self.text), _bare(name)
        return bool(wanted) and said.endswith(wanted) and _bare(said[: -len(wanted)], "-_:.") in _PREFIXES[kind]

    def may_set(self, key: str) -> bool:
        """Return whether this property may have been meant to be *key*."""
        return _bare(self.text, "-_") == _bare(key, "-_")


@attrs.frozen
class Section:
    """
    A profile, an sso-session or a services section.

    Two are equal when they have the same settings, wherever those stand, so a profile that has only moved in its file
    has not changed.

    Attributes:
        kind: What it is.
        name: Its name, without the prefix.
        values: What it sets, by lower-case key. A value of the credentials file stands instead of one of the config
            file.
        file: The file in which it comes first, as messages show it.
        line: The line there, from 1.
        ignored: Its properties that have no effect.
    """

    kind: SectionKind
    name: str
    values: Mapping[str, Value] = attrs.field(repr=False)  # a torn secret can end up as a key
    file: str = attrs.field(eq=False)
    line: int = attrs.field(eq=False)
    ignored: tuple[Ignored, ...] = attrs.field(default=(), eq=False, repr=False)

    def get(self, key: str) -> Secret | None:
        """Return what a lower-case key is set to; None when it is not set, blank, or has sub-properties."""
        value = self.values.get(key)
        return value.text if value is not None and str.strip(value.text) else None

    def where(self, key: str | None = None) -> str:
        """
        Return where the section, or one of its keys, is defined: ``profile 'x', key region (~/.aws/config, line 7)``.

        A key that is not set is shown with the line of the section.
        """
        place = self if key is None else self.values.get(key, self)
        return f"{called(self.kind, self.name, key)} ({place.file}, line {place.line})"

    def remark(self, key: str) -> str:
        """Return how the value of a key differs from what its line seems to say; empty when it does not."""
        value = self.values.get(key)
        return "" if value is None else value.remark

    def fault(self, problem: str, key: str) -> str:
        """
        Return the message of an error about the value of a key.

        Args:
            problem: What is wrong, to follow the place of the key, such as "must be true or false".
            key: The lower-case key.
        """
        return with_remark(f"{self.where(key)} {problem}", self.remark(key))

    def lacks(self, problem: str, key: str, *, because: str | None = None) -> str:
        """
        Return the message of an error about keys that are missing.

        It names a value that is blank, and ignored lines that may have been meant to set the key.

        Args:
            problem: What is wrong.
            key: The lower-case key that is missing.
            because: The key that needs it; None for the section.
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
    What the shared files say.

    Attributes:
        profiles: The profiles by name.
        sso_sessions: The sso-sessions by name.
        services: The services sections by name.
        warnings: What was ignored, at most 21 lines for each file; each names the file, and the line if it is one.
        ignored: The sections that have no effect.
        unread: Default files that cannot be read and count as empty, each with the reason.
        doubtful: Those of *unread* that may say something all the same: not a directory, for example.
        absent: Files that were named and do not exist, which count as empty, each with what named it.
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

        It names ignored lines that may have been meant to be the section.

        Args:
            problem: What is wrong.
            kind: The kind of the section that is missing.
            name: Its name.
            others: Whether to name the profiles that there are, because this name may be misspelt.
        """
        meant = [line for line in self.ignored if line.may_mean(kind, name)]
        plain = PLAIN.issuperset(name) and len(name) <= MAX_SHOWN  # others stand in quotes, by the rule
        if kind == "profile" and plain:
            meant = [attrs.evolve(line, reason=f"write [{line.heading.format(name)}] there") for line in meant]
        return problem + (named(meant) or (self._others(name) if others else ""))

    def _others(self, name: str) -> str:
        """Return what a message says about the profiles that there are, where one of another name is missing."""
        if not self.profiles:
            return "; there is no profile in them"
        import difflib  # here: few programs misspell a profile

        names = sorted(self.profiles)
        like = difflib.get_close_matches(str.__str__(name).strip("'\""), names, n=1)
        shown = ", ".join(repr(one[:MAX_SHOWN]) for one in names[:MAX_PROFILES])
        more = f" and {len(names) - MAX_PROFILES:,} more" if len(names) > MAX_PROFILES else ""
        text = f"; correct the name: the profiles there are {shown}{more}"
        return text + (f"; did you mean {like[0][:MAX_SHOWN]!r}?" if like else "")


EMPTY = SharedConfig()


def merge(config: SharedConfig, credentials: SharedConfig) -> SharedConfig:
    """Return both together. A key that both set in a profile has the whole value that *credentials* gives it."""
    profiles = dict(config.profiles)
    for name, section in credentials.profiles.items():
        below = profiles.get(name)
        if below is not None:
            section = attrs.evolve(
                below,
                values=MappingProxyType({**below.values, **section.values}),
                ignored=below.ignored + section.ignored,
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
    Return what a profile sets for one service: ``services = X`` there, and in ``[services X]`` the sub-property *key*
    of *service*. None when any of them is missing or blank.

    Raises:
        InvalidConfigFile: There is no ``[services X]``.
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
    """Return what messages call a section, or a key of it."""
    shown = name if len(name) <= MAX_SHOWN else name[:MAX_SHOWN] + "..."
    return f"{kind} '{shown}'" + ("" if key is None else f", key {key}")


def with_remark(problem: str, remark: str) -> str:
    """Return the message of an error about a value, with what there is to remark on the value."""
    return f"{problem}; {remark}" if remark else problem


def in_quotes(text: str) -> bool:
    """Return whether a value stands in quotes, which are part of it."""
    text = str.__str__(text)
    return len(text) > 1 and text[0] in "'\"" and text[0] == text[-1] and text[0] not in text[1:-1]


def quotes_remark(text: str) -> str:
    """Return what to remark on a value that stands in quotes; empty when it does not."""
    return "quotes are part of a value: write it without them" if in_quotes(text) else ""


def named(lines: Sequence[Ignored]) -> str:
    """Return what a message says about ignored lines: nothing when there are none."""
    text = "".join(f"; {line}" for line in lines[:MAX_NAMED])
    return f"{text}; {len(lines) - MAX_NAMED:,} more lines are ignored" if len(lines) > MAX_NAMED else text


def _bare(text: str, dropped: str = "") -> str:
    """Return a text in lower case without blanks, quotes and backslashes, and without the characters of *dropped*."""
    return "".join(one for one in str.__str__(text).casefold() if not one.isspace() and one not in "'\"\\" + dropped)
