"""What a credential plugin of kubectl prints."""

import json
from datetime import timedelta, timezone
from typing import Any

import pytest
from tokens.cases import AT, shown

from sts_async import ConfigurationError, tokens

TOKEN = tokens.Token(value="k8s-aws-v1.SENTINEL", expiration=AT + timedelta(minutes=14))  # type: ignore[arg-type]
API = "client.authentication.k8s.io/"


def asked_for(version: str) -> str:
    """Return the variable that kubectl sets."""
    return json.dumps({"kind": "ExecCredential", "apiVersion": f"{API}{version}", "spec": {"interactive": False}})


@pytest.mark.parametrize(
    ("exec_info", "version"),
    [(None, "v1beta1"), ("", "v1beta1"), (asked_for("v1"), "v1"), (asked_for("v1beta1"), "v1beta1")],
)
def test_the_answer_has_the_version_that_was_asked_for(exec_info: str | None, version: str) -> None:
    """kubectl refuses an answer of another version."""
    printed = tokens.exec_credential(TOKEN, exec_info=exec_info)

    assert json.loads(printed) == {
        "kind": "ExecCredential",
        "apiVersion": f"{API}{version}",
        "spec": {},
        "status": {"expirationTimestamp": "2026-01-01T00:14:00Z", "token": "k8s-aws-v1.SENTINEL"},
    }
    assert repr(printed) == "'***'"


def test_the_end_is_written_in_utc() -> None:
    elsewhere = TOKEN.expiration.astimezone(timezone(timedelta(hours=9)))
    printed = tokens.exec_credential(tokens.Token(value=TOKEN.value, expiration=elsewhere))

    assert json.loads(printed)["status"]["expirationTimestamp"] == "2026-01-01T00:14:00Z"


@pytest.mark.parametrize(
    "exec_info",
    [
        "\udcff\udcfe",  # what Python makes of bytes that are no text
        asked_for("v1alpha1"),
        asked_for("v2"),
        "{}",
        "[]",
        "no json",
        '{"apiVersion": ["v1"]}',
        '{"apiVersion": null}',
        5,
    ],
)
def test_another_version_is_refused_with_where_to_set_it(exec_info: Any) -> None:
    """Old kubeconfig files still ask for v1alpha1."""
    with pytest.raises(ConfigurationError, match="set apiVersion of the exec plugin in the kubeconfig file") as caught:
        tokens.exec_credential(TOKEN, exec_info=exec_info)

    assert "SENTINEL" not in shown(caught)
