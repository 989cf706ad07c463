"""
The processing of one request, without a socket or a clock: `server` has those.

    read the form -> find the operation -> verify the signature -> read the request -> call the handler -> write XML
"""

import uuid
from collections.abc import Collection

import attrs

from .directory import ANYBODY, Directory, Principal
from .handlers import HANDLERS, Call
from .refusals import Refusal, expired_session, unknown_key
from .rules import check_kind
from .verify import Received, check_signature, check_token, read_proof
from .wire import BY_NAME, operation_of, read_form, read_request, write_refusal, write_response


@attrs.frozen(kw_only=True)
class Served:
    """
    A record of one request, without secrets.

    Attributes:
        operation: Name of the operation, or None if it is unknown.
        principal: ARN of the signer, or None if the request was not signed or not verified.
        region: The signing region; the region of the server if the request was not signed.
        status: HTTP status of the response, or None if the connection was reset.
        code: Error code, or None for success.
        request_id: The request id in the response.
    """

    operation: str | None = None
    principal: str | None = None
    region: str
    status: int | None = None
    code: str | None = None
    request_id: str


@attrs.frozen
class Answered:
    """The document of a response, and the record of the request."""

    served: Served
    document: str = attrs.field(repr=False)


class Service:
    """
    STS without a socket.

    Args:
        directory: The accounts, users, roles and sessions.
        region: The region of requests that are not signed.
        regions: The accepted signing regions; None for any region.
        honor_expires: See `verify.check_signature`.
    """

    def __init__(
        self, directory: Directory, *, region: str, regions: Collection[str] | None, honor_expires: bool
    ) -> None:
        self._directory = directory
        self._region = region
        self._regions = regions
        self._honor_expires = honor_expires

    def answer(self, received: Received, *, now: float, refusal: Refusal | None = None) -> Answered:
        """
        Return the response to a request.

        Args:
            received: The request.
            now: The time, in seconds since 1970.
            refusal: The error to return, or None.
        """
        request_id = str(uuid.uuid4())
        action, region, caller = "", self._region, ANYBODY
        code: str | None = None
        try:
            form = read_form(received)
            action = str(form.get("Action"))
            if refusal is not None:
                raise refusal
            operation = operation_of(form)
            if operation.signed:
                caller, region = self._verify(received, now=now)
                check_kind(caller, operation=operation.name)
            request = read_request(operation, form)
            call = Call(directory=self._directory, caller=caller, region=region, now=now)
            response = HANDLERS[operation.name](call, request)
        except Refusal as refused:
            status, code = refused.status, refused.code
            document = write_refusal(refused, request_id=request_id)
        else:
            status = 200
            document = write_response(operation, response, request_id=request_id)
        served = Served(
            operation=action if action in BY_NAME else None,
            principal=None if caller is ANYBODY else caller.arn,
            region=str.__str__(region),  # a plain string: as a part of a header, it was hidden
            status=status,
            code=code,
            request_id=request_id,
        )
        return Answered(served, document)

    def _verify(self, received: Received, *, now: float) -> tuple[Principal, str]:
        """Return the signer and the signing region."""
        proof = read_proof(received)
        caller = self._directory.holder(proof.access_key_id)
        if caller is None:
            raise unknown_key()
        check_token(proof, caller.credentials)
        if caller.is_expired(now=now):
            raise expired_session()
        check_signature(
            proof,
            received,
            caller.credentials,
            now=now,
            regions=self._regions,
            honor_expires=self._honor_expires,
        )
        return caller, proof.region
