"""
What may be said of an answer that refuses: its status, an error code, and the host that a redirect names.

The rest of such an answer may hold anything, also what was sent, and is not shown.
"""

from typing import NamedTuple
from urllib.parse import urlsplit

from ..errors import CredentialsError
from .documents import read_object
from .message import HttpResponse

LONGEST_CODE = 64  # characters
LONGEST_HOST = 253  # characters


class Refusal(NamedTuple):
    """
    How a service has refused.

    Attributes:
        status: HTTP status.
        codes: Every name that the answer has for the error: of AWS, and of OAuth 2.0.
    """

    status: int
    codes: tuple[str, ...]

    @classmethod
    def of(cls, response: HttpResponse) -> "Refusal":
        """Return how *response* refuses."""
        names = [response.headers.get("x-amzn-errortype")]
        try:
            found = read_object(response.body, what="the answer")
        except CredentialsError:
            pass  # a page of a proxy
        else:
            names += [found.get("__type"), found.get("code"), found.get("error")]
        return cls(response.status, tuple(dict.fromkeys(filter(None, map(readable_code, names)))))

    def __str__(self) -> str:
        return f"{self.codes[0]} (HTTP {self.status})" if self.codes else f"HTTP {self.status}"


def readable_code(value: object) -> str | None:
    """
    Return an error code without its namespace, and None for what is not like one: it may be anything.

    A code has at most 64 characters, ASCII letters and ``_``.
    """
    if not isinstance(value, str):
        return None
    bare = value.rpartition("#")[2].partition(":")[0].strip()
    return bare if len(bare) <= LONGEST_CODE and bare.isascii() and bare.replace("_", "").isalpha() else None


def refusal(response: HttpResponse) -> str:
    """Return the status of an answer, and the host that it names when it is a redirect."""
    if not is_redirect(response.status):
        return f"HTTP {response.status}"
    try:
        host = ascii((urlsplit(response.headers.get("location", "")).hostname or "of its own")[:LONGEST_HOST])
    except ValueError:
        host = "that cannot be read"
    return f"HTTP {response.status} to host {host}: not followed"


def is_redirect(status: int) -> bool:
    """Say whether an answer with this HTTP status points elsewhere."""
    return 300 <= status < 400


def is_transient(status: int) -> bool:
    """
    Say whether what hands out credentials may answer otherwise when it is asked again: it is overloaded, or failed.

    For STS itself the rule is narrower, as its SDKs have it: `errors.TRANSIENT_STATUSES`.
    """
    return status == 429 or 500 <= status < 600
