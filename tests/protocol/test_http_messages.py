import pprint
from collections.abc import Mapping, Sequence

import attrs

from sts_async._protocol.http_messages import HttpRequest, HttpResponse
from sts_async._shape.secret import SecretBytes

SENTINEL = "SENTINEL-90c4"


def test_neither_headers_nor_bodies_nor_queries_are_printed() -> None:
    """T14, T17: all of them carry keys and tokens; a custom transport will print what it is given."""
    headers, body = {"authorization": SENTINEL}, SecretBytes(SENTINEL.encode())
    request = HttpRequest("POST", f"https://sts.amazonaws.com/?X-Amz-Signature={SENTINEL}", headers, body)
    response = HttpResponse(200, headers, body)

    assert repr(request) == f"<HttpRequest POST https://sts.amazonaws.com/, {len(body)} bytes>"
    assert repr(response) == f"<HttpResponse 200, {len(body)} bytes>"
    assert SENTINEL not in pprint.pformat([request, response])
    assert SENTINEL not in f"{request} {response}"


def test_a_request_without_a_body_has_an_empty_one() -> None:
    assert HttpRequest("GET", "https://h/", {}).body == b""


def test_messages_are_nothing_that_crash_reporters_walk_through() -> None:
    """G6: Sentry shows the members of a tuple one by one, and the headers among them."""
    request, response = HttpRequest("GET", "https://h/", {}), HttpResponse(200, {}, SecretBytes())

    assert not isinstance(request, Sequence | Mapping)
    assert not isinstance(response, Sequence | Mapping)
    assert attrs.evolve(request, method="PUT").method == "PUT"
