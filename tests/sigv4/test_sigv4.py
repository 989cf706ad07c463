import copy
import gc
import hashlib
import hmac
import json
import logging
import re
import traceback
import weakref
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from typing import Any
from unittest import mock
from urllib.parse import parse_qsl, quote, urlsplit

import botocore.auth
import botocore.loaders
import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as TheirCredentials
from hypothesis import given, settings
from hypothesis import strategies as st

from sts_async import sigv4
from sts_async._shape.secret import Secret
from sts_async.errors import ConfigurationError, CredentialsError
from sts_async.shapes import Credentials
from sts_async.sigv4 import Signer, presign, sign
from sts_async.sigv4._canonical_request import S3_FAMILY, canonical_path, canonical_query

AT = datetime(2026, 1, 1, tzinfo=UTC)
TOKEN = "IQoJb3JpZ2luX2VjEXAMPLE+/token=="
LONG_TERM = Credentials(
    access_key_id="AKIDEXAMPLE",
    secret_access_key="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
)
TEMPORARY = Credentials(
    access_key_id=LONG_TERM.access_key_id, secret_access_key=LONG_TERM.secret_access_key, session_token=TOKEN
)
FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
BODY = b"Action=GetCallerIdentity&Version=2011-06-15"
STS: dict[str, Any] = {"service": "sts", "region": "eu-west-1", "at": AT}
URL = "https://sts.eu-west-1.amazonaws.com/"
SENTINEL = "SENTINEL-2ac9"


class numpy_like:  # noqa: N801 - it stands for a number of another library
    """An integer that is not an `int`, as those of numpy are."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value

    __int__ = __index__

    def __le__(self, other: int) -> bool:
        return self.value <= other

    def __ge__(self, other: int) -> bool:
        return self.value >= other

    def __repr__(self) -> str:
        return f"int64({self.value})"


@pytest.fixture(autouse=True)
def _quiet_oracle(monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore logs what it signs, tokens included."""
    monkeypatch.setattr(logging.getLogger("botocore.auth"), "disabled", True)


def authorization(headers: dict[str, str]) -> dict[str, str]:
    """Return the parts of an authorization header."""
    found = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=(?P<credential>\S+), SignedHeaders=(?P<names>\S+), "
        r"Signature=(?P<proof>[0-9a-f]{64})",
        headers["authorization"],
    )
    assert found
    return found.groupdict()


def shown(caught: pytest.ExceptionInfo[BaseException]) -> str:
    """Return the traceback with the local variables of all frames but the test's own."""
    below = caught.tb.tb_next
    return "".join(traceback.TracebackException(caught.type, caught.value, below, capture_locals=True).format())


# Golden vectors, made with botocore 1.43.117


@pytest.mark.parametrize(
    ("credentials", "names", "request_hash", "proof"),
    [
        (
            LONG_TERM,
            "content-type;host;x-amz-date",
            "550f858865fb4e600d6c767f18ed0a05c713178cd3ac4b5fd901082053f3a007",
            "4e9517d5d4147b70581a0c274e7a3403f1fcc96f40937283280cd42d037fd6d2",
        ),
        (
            TEMPORARY,
            "content-type;host;x-amz-date;x-amz-security-token",
            "acca98b671a45a83a6a323fa092582df0484bd985cd6c3b22bae2cc5a6147c34",
            "1711c7d847368caeab6c56124c678b81cd363f66de083f4f33e960213e2d2a99",
        ),
    ],
    ids=["long-term", "temporary"],
)
def test_a_signed_call_is_that_of_the_golden_vector(
    credentials: Credentials, names: str, request_hash: str, proof: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step is compared, so that a mismatch names the step."""
    texts: list[str] = []

    def seen(key: bytes, text: bytes, digest: str) -> bytes:
        texts.append(text.decode())
        return original(key, text, digest)

    original = hmac.digest
    monkeypatch.setattr(hmac, "digest", seen)
    signed = sign(credentials, method="POST", url=URL, headers=FORM, body=BODY, **STS)

    assert hashlib.sha256(BODY).hexdigest() == "ab821ae955788b0e33ebd34c208442ccfc2d406e2edc5e7a39bd6458fbb4f843"
    assert texts[-1].splitlines()[-1] == request_hash
    assert authorization(signed) == {
        "credential": "AKIDEXAMPLE/20260101/eu-west-1/sts/aws4_request",
        "names": names,
        "proof": proof,
    }
    assert signed["x-amz-date"] == "20260101T000000Z"
    assert signed.get("x-amz-security-token") == credentials.session_token


canonical = sigv4.canonical_request


@pytest.mark.parametrize(
    ("credentials", "proof"),
    [
        (LONG_TERM, "40851dec30bb8fb6885cff3c186700d16f9d29f95f04f830ddfebff330953692"),
        (TEMPORARY, "27136e836980d4bf81e7981178073ae9a00163debbe09e55c5a35a46d770cf8e"),
    ],
    ids=["long-term", "temporary"],
)
def test_a_kubernetes_token_is_that_of_the_golden_vector(credentials: Credentials, proof: str) -> None:
    """A presigned GetCallerIdentity with the name of the cluster in a signed header, good for 60 s."""
    url = f"{URL}?Action=GetCallerIdentity&Version=2011-06-15"
    presigned = presign(credentials, url=url, headers={"x-k8s-aws-id": "my-cluster"}, expires=60, **STS)

    assert presigned.reveal().rpartition("=")[2] == proof


def test_a_database_token_is_that_of_the_golden_vector() -> None:
    """Another service, another port: the token is the URL without its scheme."""
    presigned = presign(
        TEMPORARY,
        url="https://db.abc123.eu-west-1.rds.amazonaws.com:5432/?Action=connect&DBUser=app",
        service="rds-db",
        region="eu-west-1",
        at=AT,
        expires=900,
    )

    assert presigned.reveal().rpartition("=")[2] == "beacfcd94f64bc49b2f0801163fc25529486f22267b8ab753988e6b8d102df72"


# Against botocore


SIGNERS = {True: S3SigV4Auth, False: SigV4Auth}  # by whether the service is one of S3
QUERY_SIGNERS = {True: S3SigV4QueryAuth, False: SigV4QueryAuth}

PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))
TOKEN_CHARACTERS = "".join(c for c in PRINTABLE if c.isalnum() or c in "!#$%&'*+-.^_`|~")
LABEL = st.from_regex(r"[a-z]([a-z0-9-]{0,6}[a-z0-9])?", fullmatch=True)
HOST = st.one_of(
    st.lists(LABEL, min_size=1, max_size=3).map(".".join),
    st.sampled_from(["LOCALHOST", "Sts.Amazonaws.COM", "127.0.0.1", "[::1]", "[2001:DB8::1]", "local_sts"]),
)
PORT = st.sampled_from(["", "", ":443", ":80", ":4566", ":1", ":65535"])
TEXT = st.text(PRINTABLE + "é\u4e2d", max_size=5)
SEGMENT = st.sampled_from(["", ".", "..", "...", "a.", "..a", "+", "a b", "~", "a:b@c", "$&'()*,;=!"]) | TEXT
PATH = st.lists(SEGMENT.filter(lambda text: "/" not in text), max_size=5)
PARAMETERS = st.dictionaries(TEXT.filter(bool), TEXT | st.sampled_from(["a/b:c", "a+b", "a b", "x=1&y"]), max_size=4)
UNRESERVED = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~"
RAW_IN_PATH = UNRESERVED + "!$&'()*+,;=:@"  # Source: RFC 3986, 3.3
RAW_IN_QUERY = UNRESERVED + "!$'()*,;:@/?"  # "&" and "=" divide, and "+" is a space
DICE = st.randoms(use_true_random=False)


def spelled(text: str, dice: Random, *, raw: str) -> str:
    """Return one of the ways in which a text can be spelled in a URL, with these characters as they are."""
    plain = "".join(c if c in raw and dice.random() < 0.6 else quote(c, safe="") for c in text)
    plain = "".join(f"%{ord(c):02X}" if c in "-._~" and dice.random() < 0.2 else c for c in plain)
    return plain.lower() if text.islower() and dice.random() < 0.2 else plain


def spelled_query(parameters: dict[str, str], dice: Random) -> str:
    pairs = []
    for name, value in parameters.items():
        text = f"{spelled(name, dice, raw=RAW_IN_QUERY)}={spelled(value, dice, raw=RAW_IN_QUERY + '=')}"
        pairs.append(text.replace("%20", "+") if dice.random() < 0.3 else text)
    return "&".join(pairs)


def their_query(parameters: dict[str, str]) -> str:
    return "&".join(f"{quote(name, safe='-._~')}={quote(value, safe='-._~')}" for name, value in parameters.items())


HEADER_NAME = st.one_of(
    st.sampled_from(["Content-Type", "x-amz-meta", "X-Amz-Target", "accept", "x-k8s-aws-id", "Range", "cookie"]),
    st.sampled_from(sorted(sigv4.UNSIGNED_HEADERS - {"authorization"})).map(str.title),
    st.text(TOKEN_CHARACTERS, min_size=1, max_size=6),
).filter(lambda name: name.lower() not in {"date", "host", "authorization", "x-amz-date", "x-amz-content-sha256"})
HEADERS = st.dictionaries(HEADER_NAME, st.text(PRINTABLE, max_size=8) | st.just("  a   b ")).filter(
    lambda headers: len({name.lower() for name in headers}) == len(headers)
)
CREDENTIALS = st.builds(
    Credentials,
    access_key_id=st.text(TOKEN_CHARACTERS, min_size=1, max_size=8),
    secret_access_key=st.text(min_size=1, max_size=8),
    session_token=st.none() | st.text(PRINTABLE.strip(), min_size=1, max_size=8),
)
MOMENT = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 30)).map(lambda at: at.replace(tzinfo=UTC))
SCOPE = st.one_of(LABEL, st.sampled_from(["eu-west-1", "sts", "rds-db", "us_gov"]))
SERVICE = st.sampled_from(sorted(S3_FAMILY)) | SCOPE
REQUEST = st.fixed_dictionaries(
    {
        "url": st.tuples(st.sampled_from(["https://", "http://"]), HOST, PORT).map("".join),
        "method": st.sampled_from(["GET", "POST", "PUT", "delete", "HEAD"]),
        "headers": HEADERS,
        "service": SERVICE,
        "region": SCOPE,
        "at": MOMENT,
    }
)
many = settings(max_examples=300)


def add_their_signature(signers: Any, credentials: Credentials, request: dict[str, Any], **options: Any) -> AWSRequest:
    """Return the request as botocore signs it at the same time."""
    body = options.pop("data", b"")
    theirs = AWSRequest(request["method"], request["url"], headers=request["headers"], data=body)
    keys = TheirCredentials(credentials.access_key_id, credentials.secret_access_key, credentials.session_token)
    signer = signers[request["service"] in S3_FAMILY]
    with mock.patch.object(botocore.auth, "get_current_datetime", return_value=request["at"].replace(tzinfo=None)):
        signer(keys, request["service"], request["region"], **options).add_auth(theirs)
    return theirs


def two_spellings(
    request: dict[str, Any], path: list[str], parameters: dict[str, str], dice: Random
) -> tuple[dict[str, Any], dict[str, Any]]:
    """
    Return a request with a path and a query in some spelling, and as botocore spells the same.

    Services other than those of S3 sign the path as it is spelled, so there both have the same path.
    """
    here = "/" + "/".join(spelled(segment, dice, raw=RAW_IN_PATH) for segment in path)
    there = "/" + "/".join(quote(segment, safe="~") for segment in path) if request["service"] in S3_FAMILY else here
    urls = (here, spelled_query(parameters, dice)), (there, their_query(parameters))
    ours, theirs = ({**request, "url": f"{request['url']}{path}{'?' if query else ''}{query}"} for path, query in urls)
    return ours, theirs


@many
@given(
    credentials=CREDENTIALS, request=REQUEST, path=PATH, parameters=PARAMETERS, body=st.binary(max_size=9), dice=DICE
)
def test_any_request_is_signed_as_botocore_signs_it(
    credentials: Credentials,
    request: dict[str, Any],
    path: list[str],
    parameters: dict[str, str],
    body: bytes,
    dice: Random,
) -> None:
    """B13: methods, hosts, ports, headers, bodies, tokens, scopes and times; paths and queries in every spelling."""
    ours, theirs = two_spellings(request, path, parameters, dice)
    wanted = dict(add_their_signature(SIGNERS, credentials, theirs, data=body).headers)
    made = sign(credentials, body=body, **ours)

    assert made.pop("authorization") == wanted.pop("Authorization")
    assert made.pop("x-amz-date") == wanted.pop("X-Amz-Date")
    if credentials.session_token:
        assert made.pop("x-amz-security-token") == wanted.pop("X-Amz-Security-Token")
    if request["service"] in S3_FAMILY:
        assert made.pop("x-amz-content-sha256") == wanted.pop("X-Amz-Content-SHA256")
    assert made == wanted == request["headers"]


@many
@given(
    credentials=CREDENTIALS,
    request=REQUEST,
    path=PATH,
    parameters=PARAMETERS,
    expires=st.integers(1, 604_800),
    dice=DICE,
)
def test_any_url_is_presigned_as_botocore_presigns_it(
    credentials: Credentials,
    request: dict[str, Any],
    path: list[str],
    parameters: dict[str, str],
    expires: int,
    dice: Random,
) -> None:
    """B13: the parameters of the signature in botocore's order, behind the URL as it was given."""
    ours, theirs = two_spellings(request, path, parameters, dice)
    wanted = add_their_signature(QUERY_SIGNERS, credentials, theirs, expires=expires).url
    made = presign(credentials, expires=expires, **ours)

    assert made.reveal().startswith(ours["url"])
    assert made.reveal()[len(ours["url"]) + 1 :] == wanted[len(theirs["url"]) + 1 :]
    assert made.expires == expires


def test_paths_of_the_services_of_s3_are_signed_as_the_model_says() -> None:
    """The endpoint rules of these services switch double encoding off, and those of others do not."""
    loader = botocore.loaders.Loader()
    names = {}
    for service in ("s3", "s3control", "s3outposts", "sts", "s3tables", "s3vectors", "apigateway", "glacier", "iam"):
        model = loader.load_service_model(service, "service-2")["metadata"]
        name = model.get("signingName", model["endpointPrefix"])
        names[name] = names.get(name, False) or model.get("signatureVersion") == "s3v4"
        rules = json.dumps(loader.load_service_model(service, "endpoint-rule-set-1"))
        for scheme in re.findall(r'"disableDoubleEncoding": true[^}]*"signingName": "([a-z0-9-]+)"', rules):
            names[scheme] = True

    assert {name for name, without in names.items() if without} == S3_FAMILY


def test_s3_takes_the_hash_of_the_body_as_a_header() -> None:
    """B13: it is added where it is missing; a hash that is known already is not computed again."""
    request: dict[str, Any] = {
        "method": "PUT",
        "url": "https://b.s3.amazonaws.com/a//../b%20c",
        "headers": {},
        "at": AT,
    }
    request |= {"service": "s3", "region": "eu-west-1"}
    theirs = add_their_signature(SIGNERS, LONG_TERM, request, data=b"body").headers
    digest = hashlib.sha256(b"body").hexdigest()
    stated = {**request, "headers": {"X-Amz-Content-SHA256": digest}}

    for ours in (
        sign(LONG_TERM, body=b"body", **request),
        sign(LONG_TERM, payload_hash=digest, **request),
        sign(LONG_TERM, payload_hash=digest, **stated),
        sign(LONG_TERM, **stated),
    ):
        assert ours["authorization"] == theirs["Authorization"]
        assert ours.get("x-amz-content-sha256", ours.get("X-Amz-Content-SHA256")) == digest
    with pytest.raises(ConfigurationError, match="header x-amz-content-sha256 and payload_hash differ: pass only one"):
        sign(LONG_TERM, payload_hash=sigv4.UNSIGNED_PAYLOAD, **stated)


@pytest.mark.parametrize("payload", [sigv4.UNSIGNED_PAYLOAD, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"])
def test_s3_takes_a_word_in_place_of_a_hash(payload: str) -> None:
    request = {"method": "PUT", "url": "https://b.s3.amazonaws.com/k", "service": "s3", "region": "eu-west-1", "at": AT}

    ours = sign(LONG_TERM, payload_hash=payload, headers={}, **request)

    assert ours["x-amz-content-sha256"] == payload
    assert ours == {**sign(LONG_TERM, headers={"x-amz-content-sha256": payload}, **request)}


def test_the_headers_that_are_not_signed_are_botocore_s() -> None:
    """Proxies and transports change them on the way."""
    assert sorted(sigv4.UNSIGNED_HEADERS) == sorted({*botocore.auth.SIGNED_HEADERS_BLACKLIST, "authorization"})


# What a signature covers


@pytest.mark.parametrize(
    "change",
    [
        {"method": "GET"},
        {"url": "https://sts.eu-west-2.amazonaws.com/"},
        {"url": "https://sts.eu-west-1.amazonaws.com/x"},
        {"url": "https://sts.eu-west-1.amazonaws.com:444/"},
        {"url": "https://sts.eu-west-1.amazonaws.com/?x"},
        {"headers": {**FORM, "x-new": "1"}},
        {"headers": {"content-type": "text/plain"}},
        {"headers": {**FORM, "host": "else"}},
        {"body": BODY + b"&"},
        {"service": "iam"},
        {"region": "eu-west-2"},
        {"at": AT + timedelta(seconds=1)},
        {"credentials": TEMPORARY},
        {"credentials": Credentials(access_key_id="AKIDEXAMPLE", secret_access_key="else")},
    ],
    ids=lambda change: str(next(iter(change.items()))),
)
def test_a_signature_covers_everything_that_is_sent(change: dict[str, Any]) -> None:
    """T22: and so another attempt has another signature, by its time."""
    whole = {"credentials": LONG_TERM, "method": "POST", "url": URL, "headers": FORM, "body": BODY, **STS}

    def proof(credentials: Credentials, **request: Any) -> str:
        return authorization(sign(credentials, **request))["proof"]

    assert proof(**whole) != proof(**{**whole, **change})
    assert proof(**whole) == proof(**whole)


def test_headers_that_proxies_change_are_not_signed() -> None:
    """A user agent that is rewritten on the way must not break a call."""
    plain = sign(LONG_TERM, method="POST", url=URL, headers=FORM, **STS)
    more = sign(LONG_TERM, method="POST", url=URL, headers={**FORM, "User-Agent": "x", "TE": "y"}, **STS)

    assert authorization(plain) == authorization(more)
    assert (more["User-Agent"], more["TE"]) == ("x", "y")


def test_an_earlier_signature_is_replaced() -> None:
    """T22: headers of an earlier attempt, in whatever case, would contradict the new ones."""
    once = sign(TEMPORARY, method="POST", url=URL, headers=FORM, **STS)
    later = {**STS, "at": AT + timedelta(seconds=9)}
    stale = {"Authorization": once["authorization"], "X-Amz-Date": "x", "X-AMZ-SECURITY-TOKEN": "old", **FORM}

    twice = sign(TEMPORARY, method="POST", url=URL, headers=stale, **later)

    assert twice == sign(TEMPORARY, method="POST", url=URL, headers=FORM, **later)


def test_the_caller_s_headers_are_left_alone() -> None:
    """They may be shared by all calls of a client."""
    headers = dict(FORM)
    sign(TEMPORARY, method="POST", url=URL, headers=headers, **STS)

    assert headers == FORM


@pytest.mark.parametrize("offset", [-12, -1, 0, 5.5, 14])
def test_the_time_of_signing_is_written_in_utc(offset: float) -> None:
    """Whatever zone the caller's clock is in."""
    at = AT.astimezone(timezone(timedelta(hours=offset)))

    assert sign(LONG_TERM, method="POST", url=URL, headers={}, service="sts", region="r", at=at) == sign(
        LONG_TERM, method="POST", url=URL, headers={}, service="sts", region="r", at=AT
    )


@pytest.mark.parametrize("make", [sign, presign], ids=["sign", "presign"])
def test_a_time_without_a_zone_is_refused(make: Callable[..., Any]) -> None:
    """It would be taken for UTC on one host and for local time on another."""
    with pytest.raises(ConfigurationError, match="aware"):
        make(LONG_TERM, method="GET", url=URL, headers={}, service="sts", region="r", at=datetime(2026, 1, 1))


# Refusals


each_form = pytest.mark.parametrize("make", [sign, presign], ids=["sign", "presign"])
HOSTILE = ["a\r\nX-Evil: 1", "a\0b", "a\x01", "a\nb", "a\tb", "a\x7f", "é", "\u2028", "\uff21", "\ud800"]
each_hostile_text = pytest.mark.parametrize("text", HOSTILE, ids=ascii)


@each_form
@each_hostile_text
@pytest.mark.parametrize("name", ["access_key_id", "session_token"])
def test_credentials_that_would_add_a_header_are_refused(make: Callable[..., Any], text: str, name: str) -> None:
    """T5: they may come from a file, an environment or a server."""
    fields = {"access_key_id": "AKID", "secret_access_key": SENTINEL, name: SENTINEL + text}
    credentials = Credentials(**fields)
    with pytest.raises(CredentialsError, match=f"^the {name} of the credentials contains characters") as caught:
        make(credentials, method="GET", url=URL, headers={}, **STS)

    if name == "session_token":
        assert SENTINEL not in shown(caught)
    assert SENTINEL not in str(caught.value)


@each_form
@each_hostile_text
@pytest.mark.parametrize("as_name", [False, True], ids=["value", "name"])
def test_headers_that_would_add_a_header_are_refused(make: Callable[..., Any], text: str, as_name: bool) -> None:
    """T5, T16: no frame of the refusal shows key or token either."""
    headers = {text: "v"} if as_name else {"x-mine": SENTINEL + text}
    credentials = Credentials(
        access_key_id="AKID", secret_access_key=f"{SENTINEL}-key", session_token=f"{SENTINEL}-token"
    )
    with pytest.raises(ConfigurationError, match="contains characters that are invalid in an HTTP header") as caught:
        make(credentials, method="GET", url=URL, headers=headers, **STS)

    assert SENTINEL not in str(caught.value)
    assert str(caught.value).isprintable()
    assert f"{SENTINEL}-key" not in shown(caught)
    assert f"{SENTINEL}-token" not in shown(caught)


@each_form
@pytest.mark.parametrize(
    "url",
    [
        "s3.amazonaws.com/x",
        "/x",
        "",
        "https:///x",
        "https://h/a b",
        "https://h:99999/",
        "https://h:0/",
        "https://h:port/",
        "https://[::1/",
        "https://999.1.1.1/",
        "https://u:p@h/",
        "ftp://h/",
        "https://h/#x",
        "https://h/?a=#x",
        "https://h/a\nb",
        "https://h/%zz",
        "https://h/?a=%2",
        b"https://h/",
        None,
    ],
    ids=repr,
)
def test_a_url_without_host_or_with_a_space_is_refused(make: Callable[..., Any], url: Any) -> None:
    """G14: a signature over no host, or over a space that the transport encodes, is good for nothing."""
    with pytest.raises(ConfigurationError, match=r"^url must"):
        make(LONG_TERM, method="GET", url=url, headers={}, **STS)


@each_form
@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("method", "GET\nX"),
        ("method", "GET X"),
        ("method", ""),
        ("method", None),
        ("headers", [("a", "b")]),
        ("headers", {"a": 1}),
        ("headers", {1: "a"}),
        ("headers", {"x-b": b"b"}),
        ("payload_hash", "abc"),
        ("payload_hash", "A" * 64),
        ("payload_hash", f"{'a' * 64}\n"),
        ("payload_hash", b"a" * 64),
        ("service", None),
        ("service", ["sts"]),
        ("region", 5),
        ("at", datetime(2026, 1, 1)),
        ("at", "20260101T000000Z"),
        ("at", 1_767_225_600.0),
        ("at", datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))),
        ("normalize_path", "yes"),
        ("double_encode", 1),
    ],
    ids=repr,
)
def test_an_argument_that_cannot_be_signed_is_an_error_of_ours(
    make: Callable[..., Any], argument: str, value: Any
) -> None:
    """G14: typed, before anything is signed, and without a value that may be secret."""
    arguments = {"method": "GET", "url": URL, "headers": {}, **STS, argument: value}

    with pytest.raises(ConfigurationError):
        make(LONG_TERM, **arguments)


@each_form
@pytest.mark.parametrize(
    "credentials", [None, ("AKID", SENTINEL), {"access_key_id": SENTINEL}], ids=["none", "tuple", "dict"]
)
def test_other_objects_than_credentials_are_an_error_with_their_type(
    make: Callable[..., Any], credentials: Any
) -> None:
    """G14."""
    with pytest.raises(CredentialsError, match=r"^credentials must be Credentials, not (a |None$)") as caught:
        make(credentials, method="GET", url=URL, headers={}, **STS)

    assert SENTINEL not in str(caught.value)


@each_form
@pytest.mark.parametrize("headers", [[("x-a", SENTINEL)], SENTINEL], ids=["list", "str"])
def test_headers_that_are_no_mapping_are_refused_by_their_type(make: Callable[..., Any], headers: Any) -> None:
    """The message names the type that was given, and no type of the library's own."""
    with pytest.raises(ConfigurationError) as caught:
        make(LONG_TERM, method="GET", url=URL, headers=headers, **STS)

    assert str(caught.value) == f"headers must be a mapping of names to values, not a {type(headers).__name__}"


@each_form
def test_a_url_of_bytes_is_refused_without_a_type_of_our_own(make: Callable[..., Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"^url must be a str$"):
        make(LONG_TERM, method="GET", url=URL.encode(), headers={}, **STS)


@each_form
@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"service": "S3"}, r"signing service must be in lower case: signing names are lower-case, such as 's3'"),
        ({"service": "s 3"}, r"signing service must contain only letters, digits, '-', '_' and '\.'"),
        ({"region": "eu/west"}, r"signing region must contain only letters"),
        ({"url": f"{URL}a b"}, r"url must be percent-encoded: .*urllib\.parse\.quote\(key\)"),
        ({"url": f"{URL}\xe9"}, r"url must be percent-encoded: .*urllib\.parse\.quote\(key\)"),
        ({"url": f"{URL}%2"}, r"url must be percent-encoded: every % must be followed by two hexadecimal digits"),
        ({"headers": {"a b": "x"}}, r"header name 'a b' contains characters that are invalid in an HTTP header"),
        ({"headers": {"a": "\n"}}, r"the value of header 'a' contains characters that are invalid in an HTTP header"),
    ],
    ids=str,
)
def test_an_argument_that_cannot_be_signed_names_the_rule(
    make: Callable[..., Any], changed: dict[str, Any], rule: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"^{rule}"):
        make(LONG_TERM, **{"method": "GET", "url": URL, "headers": {}, **STS, **changed})
    advised = {**changed, "url": f"{URL}{quote('a b')}", "service": "s3", "region": "eu-west-1", "headers": {}}
    assert make(LONG_TERM, **{"method": "GET", **STS, **advised})


def test_a_body_is_bytes() -> None:
    """G14."""
    text: Any = "a=1"

    with pytest.raises(ConfigurationError, match=r"^body must be bytes, not a str"):
        sign(LONG_TERM, method="POST", url=URL, headers={}, body=text, **STS)


@each_form
def test_a_header_that_is_given_twice_is_refused(make: Callable[..., Any]) -> None:
    """Both would be sent, and one of them signed."""
    with pytest.raises(ConfigurationError, match="header 'x-mine' occurs twice"):
        make(LONG_TERM, method="GET", url=URL, headers={"X-Mine": "1", "x-mine": "2"}, **STS)


@each_hostile_text
def test_an_unsigned_header_that_would_add_a_header_is_refused(text: str) -> None:
    """T5: a user agent is not signed, and is sent all the same."""
    with pytest.raises(ConfigurationError, match="user-agent"):
        sign(LONG_TERM, method="GET", url=URL, headers={"user-agent": text}, **STS)


@each_form
@each_hostile_text
@pytest.mark.parametrize("name", ["region", "service"])
def test_a_scope_that_would_add_a_header_is_refused(make: Callable[..., Any], text: str, name: str) -> None:
    """T5: it is a part of the authorization header, and of the URL when presigned."""
    with pytest.raises(ConfigurationError) as caught:
        make(TEMPORARY, method="GET", url=URL, headers={}, **{**STS, name: SENTINEL + text})

    assert SENTINEL not in str(caught.value)


@each_form
@pytest.mark.parametrize("name", ["region", "service"])
def test_a_scope_of_more_parts_is_refused(make: Callable[..., Any], name: str) -> None:
    """T2: a slash would make the signature one for another region or service than it says."""
    with pytest.raises(ConfigurationError):
        make(TEMPORARY, method="GET", url=URL, headers={}, **{**STS, name: "eu-west-1/iam"})


@each_form
@pytest.mark.parametrize("url", ["https://h/é", "https://h/?a=é", "https://h/?a=\ud800", "https://h/\ud800"], ids=ascii)
def test_a_url_that_is_not_encoded_is_an_error(make: Callable[..., Any], url: str) -> None:
    """The transport would encode it, and so send another URL than the one that is signed."""
    with pytest.raises(ConfigurationError):
        make(TEMPORARY, method="GET", url=url, headers={}, double_encode=False, **STS)


@each_form
@pytest.mark.parametrize("name", ["access_key_id", "secret_access_key"])
def test_an_empty_key_is_refused(make: Callable[..., Any], name: str) -> None:
    """STS would say SignatureDoesNotMatch, which sends the reader to the wrong place."""
    keys: dict[str, Any] = {"access_key_id": "AKID", "secret_access_key": "key", name: ""}
    credentials = Credentials(**keys)

    with pytest.raises(CredentialsError, match=f"^the credentials have no {name}$"):
        make(credentials, method="GET", url=URL, headers={}, **STS)


@each_form
def test_an_empty_token_counts_as_missing(make: Callable[..., Any]) -> None:
    """Trap 19: an empty environment variable counts as unset."""
    empty = Credentials(access_key_id="AKID", secret_access_key="key", session_token="")
    none = Credentials(access_key_id="AKID", secret_access_key="key")
    made = [make(c, method="GET", url=URL, headers={}, **STS) for c in (empty, none)]

    assert made[0] == made[1] or made[0].reveal() == made[1].reveal()


@each_form
def test_a_secret_key_that_cannot_be_encoded_is_refused_without_showing_it(make: Callable[..., Any]) -> None:
    """T15: the built-in error holds the whole key."""
    credentials = Credentials(access_key_id="A", secret_access_key=f"{SENTINEL}\ud800", session_token=SENTINEL)
    with pytest.raises(CredentialsError, match="secret access key") as caught:
        make(credentials, method="GET", url=URL, headers={}, **STS)

    assert caught.value.__context__ is None
    assert SENTINEL not in str(caught.value)


# The derived key


def a_credential() -> Credentials:
    return Credentials(access_key_id="AKID", secret_access_key="key")


def count_derivations(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    texts: list[bytes] = []
    digest = hmac.digest

    def counted(key: bytes, text: bytes, name: str) -> bytes:
        texts.append(text)
        return digest(key, text, name)

    monkeypatch.setattr(hmac, "digest", counted)
    return texts


def test_a_signer_derives_its_key_once_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four of the five HMACs of a signature depend on day, region and service only."""
    texts = count_derivations(monkeypatch)
    signer = Signer(a_credential(), method="GET", url=URL, headers={}, service="sts", region="eu-west-1")
    for seconds in range(3):
        signer.sign(payload_hash=sigv4.EMPTY_SHA256, at=AT + timedelta(seconds=seconds))

    assert texts[:4] == [b"20260101", b"eu-west-1", b"sts", b"aws4_request"]
    assert len(texts) == 4 + 3
    signer.sign(payload_hash=sigv4.EMPTY_SHA256, at=AT + timedelta(days=1))
    assert texts[7:11] == [b"20260102", b"eu-west-1", b"sts", b"aws4_request"]
    assert len(texts) == 4 + 3 + 5


moments = st.integers(0, 400_000) | st.floats(0, 3, allow_nan=False)


@given(
    st.lists(st.tuples(moments, st.binary(max_size=40), st.booleans()), min_size=1, max_size=8),
    st.sampled_from(["sts", "s3"]),
)
def test_a_signer_signs_as_sign_does(requests: list[tuple[float, bytes, bool]], service: str) -> None:
    """In any order of times and bodies, by either method: what is kept must not depend on the request before."""
    fixed = {"method": "POST", "url": f"{URL}a?b=c", "headers": {**FORM, "User-Agent": "x"}}
    place = {"service": service, "region": "eu-west-1"}
    signer = Signer(TEMPORARY, **fixed, **place)

    for later, body, in_seconds in requests:
        at, payload_hash = AT + timedelta(seconds=later), hashlib.sha256(body).hexdigest()
        if in_seconds:
            signed = signer.sign_at(at.timestamp(), payload_hash=payload_hash)
        else:
            signed = signer.sign(payload_hash=payload_hash, at=at)
        assert signed == sign(TEMPORARY, **fixed, **place, body=body, at=at)


def test_a_signer_refuses_a_hash_that_is_not_the_one_in_its_headers() -> None:
    """By either method: the service would compare the header with the body."""
    headers = {"x-amz-content-sha256": sigv4.EMPTY_SHA256}
    signer = Signer(TEMPORARY, method="POST", url=URL, headers=headers, service="sts", region="eu-west-1")
    other = hashlib.sha256(b"other").hexdigest()

    assert signer.sign_at(AT.timestamp(), payload_hash=sigv4.EMPTY_SHA256)["authorization"]
    with pytest.raises(ConfigurationError, match="differ: pass only one"):
        signer.sign_at(AT.timestamp(), payload_hash=other)
    with pytest.raises(ConfigurationError, match="differ: pass only one"):
        signer.sign(payload_hash=other, at=AT)


def test_a_derived_key_goes_when_the_signer_goes() -> None:
    """T20: superseded credentials leave nothing behind: no global cache, no cycle."""
    credentials = a_credential()
    signer = Signer(credentials, method="GET", url=URL, headers={}, service="sts", region="eu-west-1")
    signer.sign(payload_hash=sigv4.EMPTY_SHA256, at=AT)
    alive = weakref.ref(credentials)

    gc.disable()
    try:
        del credentials, signer

        assert alive() is None
    finally:
        gc.enable()


def test_a_derived_key_is_neither_compared_nor_printed() -> None:
    """T14: it signs as well as the secret does, for a day."""
    used, fresh = a_credential(), a_credential()
    key = sigv4.signing_key(used, "20260101/eu-west-1/sts/aws4_request")

    assert (used, hash(used), repr(used)) == (fresh, hash(fresh), repr(fresh))
    assert copy.deepcopy(used) == used
    assert repr(key) == "<32 bytes>"


# The steps


def test_the_steps_lead_to_the_signature() -> None:
    """The steps are public, so that users can find the reason of a mismatch."""
    request = canonical(
        method="post",
        path=canonical_path("/"),
        query=canonical_query(""),
        headers=[*FORM.items(), ("host", "sts.eu-west-1.amazonaws.com"), ("x-amz-date", "20260101T000000Z")],
        payload_hash=hashlib.sha256(BODY).hexdigest(),
    )
    scope = "20260101/eu-west-1/sts/aws4_request"
    text = sigv4.string_to_sign("20260101T000000Z", scope, request)

    assert request.splitlines()[:3] == ["POST", "/", ""]
    assert text.splitlines()[:3] == ["AWS4-HMAC-SHA256", "20260101T000000Z", scope]
    assert sigv4.signature(sigv4.signing_key(LONG_TERM, scope), text) == (
        "4e9517d5d4147b70581a0c274e7a3403f1fcc96f40937283280cd42d037fd6d2"
    )
    assert type(request) is Secret


@pytest.mark.parametrize(
    ("path", "normal", "verbatim"),
    [
        ("", "/", "/"),
        ("/", "/", "/"),
        ("/a/./b/../c", "/a/c", "/a/./b/../c"),
        ("/../..", "/", "/../.."),
        ("/a//b/", "/a/b/", "/a//b/"),
        ("/a/..", "/", "/a/.."),
        ("/.", "/", "/."),
        ("/%2F", "/%252F", "//"),
        ("/~a b", "/~a%20b", "/~a%20b"),
        ("/with%20space.txt", "/with%2520space.txt", "/with%20space.txt"),
        ("/a+b", "/a%2Bb", "/a%2Bb"),
        ("/a:b", "/a%3Ab", "/a%3Ab"),
        ("/%e4%b8%ad%7e", "/%25e4%25b8%25ad%257e", "/%E4%B8%AD~"),
        ("a", "a", "a"),
    ],
)
def test_a_path_is_signed_normalized_or_unchanged(path: str, normal: str, verbatim: str) -> None:
    """B13: every service but those of S3 resolves dots, and encodes what is sent once more."""
    assert canonical_path(path) == normal
    assert canonical_path(path, normalize=False, double_encode=False) == verbatim


@given(PATH.map(lambda segments: "/" + "/".join(quote(segment, safe="~") for segment in segments)))
def test_a_normal_path_is_normal(path: str) -> None:
    """Normalising again changes nothing, and leaves no dots."""
    once = canonical_path(path, double_encode=False)

    assert canonical_path(once, double_encode=False) == once
    assert once.startswith("/")
    assert not {".", ".."} & {*once.split("/")}
    assert "//" not in once


@pytest.mark.parametrize(
    ("query", "canonical"),
    [
        ("", ""),
        ("prefix=a/b:c", "prefix=a%2Fb%3Ac"),
        ("prefix=a%2fb%3ac", "prefix=a%2Fb%3Ac"),
        ("a=b+c&a=%2B", "a=%2B&a=b%20c"),
        ("a=b=c", "a=b%3Dc"),
        ("acl", "acl="),
        ("b&a&&", "a=&b="),
        ("a=%FF", "a=%FF"),
        ("%7e=~", "~=~"),
        ("a=%zz", "a=%25zz"),
        ("b=1&a=2&a=1&A=3", "A=3&a=1&a=2&b=1"),
    ],
)
def test_a_query_has_one_canonical_form(query: str, canonical: str) -> None:
    """B13, D2: however it is spelled, it is signed as servers compute it."""
    assert canonical_query(query) == canonical


@pytest.mark.parametrize("form", ["%{:02X}", "%{:02x}"], ids=["upper case", "lower case"])
def test_each_escape_has_its_canonical_form(form: str) -> None:
    """B13: a query that needs no new encoding is only sorted, so the two ways must give one result."""
    for byte in range(256):
        escape, expected = form.format(byte), quote(bytes([byte]), safe="")
        assert canonical_query(f"b=x{escape}y&a={escape}") == f"a={expected}&b=x{expected}y"


@given(st.lists(st.text("abA1=", min_size=1, max_size=3), max_size=5).map("&".join))
def test_the_order_of_parameters_does_not_matter(query: str) -> None:
    """Names first, then values, by bytes."""
    backwards = "&".join(reversed(query.split("&")))

    assert canonical_query(query) == canonical_query(backwards)
    assert sorted(parse_qsl(canonical_query(query), keep_blank_values=True)) == sorted(
        parse_qsl(query, keep_blank_values=True)
    )


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://STS.Amazonaws.com/", "sts.amazonaws.com"),
        ("https://h:443/", "h"),
        ("http://h:443/", "h:443"),
        ("http://h:80", "h"),
        ("wss://h:443/mqtt", "h"),
        ("ws://h:81/mqtt", "h:81"),
        ("https://[::1]:443/", "[::1]"),
        ("https://[::1]:8443/", "[::1]:8443"),
        ("http://sts.shop.test.:4566/", "sts.shop.test:4566"),
        ("http://sts.shop.test./", "sts.shop.test"),
    ],
)
def test_the_host_is_written_as_the_transport_sends_it(url: str, host: str) -> None:
    """B4: a default port or a final dot is not sent, and a signature over one does not match."""
    assert sigv4.host_header(url) == host


@pytest.mark.parametrize("url", ["https://user:password@h/", "nothing", "https://h:99999/"])
def test_a_url_without_a_host_has_no_host_header(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^url must"):
        sigv4.host_header(url)


# Presigned URLs


@pytest.mark.parametrize("expires", [0, -1, 604_801, 10**12])
def test_a_presigned_url_is_valid_for_a_second_to_seven_days(expires: int) -> None:
    """T21: refused here, not by the service."""
    with pytest.raises(ConfigurationError, match=r"1 to 604800 \(seconds\)"):
        presign(TEMPORARY, url=URL, expires=expires, **STS)


@pytest.mark.parametrize("expires", [True, False, 60.0, "60", None, numpy_like(60)], ids=repr)
def test_a_presigned_url_is_valid_for_a_whole_number_of_seconds(expires: Any) -> None:
    """B12: True is no number, and would be in the URL as a word."""
    with pytest.raises(ConfigurationError, match="expires must be an integer from 1 to 604800"):
        presign(TEMPORARY, url=URL, expires=expires, **STS)


@pytest.mark.parametrize("name", ["X-Amz-Signature", "X-Amz-Date", "x-amz-expires", "X-Amz%2DCredential"])
@pytest.mark.parametrize("make", [sign, presign], ids=["sign", "presign"])
def test_a_url_that_is_signed_already_is_refused(make: Callable[..., Any], name: str) -> None:
    """G14: there would be two of each, and no server says which of them counts."""
    with pytest.raises(ConfigurationError, match=r"^url is already signed: remove its X-Amz-"):
        make(TEMPORARY, method="GET", url=f"{URL}?a=1&{name}=x", headers={}, **STS)


def test_a_presigned_url_is_not_presigned_again_and_other_parameters_of_that_kind_are() -> None:
    """G14."""
    once = presign(TEMPORARY, url=f"{URL}?X-Amz-S3session-Token=t&x-amz-checksum-mode=ENABLED", **STS)

    with pytest.raises(ConfigurationError, match=r"^url is already signed: remove its X-Amz-"):
        presign(TEMPORARY, url=once.reveal(), **STS)


def test_a_presigned_url_has_no_final_dot_in_its_host() -> None:
    """B4: some clients send the dot in the Host header and some do not."""
    dotted = presign(TEMPORARY, url="https://sts.shop.test.:4566/a.:b./?x=.:y.", **STS)

    assert dotted.reveal() == presign(TEMPORARY, url="https://sts.shop.test:4566/a.:b./?x=.:y.", **STS).reveal()
    assert "https://sts.shop.test:4566/a.:b./?x=.:y.&X-Amz-Algorithm" in dotted.reveal()


@pytest.mark.parametrize("expires", [1, 60, 604_800])
def test_both_ends_of_the_range_are_good(expires: int) -> None:
    presigned = presign(TEMPORARY, url=URL, expires=expires, **STS)

    assert dict(parse_qsl(urlsplit(presigned.reveal()).query))["X-Amz-Expires"] == str(expires)
    assert presigned.expires == expires
    assert presign(TEMPORARY, url=URL, **STS).expires == 60


def test_a_presigned_url_prints_no_query() -> None:
    """T21: anyone who has the URL can use it, so only `reveal` returns it."""
    presigned = presign(TEMPORARY, url=f"{URL}?Action=GetCallerIdentity", **STS)
    printed = f"{presigned} {presigned!r} {[presigned]} {presigned!s}"

    assert str(presigned) == f"{URL}?***"
    assert repr(presigned) == f"<PresignedUrl {URL}?*** for 60 s>"
    assert "X-Amz" not in printed
    assert quote(TOKEN, safe="") not in printed
    assert quote(TOKEN, safe="") in presigned.reveal()
    assert not hasattr(presigned, "__dict__")


def test_a_presigned_url_gives_its_url_as_a_secret() -> None:
    """E8, T21: it is a bearer secret, so it is text that hides in a repr, like a session token."""
    revealed = presign(TEMPORARY, url=URL, **STS).reveal()

    assert type(revealed) is Secret
    assert isinstance(revealed, str)
    assert repr(revealed) == repr([revealed])[1:-1] == "'***'"
    assert f"{revealed}".startswith(f"{URL}?X-Amz-Algorithm=")


def test_headers_that_must_come_with_a_url_are_signed() -> None:
    """By their names in X-Amz-SignedHeaders; those that proxies change are not."""
    presigned = presign(LONG_TERM, url=URL, headers={"X-Mine": "1", "User-Agent": "x"}, **STS)

    assert dict(parse_qsl(urlsplit(presigned.reveal()).query))["X-Amz-SignedHeaders"] == "host;x-mine"
