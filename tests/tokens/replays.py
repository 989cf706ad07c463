"""The services that replay a token to STS, to learn who signed it."""

import base64
import json

from aiohttp import ClientSession
from tokens.cases import url_in
from yarl import URL

from sts_async.testing import LocalSTS


async def as_a_cluster(server: LocalSTS, token: str, cluster: str) -> tuple[int, str]:
    """Call STS as aws-iam-authenticator does: with the URL of the token and the cluster's own name."""
    url = URL(url_in(token, "k8s-aws-v1."), encoded=True)
    headers = {"Host": url.host or "", "x-k8s-aws-id": cluster}
    async with (
        ClientSession() as session,
        session.get(URL(f"{server.url}?{url.raw_query_string}", encoded=True), headers=headers) as response,
    ):
        return response.status, await response.text()


async def as_vault(server: LocalSTS, login: dict[str, str], **changed: str) -> tuple[int, str]:
    """Call STS as Vault does: with the URL, the headers and the body of the login."""
    url, body = (base64.b64decode(login[f"iam_request_{name}"]) for name in ("url", "body"))
    headers = {
        name: value
        for name, values in json.loads(base64.b64decode(login["iam_request_headers"])).items()
        for value in values
    }
    assert url.decode() == f"https://{headers['Host']}/"
    async with (
        ClientSession() as session,
        session.request(
            login["iam_http_request_method"], server.url, headers={**headers, **changed}, data=body
        ) as response,
    ):
        return response.status, await response.text()
