"""The cache of `fleet`, `serve` and `exec`, made from their options and variables, and new keys for it."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from .._runtime import files
from .._shape.secret import cover
from ..errors import ConfigurationError
from .arguments import UsageError
from .cache_options import KEYS_VARIABLE, PLACE_VARIABLE, is_url

if TYPE_CHECKING:
    from ..fleet import CredentialsCache, EncryptionKeys

SCHEMES = ("redis", "rediss", "unix")  # of the URL of a cache


def cache_of(
    place: str | None,
    *,
    key_file: str | None = None,
    expected_workers: int | None = None,
    environ: Mapping[str, str],
    local: bool = False,
) -> "CredentialsCache | None":
    """
    Return the cache of the options; None without one. A file of keys is read, which blocks.

    Args:
        place: The directory or the URL; None for the variable, if *local* is false.
        key_file: The file of keys; None for the variable.
        expected_workers: About how many processes share the cache; None if the user did not say.
        environ: The variables of the cache.
        local: Whether the command uses a local STS. It then uses no cache that other commands have.

    Raises:
        UsageError: The options contradict each other.
        ConfigurationError: A key, the file of keys or the URL is invalid, or a package is missing.
    """
    option = "--cache" if place is not None else PLACE_VARIABLE
    if place is None and not local:
        place = environ.get(PLACE_VARIABLE, "").strip() or None
    if place is None or not is_url(place):
        for name, value in (("--cache-key-file", key_file), ("--expected-workers", expected_workers)):
            if value is not None:
                raise UsageError(f"{name} is for a cache on Redis: give its URL with --cache or in {PLACE_VARIABLE}")
        if place is None:
            return None
        from ..fleet import FileCache

        return FileCache(place)
    url: str = cover(place)
    place = url  # the frames of errors below have this name, too
    if url.partition("://")[0].lower() not in SCHEMES:
        raise UsageError(f"{option} must be a directory, or a URL that begins with redis://, rediss:// or unix://")
    keys = _keys_of(key_file, environ)
    from ..fleet import RedisCache

    return RedisCache(url, keys=keys, expected_workers=expected_workers or 1)


def _keys_of(key_file: str | None, environ: Mapping[str, str]) -> "EncryptionKeys":
    """
    Return the keys of a cache on Redis.

    Raises:
        UsageError: There are none.
        ConfigurationError: They are invalid.
    """
    from ..fleet import EncryptionKeys

    if key_file is not None:
        return EncryptionKeys.from_file(files.expand(key_file, os.environ))
    if not environ.get(KEYS_VARIABLE, "").strip():
        raise UsageError(
            f"a cache on Redis needs keys: pass --cache-key-file FILE or set {KEYS_VARIABLE}; `sts-async cache-key` "
            "makes a key"
        )
    try:
        return EncryptionKeys.from_text(environ[KEYS_VARIABLE])
    except ConfigurationError as error:
        problem = str(error)
    raise ConfigurationError(f"{KEYS_VARIABLE}: {problem}")


def new_cache_key(key_id: str | None) -> str:
    """
    Return a new key of a cache, as a line of a file of keys.

    Raises:
        UsageError: *key_id* is invalid.
    """
    from ..fleet import EncryptionKeys

    try:
        return EncryptionKeys.generate(datetime.now(UTC).strftime("%Y-%m-%d") if key_id is None else key_id)
    except ConfigurationError as error:
        problem = str(error).replace("key_id", "--id", 1)
    raise UsageError(problem)
