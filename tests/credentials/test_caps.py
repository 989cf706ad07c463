"""A7: no size limit for data of the sign-in services is lower than the limit in their API models."""

import ast
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.loaders import Loader

import sts_async
from sts_async._protocol import json_documents
from sts_async.credentials import _tokens

PACKAGE = Path(sts_async.__file__).parent
READERS = [
    *(
        "_protocol/json_documents.py",
        "credentials/_tokens.py",
        "credentials/_sign_in_services.py",
        "credentials/_token_file.py",
    ),
    *("credentials/login.py", "credentials/sso.py", "testing/signin.py", "testing/sso.py", "testing/vending.py"),
]
MODELS = {name: Loader().load_service_model(name, "service-2")["shapes"] for name in ("signin", "sso-oidc", "sso")}
ANSWERS = {
    "signin": ["CreateOAuth2TokenResponseBody"],
    "sso-oidc": ["CreateTokenResponse", "RegisterClientResponse"],
    "sso": ["RoleCredentials"],
}
UNBOUNDED = 8_192  # characters; for texts to which the model gives no length: twice the longest session token


def texts(service: str, name: str) -> list[int]:
    """Return the maximum length of each text in a structure and in the structures below it."""
    shape = MODELS[service][name]
    if shape["type"] == "structure":
        return [size for member in shape["members"].values() for size in texts(service, member["shape"])]
    return [length(shape)] if shape["type"] == "string" else []


def length(shape: dict[str, Any]) -> int:
    """Return the maximum length of a text. A text with a pattern and no length is a keyword of the protocol."""
    longest: int = shape.get("max", 64 if "pattern" in shape else UNBOUNDED)
    return longest


LARGEST = max(sum(texts(service, name)) for service, names in ANSWERS.items() for name in names)
MAX_EXPIRATION = max(MODELS["signin"]["ExpiresIn"]["max"], 30 * 86_400)  # s; sso-oidc: no bound, 30 days at most

NESTED = 3  # levels at most in any of these answers, and no list

CAPS = {
    "_protocol/json_documents.py: MAX_NESTED": (json_documents.MAX_NESTED, NESTED),
    "_protocol/json_documents.py: MAX_BYTES": (json_documents.MAX_BYTES, LARGEST),
    "credentials/_tokens.py: MAX_LIFE": (_tokens.MAX_LIFE, MAX_EXPIRATION),
}


def caps_of(path: str) -> list[str]:
    """Return the size limits in a module: named constants, and numbers that a length is compared with."""
    tree = ast.parse((PACKAGE / path).read_text())
    named = [
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and any(word in target.id for word in ("MOST", "LONGEST", "MAX", "LIMIT"))
    ]
    lengths = [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare) and "len(" in ast.unparse(node) and not isinstance(node.ops[0], ast.Eq)
        if any(isinstance(side, ast.Constant) for side in [node.left, *node.comparators])
    ]
    return [f"{path}: {cap}" for cap in [*named, *lengths]]


def test_every_size_limit_of_the_readers_is_in_the_table() -> None:
    """A new limit must be added to the table here."""
    assert sorted(cap for path in READERS for cap in caps_of(path)) == sorted(CAPS)


@pytest.mark.parametrize("name", CAPS)
def test_no_size_limit_is_lower_than_that_of_the_models(name: str) -> None:
    cap, least = CAPS[name]

    assert cap >= least


def test_the_models_have_lengths_for_the_table() -> None:
    """An empty table would accept every limit."""
    assert MODELS["signin"]["RefreshToken"]["max"] == 12_288
    assert LARGEST > 3 * UNBOUNDED


def largest(service: str, name: str) -> dict[str, Any]:
    """Return a response in which every text has its maximum length."""
    shapes = MODELS[service]

    def value(shape: dict[str, Any]) -> Any:
        if shape["type"] == "structure":
            return {member: value(shapes[one["shape"]]) for member, one in shape["members"].items()}
        return "x" * length(shape) if shape["type"] == "string" else 900

    found: dict[str, Any] = value(shapes[name])
    return found


def test_the_largest_response_to_a_login_refresh_fits_into_the_token_file() -> None:
    """The file is read again, so it must be within the size limit too."""
    answer = largest("signin", "CreateOAuth2TokenResponseBody")
    file = {
        **{key: answer[key] for key in ("refreshToken", "idToken", "tokenType")},
        "accessToken": {**answer["accessToken"], "expiresAt": "2026-01-01T00:00:00Z", "accountId": "123456789012"},
        "clientId": "c" * 256,
        "dpopKey": "k" * 1024,
        "signInRegion": "eu-west-1",
    }
    token = _tokens.read_login_token(json.dumps(file).encode(), what="it")
    written = token.renewed(json.dumps(answer).encode(), at=datetime(2026, 1, 1, tzinfo=UTC), what="it")

    assert len(_tokens.read_login_token(written, what="it").document["refreshToken"]) == 12_288
