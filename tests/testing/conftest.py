import asyncio
import base64
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.config import Config as BotoConfig

from sts_async import Credentials, NoRetries, STSClient
from sts_async.config import Config
from sts_async.testing import LocalSTS
from sts_async.testing.plugin import sts_client, sts_server  # noqa: F401 - where it is not installed

ROLE = "arn:aws:iam::123456789012:role/path/demo"
PROVIDER = "arn:aws:iam::123456789012:saml-provider/Corp"


class Clock:
    """Stands still, at a time that the clients' own clocks are near to, until a test moves it."""

    def __init__(self) -> None:
        self.now = float(int(time.time()))

    def __call__(self) -> float:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += seconds

    def stopped(self) -> Callable[[], float]:
        """Return a clock that stays where this one is now."""
        now = self.now
        return lambda: now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def server(clock: Clock) -> AsyncIterator[LocalSTS]:
    async with LocalSTS(clock=clock) as server:
        yield server


@pytest.fixture
async def client(server: LocalSTS) -> AsyncIterator[Callable[..., STSClient]]:
    """Makes clients that neither retry nor check parameters, and closes them."""
    made: list[STSClient] = []

    def make(**options: Any) -> STSClient:
        options = {"retries": NoRetries(), "config": Config(validate_parameters=False), **options}
        made.append(server.client(**options))
        return made[-1]

    yield make
    for one in made:
        await one.aclose()


@pytest.fixture
async def sts(client: Callable[..., STSClient]) -> STSClient:
    return client()


@pytest.fixture
def foreign_logs_are_off() -> Iterator[None]:
    """At DEBUG botocore writes tokens to its log, which is what these tests watch for."""
    logger = logging.getLogger("botocore")
    level = logger.level
    logger.setLevel(logging.INFO)
    yield
    logger.setLevel(level)


@pytest.fixture
async def boto(server: LocalSTS, foreign_logs_are_off: None) -> AsyncIterator[Callable[..., Any]]:
    """Calls boto3 in a thread: ``await boto("get_caller_identity", credentials=...)``."""
    made: list[Any] = []

    def call(operation: str, credentials: Credentials, parameters: dict[str, Any]) -> Any:
        session = boto3.session.Session(botocore_session=botocore.session.Session())
        made.append(
            session.client(
                "sts",
                endpoint_url=server.url,
                region_name=server.region,
                aws_access_key_id=credentials.access_key_id,
                aws_secret_access_key=credentials.secret_access_key,
                aws_session_token=credentials.session_token,
                config=BotoConfig(retries={"total_max_attempts": 1}),
            )
        )
        return getattr(made[-1], operation)(**parameters)

    async def in_thread(operation: str, *, credentials: Credentials | None = None, **parameters: Any) -> Any:
        return await asyncio.to_thread(call, operation, credentials or server.credentials, parameters)

    yield in_thread
    for one in made:
        one.close()


@pytest.fixture
def jwt(clock: Clock) -> Callable[..., str]:
    """Makes web identity tokens; a claim of None is left out."""

    def make(**claims: Any) -> str:
        usual = {"iss": "https://idp.test", "sub": "somebody", "aud": "app", "exp": clock() + 600}
        payload = {name: value for name, value in {**usual, **claims}.items() if value is not None}
        parts = ({"alg": "RS256"}, payload)
        return ".".join(base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts) + ".x"

    return make


@pytest.fixture
def saml(clock: Clock) -> Callable[..., str]:
    """Makes SAML responses out of a template; any part can be replaced."""

    def at(seconds: float) -> str:
        return datetime.fromtimestamp(clock() + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def make(
        *,
        attributes: dict[str, list[str]] | None = None,
        expires_in: float = 300,
        begins_in: float = -60,
        name: str = "<NameID Format='urn:oasis:names:tc:SAML:2.0:nameid-format:persistent'>some&amp;body</NameID>",
        session_ends: str = "",
        doctype: str = "",
        copies: int = 1,
    ) -> str:
        usual = {"Role": [f"{ROLE}, {PROVIDER}"], "RoleSessionName": ["somebody"]}
        stated = "".join(
            f"<Attribute Name='https://aws.amazon.com/SAML/Attributes/{key}'>"
            + "".join(f"<AttributeValue>{value}</AttributeValue>" for value in values)
            + "</Attribute>"
            for key, values in {**usual, **(attributes or {})}.items()
            if values
        )
        assertion = (
            "<Assertion xmlns='urn:oasis:names:tc:SAML:2.0:assertion'><Issuer>https://idp.test/saml</Issuer>"
            f"<Subject>{name}<SubjectConfirmation><SubjectConfirmationData NotOnOrAfter='{at(expires_in)}' "
            "Recipient='https://signin.aws.amazon.com/saml'/></SubjectConfirmation></Subject>"
            f"<Conditions NotBefore='{at(begins_in)}'/>{session_ends}"
            f"<AttributeStatement>{stated}</AttributeStatement></Assertion>"
        )
        document = f"{doctype}<Response>{assertion * copies}</Response>"
        return base64.b64encode(document.encode()).decode()

    return make
