"""Signers of many URLs of one origin: the same signatures as `sign`, and the same refusals."""

import hashlib
import hmac
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sts_async import sigv4
from sts_async.errors import ConfigurationError
from sts_async.shapes import Credentials
from sts_async.sigv4 import Signer, sign

AT = datetime(2026, 1, 1, tzinfo=UTC)
ORIGIN = "https://sts.eu-west-1.amazonaws.com"
TEMPORARY = Credentials(access_key_id="AKIDEXAMPLE", secret_access_key="SENTINEL-secret", session_token="SENTINEL-t")
HEADERS = {"Content-Type": "text/plain", "X-Amz-Target": "a  b", "User-Agent": "x"}

VALID = "/ // . .. ? & = ; + %20 %2f %2F %41 ~ a Z X-Amz-Date @ : *".split()
REFUSED = ["%", "%zz", "x-amz-signature=1", "X-%41mz-Date=1", "#", "\\", " ", "é", '"', "\0", "\n"]
pieces = st.sampled_from(VALID + REFUSED)
resources = st.lists(pieces, max_size=8).map("".join)


def outcome(work: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Return the result, or the message of the error."""
    try:
        return work(*arguments, **named)
    except ConfigurationError as error:
        return str(error)


@given(
    st.lists(st.tuples(resources, st.integers(0, 90_000)), min_size=1, max_size=6),
    st.sampled_from(["sts", "s3"]),
    st.sampled_from([(None, None), (True, False), (False, True)]),
)
@example([("/a?b=c", 0), ("?b", 0), ("", 1)], "sts", (None, None))
def test_a_signer_of_another_url_signs_as_sign_does_and_refuses_what_sign_refuses(
    requests: list[tuple[str, int]], service: str, rules: tuple[bool | None, bool | None]
) -> None:
    fixed = {"method": "POST", "headers": HEADERS, "service": service, "region": "eu-west-1"}
    fixed |= {"normalize_path": rules[0], "double_encode": rules[1]}
    first = Signer(TEMPORARY, url=f"{ORIGIN}/first?x=y", **fixed)
    for resource, seconds in requests:
        at, url = AT + timedelta(seconds=seconds), f"{ORIGIN}{resource}"
        expected = outcome(sign, TEMPORARY, url=url, body=b"body", at=at, **fixed)
        if isinstance(expected, str):
            assert outcome(first.for_url, url) == expected
            continue
        if resource[:1] not in ("", "/", "?"):
            assert "must have the scheme, host and port" in outcome(first.for_url, url)
            continue
        payload_hash = hashlib.sha256(b"body").hexdigest()
        signer = first.for_url(url)
        assert signer.sign_at(at.timestamp(), payload_hash=payload_hash) == expected
        assert signer.sign(payload_hash=payload_hash, at=at) == expected
        assert signer.for_url(f"{ORIGIN}/first?x=y").sign(payload_hash=payload_hash, at=at) == first.sign(
            payload_hash=payload_hash, at=at
        )


@pytest.mark.parametrize(
    "url",
    [
        "https://sts.eu-west-1.amazonaws.com.evil.com/",
        "https://sts.eu-west-1.amazonaws.com:444/",
        "https://evil.com/https://sts.eu-west-1.amazonaws.com/",
        "http://sts.eu-west-1.amazonaws.com/",
        "https://sts.eu-west-1.amazonaws.com@evil.com/",
        "https://sts.eu-west-1.amazonaws.com./",
    ],
)
def test_a_url_of_another_origin_is_refused(url: str) -> None:
    """The headers, and so the host in the signature, are those of the first URL."""
    first = Signer(TEMPORARY, method="GET", url=f"{ORIGIN}/", headers={}, service="sts", region="eu-west-1")

    with pytest.raises(ConfigurationError) as raised:
        first.for_url(url)
    assert "evil" not in str(raised.value)


def test_the_host_may_be_written_in_upper_case() -> None:
    place = {"method": "GET", "headers": {}, "service": "sts", "region": "eu-west-1"}
    first = Signer(TEMPORARY, url=f"{ORIGIN}/", **place)

    signed = first.for_url(f"{ORIGIN.upper()}/a").sign(payload_hash=sigv4.EMPTY_SHA256, at=AT)

    assert signed == sign(TEMPORARY, url=f"{ORIGIN}/a", at=AT, **place)


def test_signers_of_one_origin_share_the_key_of_the_day(monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[bytes] = []
    digest = hmac.digest

    def counted(key: bytes, text: bytes, name: str) -> bytes:
        texts.append(text)
        return digest(key, text, name)

    monkeypatch.setattr(hmac, "digest", counted)
    first = Signer(TEMPORARY, method="GET", url=f"{ORIGIN}/", headers={}, service="sts", region="eu-west-1")
    for number in range(5):
        first.for_url(f"{ORIGIN}/{number}").sign_at(AT.timestamp() + number % 2, payload_hash=sigv4.EMPTY_SHA256)

    assert len(texts) == 4 + 5
