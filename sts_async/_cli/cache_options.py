"""
The options of the cache of `fleet`, `serve` and `exec`, and ``sts-async cache-key``.

No option has a key, and variables can replace the options that can have a password, because other users can see the
command line in the list of processes.
"""

import argparse
import re
from typing import Any

from .._shape.secret import cover
from .arguments import Parser, count

CACHE_KEY = "cache-key"
PLACE_VARIABLE = "STS_ASYNC_CACHE"
KEYS_VARIABLE = "STS_ASYNC_CACHE_KEYS"
VARIABLES = (PLACE_VARIABLE, KEYS_VARIABLE)
_URL = re.compile(r"[a-z][a-z0-9+.-]*://|(?:rediss?|valkeys?|unix):|[^/\\]*:[0-9]+(?:/[0-9]*)?$", re.IGNORECASE)

ABOUT_CACHE_KEY = """\
Write a new random key for a cache on Redis, as one line: an id, a space, and 32 bytes in base64. A file for
--cache-key-file, and the variable STS_ASYNC_CACHE_KEYS, contain one or more such lines. New credentials are encrypted
with the first key, and those of all keys are read.

To replace a key: add the new line below the old one in all processes, then move it to the top in all processes, and
remove the old line when the last credentials that it encrypts have expired.
"""

EPILOG_CACHE_KEY = """\
examples:
  (umask 077 && sts-async cache-key > cache-keys)
  sts-async cache-key --id 2026-12 >> cache-keys
"""


def add_cache(command: Parser) -> None:
    """Add the options of the cache to a command."""
    command.add_argument(
        "--cache",
        type=_place,
        metavar="DIR|URL",
        help="directory for the credentials, which only you can read and processes on this host share; or the URL of a "
        "Redis or Valkey server, which machines share: redis://HOST:PORT/DB, rediss:// for TLS, or unix://PATH. "
        "Other users can see a password on the command line: set the variable STS_ASYNC_CACHE instead",
    )
    command.add_argument(
        "--cache-key-file",
        metavar="FILE",
        help="the keys that encrypt the credentials on Redis, a file that only you can read; `sts-async cache-key` "
        "makes a key; default: the variable STS_ASYNC_CACHE_KEYS, with the same lines or with commas between them",
    )
    command.add_argument(
        "--cache-namespace",
        type=_namespace,
        metavar="NAME",
        help="name of the calling identity in the cache; default: its access key id. Processes with different "
        "temporary keys of the same role share credentials only if they have the same name",
    )
    command.add_argument(
        "--expected-workers",
        type=count,
        metavar="N",
        help="about how many processes share the budget of the calling account; used until Redis has returned their "
        "number; default: 1",
    )


def add_cache_key(commands: Any) -> None:
    """Add the command that makes a key to the parser."""
    command = commands.add_parser(
        CACHE_KEY,
        help="a new key for a cache on Redis",
        usage="sts-async cache-key [--id ID]",
        description=ABOUT_CACHE_KEY,
        epilog=EPILOG_CACHE_KEY,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "--id", metavar="ID", help="the id, which no other key of the cache may have; default: today's date"
    )


def is_url(place: str) -> bool:
    """
    Return True if the place of a cache is a URL and not a directory, or was meant as one.

    The credentials would lie in plain text in a directory with the name ``redis:host`` or ``host:6379``.
    """
    return _URL.match(place) is not None


def _place(text: str) -> str:
    # A URL can contain a password, which tracebacks with local variables must not show.
    return str(text) if not is_url(text) else cover(text)


def _namespace(text: str) -> str:
    if not (text and text.isprintable()):
        raise argparse.ArgumentTypeError("must be printable text")
    return text
