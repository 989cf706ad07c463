"""A stand-in for HashiCorp Vault: it has the login of the auth method aws, and asks STS who signed a login."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from tokens.replays import as_vault
from web_apps import serving

from sts_async.testing import LocalSTS


@asynccontextmanager
async def vault_server(server: LocalSTS) -> AsyncIterator[str]:
    """Yield its URL. The token that it returns is the ARN of who logged in."""

    async def login(request: web.Request) -> web.Response:
        status, text = await as_vault(server, await request.json())
        found = re.search("<Arn>(.+)</Arn>", text)
        if status != 200 or found is None:
            return web.json_response({"errors": ["permission denied"]}, status=400)
        return web.json_response({"auth": {"client_token": found[1], "lease_duration": 3600, "renewable": True}})

    app = web.Application()
    app.router.add_post("/v1/auth/aws/login", login)
    async with serving(app) as url:
        yield url
