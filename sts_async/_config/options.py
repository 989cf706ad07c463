"""What an option may be, where it may come from, and how its text is read. No message quotes a value."""

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from inspect import iscoroutinefunction
from ipaddress import ip_address
from types import MappingProxyType
from typing import Any

import attrs

from .._protocol.endpoints import REGION_RULE, is_region
from .._protocol.headers import TCHAR
from .._protocol.proxies import PROXY_RULE, is_proxy
from .._shape.arguments import is_seconds, is_whole
from .._shape.secret import TAKEN, Secret, attempt, redact, redact_userinfo
from ..errors import ConfigurationError, InvalidRegion
from .sections import in_quotes, with_remark

_HEADER_WORD = rf"{TCHAR}{{1,50}}"
_PRODUCTS = rf"(?=.{{1,128}}\Z){TCHAR}+(?:[ /]{TCHAR}+)*"  # Source: RFC 9110, 10.1.5
METADATA = "sts_async.option"
TRUST_TOKEN_FILES = "STS_ASYNC_TRUST_TOKEN_FILES"  # noqa: S105 - the name of the variable
SHOW_PROCESS_STDERR = "STS_ASYNC_SHOW_PROCESS_STDERR"
# In any case. All SDKs read true and false; other programs write the others, and mean the same by them.
FLAG_WORDS: Mapping[str, bool] = MappingProxyType(
    {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
)
# What an option decides. Where its profile cannot be read, a default takes its place only if it decides nothing.
DESTINATION, TRUST, NOTHING = "destination", "trust", "nothing"
KEEPALIVE_TIMEOUT = 15.0  # s that a connection is kept while nobody uses it, as aiohttp
DNS_CACHE_TTL = 10.0  # s, as aiohttp


def _nothing(text: str) -> Any:
    raise ValueError  # what only code can say


@attrs.frozen
class Kind:
    """
    Values of one kind.

    Attributes:
        rule: What a value must be, to follow "must be".
        accepts: Whether a value given in code is one.
        parse: Returns the value that a text stands for; a ValueError or KeyError means that it stands for none.
        secret: Whether values are hidden.
        repair: For a cosmetic option, that others may have set for another program: returns the value that a text is
            read as when it stands for none.
        repaired: What is done then, in words.
        unquoted: Whether a text in quotes is refused: they would be a part of the value.
        problem: What is wrong with a text that stands for no value; empty for: it must be what *rule* says.
        error: Class of the error for such a text.
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
    """Return what of a text a User-Agent header can hold, much as botocore sends it."""
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
    # No `isinstance`: whatever has both methods will do.
    methods = [getattr(value, name, None) for name in ("before_signing", "after_attempt")]
    return not isinstance(value, type) and all(callable(one) and not iscoroutinefunction(one) for one in methods)


def _text(text: str) -> str:
    if not text.isprintable():
        raise ValueError
    return redact_userinfo(str(text))  # type: ignore[no-any-return]  # of a profile it is a `Secret`


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
# Given in code, a region is checked by the client.
ANY_REGION = Kind(
    "text",
    lambda value: isinstance(value, str),
    _region,
    problem=f"is not a region: {REGION_RULE}",
    error=InvalidRegion,
)
FLAG = Kind("true or false", lambda value: isinstance(value, bool), _flag)
OPPOSITE_FLAG = Kind("true or false", lambda value: isinstance(value, bool), _opposite)  # its text says the opposite
HOSTS = Kind("text", lambda value: isinstance(value, str), str)  # an entry that makes no sense holds no host
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
# What the environment says is read when a request would go by it: others may have set it for another program.
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
    Return whether something is switched on: as *given* in code, else as an environment variable says, else not.

    Raises:
        ConfigurationError: The variable is neither true nor false.
    """
    text = "" if given is not None else environ.get(variable, "").strip()
    return bool(Option(kind=FLAG).read(text, origin=variable)) if text else bool(given)


def one_of(*words: str) -> Kind:
    """Return the kind of one of some words, in any case where it is read as text."""
    return Kind(
        " or ".join(words) if len(words) == 2 else f"one of {', '.join(words)}",
        lambda value: isinstance(value, str) and value in words,
        lambda text: {word.lower(): word for word in words}[text.lower()],
    )


@attrs.frozen(kw_only=True)
class Option:
    """
    What an option may be, and where it may come from.

    Attributes:
        kind: What it may be.
        variables: Environment variables; the first that is set wins.
        key: Key of a profile.
        default: What it is when nobody says.
        optional: Whether None may be given, for: what the others say.
        decides: ``DESTINATION``: where requests go, and as whom; ``TRUST``: who may answer them; or ``NOTHING`` of the
            sort, so that its default is used where its profile cannot be read.
    """

    kind: Kind
    variables: tuple[str, ...] = ()
    key: str | None = None
    default: Any = None
    optional: bool = True
    decides: str = DESTINATION

    def accepts(self, value: object) -> bool:
        """Say whether *value* can be given in code."""
        return self.kind.accepts(value) or (value is None and self.optional)

    def read(self, text: str, *, origin: str, remark: str = "") -> Any:
        """
        Return the value that *text* stands for, or is read as.

        Args:
            text: The text.
            origin: Where it comes from, in words.
            remark: How it differs from what its line in a file seems to say; empty when it does not.

        Raises:
            ConfigurationError: It stands for none; the message says *origin*, the rule and *remark*.
        """
        kind = self.kind
        problem = kind.problem or f"must be {kind.rule}"
        if kind.unquoted and in_quotes(text):
            problem = "must not stand in quotes"
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
    made = Option(kind=kind, variables=variables, key=key, default=default, optional=optional, decides=decides)
    if kind is not SECONDS and kind is not NUMBER:
        return {METADATA: made}
    return {METADATA: made, TAKEN: float | timedelta | None if optional else float | timedelta}


def known_seconds(default: float) -> dict[str, Any]:
    """Return the metadata of an attrs field for seconds that only code can say."""
    return known(SECONDS, default=default, optional=False)


def option(
    kind: Kind,
    *,
    variables: tuple[str, ...] = (),
    key: str | None = None,
    default: Any = None,
    decides: str = DESTINATION,
) -> Any:
    """Return an attrs field for what environment and profile can say: None, unless it is given in code."""
    metadata = known(kind, variables=variables, key=key, default=default, decides=decides)
    return attrs.field(default=None, metadata=metadata, converter=_REDACT if kind.secret else None)


def setting(kind: Kind, *, default: Any) -> Any:
    """Return an attrs field for what only code can say."""
    return attrs.field(default=default, metadata=known(kind, default=default, optional=False), converter=_AS_TUPLE)


def as_tuple(value: Any) -> Any:
    """Return a list as a tuple, and anything else as it is."""
    return tuple(value) if isinstance(value, list) else value


# attrs reads the signature of a bare function again for each field that has it.
_REDACT, _AS_TUPLE = attrs.Converter(redact), attrs.Converter(as_tuple)
