"""
The bearer token of a Kubernetes cluster of Amazon EKS, as ``aws eks get-token`` makes it.

Source: awscli, customizations/eks/get_token.py; aws-iam-authenticator, pkg/token/token.go.
"""

import logging
import re
from datetime import UTC, datetime

from .._protocol.endpoints import resolve
from .._protocol.json_documents import read_object, write_object
from .._shape.arguments import check_flag
from .._shape.secret import HiddenDocument, Secret, attempt, without_data
from ..errors import ConfigurationError, CredentialsError
from ..shapes import Credentials
from ..sigv4._signing_input import given_credentials
from ._arguments import checked_region
from ._presigned import in_base64url, presigned
from ._source import Source, signing_of
from ._token import Token, end_of

PREFIX = "k8s-aws-v1."
CLUSTER_HEADER = "x-k8s-aws-id"
URL_SECONDS = 60  # s of X-Amz-Expires: the maximum of old servers. STS ignores it
TOKEN_SECONDS = 14 * 60  # s; STS accepts the URL for 15 minutes, and clients publish a minute less
OLD_MAX_BYTES = 4096  # bytes of a token that servers of before 2026 accept

API = "client.authentication.k8s.io/"
VERSIONS = ("v1", "v1beta1")  # of ExecCredential; v1alpha1 is no longer served
DEFAULT_VERSION = "v1beta1"  # for callers that set no KUBERNETES_EXEC_INFO: each kubectl reads it

log = logging.getLogger("sts_async")


async def eks_token(
    credentials: Source, *, cluster: str, region: str | None = None, use_fips: bool | None = None
) -> Token:
    """
    Return a bearer token for the API server of a cluster.

    The token contains the session token, and is about 1.4 times as long, plus 400 bytes. Servers with a limit of 4,096
    bytes refuse longer ones with a plain 401, so a longer one is logged as a warning. Fewer session tags and shorter
    session policies make it shorter.

    Args:
        credentials: A client, a view, or a provider of a fleet.
        cluster: Name of the cluster, or its id on Outposts.
        region: The region of the cluster; None for that of the client.
        use_fips: Whether the cluster verifies the token at the FIPS host of STS; None for the option of the client.

    Raises:
        ConfigurationError: An argument is invalid, or the region is not known.
        CredentialsError: There are no credentials, or fetching them failed.
    """
    credentials = without_data(credentials)
    signing = await signing_of(credentials)
    if use_fips is None:
        use_fips = bool(signing.context.config.use_fips_endpoint)
    token = sign_eks_token(
        signing.credentials,
        cluster=cluster,
        region=checked_region(region, otherwise=signing.region),
        use_fips=use_fips,
        at=signing.at,
    )
    if len(token.value) > OLD_MAX_BYTES:
        log.warning(
            "The EKS token has %d bytes. Servers with a limit of %d bytes answer it with 401.",
            len(token.value),
            OLD_MAX_BYTES,
        )
    return token


def sign_eks_token(
    credentials: Credentials, *, cluster: str, region: str, use_fips: bool = False, at: datetime
) -> Token:
    """
    Return a bearer token, as `eks_token` does, without I/O.

    Args:
        credentials: The keys to sign with.
        cluster: As for `eks_token`.
        region: The region of the cluster.
        use_fips: Whether the cluster verifies the token at the FIPS host of STS.
        at: The time of signing, as an aware datetime.

    Raises:
        ConfigurationError: An argument is invalid.
        CredentialsError: The credentials have expired, or cannot sign.
    """
    credentials = given_credentials(credentials)
    check_flag("use_fips", use_fips)
    # Names of EKS have only letters, digits, "-" and "_"; ids of clusters with aws-iam-authenticator can have more.
    if not isinstance(cluster, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,254}", cluster):
        raise ConfigurationError(
            "cluster must be the name of a cluster: 1 to 255 of A-Z a-z 0-9 . _ : / @ -, the first a letter or digit"
        )
    region = checked_region(region)
    url = presigned(
        credentials,
        host=resolve(region=region, use_fips=use_fips).host,
        parameters={"Action": "GetCallerIdentity", "Version": "2011-06-15"},
        headers={CLUSTER_HEADER: cluster},
        service="sts",
        region=region,
        at=at,
        expires=URL_SECONDS,
    )
    token = Secret(f"{PREFIX}{in_base64url(url)}")
    return Token(value=token, expiration=end_of(credentials, at=at, seconds=TOKEN_SECONDS))


def exec_credential(token: Token, *, exec_info: str | None = None) -> Secret:
    """
    Return an ExecCredential as JSON: what a credential plugin of kubectl prints to standard output.

    Args:
        token: The bearer token.
        exec_info: The value of the variable ``KUBERNETES_EXEC_INFO``, which kubectl sets; None if it is not set. The
            answer has the API version that it asks for.

    Raises:
        ConfigurationError: *exec_info* is not an object of ExecCredential, version v1 or v1beta1.

    Source: Kubernetes documentation, "Authenticating", client-go credential plugins.
    """
    document = HiddenDocument(
        kind="ExecCredential",
        apiVersion=_version_for(exec_info),
        spec={},
        status=HiddenDocument(
            expirationTimestamp=f"{token.expiration.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}", token=token.value
        ),
    )
    return Secret(write_object(document).decode())


def _version_for(exec_info: str | None) -> str:
    if not exec_info:
        return f"{API}{DEFAULT_VERSION}"
    found = attempt(
        CredentialsError, lambda: read_object(str(exec_info).encode("utf-8", "surrogatepass"), what="the variable")
    )
    version = None if found is None else found.get("apiVersion")
    if version not in [f"{API}{name}" for name in VERSIONS]:
        raise ConfigurationError(
            f"KUBERNETES_EXEC_INFO must ask for {API}{' or '.join(VERSIONS)}: set apiVersion of the exec plugin in the "
            "kubeconfig file"
        )
    return str(version)
