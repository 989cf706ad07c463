"""The options of the cache: a directory or Redis, keys from a file or a variable, and no secret in any output."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cli.programs import run
from fleet.redis_server import RedisServer, needs_redis, redis, shared_redis
from reporters import REPORTERS

from sts_async import EncryptionKeys, FileCache, Secret, cli
from sts_async._cli.arguments import UsageError
from sts_async._cli.shared_cache import cache_of
from sts_async._shape.secret import HiddenMapping
from sts_async.errors import ConfigurationError
from sts_async.testing import LocalSTS

__all__ = ["redis", "shared_redis"]

HUB = "arn:aws:iam::123456789012:role/hub"
PASSWORD = "SENTINEL-password"
KEY = str.__str__(EncryptionKeys.generate("2026-11"))


@pytest.fixture
async def server() -> AsyncIterator[LocalSTS]:
    async with LocalSTS(roles=[HUB]) as running:
        yield running


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "cache-keys"
    path.write_text(f"{KEY}\n")
    path.chmod(0o600)
    return path


# -- Keys ---------------------------------------------------------------------------------------------------------


def test_a_new_key_is_one_line_for_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["cache-key", "--id", "2026-12"]) == 0
    named, _ = capsys.readouterr()
    assert cli.main(["cache-key"]) == 0
    dated, _ = capsys.readouterr()

    assert EncryptionKeys.from_text(named).ids == ("2026-12",)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", EncryptionKeys.from_text(dated).ids[0])
    assert len(EncryptionKeys.from_text(named + dated).ids) == 2


def test_an_invalid_id_is_a_usage_error_without_the_id(capsys: pytest.CaptureFixture[str]) -> None:
    """E7: a key may have been pasted in place of the id."""
    assert cli.main(["cache-key", "--id", "SENTINEL/id"]) == 2
    _, err = capsys.readouterr()

    assert err.startswith("sts-async cache-key: --id must have 1 to 64 letters, digits, dots")
    assert "SENTINEL" not in err


@pytest.mark.parametrize("topic", [["help", "cache-key"], ["cache-key", "--help"]])
def test_the_help_tells_how_to_replace_a_key(topic: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(topic) == 0
    out, _ = capsys.readouterr()

    assert "To replace a key:" in out
    assert "--cache-key-file" in out


# -- The place ----------------------------------------------------------------------------------------------------


def test_the_option_takes_precedence_over_the_variable(tmp_path: Path) -> None:
    environ = {"STS_ASYNC_CACHE": str(tmp_path / "variable")}
    by_variable = cache_of(None, environ=environ)
    by_option = cache_of(str(tmp_path / "option"), environ=environ)

    assert isinstance(by_variable, FileCache)
    assert isinstance(by_option, FileCache)
    assert by_variable.directory == tmp_path / "variable"
    assert by_option.directory == tmp_path / "option"
    assert cache_of(None, environ={}) is cache_of(None, environ={"STS_ASYNC_CACHE": " "}) is None
    assert cache_of(None, environ=environ, local=True) is None  # a local STS shares nothing with other commands


@pytest.mark.parametrize(
    "place",
    [
        "http://user:{}@h/",
        "memcached://{}",
        "REDISX://:{}@h",
        "h:6379",
        ":{}@h:6379/0",
        "Redis:{}@h",
        "rediss:/h",
        "unix:/s",
    ],
)
def test_another_scheme_is_a_usage_error_without_the_url(place: str) -> None:
    """E7, T14."""
    for given, environ, name in (
        (place.format(PASSWORD), {}, "--cache"),
        (None, {"STS_ASYNC_CACHE": place.format(PASSWORD)}, "STS_ASYNC_CACHE"),
    ):
        with pytest.raises(
            UsageError, match=f"^{name} must be a directory, or a URL that begins with redis://"
        ) as caught:
            cache_of(given, environ=environ)
        assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("place", ["redis", "a:b", "C:\\cache", "./h:6379", "/a/h:6379", "redis.d/x"])
def test_a_directory_can_have_a_name_like_a_host(place: str) -> None:
    assert isinstance(cache_of(place, environ={}), FileCache)


@pytest.mark.parametrize("option", [{"key_file": "/x"}, {"expected_workers": 5}])
def test_an_option_for_redis_alone_asks_for_its_url(option: dict[str, object]) -> None:
    """Otherwise the credentials in a directory would seem to be encrypted."""
    for place in (None, "/directory"):
        with pytest.raises(
            UsageError, match="is for a cache on Redis: give its URL with --cache or in STS_ASYNC_CACHE"
        ):
            cache_of(place, environ={}, **option)  # type: ignore[arg-type]


def test_redis_without_keys_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """T41: nothing is stored in plain text, and nothing is shared by mistake."""
    for environ in ({}, {"STS_ASYNC_CACHE_KEYS": " "}):
        with pytest.raises(
            UsageError, match=r"pass --cache-key-file FILE or set STS_ASYNC_CACHE_KEYS; `sts-async cache"
        ):
            cache_of("redis://127.0.0.1:1", environ=environ)
    status = cli.main(["fleet", "--local", "--once", "--cache", f"redis://:{PASSWORD}@127.0.0.1:1"])
    _, err = capsys.readouterr()

    assert status == 2
    assert err.startswith("sts-async fleet: a cache on Redis needs keys: pass --cache-key-file FILE")
    assert PASSWORD not in err


def test_invalid_keys_name_the_variable_or_the_file(key_file: Path) -> None:
    """T15: without a part of them."""
    with pytest.raises(
        ConfigurationError, match=r"^STS_ASYNC_CACHE_KEYS: the text of cache keys, line 1: a key"
    ) as caught:
        cache_of("redis://127.0.0.1:1", environ=HiddenMapping({"STS_ASYNC_CACHE_KEYS": "k SENTINEL"}))
    assert "SENTINEL" not in str(caught.value)
    key_file.chmod(0o644)
    with pytest.raises(ConfigurationError, match="has mode 0644: others may read it"):
        cache_of("redis://127.0.0.1:1", key_file=str(key_file), environ={})


@pytest.mark.parametrize("reporter", REPORTERS.values(), ids=REPORTERS)
@pytest.mark.parametrize(
    ("place", "keys"),
    [(f"redis://:{PASSWORD}@h:0", KEY), (f"redis://:{PASSWORD}@h", "k SENTINEL-key"), (f"ftp://:{PASSWORD}@h", KEY)],
    ids=["URL", "keys", "scheme"],
)
def test_no_crash_reporter_shows_a_password_or_a_key(reporter: Any, place: str, keys: str) -> None:
    """G6, T16: in the variables of the environment, which no option has read before."""
    if not reporter.installed:
        pytest.skip(f"{reporter.package} is not installed: it is in the extra `test`")
    variables = {"STS_ASYNC_CACHE": place, "STS_ASYNC_CACHE_KEYS": keys}
    with pytest.raises((ConfigurationError, UsageError)) as caught:
        cache_of(None, environ=HiddenMapping(variables))

    shown = reporter.show(caught.value)
    assert "cache_of" in shown
    assert "SENTINEL" not in shown
    assert KEY.split()[1][:8] not in shown


def test_the_url_is_hidden_in_the_arguments_of_the_command() -> None:
    """T16: reporters show the variables of each frame, and argparse keeps all values in one object."""
    from sts_async._cli.commands import parse

    for url in (f"redis://:{PASSWORD}@h", f"rediss://h/0?password={PASSWORD}", f"unix://{PASSWORD}"):
        _, options = parse(["fleet", "--local", "--cache", url])
        assert type(options.cache) is Secret
        assert PASSWORD not in repr(options)
    assert type(parse(["fleet", "--local", "--cache", "/directory"])[1].cache) is str


# -- Commands -----------------------------------------------------------------------------------------------------


async def test_processes_with_other_keys_share_a_namespace(server: LocalSTS, tmp_path: Path) -> None:
    """Each worker of a deployment may have temporary keys of its own."""
    roles = tmp_path / "roles"
    roles.write_text(f"{HUB}\n")
    for _ in range(2):
        keys = server.issue(HUB)
        more = {
            "AWS_ACCESS_KEY_ID": keys.access_key_id,
            "AWS_SECRET_ACCESS_KEY": str.__str__(keys.secret_access_key),
            "AWS_SESSION_TOKEN": str.__str__(keys.session_token),
            "STS_ASYNC_CACHE": str(tmp_path / "cache"),
        }
        for name in (["--cache-namespace", "team"], []):
            status, _, err = await run(server, "fleet", "--roles", roles, "--once", *name, **more)
            assert (status, err) == (0, "")

    assert len(server.requests) == 1 + 2


async def test_a_command_does_not_get_the_keys_of_the_cache(server: LocalSTS, tmp_path: Path) -> None:
    """It gets the credentials of one identity; with the keys, it could read those of all."""
    roles = tmp_path / "roles"
    roles.write_text(f"{HUB} name=hub\n")
    variables = {"STS_ASYNC_CACHE": str(tmp_path / "cache"), "STS_ASYNC_CACHE_KEYS": KEY, "OTHER": "kept"}
    script = f"env > '{tmp_path / 'variables'}'"
    status, _, err = await run(server, "exec", "hub", "--roles", roles, "--", "/bin/sh", "-c", script, **variables)
    names = {line.partition("=")[0] for line in (tmp_path / "variables").read_text().splitlines()}

    assert (status, err) == (0, "")
    assert "OTHER" in names
    assert names & variables.keys() == {"OTHER"}


@needs_redis
@pytest.mark.slow
async def test_processes_share_redis_and_show_no_password(
    server: LocalSTS, redis: RedisServer, key_file: Path, tmp_path: Path
) -> None:
    """C18, T41: the URL and the keys by options, then by variables; both find the same credentials."""
    roles = tmp_path / "roles"
    roles.write_text(f"{HUB}\n")
    by_option = ["--cache", redis.url, "--cache-key-file", str(key_file)]
    by_variable = {"STS_ASYNC_CACHE": redis.url, "STS_ASYNC_CACHE_KEYS": KEY}
    for options, variables in ((by_option, {}), ([], by_variable)):
        status, out, err = await run(server, "fleet", "--roles", roles, "--once", *options, **variables)
        assert (status, err) == (0, "")
        assert "1 of 1 identity fetched" in out
    wrong = {**by_variable, "STS_ASYNC_CACHE": redis.url.replace("://", f"://nobody:{PASSWORD}@")}
    status, out, err = await run(server, "fleet", "--roles", roles, "--once", **wrong)

    assert len(server.requests) == 2
    assert status == 0  # without the cache, the credentials are fetched
    assert "it refuses the user or the password" in err
    assert PASSWORD not in out + err
