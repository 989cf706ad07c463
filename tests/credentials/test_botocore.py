"""
The default chain compared with that of botocore, an independent oracle, on the same environment, files and servers.

`cases` is the table. If we differ on purpose, the case has the reason and both results, so that a change of either one
is noticed.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from credentials import cases
from credentials.cases import Case, Fails, Keys, Nothing, Outcome, Session
from patience import PATIENCE
from support import SEEN_SECRETS

from sts_async import Config
from sts_async._http.transport import AiohttpTransport
from sts_async._protocol.http_messages import HttpRequest, HttpResponse
from sts_async.config import SettingsSources
from sts_async.credentials import DefaultChain
from sts_async.errors import CredentialsNotFound, STSError
from sts_async.shapes import Credentials
from sts_async.testing import LocalContainer, LocalIMDS, LocalSignIn, LocalSSO, LocalSTS, Role, User

AGENT = "http://169.254.170.2"  # of ECS: there, requests go to the server of the case

BOTOCORE = """
import json, os, signal, sys
import botocore.credentials, botocore.loaders, botocore.session, botocore.tokens, botocore.utils

loader = botocore.loaders.create_loader()  # of the models, which are the same for all cases
botocore.utils.ContainerMetadataFetcher.SLEEP_TIME = 0

def answer(environ, profile, agent):
    os.environ.clear()
    os.environ.update(environ)
    cache = os.path.expanduser("~/.aws/sso/cache")  # which is looked up when botocore is imported
    botocore.credentials.SSOProvider._SSO_TOKEN_CACHE_DIR = cache
    botocore.tokens.SSOTokenProvider._SSO_TOKEN_CACHE_DIR = cache
    botocore.utils.ContainerMetadataFetcher.full_url = lambda self, uri: agent + uri
    try:
        session = botocore.session.Session(profile=profile)
        session.register_component("data_loader", loader)
        chain = session.get_component("credential_provider")
        chain.get_provider("assume-role")._prompter = lambda _: "123456"
        found = session.get_credentials()
        return None if found is None else list(found.get_frozen_credentials())[:4]
    except Exception as error:
        return type(error).__name__

for line in sys.stdin:
    signal.alarm(%d)
    print(json.dumps(answer(**json.loads(line))), flush=True)
    signal.alarm(0)
"""


class Oracle:
    """Botocore in a process of its own, which answers for one environment after another."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", BOTOCORE % PATIENCE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PATH": os.environ["PATH"]},
            text=True,
        )

    def ask(self, environ: dict[str, str], *, profile: str | None, agent: str) -> Any:
        """Return key id, secret, token and account; None if nothing was found; or the name of an error."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"environ": environ, "profile": profile, "agent": agent}) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate(timeout=PATIENCE)


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    oracle = Oracle()
    yield oracle
    oracle.close()


class ReroutedTransport(AiohttpTransport):
    """Sends requests for the agent of ECS to the server of the case."""

    def __init__(self, agent: str) -> None:
        super().__init__()
        self._agent = agent

    async def send(self, request: HttpRequest) -> HttpResponse:
        if request.url.startswith(f"{AGENT}/"):
            request = attrs.evolve(request, url=self._agent + request.url.removeprefix(AGENT))
        return await super().send(request)


@attrs.define
class Place:
    """The services for two machines, on which our chain and botocore's chain run."""

    server: LocalSTS
    root: Path
    services: AsyncExitStack
    running: dict[str, Any] = attrs.field(factory=dict)
    logins: dict[str, float] = attrs.field(factory=dict)  # for how many seconds they live
    accounts: list[str | None] = attrs.field(factory=list)  # that each of the two said for its credentials

    async def start(self, case: Case) -> None:
        kinds: dict[str, type[Any]] = {
            "container": LocalContainer,
            "imds": LocalIMDS,
            "sso": LocalSSO,
            "signin": LocalSignIn,
        }
        for name, options in case.servers.items():
            options = {"seconds": 3600, "login_seconds": 3600, **options}
            self.logins[name] = options.pop("login_seconds")
            vended = self.server.issue(cases.ROLE, session_name=name, seconds=options.pop("seconds"))
            self.running[name] = await self.services.enter_async_context(kinds[name](credentials=vended, **options))
        self.break_servers(case)

    def break_servers(self, case: Case) -> None:
        """Set the faults of the case at the servers, and remove all others."""
        servers = {"sts": self.server, **self.running}
        for name, server in servers.items():
            server.faults.clear()
            server.faults.add(*([case.faults[name]] if name in case.faults else []))

    def machine(self, case: Case, machine: str) -> dict[str, str]:
        """Return the environment of a new machine, and write its files."""
        home = self.root / machine
        self.log_in(home)
        files = {".aws/config": case.config, ".aws/credentials": case.credentials, **case.files}
        for path, content in files.items():
            if content:
                (home / path).parent.mkdir(parents=True, exist_ok=True)
                (home / path).write_bytes(self.filled_in(content, home).encode())
        environ = {
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "AWS_REGION": self.server.region,
            "AWS_DEFAULT_REGION": self.server.region,
            "AWS_ENDPOINT_URL_STS": self.server.url,
            "AWS_MAX_ATTEMPTS": "1",
        }
        for server in self.running.values():
            environ |= server.environ
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):  # the files of the case are read
            environ.pop(name, None)
        environ["AWS_EC2_METADATA_DISABLED"] = "false" if "imds" in self.running else "true"
        for name, value in case.environ.items():
            environ.pop(name, None)
            environ |= {} if value is None else {name: self.filled_in(value, home)}
        return environ

    def log_in(self, home: Path) -> None:
        """Write the files of `aws sso login` and `aws login`."""
        if "sso" in self.running:
            sso, seconds = self.running["sso"], self.logins["sso"]
            sso.login(home / ".aws/sso/cache", session="corp", seconds=seconds)
            sso.login(home / ".aws/sso/cache", start_url=cases.START_URL, seconds=seconds)
        if "signin" in self.running:
            directory = home / ".aws/login/cache"
            self.running["signin"].login(directory, login_session=cases.LOGIN_SESSION, seconds=self.logins["signin"])

    def filled_in(self, content: str, home: Path) -> str:
        now = datetime.now(UTC)
        words = {"<home>": str(home), "<imds>": self.running["imds"].url if "imds" in self.running else ""}
        for word, seconds in {"<past>": -3600, "<soon>": 90, "<future>": 3600}.items():
            words[word] = (now + timedelta(seconds=seconds)).isoformat()
        for word, value in words.items():
            content = content.replace(word, value)
        return content

    @property
    def agent(self) -> str:
        return self.running["container"].url if "container" in self.running else AGENT

    def outcome(self, credentials: Credentials, *, since: int) -> Outcome:
        """Return a description of credentials: a session of the server and its number of requests, or only keys."""
        holder = self.server.principal(credentials)
        if holder is None or holder.kind != "assumed-role":
            return Keys(credentials.access_key_id, credentials.session_token or None, credentials.secret_access_key)
        served = [request for request in list(self.server.requests)[since:] if request.status == 200]
        return Session(_name(holder.arn), *(_name(request.principal) for request in served))


def _name(arn: str | None) -> str:
    """Return the principal of credentials; generated session names are replaced by ``*``."""
    if arn is None:
        return "nobody"
    name = arn.rpartition(":")[2].removeprefix("assumed-role/")
    return re.sub(r"/(sts-async-[0-9a-f]{16}|botocore-session-[0-9]+)$", "/*", name)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    users = [
        User(
            key_id.removeprefix("AKIA").lower(),
            credentials=Credentials(access_key_id=key_id, secret_access_key=cases.SECRET),
            mfa_serial=cases.MFA_DEVICE if key_id == "AKIABASE" else None,
        )
        for key_id in cases.USERS
    ]
    async with LocalSTS(users=users) as server, AsyncExitStack() as services:
        server.declare(Role(cases.GUARDED_ROLE, external_id="ext-1"), Role(cases.MFA_ROLE, mfa_required=True))
        yield Place(server, tmp_path, services)


async def of_botocore(place: Place, case: Case, oracle: Oracle) -> Outcome:
    environ = place.machine(case, "theirs")
    before = len(place.server.requests)
    found = await asyncio.to_thread(oracle.ask, environ, profile=case.profile, agent=place.agent)
    if found is None:
        return Nothing()
    if isinstance(found, str):
        return Fails(found)
    key_id, secret, token, account_id = found
    place.accounts.append(account_id)
    credentials = Credentials(access_key_id=key_id, secret_access_key=secret, session_token=token)
    return place.outcome(credentials, since=before)


async def of_ours(place: Place, case: Case, lend: Callable[..., Any]) -> Outcome:
    async def mfa_code(_: str) -> str:
        return "123456"

    environ = place.machine(case, "ours")
    before = len(place.server.requests)
    context = lend(f"{place.server.url}/", transport=ReroutedTransport(place.agent), wall_clock=time.time)
    try:
        chain = DefaultChain(mfa_code=mfa_code, settings_sources=SettingsSources(Config(profile=case.profile), environ))
        credentials = await chain.provide_credentials(context)
        place.accounts.append(credentials.account_id)
    except CredentialsNotFound:
        return Nothing()
    except STSError as error:
        return Fails(type(error).__name__)
    return place.outcome(credentials, since=before)


@pytest.mark.parametrize("case", cases.CASES, ids=lambda case: case.name)
async def test_the_chain_agrees_with_botocore_or_with_the_stated_difference(
    case: Case, place: Place, oracle: Oracle, lend: Callable[..., Any]
) -> None:
    """The used source, its credentials and their signer are compared; T47 and T48 are among the cases."""
    await place.start(case)
    theirs = await of_botocore(place, case, oracle)
    place.break_servers(case)  # anew
    ours = await of_ours(place, case, lend)
    SEEN_SECRETS.difference_update(cases.ROLES_OF_FILES)

    expected = case.botocore or case.gives
    assert ours == case.gives
    assert (cases.FAILS if isinstance(theirs, Fails) else theirs) == (
        cases.FAILS if isinstance(expected, Fails) else expected
    )
    if case.botocore is None:
        assert len({*place.accounts}) <= 1, "C22: the account is the same"


def test_each_difference_has_a_reason_and_each_name_is_that_of_one_case() -> None:
    for case in cases.CASES:
        assert (case.botocore is None) == (not case.we_differ), case.name
        assert case.botocore != case.gives, case.name
    assert [name for name, count in Counter(case.name for case in cases.CASES).items() if count > 1] == []
