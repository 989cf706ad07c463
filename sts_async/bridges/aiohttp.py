"""aiohttp: a client middleware that signs the requests for some origins."""

from collections.abc import Collection

from aiohttp import ClientHandlerType, ClientMiddlewareType, ClientRequest, ClientResponse
from aiohttp.payload import BytesPayload

from .. import sigv4
from ..errors import ConfigurationError
from ._signing import OriginSigner
from ._view import BridgeCredentials


def middleware(
    credentials: BridgeCredentials,
    *,
    service: str,
    origins: str | Collection[str],
    region: str | None = None,
    allow_http: bool = False,
) -> ClientMiddlewareType:
    """
    Return a middleware for ``aiohttp.ClientSession(middlewares=[...])``.

        sign = bridges.aiohttp.middleware(sts, service="sqs", origins="https://sqs.eu-west-1.amazonaws.com")

    It signs ``host``, ``content-type`` and all headers that begin with ``x-amz-``. Streamed bodies are read into memory
    first; those for S3 over TLS are not read and not hashed. Requests for other origins, also after a redirect, are
    sent as they are. The session can be used in any event loop.

    Args:
        credentials: An `STSClient`, a view of it, or a provider that `CredentialsFleet.provider` returned.
        service: Signing name of the service, in lower case, such as ``execute-api``.
        origins: The URLs whose scheme, host and port are signed for: one, or several.
        region: The signing region; None for that of *credentials*.
        allow_http: Whether an origin on another host can be ``http``. Then the network can read session tokens.

    Raises:
        ConfigurationError: An argument is invalid. Requests raise it if the region is not known, or if a compressed
            body would have to be signed.
    """
    signer = OriginSigner(credentials, service=service, origins=origins, region=region, allow_http=allow_http)

    async def sign(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        url = request.url
        if not signer.covers(url.scheme, url.raw_host or "", url.port):
            return await handler(request)
        body = request.body
        if signer.skips_body(url.scheme) and not isinstance(body, BytesPayload | bytes):
            payload_hash = sigv4.UNSIGNED_PAYLOAD
        elif request.compress:
            raise ConfigurationError("compress= changes the body after it was signed: compress it before the request")
        else:
            payload_hash = await signer.hash_of(body if isinstance(body, bytes) else await body.as_bytes())
        added = signer.sign(
            await signer.view.get(),
            method=request.method,
            url=f"{url.origin()}{url.raw_path_qs}",
            headers=request.headers.items(),
            payload_hash=payload_hash,
        )
        for name, value in added.items():
            request.headers[name] = value
        return await handler(request)

    return sign
