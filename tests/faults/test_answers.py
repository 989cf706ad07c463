"""F6-F10, F23: answers that are not those of STS, and what is asked for so that they are."""

import json

import pytest
from faults.faulty import GOOD, Act, document, says
from faults.matrix import Fails, Row, Succeeds, matrix, play, recovers

from sts_async import errors

HTML = "Content-Type: text/html\r\n"
PAGES = {
    "a page": "<html>\n<head><title>Sign in</title></head>\n<body>SENTINEL-page</body>\n</html>\n",
    "a page that is no XML": "<!DOCTYPE html><html><head><meta charset=utf-8><title>Sign in<body>SENTINEL-page",
    "text": "SENTINEL-page: sign in at the front desk",
}
DOCTYPES = {
    "HTML 5": "<!DOCTYPE html>",
    "XHTML": '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd">',
}
BUCKETS = """\
<ListAllMyBucketsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01"><Owner><ID>SENTINEL-owner</ID></Owner>
<Buckets></Buckets></ListAllMyBucketsResult>"""
JSON = json.dumps({"AssumeRoleResponse": {"AssumeRoleResult": {"Credentials": {"SessionToken": "SENTINEL-token"}}}})
CHUNK = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
ENDLESS = Act([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", CHUNK], endless=True)


def not_sts(*, attempts: int, retryable: bool, status: int = 200) -> Fails:
    """Return the fate of a call whose answer is not the protocol."""
    return Fails(errors.ResponseParseError, attempts=attempts, retryable=retryable, throttled=False, status=status)


def page(text: str, *, name: str) -> list[Row]:
    """Return the rows of a page in place of an answer: for a while, and for ever."""
    what = ["text/html", "HTTP 200", f"{len(text)} bytes"]
    return [
        recovers(f"F7 {name}, once", says(text, headers=HTML)),
        Row(f"F7 {name}, always", [says(text, headers=HTML)], not_sts(attempts=3, retryable=True), says=what),
    ]


@matrix(
    recovers("F6 an empty body, once", says("")),
    Row("F6 an empty body, always", [says("")], not_sts(attempts=3, retryable=True), says=["empty", "0 bytes"]),
    recovers("F6 HTTP 204, once", Act([b"HTTP/1.1 204 No Content\r\n\r\n"])),
    Row(
        "F6 HTTP 204, always",
        [Act([b"HTTP/1.1 204 No Content\r\n\r\n"])],
        not_sts(attempts=3, retryable=True, status=204),
        says=["empty", "no content type"],
    ),
    *(row for name, text in PAGES.items() for row in page(text, name=name)),
    Row(
        "F8 the answer of S3",
        [says(BUCKETS), GOOD],
        not_sts(attempts=1, retryable=False),
        says=["not a AssumeRoleResponse", "text/xml", f"{len(BUCKETS)} bytes"],
    ),
    Row(
        "F8 the answer to another operation",
        [says(document("AssumeRoleWithSAML")), GOOD],
        not_sts(attempts=1, retryable=False),
    ),
    Row("F9 good XML as text/html", [says(document(), headers=HTML)], Succeeds(attempts=1)),
    Row("F9 good XML without a content type", [says(document(), headers="")], Succeeds(attempts=1)),
    Row(
        "F10 JSON",
        [says(JSON, headers="Content-Type: application/json\r\n"), GOOD],
        not_sts(attempts=1, retryable=False),
        says=["application/json", f"{len(JSON)} bytes"],
    ),
    Row(
        "F23 an endless body",
        [ENDLESS],
        Fails(errors.ResponseTooLarge, attempts=1, retryable=False),
        options={"max_response_bytes": 100_000},
        says=["100000 bytes"],
    ),
)
async def test_an_answer_that_is_not_one_of_sts(row: Row, callers: int) -> None:
    """No error quotes what came: the pages have a sentinel, which the watch over all tests looks for."""
    await play(row, callers=callers)


@pytest.mark.parametrize("doctype", DOCTYPES.values(), ids=DOCTYPES)
async def test_a_page_that_is_well_formed_and_has_a_doctype_is_a_page(doctype: str) -> None:
    """F7: nginx's and many captive portals' are."""
    text = f"{doctype}\n{PAGES['a page']}"

    for row in page(text, name="a well-formed page"):
        await play(row, callers=1)


async def test_an_endless_body_ends_at_one_mebibyte_by_default() -> None:
    fate = Fails(errors.ResponseTooLarge, attempts=1, retryable=False)

    await play(Row("F23 an endless body", [ENDLESS], fate, says=["1048576 bytes"]), callers=1)


async def test_xml_is_asked_for_in_every_attempt() -> None:
    """F10: some servers answer JSON to whoever accepts it."""
    server = await play(recovers("F10", says("")), callers=1)

    (received,) = server.received.values()
    assert [request.header("accept") for request in received] == ["text/xml"] * 2
    assert [request.header("accept-encoding") for request in received] == ["identity"] * 2
