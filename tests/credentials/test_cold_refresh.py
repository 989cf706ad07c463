"""
The cost of a refresh through a whole chain, as the number of function calls in this package.

The number does not depend on the speed of the machine. If a change exceeds the limit, find a cheaper way, or raise the
limit and give the reason.
"""

import dis
import functools
import sys
import threading
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType

import pytest
from support import ROLE

import sts_async
from sts_async import STSClient
from sts_async.testing import LocalSSO, LocalSTS

PACKAGE = f"{Path(sts_async.__file__).parent}/"
KIT = f"{PACKAGE}testing/"
# Number of clients. The first ones import modules, compile regular expressions and generate methods of classes.
WARM_UP = 3
CONFIG = f"""\
[profile demo]
region = eu-west-1
role_arn = {ROLE}
source_profile = corp

[profile corp]
region = eu-west-1
sso_session = corp
sso_account_id = 123456789012
sso_role_name = ReadOnly

[sso-session corp]
sso_region = eu-west-1
sso_start_url = https://demo.awsapps.com/start
"""

# Each of the chain, the profile, the role and its source needs a flight of 10 calls. Three files are read in threads,
# with 10 calls each. Two services are called, and one of the requests is signed. The rest: 60 calls for the plan of the
# profiles, 90 to hide the values that are read, 60 for two schedules, 80 for documents, endpoints and responses. An
# earlier version needed 861.
MAX_CALLS = 780


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Set a home directory with a profile that has a role; its source profile uses IAM Identity Center."""
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/config").write_text(CONFIG)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_PROFILE", "demo")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


async def test_a_refresh_through_roles_and_a_login_enters_few_functions(
    environ: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """E13: for a new client, in a process that has used others. A coroutine counts once, when it starts."""
    entered = Counter[tuple[str, str]]()

    def note(frame: FrameType, event: str, argument: object) -> None:
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(PACKAGE) and not name.startswith(KIT) and not has_begun(frame):
            entered[name.removeprefix(PACKAGE), frame.f_code.co_qualname] += 1

    sts = LocalSTS()
    sso = LocalSSO(credentials=lambda: sts.issue(ROLE), region="eu-west-1")
    async with sts, sso:
        for name, value in {**sso.environ, "AWS_ENDPOINT_URL_STS": sts.url}.items():
            environ.setenv(name, value)
        sso.login(tmp_path / ".aws/sso/cache", session="corp")
        before = sys.getprofile(), threading.getprofile()
        for _ in range(WARM_UP):
            async with STSClient() as client:
                entered.clear()
                threading.setprofile(note)
                sys.setprofile(note)
                try:
                    credentials = await client.get_credentials()
                finally:
                    sys.setprofile(before[0])
                    threading.setprofile(before[1])
                assert credentials.expiration is not None

    assert [record.operation for record in sts.requests] == ["AssumeRole"] * WARM_UP
    assert 200 < entered.total() <= MAX_CALLS, entered.most_common(40)


def has_begun(frame: FrameType) -> bool:
    """Return True if the frame belongs to a coroutine or generator that is resumed."""
    return frame.f_lasti > beginning_of(frame.f_code)


@functools.cache
def beginning_of(code: CodeType) -> int:
    """Return the offset of the instruction with which a function begins."""
    return next((one.offset for one in dis.get_instructions(code) if one.opname == "RESUME"), 0)
