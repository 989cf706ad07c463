"""
The login of HashiCorp Vault with its auth method ``aws``, of the type ``iam``.

The login contains a signed request to STS, GetCallerIdentity, which Vault sends to learn who signed it.

Source: Vault documentation, "AWS auth method (API)"; hvac 2.4.0, api/auth_methods/aws.py.
"""

import base64
from collections.abc import Mapping
from datetime import datetime

from .. import sigv4
from .._protocol.endpoints import GLOBAL_REGION, resolve
from .._protocol.headers import is_header_value
from .._protocol.json_documents import write_object
from .._shape.secret import HiddenDocument, Secret, SecretBytes, Unpicklable, without_data
from ..errors import ConfigurationError
from ..shapes import Credentials
from ..sigv4._signing_input import given_credentials
from ._arguments import checked_region
from ._source import Source, signing_of
from ._token import check_alive, end_of

BODY = SecretBytes(b"Action=GetCallerIdentity&Version=2011-06-15")
FORM = "application/x-www-form-urlencoded; charset=utf-8"
SERVER_ID_HEADER = "X-Vault-AWS-IAM-Server-ID"
SECONDS = 300  # s; the IAM User Guide promises five minutes for a signed request
# The names as Vault writes them. Vault compares them without case.
HEADERS = {"authorization": "Authorization", "x-amz-date": "X-Amz-Date", "x-amz-security-token": "X-Amz-Security-Token"}


class VaultLogin(Unpicklable):
    """
    The body of a login request. Anyone who has it can log in with it.

    Attributes:
        expiration: The end of the login, an aware datetime in UTC: five minutes after the time of signing, or the end
            of the credentials that signed it.
    """

    __slots__ = ("_payload", "expiration")

    def __init__(self, payload: Mapping[str, str], *, expiration: datetime) -> None:
        self._payload = payload = HiddenDocument(payload)
        self.expiration = expiration

    def reveal(self) -> dict[str, str]:
        """
        Return the members of the JSON body for ``POST /v1/auth/aws/login``, or the path of another mount.

        The values are `Secret` objects.
        """
        return {name: self._payload[name] for name in self._payload}

    def __repr__(self) -> str:
        return f"<VaultLogin until {self.expiration:%Y-%m-%dT%H:%M:%SZ}>"


async def vault_login(
    credentials: Source,
    *,
    role: str | None = None,
    server_id: str | None = None,
    region: str | None = None,
    endpoint_url: str | None = None,
) -> VaultLogin:
    """
    Return the body of a login request to Vault.

    Vault sends the request to the STS that it is configured for, whatever the client uses. Its default is the global
    host ``sts.amazonaws.com``, and the default here is the same.

    Args:
        credentials: A client, a view, or a provider of a fleet.
        role: The role of Vault; None for the one with the name of the IAM role or user.
        server_id: The value of the header ``X-Vault-AWS-IAM-Server-ID``, if Vault requires it.
        region: The region of Vault's STS; None for the global host.
        endpoint_url: The URL of Vault's STS, with *region*; None for the host of the region.

    Raises:
        ConfigurationError: An argument is invalid.
        CredentialsError: There are no credentials, or fetching them failed.
    """
    credentials = without_data(credentials)
    signing = await signing_of(credentials)
    return sign_vault_login(
        signing.credentials, role=role, server_id=server_id, region=region, endpoint_url=endpoint_url, at=signing.at
    )


def sign_vault_login(
    credentials: Credentials,
    *,
    role: str | None = None,
    server_id: str | None = None,
    region: str | None = None,
    endpoint_url: str | None = None,
    at: datetime,
) -> VaultLogin:
    """
    Return the body of a login request, as `vault_login` does, without I/O.

    Args:
        credentials: The keys to sign with.
        role: As for `vault_login`.
        server_id: As for `vault_login`.
        region: As for `vault_login`.
        endpoint_url: As for `vault_login`.
        at: The time of signing, as an aware datetime.

    Raises:
        ConfigurationError: An argument is invalid.
        CredentialsError: The credentials have expired, or cannot sign.
    """
    credentials = given_credentials(credentials)
    for name, value in (("role", role), ("server_id", server_id)):
        if value is not None and not (is_header_value(value) and value.strip()):
            raise ConfigurationError(f"{name} must be printable ASCII text")
    if endpoint_url is not None and region is None:
        raise ConfigurationError("endpoint_url needs region: the region that Vault signs for, such as us-east-1")
    endpoint = resolve(region=GLOBAL_REGION if region is None else checked_region(region), endpoint_url=endpoint_url)
    check_alive(credentials, at=at)
    headers = {"Content-Type": FORM, "Host": endpoint.host}
    if server_id is not None:
        headers[SERVER_ID_HEADER] = server_id
    signed = sigv4.sign(
        credentials,
        method="POST",
        url=endpoint.url,
        headers=headers,
        body=BODY,
        service="sts",
        region=endpoint.signing_region or "",
        at=at,
    )
    lists = HiddenDocument({HEADERS.get(name, name): [value] for name, value in signed.items()})
    payload = HiddenDocument(
        {
            **({} if role is None else {"role": role}),
            "iam_http_request_method": "POST",
            "iam_request_url": _in_base64(SecretBytes(endpoint.url.encode())),
            "iam_request_body": _in_base64(BODY),
            "iam_request_headers": _in_base64(write_object(lists)),
        }
    )
    return VaultLogin(payload, expiration=end_of(credentials, at=at, seconds=SECONDS))


def _in_base64(data: SecretBytes) -> Secret:
    return Secret(base64.b64encode(data).decode())
