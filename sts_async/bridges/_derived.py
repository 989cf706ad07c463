"""
Tokens that are derived from the credentials of a view, for libraries that ask for one at each connection or request.

A token that can be reused is kept until a minute before its end. It is signed again as soon as the credentials in
memory are other ones: so it never outlives them, and a program that asks for tokens alone has its credentials
refreshed.
"""

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from .._shape.secret import Secret, Unpicklable
from ..shapes import Credentials
from ..tokens import Token
from ._view import EARLY, CredentialsView

NEEDED = EARLY.total_seconds()  # s of life that credentials must have left, where a caller can wait for better ones

Sign = Callable[[Credentials, datetime], Token]
"""A function that derives a token from credentials, at a time."""


class _Kept(NamedTuple):
    credentials: Credentials
    token: Token


class DerivedToken(Unpicklable):
    """
    One token, which is signed again when that is needed.

    Args:
        view: The credentials.
        sign: Derives a token.
    """

    def __init__(self, view: CredentialsView, sign: Sign) -> None:
        self._view = view
        self._sign = sign
        self._kept: _Kept | None = None

    async def get(self) -> Secret:
        """
        Return a valid token, in any event loop.

        Raises:
            STSError: There are no credentials, or the token cannot be signed.
        """
        return self._of(await self._view.get())

    def get_sync(self) -> Secret:
        """
        Return a valid token, in any thread.

        Raises:
            STSError: As for `get`.
        """
        return self._of(self._view.get_sync(at_least=NEEDED))

    def _of(self, credentials: Credentials) -> Secret:
        kept, now = self._kept, self._view.now()
        if kept is None or kept.credentials is not credentials or now >= kept.token.expiration - EARLY:
            # One assignment: threads may share this object.
            kept = self._kept = _Kept(credentials, self._sign(credentials, now))
        return kept.token.value
