"""
What a refresh through a whole chain costs in work of our own, counted: no clock is involved.

A figure here grows when a change adds function calls to it. Then find a cheaper way, or raise the bound and say why.
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
WARM_UP = 3  # clients: modules are imported, expressions compiled, and the methods of classes written
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

# The chain, the profile, the role and its source are a flight each, with ten functions; three files are read in
# threads, with ten each; two services are asked, of which one request is signed. The rest: 60 for the plan of the
# profiles, 90 for hiding what is read, 60 for two schedules, 80 for documents, endpoints and answers. It was 861.
MOST_CALLS = 750


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A home directory with a profile that has a role, whose source profile is of IAM Identity Center."""
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
    """E13: of a new client, in a process that has made others; functions are counted once, when they begin."""
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
    assert 200 < entered.total() <= MOST_CALLS, entered.most_common(40)


def has_begun(frame: FrameType) -> bool:
    """Return True for the frame of a coroutine or generator that goes on."""
    return frame.f_lasti > beginning_of(frame.f_code)


@functools.cache
def beginning_of(code: CodeType) -> int:
    """Return the offset of the instruction with which a function begins."""
    return next((one.offset for one in dis.get_instructions(code) if one.opname == "RESUME"), 0)
