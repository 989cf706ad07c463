"""`sts-async doctor`: what a call would use, where each part comes from, and exit status 1 where a call would fail."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import botocore
import pytest
import trustme

from sts_async import Config, cli, doctor
from sts_async._protocol import known_regions
from sts_async.testing import LocalSTS

KEYS = {"AWS_ACCESS_KEY_ID": "AKIAMINE", "AWS_SECRET_ACCESS_KEY": "SENTINEL-mine"}
WHOLE = {**KEYS, "AWS_REGION": "eu-west-1"}


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, str], str]:
    """Return the status, the lines by their names, and standard error."""
    status = cli.main(["doctor", *arguments])
    out, err = capsys.readouterr()
    assert "SENTINEL" not in out + err
    return status, {line[:18].strip(): line[18:] for line in out.splitlines()}, err


@pytest.fixture
def setting(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], None]:
    def set_all(variables: dict[str, str]) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_all


Set = Callable[[dict[str, str]], None]


def test_the_chain_is_shown_and_the_status_says_whether_it_has_credentials(capsys: pytest.CaptureFixture[str]) -> None:
    status, lines, err = run(capsys, "--local")

    assert (status, err) == (0, "")
    assert [*lines] == [
        *("with local stand-i", "profile", "config file", "credentials file", "region", "endpoint", "proxy", "option"),
        *("1.", "2.", "3.", "4.", "5."),
    ]
    assert lines["5."].startswith("EC2 instance metadata")
    assert " used " in lines["5."]


def test_nothing_at_all_is_a_status_and_every_reason(capsys: pytest.CaptureFixture[str]) -> None:
    """E6."""
    status, lines, _ = run(capsys)

    assert status == 1
    assert lines["endpoint"].startswith("WRONG: none: no region: pass --region NAME, set AWS_REGION")
    assert lines["credentials"] == "WRONG: none: no source has any"


@pytest.mark.parametrize("command", ["doctor", "get-caller-identity"])
def test_nothing_that_is_set_up_on_the_machine_changes_a_local_run(
    capsys: pytest.CaptureFixture[str], setting: Set, write_file: Callable[[str, str], Path], command: str
) -> None:
    setting(
        {
            "AWS_PROFILE": "missing",
            "AWS_RETRY_MODE": "never",
            "AWS_CONFIG_FILE": str(write_file("config", "[broken\n")),
        }
    )

    assert cli.main([command, "--local"]) == 0


def test_what_is_given_on_the_command_line_is_said_to_be(
    capsys: pytest.CaptureFixture[str], setting: Set, write_file: Callable[[str, str], Path]
) -> None:
    """E6: a reader of the report may have written no code."""
    keys = "aws_access_key_id = AKIAMINE\naws_secret_access_key = SENTINEL-mine\n"
    setting({"AWS_CONFIG_FILE": str(write_file("config", f"[profile mine]\n{keys}"))})

    status, lines, _ = run(
        capsys,
        "--profile",
        "mine",
        "--region",
        "eu-west-1",
        "--endpoint-url",
        "http://127.0.0.1:1/",
        "--max-attempts",
        "4",
    )

    assert status == 0
    assert lines["profile"] == "mine (on the command line)"
    assert lines["region"] == "eu-west-1 (on the command line)"
    assert lines["endpoint"] == "http://127.0.0.1:1/ (on the command line)"
    assert lines["option"] == "ec2_metadata_disabled = True (AWS_EC2_METADATA_DISABLED)"
    assert lines["1."].startswith("profile 'mine'")
    assert "AKIAMINE, does not expire" in lines["1."]


def test_every_option_that_is_set_shows_the_variable(capsys: pytest.CaptureFixture[str], setting: Set) -> None:
    """E6: an option that was forgotten in some shell profile is found here."""
    setting({**WHOLE, "AWS_MAX_ATTEMPTS": "7", "AWS_USE_FIPS_ENDPOINT": "true", "AWS_RETRY_MODE": "standard"})

    assert cli.main(["doctor"]) == 0
    out = capsys.readouterr().out

    for line in (
        "max_attempts = 7 (AWS_MAX_ATTEMPTS)",
        "use_fips_endpoint = True (AWS_USE_FIPS_ENDPOINT)",
        "retry_mode = standard (AWS_RETRY_MODE)",
    ):
        assert f"option            {line}\n" in out
    assert "region            eu-west-1 (AWS_REGION)\n" in out
    assert "attempt_timeout" not in out


@pytest.mark.parametrize(
    ("variables", "name", "text"),
    [
        ({"AWS_REGION": "nowhere"}, "region", "nowhere (AWS_REGION); no partition of AWS has regions with such a name"),
        ({"AWS_REGION": "a.b"}, "region", "none: AWS_REGION is not a region: "),
        ({"AWS_MAX_ATTEMPTS": "never"}, "option", "AWS_MAX_ATTEMPTS must be a whole number of at least 1"),
        ({"AWS_PROFILE": "gone"}, "profile", "profile 'gone', named by AWS_PROFILE, is neither in"),
        ({"AWS_CA_BUNDLE": "/gone"}, "CA bundle", "AWS_CA_BUNDLE: '/gone': No such file or directory"),
        ({"HTTPS_PROXY": "socks5://u:SENTINEL@h:1"}, "proxy", "HTTPS_PROXY must be an http:// or https:// URL"),
        (
            {"AWS_ENDPOINT_URL": "http://sts.example/"},
            "endpoint",
            "none: AWS_ENDPOINT_URL: http://sts.example is unenc",
        ),
        ({"AWS_SESSION_TOKEN": "SENTINEL", "AWS_SECRET_ACCESS_KEY": " "}, "credentials", "none: environment is config"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_the_status_is_1_for_each_thing_that_a_call_would_fail_for(
    capsys: pytest.CaptureFixture[str], setting: Set, variables: dict[str, str], name: str, text: str
) -> None:
    """E6: the lines that need what is wrong are missing, the others are there."""
    setting({**WHOLE, **variables})
    status, lines, err = run(capsys)

    assert status == 1
    assert "Traceback" not in err
    assert lines[name].startswith(f"WRONG: {text}")
    assert [key for key, line in lines.items() if line.startswith("WRONG")] == [name]
    assert lines["config file"].endswith("/.aws/config: missing (the default)")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFO")
async def test_a_fifo_in_place_of_a_default_file_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """C1: it is opened as the library opens it, so no thread waits for a writer."""
    (tmp_path / ".aws").mkdir()
    os.mkfifo(tmp_path / ".aws/config")
    monkeypatch.setenv("HOME", str(tmp_path))

    rows = {row.name: row for row in (await doctor.examine(Config(region="eu-west-1"))).rows}

    assert rows["config file"].text.endswith("config: cannot be read: is a FIFO, not a regular file (the default)")
    assert not rows["config file"].wrong


def test_a_file_that_is_named_and_missing_is_said(
    capsys: pytest.CaptureFixture[str], setting: Set, tmp_path: Path
) -> None:
    """E6: no call fails for it, as for every AWS SDK; so nothing else would say it."""
    setting({**WHOLE, "AWS_CONFIG_FILE": f"{tmp_path}/gone"})
    status, lines, _ = run(capsys, "--credentials-file", f"{tmp_path}/away")

    assert status == 0
    assert lines["config file"] == f"{tmp_path}/gone: missing, although it is named: AWS_CONFIG_FILE"
    assert lines["credentials file"] == f"{tmp_path}/away: missing, although it is named: --credentials-file"


def test_files_that_are_there_empty_or_no_files_are_told_apart(
    capsys: pytest.CaptureFixture[str], setting: Set, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text("[default]\n")
    setting({**WHOLE, "AWS_CONFIG_FILE": f"{tmp_path}/config", "AWS_SHARED_CREDENTIALS_FILE": os.devnull})
    _, lines, _ = run(capsys)
    _, unnamed, _ = run(capsys, "--config-file", str(tmp_path))

    assert lines["config file"] == f"{tmp_path}/config: there (AWS_CONFIG_FILE)"
    assert lines["credentials file"] == "/dev/null: empty (AWS_SHARED_CREDENTIALS_FILE)"
    assert unnamed["config file"] == f"WRONG: --config-file: '{tmp_path}': is a directory, not a regular file"


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({}, "none (the default)"),
        ({"https_proxy": "http://u:SENTINEL@h:1"}, "http://h:1/, with a user and a password (https_proxy)"),
        ({"HTTPS_PROXY": "h:1", "NO_PROXY": "amazonaws.com"}, "none: NO_PROXY excepts {host} (HTTPS_PROXY names one)"),
        ({"HTTPS_PROXY": "socks5://h:1", "NO_PROXY": "*"}, "none: NO_PROXY excepts {host} (HTTPS_PROXY names one)"),
        (
            {"HTTP_PROXY": "http://h:1", "AWS_ENDPOINT_URL": "http://127.0.0.1:1/"},
            "none: 127.0.0.1 is reached directly, as this host and its link always are (HTTP_PROXY names one)",
        ),
        (
            {"HTTP_PROXY": "http://h:1", "AWS_ENDPOINT_URL": "http://[::1]/"},
            "none: [::1] is reached directly, as this host and its link always are (HTTP_PROXY names one)",
        ),
    ],
    ids=str,
)
def test_the_proxy_of_a_call_is_shown_without_its_password(
    capsys: pytest.CaptureFixture[str], setting: Set, variables: dict[str, str], text: str
) -> None:
    """E6: which one, who names it, and why none."""
    setting({**WHOLE, **variables})
    status, lines, _ = run(capsys)

    assert (status, lines["proxy"]) == (0, text.format(host="sts.eu-west-1.amazonaws.com"))


def test_the_authorities_that_are_trusted_are_shown(
    capsys: pytest.CaptureFixture[str], setting: Set, tmp_path: Path
) -> None:
    """E6."""
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    setting({**WHOLE, "AWS_CA_BUNDLE": f"{tmp_path}/ca.pem"})

    assert run(capsys)[1]["CA bundle"] == f"{tmp_path}/ca.pem: 1 certificates (AWS_CA_BUNDLE)"
    unverified = run(capsys, "--no-verify")[1]["CA bundle"]
    assert unverified == "none: TLS verification is disabled (--no-verify)"


def test_endpoints_that_are_passed_over_are_said_to_be(capsys: pytest.CaptureFixture[str], setting: Set) -> None:
    setting({**WHOLE, "AWS_ENDPOINT_URL": "https://h/", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"})

    assert run(capsys)[1]["endpoint"] == (
        "https://sts.eu-west-1.amazonaws.com/ (the region's own; those of environment and profile are ignored: "
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS)"
    )


def test_no_home_directory_and_a_path_below_it_are_one_line(
    capsys: pytest.CaptureFixture[str], setting: Set, monkeypatch: pytest.MonkeyPatch
) -> None:
    """E6: whatever the environment is like, there is a report."""
    setting(WHOLE)
    monkeypatch.delenv("HOME")
    status, lines, _ = run(capsys)
    setting({"AWS_CONFIG_FILE": "~/config"})
    named_status, named, _ = run(capsys)

    assert (status, lines["config file"]) == (0, "none: there is no home directory")
    assert named_status == 1
    assert "home directory" in named["config file"]


def test_a_home_that_is_no_directory_is_said_and_breaks_nothing(
    capsys: pytest.CaptureFixture[str], setting: Set
) -> None:
    """E6: as in containers of another user."""
    setting({**WHOLE, "HOME": os.devnull})
    status, lines, _ = run(capsys)

    assert status == 0
    assert lines["config file"] == "/dev/null/.aws/config: cannot be read: Not a directory (the default)"


def test_warnings_are_shown_beside_the_report(capsys: pytest.CaptureFixture[str], setting: Set) -> None:
    """E6: once, however often the options are read."""
    setting({**WHOLE, "AWS_SDK_UA_APP_ID": "my shop"})
    status, _, err = run(capsys)

    assert status == 0
    assert err.startswith("sts-async: warning: AWS_SDK_UA_APP_ID is sent as 'my-shop'")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("secret", "status", "text"),
    [(None, 0, "arn:aws:iam::123456789012:user/developer"), ("bogus", 1, "WRONG: unknown: SignatureDoesNotMatch: ")],
)
async def test_only_a_check_finds_out_whether_sts_accepts_the_keys(secret: str | None, status: int, text: str) -> None:
    """E6: every other line is about this machine alone."""
    async with LocalSTS() as server:
        environ = {
            "AWS_ACCESS_KEY_ID": server.credentials.access_key_id,
            "AWS_SECRET_ACCESS_KEY": secret or server.credentials.secret_access_key,
        }
        config = Config(region=server.region, endpoint_url=server.url)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environ.items():
                patch.setenv(name, value)
            unchecked = await doctor.examine(config)
            checked = await doctor.examine(config, check=True)

    assert unchecked.healthy
    assert checked.healthy == (status == 0)
    assert f"\nidentity          {text}" in str(checked)
    assert "\nidentity" not in str(unchecked)


def test_a_check_is_not_made_where_it_would_fail_anyway(capsys: pytest.CaptureFixture[str]) -> None:
    status, lines, _ = run(capsys, "--check", "--region", "nowhere")

    assert status == 1
    assert lines["identity"] == "not checked: correct what is WRONG above first"


def test_a_check_of_the_stand_ins_names_the_role(capsys: pytest.CaptureFixture[str]) -> None:
    """E6."""
    status, lines, _ = run(capsys, "--check", "--local")

    assert (status, lines["identity"]) == (0, "arn:aws:sts::123456789012:assumed-role/demo/local")


def test_a_broken_file_is_said_once_in_its_own_line(
    capsys: pytest.CaptureFixture[str], setting: Set, tmp_path: Path
) -> None:
    """E6: the others refer to it."""
    (tmp_path / "config").write_text("[default]\nregion = eu-west-1\n[profile work\n")
    setting({"AWS_CONFIG_FILE": f"{tmp_path}/config"})
    status, lines, _ = run(capsys, "--check")
    cause = f'{tmp_path}/config, line 3: a section without its "]"'

    assert status == 1
    assert lines["config file"] == f"WRONG: {cause}"
    assert [name for name, line in lines.items() if cause in line] == ["config file"]
    assert lines["region"] == lines["endpoint"] == "none: see config file above"
    assert lines["2."].endswith("see config file above")
    assert lines["identity"] == "not checked: correct what is WRONG above first"


def test_what_is_left_out_says_why(capsys: pytest.CaptureFixture[str], setting: Set) -> None:
    """E6."""
    setting({**WHOLE, "AWS_CA_BUNDLE": "/gone"})
    _, lines, _ = run(capsys, "--check")
    setting({"AWS_CA_BUNDLE": "", "AWS_MAX_ATTEMPTS": "many"})
    _, others, _ = run(capsys)

    assert lines["credentials"] == "not asked: correct the CA bundle above first"
    assert lines["identity"] == "not checked: correct what is WRONG above first"
    assert others["credentials"] == "not asked: correct what is WRONG above first"


def test_a_region_that_this_version_does_not_know_is_remarked_upon(
    capsys: pytest.CaptureFixture[str], setting: Set
) -> None:
    """E6: it may be a new one, so nothing is wrong. With an endpoint of its own, it may be anything."""
    setting({**WHOLE, "AWS_REGION": "eu-wset-1"})
    status, lines, _ = run(capsys)
    setting({"AWS_REGION": "us-moon-9"})
    _, new, _ = run(capsys)
    _, own, _ = run(capsys, "--endpoint-url", "https://sts.example/")

    assert (status, lines["region"]) == (
        0,
        "eu-wset-1 (AWS_REGION); this version knows no such region: did you mean eu-west-1?",
    )
    assert new["region"].startswith("us-moon-9 (AWS_REGION); this version knows no such region")
    assert own["region"] == "us-moon-9 (AWS_REGION)"


def test_the_known_regions_are_those_of_the_endpoint_rules() -> None:
    partitions = json.loads((Path(botocore.__file__).parent / "data/partitions.json").read_text())["partitions"]
    names = {region for partition in partitions for region in partition["regions"]}

    assert {name for name in names if not name.endswith("-global")} == known_regions.REGIONS
    assert {known_regions.unknown(name) for name in names} == {""}
    assert known_regions.unknown("zzz") == "this version knows no such region"
