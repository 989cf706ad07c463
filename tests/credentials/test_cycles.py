"""A source that fails leaves no cycle of error, traceback and frame, which would keep secrets in memory."""

import gc
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import pytest

from sts_async.credentials import (
    AssumeRoleProvider,
    CachingProvider,
    ContainerProvider,
    IMDSProvider,
    LoginProvider,
    ProcessProvider,
    ProfileProvider,
    ProviderChain,
    SSOProvider,
    WebIdentityProvider,
)
from sts_async.errors import STSError
from sts_async.shapes import Credentials

ROLE = "arn:aws:iam::123456789012:role/demo"
NOWHERE = "http://127.0.0.1:9/"


async def failing() -> Any:
    raise LookupError


def token_file(home: Path) -> Path:
    path = home / "token"
    path.write_text("x.y.z")
    return path


SOURCES: dict[str, Callable[[Path], Any]] = {
    "a role": lambda _: AssumeRoleProvider(
        role_arn=ROLE, source=Credentials(access_key_id="AKIA", secret_access_key="x")
    ),
    "a source of the program": lambda _: CachingProvider(failing),
    "a chain": lambda _: ProviderChain(ContainerProvider(environ={}), ProcessProvider("false")),
    "container": lambda _: ContainerProvider(environ={"AWS_CONTAINER_CREDENTIALS_FULL_URI": NOWHERE}),
    "instance": lambda _: IMDSProvider(endpoint=NOWHERE),
    "login": lambda home: LoginProvider(login_session="me", region="eu-west-1", environ={"HOME": str(home)}),
    "process": lambda _: ProcessProvider("false"),
    "profile": lambda _: ProfileProvider("missing"),
    "sso": lambda home: SSOProvider(
        session_name="x", account_id="123456789012", role_name="x", region="eu-west-1", environ={"HOME": str(home)}
    ),
    "web identity": lambda home: WebIdentityProvider(role_arn=ROLE, token_file=token_file(home)),
    "a token of the program": lambda _: WebIdentityProvider(role_arn=ROLE, token=failing),
}


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
async def test_a_source_that_fails_leaves_no_cycle(make: Callable[[Path], Any], lend: Any, tmp_path: Path) -> None:
    provider, context = make(tmp_path), lend(NOWHERE)

    async def use() -> None:
        await provider.provide_credentials(context)

    assert await cycles_of(use) == set()


async def test_a_cycle_would_be_found() -> None:
    async def keep() -> None:
        try:
            raise STSError
        except STSError as error:
            kept = error
        raise kept

    assert await cycles_of(keep, package=__name__) == {"keep: kept"}


async def cycles_of(use: Callable[[], Awaitable[None]], *, package: str = "sts_async") -> set[str]:
    """Return the local variables in frames of *package* that refer to an error whose traceback has the same frame."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        failed = False
        try:
            await use()
        except (STSError, LookupError):
            failed = True
        gc.collect()
        frames = [one for one in gc.garbage if isinstance(one, FrameType)]
        ours = [frame for frame in frames if frame.f_globals["__name__"].startswith(package)]
        found = {
            f"{frame.f_code.co_name}: {name}"
            for frame in ours
            for name, value in frame.f_locals.items()
            if passed_through(frame, value if isinstance(value, BaseException) else getattr(value, "error", None))
        }
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert failed
    return found


def passed_through(frame: FrameType, error: object) -> bool:
    step: TracebackType | None = error.__traceback__ if isinstance(error, BaseException) else None
    while step is not None and step.tb_frame is not frame:
        step = step.tb_next
    return step is not None
