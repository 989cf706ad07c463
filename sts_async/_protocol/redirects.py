"""
Redirects are refused: following one would send the keys and the body of a request to another host.

The transport follows none. `response` makes the error for STS, and `credentials._sign_in_services` for SSO and sign-in.
"""

from urllib.parse import urlsplit

from .http_messages import HttpResponse
from .redaction import Redaction

MAX_HOST = 253  # characters


def is_redirect(status: int) -> bool:
    """Return True if this HTTP status is a redirect."""
    return 300 <= status < 400


def describe_redirect(response: HttpResponse, hide: Redaction) -> str:
    """Return the status of a redirect and the host that it names, for an error. *hide* can hide the host."""
    redirect = f"HTTP {response.status} redirect"
    try:
        parts = urlsplit(response.headers.get("location", ""))
        host = (parts.hostname or "")[:MAX_HOST]
    except ValueError:
        return f"{redirect} to an invalid URL: not followed"
    place = parts.netloc.rpartition("@")[2]  # in its original case: *hide* compares the case
    if hide(place) != place:
        return f"{redirect}: not followed (its host is hidden because it repeats a secret)"
    return f"{redirect} to {f'host {host!a}' if host else 'a relative URL'}: not followed"
