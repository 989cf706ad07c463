"""Definitions of options: valid values, sources, and the parsing of text. No message quotes a value."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from inspect import iscoroutinefunction
from ipaddress import ip_address
from types import MappingProxyType
from typing import Any, NamedTuple

import attrs

from .._protocol.endpoints import REGION_RULE, is_region
from .._protocol.headers import TCHAR
from .._protocol.proxies import PROXY_RULE, is_proxy
from .._shape.arguments import is_seconds, is_whole
from .._shape.secret import TAKEN, Secret, attempt, redact, redact_userinfo
from ..errors import ConfigurationError, InvalidRegion
from .sections import Section, in_quotes, quotes_remark, with_remark

_HEADER_WORD = rf"{TCHAR}{{1,50}}"
_PRODUCTS = rf"(?=.{{1,128}}\Z){TCHAR}+(?:[ /]{TCHAR}+)*"  # Source: RFC 9110, 10.1.5
METADATA = "sts_async.option"
TRUST_TOKEN_FILES = "STS_ASYNC_TRUST_TOKEN_FILES"  # noqa: S105 - the name of the variable
SHOW_PROCESS_STDERR = "STS_ASYNC_SHOW_PROCESS_STDERR"
# In lower case, for comparison. All SDKs accept true and false; some programs write the other words.
FLAG_WORDS: Mapping[str, bool] = MappingProxyType(
    {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
)
# Effects of options. If the profile cannot be read, only options with NOTHING fall back to their default.
DESTINATION, TRUST, NOTHING = "destination", "trust", "nothing"
KEEPALIVE_TIMEOUT = 15.0  # s until an idle connection is closed; source: default of aiohttp
DNS_CACHE_TTL = 10.0  # s; source: default of aiohttp


def _nothing(text: str) -> Any:
    raise ValueError  # an option that can be set only in code has no text form


@attrs.frozen
class Kind:
    """
    A kind of values.

    Attributes:
        rule: The rule for a value, which follows "must be" in messages.
        accepts: Returns True if a value in code is valid.
        parse: Returns the value of a text; raises ValueError or KeyError if the text is invalid.
        secret: Whether values are hidden.
        repair: Returns a valid value for an invalid text; None if an invalid text is an error. Only cosmetic options
            are repaired: the variable may have been set for another program.
        repaired: Description of the repair, for messages.
        unquoted: Whether a text in quotes is an error. The quotes would be part of the value.
        problem: The problem with an invalid text, which follows its origin in messages. If it is empty, the message
            has "must be" and *rule*.
        error: Class of the error for an invalid text.
    """

    rule: str
    accepts: Callable[[Any], bool]
    parse: Callable[[str], Any] = _nothing
    secret: bool = False
    repair: Callable[[str], Any] | None = None
    repaired: str = ""
    unquoted: bool = False
    problem: str = ""
    error: type[ConfigurationError] = ConfigurationError


def _word(text: str) -> str:
    if not re.fullmatch(_HEADER_WORD, text):
        raise ValueError
    return text


def _products(text: str) -> str:
    if not re.fullmatch(_PRODUCTS, text):
        raise ValueError
    return text


def _as_word(text: str) -> str:
    """Return a text as a User-Agent header can hold it: invalid characters replaced, 50 characters. As botocore."""
    return re.sub(rf"(?!{TCHAR}).", "-", text, flags=re.DOTALL)[:50]


def _is_address(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(_address(value))
    except ValueError:
        return False


def _address(text: str) -> str:
    ip_address(text)
    return text


def _is_handler(value: object) -> bool:
    # No `isinstance`: any object with both methods is a handler.
    methods = [getattr(value, name, None) for name in ("before_signing", "after_attempt")]
    return not isinstance(value, type) and all(
        callable(method) and not iscoroutinefunction(method) for method in methods
    )


def _text(text: str) -> str:
    if not text.isprintable():
        raise ValueError
    return redact_userinfo(str(text))  # type: ignore[no-any-return]  # text of a profile is a `Secret`


def _region(text: str) -> str:
    if not is_region(text):
        raise ValueError
    return _text(text)


def _flag(text: str) -> bool:
    return FLAG_WORDS[text.lower()]


def _opposite(text: str) -> bool:
    return not FLAG_WORDS[text.lower()]


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
        raise ValueError
    return int(text)


def _number(text: str) -> float:
    sign = -1 if text.startswith("-") else 1
    return sign * _seconds(text.removeprefix("-"))


def _seconds(text: str) -> float:
    if not (text.isascii() and text.replace(".", "", 1).isdigit() and 0 < float(text) < float("inf")):
        raise ValueError
    return float(text)


TEXT = Kind("text", lambda value: isinstance(value, str), _text, unquoted=True)
# The client checks a region that is given in code.
ANY_REGION = Kind(
    "text",
    lambda value: isinstance(value, str),
    _region,
    problem=f"is not a region: {REGION_RULE}",
    error=InvalidRegion,
)
FLAG = Kind("true or false", lambda value: isinstance(value, bool), _flag)
OPPOSITE_FLAG = Kind("true or false", lambda value: isinstance(value, bool), _opposite)  # text has the opposite meaning
HOSTS = Kind("text", lambda value: isinstance(value, str), str)  # an invalid entry matches no host
WHOLE = Kind("a whole number of at least 1", is_whole, _whole)
SECONDS = Kind("a number of seconds greater than 0", is_seconds, _seconds)
APP_ID = Kind(
    "at most 50 characters that a User-Agent header can hold",
    lambda value: isinstance(value, str) and bool(re.fullmatch(_HEADER_WORD, value)),
    _word,
    repair=_as_word,
    repaired="invalid characters are replaced by '-' and the rest is truncated",
)
PRODUCTS = Kind(
    "at most 128 characters of names with versions, such as shop/1.0, with one space between them",
    lambda value: isinstance(value, str) and bool(re.fullmatch(_PRODUCTS, value)),
    _products,
)
# Text is not checked here, only when a request would use the proxy: it may have been set for another program.
PROXY = Kind(PROXY_RULE, lambda value: isinstance(value, str) and is_proxy(value), Secret, secret=True)
ADDRESS = Kind("an IPv4 or IPv6 address", _is_address, _address)
REGION = Kind("the name of a region", lambda value: isinstance(value, str) and is_region(value), _text)
SERVICE_NAME = Kind(
    "the name of a service, of at most 64 lower-case letters, digits and hyphens",
    lambda value: isinstance(value, str) and bool(re.fullmatch(r"[a-z0-9-]{1,64}", value)),
    _text,
)
HANDLERS = Kind(
    "a list of objects with the methods before_signing and after_attempt, which are not coroutines",
    lambda value: isinstance(value, tuple) and all(map(_is_handler, value)),
)
NUMBER = Kind(
    "a number of seconds",
    lambda value: isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf"),
    _number,
)


def flag(variable: str, environ: Mapping[str, str], *, given: bool | None) -> bool:
    """
    Return the value of a switch: *given* in code, else the value of an environment variable, else False.

    Raises:
        ConfigurationError: The value of the variable is neither true nor false.
    """
    text = "" if given is not None else environ.get(variable, "").strip()
    return bool(Option(kind=FLAG).read(text, origin=variable)) if text else bool(given)


def one_of(*words: str) -> Kind:
    """Return the kind with these words as values. Text from the environment or a profile can be in any case."""
    return Kind(
        " or ".join(words) if len(words) == 2 else f"one of {', '.join(words)}",
        lambda value: isinstance(value, str) and value in words,
        lambda text: {word.lower(): word for word in words}[text.lower()],
    )


class Text(NamedTuple):
    """
    The text of an option.

    Attributes:
        text: The text.
        origin: The variable or the profile key with the text, for messages.
        remark: How the text can differ from the intended value; empty if nothing indicates that. See `Value.remark`.
    """

    text: str
    origin: str
    remark: str = ""

    @classmethod
    def from_variable(cls, variable: str, environ: Mapping[str, str]) -> "Text | None":
        """Return the text of an environment variable, or None if it is unset or blank."""
        text = environ.get(variable, "").strip()
        return cls(text, variable, quotes_remark(text)) if text else None

    @classmethod
    def from_section(cls, section: Section, key: str) -> "Text | None":
        """Return the text of a key, or None if it is unset or blank."""
        text = section.get(key)
        return None if text is None else cls(text, section.where(key), section.remark(key) or quotes_remark(text))


@attrs.frozen(kw_only=True)
class Option:
    """
    Definition of an option.

    Attributes:
        kind: The kind of its values.
        variables: Environment variables; the first that is set is used.
        key: Key in a profile, or None.
        default: Value if no source sets the option.
        optional: Whether code may give None, which means that another source sets the option.
        decides: The effect of the option. ``DESTINATION``: the endpoint or the identity of requests. ``TRUST``: the
            servers that are trusted. ``NOTHING``: neither, so the default is used if the profile cannot be read.
    """

    kind: Kind
    variables: tuple[str, ...] = ()
    key: str | None = None
    default: Any = None
    optional: bool = True
    decides: str = DESTINATION

    def accepts(self, value: object) -> bool:
        """Return True if *value* is valid in code."""
        return self.kind.accepts(value) or (value is None and self.optional)

    def texts(self, environ: Mapping[str, str], sections: Iterable[Section]) -> Iterator[Text]:
        """Yield the text of each variable that is set, then that of the key in each section. The first text is used."""
        for variable in self.variables:
            if text := Text.from_variable(variable, environ):
                yield text
        if self.key is not None:
            for section in sections:
                if text := Text.from_section(section, self.key):
                    yield text

    def read(self, text: str, *, origin: str, remark: str = "") -> Any:
        """
        Return the value of *text*, or its repaired value.

        Args:
            text: The text.
            origin: The variable or the profile key with the text, for messages.
            remark: The remark on the text in a file: see `Value.remark`.

        Raises:
            ConfigurationError: The text is invalid. The message has *origin*, the rule and *remark*.
        """
        kind = self.kind
        problem = kind.problem or f"must be {kind.rule}"
        if kind.unquoted and in_quotes(text):
            problem = "must not be in quotes"
        elif (found := attempt((ValueError, KeyError), kind.parse, text)) is not None:
            return found
        elif kind.repair is not None:
            return kind.repair(text)
        raise kind.error(with_remark(f"{origin} {problem}", remark))


def known(
    kind: Kind,
    *,
    variables: tuple[str, ...] = (),
    key: str | None = None,
    default: Any = None,
    optional: bool = True,
    decides: str = DESTINATION,
) -> dict[str, Any]:
    """Return the metadata of an attrs field for an option."""
    definition = Option(kind=kind, variables=variables, key=key, default=default, optional=optional, decides=decides)
    if kind is not SECONDS and kind is not NUMBER:
        return {METADATA: definition}
    return {METADATA: definition, TAKEN: float | timedelta | None if optional else float | timedelta}


def known_seconds(default: float) -> dict[str, Any]:
    """Return the metadata of an attrs field for seconds that can be set only in code."""
    return known(SECONDS, default=default, optional=False)


def option(
    kind: Kind,
    *,
    variables: tuple[str, ...] = (),
    key: str | None = None,
    default: Any = None,
    decides: str = DESTINATION,
) -> Any:
    """Return an attrs field for an option that the environment or a profile can set; its default in code is None."""
    metadata = known(kind, variables=variables, key=key, default=default, decides=decides)
    return attrs.field(default=None, metadata=metadata, converter=_REDACT if kind.secret else None)


def setting(kind: Kind, *, default: Any) -> Any:
    """Return an attrs field for an option that can be set only in code."""
    return attrs.field(default=default, metadata=known(kind, default=default, optional=False), converter=_AS_TUPLE)


def as_tuple(value: Any) -> Any:
    """Return a list as a tuple, and other values unchanged."""
    return tuple(value) if isinstance(value, list) else value


# attrs would inspect the signature of a plain function for each field that has it as its converter.
_REDACT, _AS_TUPLE = attrs.Converter(redact), attrs.Converter(as_tuple)
