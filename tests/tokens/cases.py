"""What the tests of tokens share: the keys and the clock of the golden vectors, and each token as a case."""

import base64
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from unittest import mock

import attrs
import botocore.auth
import pytest
from botocore.auth import SigV4QueryAuth

from sts_async import Credentials, tokens

AT = datetime(2026, 1, 1, tzinfo=UTC)
LONG_TERM = Credentials(access_key_id="AKIDEXAMPLE", secret_access_key="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
TEMPORARY = attrs.evolve(LONG_TERM, session_token="IQoJb3JpZ2luX2VjEXAMPLE+/token==")
DB = "db.abc123.eu-west-1.rds.amazonaws.com"
CLUSTER = "abc.dsql.eu-west-1.on.aws"
REGION = "eu-west-1"


@attrs.frozen
class Case:
    """
    A token that is signed without a request.

    Attributes:
        arguments: The arguments of its functions.
        seconds: Its own life in seconds.
        sign: The function that does no I/O.
        coroutine: The coroutine.
    """

    arguments: dict[str, Any]
    seconds: int
    sign: Callable[..., Any]
    coroutine: Callable[..., Any]


CASES = {
    "eks": Case({"cluster": "my-cluster", "region": REGION}, 840, tokens.sign_eks_token, tokens.eks_token),
    "rds": Case({"host": DB, "port": 5432, "user": "app"}, 900, tokens.sign_rds_token, tokens.rds_token),
    "dsql": Case({"host": CLUSTER}, 900, tokens.sign_dsql_token, tokens.dsql_token),
    "elasticache": Case(
        {"cache": "my-cache", "user": "app", "region": REGION},
        900,
        tokens.sign_elasticache_token,
        tokens.elasticache_token,
    ),
    "memorydb": Case(
        {"cluster": "my-db", "user": "app", "region": REGION}, 900, tokens.sign_memorydb_token, tokens.memorydb_token
    ),
    "msk": Case({"region": REGION}, 900, tokens.sign_msk_token, tokens.msk_token),
    "bedrock": Case({"region": REGION}, 43_200, tokens.sign_bedrock_api_key, tokens.bedrock_api_key),
    "vault": Case(
        {"role": "reader", "server_id": "vault.example.com"}, 300, tokens.sign_vault_login, tokens.vault_login
    ),
}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def later(seconds: float) -> Credentials:
    """Return temporary credentials that end some seconds after the clock of the golden vectors."""
    return attrs.evolve(TEMPORARY, expiration=AT + timedelta(seconds=seconds))


@contextmanager
def frozen(at: datetime) -> Iterator[None]:
    """Have botocore sign at a given time, in Python: the signers of awscrt have their own clock."""
    with (
        mock.patch.dict(botocore.auth.AUTH_TYPE_MAPS, {"v4-query": SigV4QueryAuth}),
        mock.patch.object(botocore.auth, "get_current_datetime", return_value=at.replace(tzinfo=None)),
    ):
        yield


def url_in(token: str, prefix: str = "") -> str:
    """Return the URL in a token that is base64 after a prefix."""
    text = token.removeprefix(prefix)
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()


def shown(caught: pytest.ExceptionInfo[BaseException]) -> str:
    """Return the traceback with the local variables of all frames but the test's own."""
    below = caught.tb.tb_next
    return "".join(traceback.TracebackException(caught.type, caught.value, below, capture_locals=True).format())


sign_rds = partial(tokens.sign_rds_token, TEMPORARY, at=AT)
