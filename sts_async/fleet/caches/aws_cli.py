"""
The cache of the AWS CLI and botocore for AssumeRole: names and contents of its files.

The name of a file is the SHA-1 of the parameters of AssumeRole as JSON, with the policy parsed and without the MFA
code. Neither the name nor the contents show who signed the request or where it was sent. So two processes with
different credentials, or with different endpoints, share an entry if they assume the same role in the same way.

The AWS CLI leaves the session name out if it chose the name itself. A request of this library always has a session name
that the program chose, so the name is always included. Such an entry is shared with a profile that has the same
``role_session_name``.

The files do not contain the time of issue, so the time of the last change of the file counts.

Source: botocore, `credentials.BaseAssumeRoleCredentialFetcher` and `utils.JSONFileCache`.
"""

import hashlib
import json
from datetime import datetime
from typing import Any

import attrs

from ..._protocol import arns
from ..._protocol.json_documents import write_object
from ..._shape.secret import HiddenDocument, SecretBytes, attempt
from ..._shape.shape import Shape
from ...shapes import AssumeRoleRequest, Request
from ..identities import account_of
from ._entries import UnusableEntry, checked_entry, credentials_document, parse, read_members
from .protocol import CachedCredentials, CacheKey

DIRECTORY = "~/.aws/cli/cache"
SECONDS_LEFT = 900.0  # Source: botocore, `CachedCredentialFetcher.DEFAULT_EXPIRY_WINDOW_SECONDS`


class AWSCLIFormat:
    """The format of the AWS CLI. It has entries for AssumeRole only."""

    seconds_left = SECONDS_LEFT
    sharded = False

    def name(self, key: CacheKey) -> str | None:
        """Return the name of the entry; None for other requests, and if the policy is not JSON."""
        return cache_name(key.request)

    def encode(self, key: CacheKey, cached: CachedCredentials) -> SecretBytes:
        """
        Return the contents of the entry.

        They are the members of the response that readers use. The id of the role is not among them, because
        credentials do not contain it.
        """
        credentials = credentials_document(cached.credentials)
        if (account := account_of(key.request)) is not None:
            credentials = HiddenDocument(AccountId=account) | credentials
        document = HiddenDocument(Credentials=credentials)
        if (arn := assumed_role_arn(key.request)) is not None:
            document |= HiddenDocument(AssumedRoleUser=HiddenDocument(Arn=arn))
        return write_object(document)

    def decode(self, key: CacheKey, data: bytes, *, written: datetime) -> CachedCredentials:
        """
        Return the credentials in the contents of the entry. *written* counts as the time of issue.

        Raises:
            UnusableEntry: The contents are invalid, or belong to another role or session.
        """
        data = SecretBytes(data)
        document = parse(data)
        user = document.get("AssumedRoleUser")
        found = user.get("Arn") if isinstance(user, HiddenDocument) else None
        wanted = assumed_role_arn(key.request)
        if wanted is not None and found != wanted:
            raise UnusableEntry("mismatch", "it belongs to another identity: AssumedRoleUser differs")
        credentials = read_members(document)
        account = account_of(key.request)
        if credentials.account_id is None and account is not None:
            credentials = attrs.evolve(credentials, account_id=account)  # type: ignore[misc]
        return checked_entry(credentials, written)


def cache_name(request: Request[Any]) -> str | None:
    """
    Return the name of the file for a request, without ``.json``.

    Returns:
        40 hexadecimal digits; None for requests other than `AssumeRoleRequest`, and if the policy is not JSON.
    """
    if not isinstance(request, AssumeRoleRequest):
        return None
    # A policy can be nested so deeply that the parser gives up.
    text = attempt((ValueError, RecursionError), _parameters, request)
    return None if text is None else hashlib.sha1(text, usedforsecurity=False).hexdigest()


def _parameters(request: AssumeRoleRequest) -> SecretBytes:
    """Return the parameters of AssumeRole as the JSON text that botocore digests."""
    given = {member.wire: _plain(value) for member, value in request._given() if member.name != "token_code"}
    if isinstance(request.policy, str):
        given["Policy"] = json.loads(request.policy)
    return write_object(HiddenDocument(given), sort_keys=True)


def _plain(value: Any) -> Any:
    """Return a member as botocore has it: a structure as an object, a collection as a list."""
    if isinstance(value, Shape):
        return HiddenDocument({member.wire: _plain(item) for member, item in value._given()})
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def assumed_role_arn(request: Request[Any]) -> str | None:
    """Return the ARN of the session that AssumeRole creates; None if the ARN of the role is not one of AWS."""
    if not isinstance(request, AssumeRoleRequest) or not arns.is_role(request.role_arn):
        return None
    _, partition, _, _, account, role = request.role_arn.split(":", 5)
    return f"arn:{partition}:sts::{account}:assumed-role/{role.rpartition('/')[2]}/{request.role_session_name}"
