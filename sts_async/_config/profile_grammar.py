"""
Parser of the shared config and credentials files: text in, profiles out.

The files look like INI files, but the AWS SDKs share a grammar of their own:

- A section is a heading in brackets and the properties below it. A heading that occurs twice continues the section.
- A property is ``key = value`` at the beginning of a line. Indented lines continue its value.
- If the value is empty, the indented lines are sub-properties instead. They hold settings of one service.
- A comment is a line that begins with ``#`` or ``;``, or the rest of a value after a space and one of these.
- Nothing is interpolated. Only names of sections can be quoted; the quotes around a value are part of it.
- The two files spell headings differently: ``[profile x]`` in the config file, ``[x]`` in the credentials file.

A section of an unknown kind, or a key with invalid characters, is ignored with a warning. A line that is neither a
heading nor a property is an error. All contents of a file count as secret. Errors and warnings name the file, the line,
the profile and the key, never a value or a line. An error is raised in a function whose local variables hold no
contents, because a traceback can show these variables.

Source: AWS SDKs and Tools Reference Guide, "Shared config and credentials files", and the test cases that the SDKs
share.
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
MAX_LINES = 50_000  # lines of a file: five for each of 10,000 profiles
MAX_LINE = 1 << 16  # characters of a line
MAX_SECTIONS = 10_000  # of each kind: profiles, sso-sessions, services
MAX_WARNINGS = 20  # warnings for a file; one more gives the number of the others
MAX_IGNORED = 1_000  # ignored lines of each kind that errors can name
MAX_NAME = 1_000  # characters of a quoted name; the time to unquote it grows with the square of its length

NAME_CHARACTERS = PLAIN  # of section names and keys
# A message shows a key only if it looks like a setting. Other text before "=" can be part of a token.
KEY_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")
MAX_KEY = 50  # characters of a key that is shown
COMMENTS = ("#", ";")
COMMANDS = frozenset({"credential_process"})  # keys with a command line as value
QUOTES = frozenset("'\"\\")
BYTE_ORDER_MARK = "\ufeff"

_COMMENT = r"\s[#;]"  # a string: `re` compiles it on first use and caches it
_SECTION_RULES: dict[Kind, str] = {
    "config": "a profile is [profile NAME] here; others are [default], [sso-session NAME] and [services NAME]; "
    "a name with other characters than letters, digits and _-/.%@:+ needs quotes",
    "credentials": "a profile is [NAME] here, without a prefix; a name with other characters than letters, digits, "
    "spaces and _-/.%@:+ needs quotes",
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
        InvalidConfigFile: The file is larger than 1 MiB, not UTF-8, or contains a NUL character.
    """
    data = SecretBytes(data)
    text, fault = _decoded(data)
    if fault:
        raise InvalidConfigFile(file + fault)
    return text


def parse(text: str, *, file: str, kind: Kind) -> SharedConfig:
    """
    Return the contents of a file.

    Args:
        text: The whole text.
        file: The file, as messages show it.
        kind: The config or the credentials file, which spell headings differently.

    Raises:
        InvalidConfigFile: The file breaks the grammar, or has more than 1 MiB, 50,000 lines or 10,000 profiles.
    """
    text = Secret(text)
    outcome = _Reader(file=file, kind=kind).read(text)
    if isinstance(outcome, str):
        raise InvalidConfigFile(outcome)
    return outcome


@attrs.define(eq=False)
class _Property:
    """
    A property that is being read: later lines can continue it.

    Attributes:
        key: The key as written; empty if the property is ignored.
        line: The line of the key.
        parts: The lines of the value.
        nested: The sub-properties; None if the value is not empty.
        comment: The first character of the comment after the value, or empty.
        last_line: The last line of a value that continues on other lines, else 0.
    """

    key: str
    line: int
    parts: list[str]
    nested: dict[str, Value] | None
    comment: str = ""
    last_line: int = 0


@attrs.define(eq=False)
class _OpenSection:
    """
    A section that is being read: a later heading can continue it.

    Attributes:
        kind: The kind of the section.
        name: Its name; empty if the section is ignored.
        line: The line of its first heading.
        values: Its properties by lower-case key.
        ignored: Its properties that have no effect.
    """

    kind: SectionKind
    name: str
    line: int
    values: dict[str, Value] = attrs.field(factory=dict)
    ignored: list[Ignored] = attrs.field(factory=list)


class _Reader:
    """
    Reads one file, line by line.

    Each method that reads a line returns an error message or None. An exception would carry the line in the local
    variables of its traceback. Ignored sections and properties are read like others and then dropped, so that their
    lines do not become part of another section.
    """

    def __init__(self, *, file: str, kind: Kind) -> None:
        self._file = file
        self._kind: Kind = kind
        self._line = 0
        # [default] of the config file, which has no effect if there is a [profile default].
        self._bare: dict[str, _OpenSection] = {}
        self._sections: dict[SectionKind, dict[str, _OpenSection]] = {"profile": {}, "sso-session": {}, "services": {}}
        self._section: _OpenSection | None = None
        self._property: _Property | None = None
        self._ignored: list[Ignored] = []  # sections
        self._warnings: list[str] = []
        self._dropped_warnings = 0

    def read(self, text: Secret) -> SharedConfig | str:
        """Return the contents of the file, or an error message."""
        fault = _unfit(text)
        if fault:
            return self._file + fault
        # The lines are plain strings: no code below raises while it holds one, and slices of a `Secret` are slow.
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
        recognized = self._recognize(inside)
        if recognized is None:
            self._ignore(inside, self._ignored, _SECTION_RULES[self._kind], what="section")
            self._section = _OpenSection("profile", "", self._line)
            return None
        sections, kind, name = recognized
        if name not in sections:
            sections[name] = _OpenSection(kind, name, self._line)
        self._section = sections[name]
        return f"more than {MAX_SECTIONS:,} sections of this kind" if len(sections) > MAX_SECTIONS else None

    def _recognize(self, inside: str) -> tuple[dict[str, _OpenSection], SectionKind, str] | None:
        """Return the dict for a section, its kind and its name, or None if this file cannot have such a section."""
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
            self._dropped_warnings += 1

    def _result(self) -> SharedConfig:
        self._finish_property()
        profiles, sso_sessions, services = self._sections.values()
        if "default" in profiles and self._bare:
            self._section, self._line = None, self._bare["default"].line
            self._warn("[default] is ignored, because there is a [profile default]")
        if self._dropped_warnings:
            self._warnings.append(f"{self._file}: {self._dropped_warnings:,} more sections or properties are ignored")
        return SharedConfig(
            profiles=self._closed({**self._bare, **profiles}),
            sso_sessions=self._closed(sso_sessions),
            services=self._closed(services),
            warnings=tuple(self._warnings),
            ignored=tuple(self._ignored),
        )

    def _closed(self, sections: Mapping[str, _OpenSection]) -> Mapping[str, Section]:
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
    Return the name in the heading of a section, or None if it is not a valid name.

    A name in quotes, or with backslashes, can have any printable characters.

    Source: ``aws configure sso`` quotes names with spaces, and botocore splits a heading with `shlex.split`.
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
    """Return *value* without its comment, and the first character of the comment or the empty string."""
    comment = re.search(_COMMENT, value) if "#" in value or ";" in value else None
    if comment is None:
        return value.strip(), ""
    return value[: comment.start()].strip(), value[comment.end() - 1]


def _remark(done: _Property) -> str:
    """Return possible misunderstandings of a value, each with a correction; empty if there is none."""
    text = done.parts[0] if len(done.parts) == 1 else ""
    if done.key.lower() in COMMANDS:
        text = ""  # a command can contain quotes and "#"
    elif quotes := quotes_remark(text):
        return quotes
    remarks = []
    mark = next((c for c in text if c in COMMENTS), "")
    if mark and not done.comment:
        remarks.append(f"a comment in line {done.line} needs a space before {mark!r}; else it is part of the value")
    if done.comment:
        start = f"' {done.comment}' in line {done.line}"
        remarks.append(f"the text after {start} is a comment: without the space, it is part of the value")
    if done.last_line:
        remarks.append(
            f"the value has a line break, because indented lines up to line {done.last_line} continue it: write a "
            "separate setting without indentation"
        )
    return "; ".join(remarks)


def _decoded(data: bytes) -> tuple[Secret, str]:
    """Return the text of a file, and an error message or the empty string."""
    if len(data) > MAX_TEXT:
        return Secret(), f": larger than {MAX_TEXT:,} bytes"
    try:
        text = Secret(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return Secret(), f", line {line}: not UTF-8"
    return text, _unfit(text)


def _unfit(text: str) -> str:
    """Return an error message about the text of a file as a whole, or the empty string."""
    if len(text) > MAX_TEXT:
        return f": larger than {MAX_TEXT:,} characters"
    nul = text.find("\0")
    if nul >= 0:
        line = text.count("\n", 0, nul) + 1
        return f", line {line}: a NUL character; is the file UTF-16?"
    return f": more than {MAX_LINES:,} lines" if text.count("\n") >= MAX_LINES else ""
