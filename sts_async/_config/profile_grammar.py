"""
The grammar of the shared config and credentials files: text in, profiles out.

It is the grammar that the AWS SDKs share, not that of INI files: values continue on indented lines, a property with an
empty value holds sub-properties, nothing is interpolated, and only names of sections are quoted. What is in a file is
taken to be secret all over. So errors and warnings say the file, the line, the profile and the key, never a value nor
a line, and the error is raised where no local variable holds any of it.

Source: AWS SDKs and Tools Reference Guide, "Shared config and credentials files", and the cases that the SDKs share.
"""

import re
import shlex
from collections.abc import Mapping
from types import MappingProxyType

import attrs

from .._shape.secret import Secret, SecretBytes
from ..errors import InvalidConfigFile
from .sections import (
    EMPTY,
    NOTHING,
    PLAIN,
    Ignored,
    Kind,
    Section,
    SectionKind,
    SharedConfig,
    Value,
    called,
    merge,
    quotes_remark,
    service_value,
)

__all__ = ["EMPTY", "Ignored", "Kind", "Section", "SharedConfig", "Value", "decode", "merge", "parse", "service_value"]

MAX_TEXT = 1 << 20  # characters of a file
MAX_LINES = 50_000  # of a file: five for each of the most profiles
MAX_LINE = 1 << 16  # characters of a line
MAX_SECTIONS = 10_000  # of each kind: profiles, sso-sessions, services
MAX_WARNINGS = 20  # that are kept for a file; how many more there are is said
MAX_IGNORED = 1_000  # ignored lines of each kind that errors can name
MAX_NAME = 1_000  # characters of a name in quotes; the time to unquote grows with the square of them

NAME_CHARACTERS = PLAIN  # of section names and keys
# A key is shown only when it looks like that of a setting: a line torn out of a token can look like any other key.
KEY_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")
MAX_KEY = 50  # characters of it
COMMENTS = ("#", ";")
COMMANDS = frozenset({"credential_process"})  # keys whose values are read as a shell reads a command
QUOTES = frozenset("'\"\\")
BYTE_ORDER_MARK = "\ufeff"

_COMMENT = r"\s[#;]"  # text, which `re` compiles at first use and keeps
_SECTION_RULES: dict[Kind, str] = {
    "config": "a profile is [profile NAME] here; others are [default], [sso-session NAME] and [services NAME]; "
    "a name with other characters than letters, digits and _-/.%@:+ stands in quotes",
    "credentials": "a profile is [NAME] here, without a prefix; a name with other characters than letters, digits, "
    "blanks and _-/.%@:+ stands in quotes",
}
_HEADINGS: dict[Kind, str] = {"config": "profile {}", "credentials": "{}"}
_KEY_RULE = "keys consist of letters, digits and _-/.%@:+"


def decode(data: bytes, *, file: str) -> Secret:
    """
    Return the text of a file.

    Args:
        data: The whole content.
        file: The file, as messages show it.

    Raises:
        InvalidConfigFile: It is larger than 1 MiB, not UTF-8, or holds a NUL.
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


@attrs.define(eq=False)
class _Property:
    """The property under way: more lines may belong to it."""

    key: str  # as it is spelled; empty when the property is ignored
    line: int
    parts: list[str]
    nested: dict[str, Value] | None  # None when the value is not empty
    comment: str = ""  # the character that began the comment after the value
    last_line: int = 0  # of the value, when it continues on other lines


@attrs.define(eq=False)
class _Open:
    """A section under way: the file may come back to it."""

    kind: SectionKind
    name: str  # empty when the section is ignored
    line: int
    values: dict[str, Value] = attrs.field(factory=dict)
    ignored: list[Ignored] = attrs.field(factory=list)


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
        self._ignored: list[Ignored] = []  # sections
        self._warnings: list[str] = []
        self._unsaid = 0

    def read(self, text: Secret) -> SharedConfig | str:
        """Return what the file says, or what is wrong with it."""
        fault = _unfit(text)
        if fault:
            return self._file + fault
        # Plain lines: nothing below raises while it has one, and each part of a `Secret` would be wrapped.
        lines = str(text).removeprefix(BYTE_ORDER_MARK).replace("\r\n", "\n").split("\n")
        for self._line, line in enumerate(lines, 1):
            wrong = None
            stripped = line.strip()
            if len(line) > MAX_LINE:
                wrong = f"longer than {MAX_LINE:,} characters"
            elif not stripped or stripped.startswith(COMMENTS):
                continue
            elif line[0].isspace():
                wrong = self._read_continuation(stripped)
            elif line[0] == "[":
                wrong = self._read_section(line)
            else:
                wrong = self._read_property(line)
            if wrong:
                return f"{self._place()}: {wrong}"
        return self._result()

    def _read_section(self, line: str) -> str | None:
        self._finish_property()
        self._section = None
        inside, bracket, rest = line[1:].partition("]")
        rest = rest.strip()
        if not bracket:
            return 'a section without its "]"'
        if rest and not rest.startswith(COMMENTS):
            return 'something other than a comment after the "]" of a section'
        inside = inside.strip()
        meant = self._meaning(inside)
        if meant is None:
            self._ignore(inside, self._ignored, _SECTION_RULES[self._kind], what="section")
            self._section = _Open("profile", "", self._line)
            return None
        sections, kind, name = meant
        if name not in sections:
            sections[name] = _Open(kind, name, self._line)
        self._section = sections[name]
        return f"more than {MAX_SECTIONS:,} sections of this kind" if len(sections) > MAX_SECTIONS else None

    def _meaning(self, inside: str) -> tuple[dict[str, _Open], SectionKind, str] | None:
        """Return where a section belongs, its kind and its name, or None when it does not count in this file."""
        prefix, *rest = inside.split(maxsplit=1)[:2] or [""]
        name: str | None
        if self._kind == "credentials":
            name = inside
            if not all(map(_is_name, inside.split())):
                name = _unquoted(inside)
            if not name or (rest and prefix in self._sections):
                return None
            return self._sections["profile"], "profile", name
        if inside == "default":
            return self._bare, "profile", inside
        for kind, sections in self._sections.items():
            if prefix == kind and rest and (name := _unquoted(rest[0])):
                return sections, kind, name
        return None

    def _read_property(self, line: str) -> str | None:
        self._finish_property()
        if self._section is None:
            return "a property before any section"
        key, equals, value = line.partition("=")
        key = key.rstrip()
        if not equals:
            return 'a line without "="'
        if not key:
            return "a property without a key"
        value, comment = _uncommented(value)
        if not _is_name(key):
            self._ignore(key, self._section.ignored, _KEY_RULE, what="property")
            key = ""
        self._property = _Property(key, self._line, [value], None if value else {}, comment)
        return None

    def _read_continuation(self, text: str) -> str | None:
        if self._property is None:
            return "an indented line without a property before it"
        if self._property.nested is None:
            self._property.parts.append(text)
            self._property.last_line = self._line
            return None
        key, equals, value = text.partition("=")
        key = key.rstrip()
        if not equals:
            return 'a sub-property without "="'
        if not key:
            return "a sub-property without a key"
        if _is_name(key):
            self._property.nested[key.lower()] = Value(Secret(value.strip()), self._file, self._line)
        else:
            self._warn(f"this sub-property is ignored: {_KEY_RULE}")
        return None

    def _finish_property(self) -> None:
        done, self._property = self._property, None
        if self._section is not None and done is not None and done.key:
            nested = MappingProxyType(done.nested) if done.nested else NOTHING
            value = Value(Secret("\n".join(done.parts)), self._file, done.line, nested, _remark(done))
            self._section.values[done.key.lower()] = value

    def _place(self) -> str:
        place = f"{self._file}, line {self._line}"
        if self._section is None or not self._section.name:
            return place
        key = self._property.key if self._property is not None else ""
        shown = key if key and len(key) < MAX_KEY and KEY_CHARACTERS.issuperset(key) else None
        return f"{called(self._section.kind, self._section.name, shown)} ({place})"

    def _ignore(self, text: str, ignored: list[Ignored], rule: str, *, what: str) -> None:
        if len(ignored) < MAX_IGNORED:
            heading = _HEADINGS[self._kind] if what == "section" else ""
            ignored.append(Ignored(Secret(text), self._file, self._line, rule, heading))
        self._warn(f"this {what} is ignored: {rule}")

    def _warn(self, what: str) -> None:
        if len(self._warnings) < MAX_WARNINGS:
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
            ignored=tuple(self._ignored),
        )

    def _closed(self, sections: Mapping[str, _Open]) -> Mapping[str, Section]:
        return MappingProxyType(
            {
                name: Section(
                    item.kind, name, MappingProxyType(item.values), self._file, item.line, tuple(item.ignored)
                )
                for name, item in sections.items()
            }
        )


def _is_name(text: str) -> bool:
    return bool(text) and NAME_CHARACTERS.issuperset(text)


def _unquoted(text: str) -> str | None:
    """
    Return the name that a part of a section's line spells, or None when it spells none.

    In quotes, or after a backslash, a name has any printable characters. Source: ``aws configure sso`` writes names
    with blanks so, and botocore splits the line as a shell does.
    """
    if _is_name(text):
        return text
    if len(text) > MAX_NAME or QUOTES.isdisjoint(text):
        return None
    try:
        words = shlex.split(text)
    except ValueError:
        return None
    return words[0] if len(words) == 1 and words[0].strip() and words[0].isprintable() else None


def _uncommented(value: str) -> tuple[str, str]:
    """Return *value* up to the first blank that a comment follows, and the character that begins the comment."""
    comment = re.search(_COMMENT, value) if "#" in value or ";" in value else None
    if comment is None:
        return value.strip(), ""
    return value[: comment.start()].strip(), value[comment.end() - 1]


def _remark(done: _Property) -> str:
    """Return how a value differs from what its line seems to say, and what to write instead."""
    text = done.parts[0] if len(done.parts) == 1 else ""
    if done.key.lower() in COMMANDS:
        text = ""  # has quotes, and "#" may be part of it
    elif quotes := quotes_remark(text):
        return quotes
    remarks = []
    glued = next((one for one in text if one in COMMENTS), "")
    if glued and not done.comment:
        remarks.append(f"a comment in line {done.line} needs a blank before {glued!r}, else it is part of the value")
    if done.comment:
        start = f"' {done.comment}' in line {done.line}"
        remarks.append(f"what follows {start} is a comment: without the blank it is part of the value")
    if done.last_line:
        remarks.append(
            f"the value has a line break, since indented lines up to line {done.last_line} continue it: a setting of "
            "its own begins without blanks"
        )
    return "; ".join(remarks)


def _decoded(data: bytes) -> tuple[Secret, str]:
    """Return the text of a file, and what is wrong with it or the empty string."""
    if len(data) > MAX_TEXT:
        return Secret(), f": larger than {MAX_TEXT:,} bytes"
    try:
        text = Secret(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return Secret(), f", line {line}: not UTF-8"
    return text, _unfit(text)


def _unfit(text: str) -> str:
    """Return what is wrong with the text of a file as a whole, or the empty string."""
    if len(text) > MAX_TEXT:
        return f": larger than {MAX_TEXT:,} characters"
    nul = text.find("\0")
    if nul >= 0:
        line = text.count("\n", 0, nul) + 1
        return f", line {line}: a NUL character; is the file UTF-16?"
    return f": more than {MAX_LINES:,} lines" if text.count("\n") >= MAX_LINES else ""
