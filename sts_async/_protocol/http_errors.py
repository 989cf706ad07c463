"""
The parts of an error response that may be shown: its status, an error code, and the host that a redirect names.

The rest of such a response may contain anything, even parts of the request, and is not shown. The one exception is the
message of an error of STS, which services in front of STS write as JSON.
"""

import codecs
from collections.abc import Mapping
from typing import Any, NamedTuple

from .._shape.secret import HiddenDocument
from ..errors import CredentialsError
from .http_messages import HttpRequest, HttpResponse
from .json_documents import read_object
from .redaction import Redaction
from .redirects import describe_redirect, is_redirect

MAX_CODE = 64  # characters
ERROR_HEADER = "x-amzn-errortype"  # of the JSON protocols, and of API Gateway
QUERY_ERROR_HEADER = "x-amzn-query-error"  # "code;fault", of services that once spoke the Query protocol
WRAPPERS = ("ErrorResponse", "Response", "Output")
CODES = ("__type", "Code", "code", "error")
MESSAGES = ("Message", "message", "errorMessage", "error_description")
NOTHING_SENT = Redaction()


class Refusal(NamedTuple):
    """
    The error of a service.

    Attributes:
        status: HTTP status.
        codes: The error codes in the response: of AWS and of OAuth 2.0.
    """

    status: int
    codes: tuple[str, ...]

    @classmethod
    def from_response(cls, response: HttpResponse, *, sent: HttpRequest | None = None) -> "Refusal":
        """Return the error in *response*. Text that repeats a secret of the request *sent* is not used as a code."""
        hide = Redaction(sent)
        names = [response.headers.get(ERROR_HEADER)]
        try:
            found = read_object(response.body, what="the answer")
        except CredentialsError:
            pass  # a page of a proxy
        else:
            names += [found.get("__type"), found.get("code"), found.get("error")]
        codes = [code for code in map(readable_code, names) if code is not None and hide(code) == code]
        return cls(response.status, tuple(dict.fromkeys(codes)))

    def __str__(self) -> str:
        return f"{self.codes[0]} (HTTP {self.status})" if self.codes else f"HTTP {self.status}"


def readable_code(value: object) -> str | None:
    """
    Return an error code without its namespace; None if *value* is not a code.

    A code has at most 64 characters, ASCII letters and ``_``. Any other text may contain anything.
    """
    if not isinstance(value, str):
        return None
    bare = _bare(value)
    return bare if len(bare) <= MAX_CODE and bare.isascii() and bare.replace("_", "").isalpha() else None


def _bare(code: str) -> str:
    """Return an error code without the namespace before ``#`` and without the URL after ``:``."""
    return code.rpartition("#")[2].partition(":")[0].strip()


def code_in_headers(headers: Mapping[str, str], *, in_body: str) -> str:
    """Return the error code from the headers or *in_body*, or ''. Source: botocore, parsers."""
    query = headers.get(QUERY_ERROR_HEADER, "").partition(";")[0].strip()
    return query or in_body or _bare(headers.get(ERROR_HEADER, ""))


def json_error(body: bytes) -> dict[str, str]:
    """
    Return an error in JSON as the members of the error in XML; empty if *body* has no error.

    API Gateway, load balancers and servers other than AWS answer in JSON, even if XML was requested: with ``__type`` as
    in the JSON protocols, with ``message`` alone, or with the members of the Query protocol.
    """
    if not body[:1024].removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{"):
        return {}
    try:
        found: Any = read_object(body, what="the answer")
    except CredentialsError:
        return {}
    for name in WRAPPERS:
        if isinstance(found.get(name), HiddenDocument):
            found = found.get(name)
    inner = found.get("Error")
    error = inner if isinstance(inner, HiddenDocument) else found
    return {
        "Code": _bare(_first_text(error, CODES)),
        "Message": _first_text(error, MESSAGES),
        "Type": _first_text(error, ("Type",)),
        "RequestId": _first_text(error, ("RequestId",)) or _first_text(found, ("RequestId", "requestId")),
    }


def _first_text(document: Any, names: tuple[str, ...]) -> str:
    """Return the first member that is text, or ''. Lone surrogates, which cannot be logged, are replaced."""
    texts = (document.get(name) for name in names)
    return next((t.encode("utf-8", "replace").decode() for t in texts if isinstance(t, str) and t), "")


def refusal(response: HttpResponse, hide: Redaction = NOTHING_SENT) -> str:
    """Return the status of a response, and the host of a redirect unless *hide* hides it."""
    if not is_redirect(response.status):
        return f"HTTP {response.status}"
    return describe_redirect(response, hide)


def is_transient(status: int) -> bool:
    """
    Return True if a source of credentials may succeed when it is asked again: it is overloaded, or failed.

    For STS itself the SDKs have a narrower rule: `errors.TRANSIENT_STATUSES`.
    """
    return status == 429 or 500 <= status < 600
