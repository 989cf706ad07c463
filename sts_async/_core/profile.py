"""
The grammar of the shared config and credentials files: text in, profiles out.

It is the grammar that the AWS SDKs share, not that of INI files: values continue on indented lines, a property with an
empty value holds sub-properties, nothing is quoted and nothing interpolated. What is in a file is taken to be secret
all over. So errors and warnings say the file, the line, the profile and the key, never a value nor a line, and the
error is raised where no local variable holds any of it.

Source: AWS SDKs and Tools Reference Guide, "Shared config and credentials files", and the cases that the SDKs share.
"""

import re
import string
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

import attrs

from ..errors import InvalidConfigFile
from .secret import Secret, SecretBytes

Kind = Literal["config", "credentials"]
SectionKind = Literal["profile", "sso-session", "services"]

MOST_TEXT = 1 << 20  # characters of a file
MOST_LINES = 50_000  # of a file: five for each of the most profiles
MOST_LINE = 1 << 16  # characters of a line
MOST_SECTIONS = 10_000  # of each kind: profiles, sso-sessions, services
MOST_WARNINGS = 20  # that are kept for a file; how many more there are is said
MOST_SHOWN = 128  # characters of a section's name in a message

NAME_CHARACTERS = frozenset(string.ascii_letters + string.digits + "_-/.%@:+")  # of section names and keys
# A key is shown only when it looks like that of a setting: a line torn out of a token can look like any other key.
KEY_CHARACTERS = frozenset(string.ascii_lowercase + string.digits + "_")
MOST_KEY = 50  # characters of it
BLANKS = " \t"
COMMENTS = "#;"

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_COMMENT = r"[ \t][#;]"  # text, which `re` compiles at first use and keeps
_SECTION_RULES: dict[Kind, str] = {
    "config": "a profile is [profile NAME] here; others are [default], [sso-session NAME] and [services NAME], with "
    "names of letters, digits and _-/.%@:+",
    "credentials": "here are [NAME] without a prefix, with names of letters, digits and _-/.%@:+",
}
_KEY_RULE = "keys consist of letters, digits and _-/.%@:+"


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
    """

    text: Secret
    file: str = attrs.field(eq=False)
    line: int = attrs.field(eq=False)
    nested: Mapping[str, "Value"] = attrs.field(default=_NOTHING, repr=False)


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
    """

    kind: SectionKind
    name: str
    values: Mapping[str, Value] = attrs.field(repr=False)  # a torn secret can end up as a key
    file: str = attrs.field(eq=False)
    line: int = attrs.field(eq=False)

    def get(self, key: str) -> Secret | None:
        """Return what a lower-case key is set to; None when it is not set, blank, or has sub-properties."""
        value = self.values.get(key)
        return value.text if value is not None and value.text.strip() else None

    def where(self, key: str | None = None) -> str:
        """
        Return where the section, or one of its keys, is defined: ``profile 'x', key region (~/.aws/config, line 7)``.

        A key that is not set is shown with the line of the section.
        """
        place = self if key is None else self.values.get(key, self)
        return f"{_called(self.kind, self.name, key)} ({place.file}, line {place.line})"


@attrs.frozen
class SharedConfig:
    """
    What the shared files say.

    Attributes:
        profiles: The profiles by name.
        sso_sessions: The sso-sessions by name.
        services: The services sections by name.
        warnings: What was ignored, at most 21 lines for each file; each names the file, and the line if it is one.
        unread: Default files that cannot be read and count as empty, each with the reason.
        absent: Files that were named and do not exist, which count as empty, each with what named it.
    """

    profiles: Mapping[str, Section] = _NOTHING
    sso_sessions: Mapping[str, Section] = _NOTHING
    services: Mapping[str, Section] = _NOTHING
    warnings: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


EMPTY = SharedConfig()


def decode(data: bytes, *, file: str) -> Secret:
    """
    Return the text of a file.

    Args:
        data: The whole content.
        file: The file, as messages show it.

    Raises:
        InvalidConfigFile: It is larger than 1 MiB, not UTF-8, begins with a byte order mark, or holds a NUL.
    """
    data = SecretBytes(data)
    text, fault = _decoded(data)
    if fault:
        raise InvalidConfigFile(file + fault)
    return text


def parse(text: str, *, file: str, kind: Kind) -> SharedConfig:
    """
    Return what a file says.

    Args:
        text: The whole content.
        file: The file, as messages show it.
        kind: Which of the two files it is: they spell profiles differently.

    Raises:
        InvalidConfigFile: It breaks the grammar, or is larger than 1 MiB, 50,000 lines, or 10,000 profiles.
    """
    outcome = _Reader(file=file, kind=kind).read(Secret(text))
    del text
    if isinstance(outcome, str):
        raise InvalidConfigFile(outcome)
    return outcome


def merge(config: SharedConfig, credentials: SharedConfig) -> SharedConfig:
    """Return both together. A key that both set in a profile has the whole value that *credentials* gives it."""
    profiles = dict(config.profiles)
    for name, section in credentials.profiles.items():
        below = profiles.get(name)
        if below is not None:
            section = attrs.evolve(below, values=MappingProxyType({**below.values, **section.values}))
        profiles[name] = section
    return SharedConfig(
        profiles=MappingProxyType(profiles),
        sso_sessions=MappingProxyType({**config.sso_sessions, **credentials.sso_sessions}),
        services=MappingProxyType({**config.services, **credentials.services}),
        warnings=config.warnings + credentials.warnings,
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
        raise InvalidConfigFile(f"{profile.where('services')}: there is no such services section")
    settings = section.values.get(service)
    value = None if settings is None else settings.nested.get(key)
    return value if value is not None and value.text.strip() else None


@attrs.define(eq=False)
class _Property:
    """The property under way: more lines may belong to it."""

    key: str  # as it is spelled; empty when the property is ignored
    line: int
    parts: list[str]
    nested: dict[str, Value] | None  # None when the value is not empty


@attrs.define(eq=False)
class _Open:
    """A section under way: the file may come back to it."""

    kind: SectionKind
    name: str  # empty when the section is ignored
    line: int
    values: dict[str, Value] = attrs.field(factory=dict)


class _Reader:
    """
    Reads one file, line by line.

    Each method that reads a line returns what is wrong with it, or None: an exception would have the line among its
    local variables. What is ignored is read like the rest and then not kept, so its lines do not end up elsewhere.
    """

    def __init__(self, *, file: str, kind: Kind) -> None:
        self._file = file
        self._kind: Kind = kind
        self._line = 0
        self._bare: dict[str, _Open] = {}  # [default] of the config file, which [profile default] beats
        self._sections: dict[SectionKind, dict[str, _Open]] = {"profile": {}, "sso-session": {}, "services": {}}
        self._section: _Open | None = None
        self._property: _Property | None = None
        self._warnings: list[str] = []
        self._unsaid = 0

    def read(self, text: Secret) -> SharedConfig | str:
        """Return what the file says, or what is wrong with it."""
        fault = _unfit(text)
        if fault:
            return self._file + fault
        # Plain lines: nothing below raises while it has one, and each part of a `Secret` would be wrapped.
        for self._line, line in enumerate(str(text).replace("\r\n", "\n").split("\n"), 1):
            wrong = None
            if len(line) > MOST_LINE:
                wrong = f"longer than {MOST_LINE:,} characters"
            elif line[:1] in COMMENTS or not line.strip(BLANKS):
                continue  # the empty line, too: it begins with "", which is in every string
            elif line[0] == "[":
                wrong = self._read_section(line)
            elif line[0] in BLANKS:
                wrong = self._read_continuation(line.strip(BLANKS))
            else:
                wrong = self._read_property(line)
            if wrong:
                return f"{self._place()}: {wrong}"
        return self._result()

    def _read_section(self, line: str) -> str | None:
        self._finish_property()
        self._section = None
        inside, bracket, rest = line[1:].partition("]")
        rest = rest.strip(BLANKS)
        if not bracket:
            return 'a section without its "]"'
        if rest and rest[0] not in COMMENTS:
            return 'something other than a comment after the "]" of a section'
        meant = self._meaning(inside.strip(BLANKS))
        if meant is None:
            self._warn(f"this section is ignored: {_SECTION_RULES[self._kind]}")
            self._section = _Open("profile", "", self._line)
            return None
        sections, kind, name = meant
        if name not in sections:
            sections[name] = _Open(kind, name, self._line)
        self._section = sections[name]
        return f"more than {MOST_SECTIONS:,} sections of this kind" if len(sections) > MOST_SECTIONS else None

    def _meaning(self, inside: str) -> tuple[dict[str, _Open], SectionKind, str] | None:
        """Return where a section belongs, its kind and its name, or None when it does not count in this file."""
        if self._kind == "credentials":
            return (self._sections["profile"], "profile", inside) if _is_name(inside) else None
        if inside == "default":
            return self._bare, "profile", inside
        prefix, _, name = inside.replace("\t", " ").partition(" ")
        name = name.strip(BLANKS)
        for kind, sections in self._sections.items():
            if prefix == kind and _is_name(name):
                return sections, kind, name
        return None

    def _read_property(self, line: str) -> str | None:
        self._finish_property()
        if self._section is None:
            return "a property before any section"
        key, equals, value = line.partition("=")
        key = key.rstrip(BLANKS)
        if not equals:
            return 'a line without "="'
        if not key:
            return "a property without a key"
        value = _uncommented(value).strip(BLANKS)
        if not _is_name(key):
            self._warn(f"this property is ignored: {_KEY_RULE}")
            key = ""
        self._property = _Property(key, self._line, [value], None if value else {})
        return None

    def _read_continuation(self, text: str) -> str | None:
        if self._property is None:
            return "an indented line without a property before it"
        if self._property.nested is None:
            self._property.parts.append(text)
            return None
        key, equals, value = text.partition("=")
        key = key.rstrip(BLANKS)
        if not equals:
            return 'a sub-property without "="'
        if not key:
            return "a sub-property without a key"
        if _is_name(key):
            self._property.nested[key.lower()] = Value(Secret(value.strip(BLANKS)), self._file, self._line)
        else:
            self._warn(f"this sub-property is ignored: {_KEY_RULE}")
        return None

    def _finish_property(self) -> None:
        done, self._property = self._property, None
        if self._section is not None and done is not None and done.key:
            nested = MappingProxyType(done.nested) if done.nested else _NOTHING
            value = Value(Secret("\n".join(done.parts)), self._file, done.line, nested)
            self._section.values[done.key.lower()] = value

    def _place(self) -> str:
        place = f"{self._file}, line {self._line}"
        if self._section is None or not self._section.name:
            return place
        key = self._property.key if self._property is not None else ""
        shown = key if key and len(key) < MOST_KEY and KEY_CHARACTERS.issuperset(key) else None
        return f"{_called(self._section.kind, self._section.name, shown)} ({place})"

    def _warn(self, what: str) -> None:
        if len(self._warnings) < MOST_WARNINGS:
            self._warnings.append(f"{self._place()}: {what}")
        else:
            self._unsaid += 1

    def _result(self) -> SharedConfig:
        self._finish_property()
        profiles, sso_sessions, services = self._sections.values()
        if "default" in profiles and self._bare:
            self._section, self._line = None, self._bare["default"].line
            self._warn("[default] is ignored, because there is a [profile default]")
        if self._unsaid:
            self._warnings.append(f"{self._file}: {self._unsaid:,} more sections or properties are ignored")
        return SharedConfig(
            profiles=self._closed({**self._bare, **profiles}),
            sso_sessions=self._closed(sso_sessions),
            services=self._closed(services),
            warnings=tuple(self._warnings),
        )

    def _closed(self, sections: Mapping[str, _Open]) -> Mapping[str, Section]:
        return MappingProxyType(
            {
                name: Section(item.kind, name, MappingProxyType(item.values), self._file, item.line)
                for name, item in sections.items()
            }
        )


def _called(kind: SectionKind, name: str, key: str | None) -> str:
    shown = name if len(name) <= MOST_SHOWN else name[:MOST_SHOWN] + "..."
    return f"{kind} '{shown}'" + ("" if key is None else f", key {key}")


def _is_name(text: str) -> bool:
    return bool(text) and NAME_CHARACTERS.issuperset(text)


def _uncommented(value: str) -> str:
    """Return *value* up to the first blank that a comment follows."""
    if "#" not in value and ";" not in value:
        return value
    comment = re.search(_COMMENT, value)
    return value if comment is None else value[: comment.start()]


def _decoded(data: bytes) -> tuple[Secret, str]:
    """Return the text of a file, and what is wrong with it or the empty string."""
    if len(data) > MOST_TEXT:
        return Secret(), f": larger than {MOST_TEXT:,} bytes"
    try:
        text = Secret(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return Secret(), f", line {line}: not UTF-8"
    return text, _unfit(text)


def _unfit(text: str) -> str:
    """Return what is wrong with the text of a file as a whole, or the empty string."""
    if len(text) > MOST_TEXT:
        return f": larger than {MOST_TEXT:,} characters"
    if text.startswith("\ufeff"):
        return ", line 1: a byte order mark; save the file as UTF-8 without one"
    nul = text.find("\0")
    if nul >= 0:
        line = text.count("\n", 0, nul) + 1
        return f", line {line}: a NUL character; is the file UTF-16?"
    return f": more than {MOST_LINES:,} lines" if text.count("\n") >= MOST_LINES else ""
