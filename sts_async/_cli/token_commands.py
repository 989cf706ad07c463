"""``sts-async eks-token`` and ``sts-async console-url``: what is derived from the credentials of a command."""

import os
from collections.abc import Mapping
from typing import Any

import attrs

from .._protocol.endpoints import no_region
from .._shape.secret import Secret
from ..client import STSClient
from ..credentials.source import MFACode
from ..errors import ConfigurationError, CredentialsError
from ..shapes import AssumeRoleRequest
from ..tokens import console_url, eks_token, exec_credential
from .command_client import client_with_role

EXEC_INFO = "KUBERNETES_EXEC_INFO"  # set by kubectl; it contains the version to answer with


@attrs.frozen(kw_only=True)
class Settings:
    """
    The options of the two commands.

    Attributes:
        client: Options of the client, by their names in `Config`.
        local: Whether to use a local STS.
        role: The role that the credentials assume; None for none.
        mfa_code: The function that returns the code of an MFA device.
        cluster: Name of the cluster; None for the URL of the console.
        destination: The page of the console, or None.
        issuer: The page that users return to, or None.
        session_duration: Lifetime of the session in the console in seconds, or None.
        signin_url: URL of the federation endpoint, or None.
    """

    client: Mapping[str, Any] = attrs.field(repr=False)
    local: bool
    role: AssumeRoleRequest | None
    mfa_code: MFACode
    cluster: str | None = None
    destination: str | None = None
    issuer: str | None = None
    session_duration: int | None = None
    signin_url: str | None = attrs.field(default=None, repr=False)


async def run(settings: Settings) -> Secret:
    """
    Return the text to print. It is a secret.

    Raises:
        STSError: An option is invalid, there are no credentials, or a service refused them.
    """
    async with client_with_role(
        settings.client, local=settings.local, role=settings.role, mfa_code=settings.mfa_code
    ) as sts:
        return await (_console_url(sts, settings) if settings.cluster is None else _eks_token(sts, settings))


async def _eks_token(sts: STSClient, settings: Settings) -> Secret:
    await sts.get_credentials()
    if sts.region is None:
        raise ConfigurationError(no_region())
    token = await eks_token(sts, cluster=settings.cluster or "")
    return exec_credential(token, exec_info=os.environ.get(EXEC_INFO))


async def _console_url(sts: STSClient, settings: Settings) -> Secret:
    if not (await sts.get_credentials()).session_token:
        raise CredentialsError("the console needs temporary credentials: pass --role-arn ARN")
    token = await console_url(
        sts,
        destination=settings.destination,
        issuer=settings.issuer,
        session_duration=settings.session_duration,
        endpoint_url=settings.signin_url,
    )
    return token.value
