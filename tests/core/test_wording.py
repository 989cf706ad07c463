"""How messages name options: for programs, and for the command line."""

import pytest

from sts_async import Config, ConfigurationError
from sts_async._commands import CommandLine
from sts_async._core import wording
from sts_async._core.wording import GIVEN
from sts_async.config import OPTIONS


def test_a_program_reads_the_names_of_arguments() -> None:
    assert (wording.option("max_attempts"), wording.setting("region"), wording.setting("verify", "False")) == (
        "max_attempts",
        "region=...",
        "verify=False",
    )
    assert (wording.origin(GIVEN), wording.origin("AWS_REGION")) == ("given in code", "AWS_REGION")


def test_the_command_line_reads_its_own_options() -> None:
    """D7: advice that cannot be followed is none."""
    with wording.spoken_in(CommandLine()):
        assert [wording.setting(name) for name in ("region", "endpoint_url", "max_attempts", "connect_timeout")] == [
            "--region NAME",
            "--endpoint-url URL",
            "--max-attempts N",
            "--connect-timeout SECONDS",
        ]
        assert (wording.setting("allow_http", "True"), wording.setting("verify", "False")) == (
            "--allow-http",
            "--no-verify",
        )
        assert wording.setting("retry_mode", "standard") == "--retry-mode standard"
        assert (wording.option("handlers"), wording.setting("handlers", "[]")) == ("handlers", "handlers=[]")
        assert wording.origin(GIVEN) == "on the command line"

    assert wording.option("region") == "region"


def test_the_wording_ends_with_its_block_however_it_ends() -> None:
    """A program may call the command line's function, and read its own errors later."""

    def fail() -> None:
        with wording.spoken_in(CommandLine()):
            raise ValueError("any")

    with pytest.raises(ValueError, match="any"):
        fail()

    assert wording.option("region") == "region"


@pytest.mark.parametrize("name", OPTIONS)
def test_a_wrong_value_is_refused_in_the_terms_of_the_reader(name: str) -> None:
    """D7: every option of the client, in one place."""
    wrong = {name: object()}
    with pytest.raises(ConfigurationError, match=f"^{name} must be "):
        Config(**wrong)  # type: ignore[arg-type]
    expected = name if name == "handlers" else f"--{name.replace('_', '-')}"
    with wording.spoken_in(CommandLine()), pytest.raises(ConfigurationError, match=f"^{expected} must be "):
        Config(**wrong)  # type: ignore[arg-type]
