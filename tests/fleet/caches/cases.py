"""Shared parts of the cache tests: keys, credentials, and random requests of all operations that issue credentials."""

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from support import ROLE, START

from sts_async import AssumeRoleRequest
from sts_async._shape.constraints import Member
from sts_async.fleet.caches import CachedCredentials, CacheKey
from sts_async.fleet.identities import ISSUING
from sts_async.shapes import FrozenMap, Request, TemporaryCredentials

NOW = datetime.fromtimestamp(START, UTC)
REQUEST = AssumeRoleRequest(role_arn=ROLE, role_session_name="me")
KEY = CacheKey(request=REQUEST, source="AKIAIOSFODNN7EXAMPLE", endpoint="https://sts.eu-west-1.amazonaws.com/")


def key_of(session: str) -> CacheKey:
    """Return the key of a session of the same role."""
    request = AssumeRoleRequest(role_arn=ROLE, role_session_name=session)
    return CacheKey(request=request, source=KEY.source, endpoint=KEY.endpoint)


def issued(*, seconds: float = 3600.0, at: datetime = NOW, token: str = "SENTINEL-session-token") -> CachedCredentials:
    """Return credentials that were issued at a time, for some seconds."""
    credentials = TemporaryCredentials(
        access_key_id="ASIAIOSFODNN7EXAMPLE",
        secret_access_key="SENTINEL-secret-access-key",
        session_token=token,
        expiration=at + timedelta(seconds=seconds),
    )
    return CachedCredentials(credentials=credentials, issued=at)


def files_in(directory: Path) -> list[str]:
    """Return the paths of all files below a directory, from the directory."""
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# -- Random requests ----------------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
JSON = st.recursive(TEXTS | st.integers() | st.booleans() | st.none(), lambda part: st.lists(part, max_size=3))
POLICIES = st.dictionaries(TEXTS, JSON, max_size=4)


def values_of(member: Member) -> st.SearchStrategy[Any]:
    """Return the values of a member of a shape, by its kind alone, so that later members have them too."""
    if member.document:
        return POLICIES
    if member.kind is str:
        return TEXTS
    if member.kind is int:
        return st.integers(0, 50_000)
    if member.kind is list:
        return st.lists(values_of(member.items), min_size=1, max_size=3)  # type: ignore[arg-type]
    if member.kind is FrozenMap:
        return st.dictionaries(TEXTS, values_of(member.items), min_size=1, max_size=3)  # type: ignore[arg-type]
    return shapes_of(member.kind)


def shapes_of(shape: Any) -> st.SearchStrategy[Any]:
    """Return shapes with at least one member. In a request, an empty structure is the same as no structure."""
    required = {member.name: values_of(member) for member in shape.__members__ if member.required}
    optional = {member.name: values_of(member) for member in shape.__members__ if not member.required}
    members = st.fixed_dictionaries(required, optional=optional)
    return (members if required or issubclass(shape, Request) else members.filter(len)).map(lambda one: shape(**one))


REQUESTS: st.SearchStrategy[Request[Any]] = st.one_of([shapes_of(operation.request) for operation in ISSUING])
KEYS = st.builds(CacheKey, request=REQUESTS, source=TEXTS, endpoint=TEXTS)
