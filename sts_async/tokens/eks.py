"""
The bearer token of a Kubernetes cluster of Amazon EKS, as ``aws eks get-token`` makes it.

Source: awscli, customizations/eks/get_token.py; aws-iam-authenticator, pkg/token/token.go.
"""

import logging
import re
from datetime import datetime

from .._protocol.endpoints import resolve
from .._shape.arguments import check_flag
from .._shape.secret import Secret
from ..errors import ConfigurationError
from ..shapes import Credentials
from ._arguments import checked_region
from ._presigned import in_base64url, presigned
from ._source import Source, signing_of
from ._token import Token, end_of

PREFIX = "k8s-aws-v1."
CLUSTER_HEADER = "x-k8s-aws-id"
URL_SECONDS = 60  # s of X-Amz-Expires: the maximum of old servers. STS ignores it
TOKEN_SECONDS = 14 * 60  # s; STS accepts the URL for 15 minutes, and clients publish a minute less
OLD_MAX_BYTES = 4096  # bytes of a token that servers of before 2026 accept

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
        use_fips: Whether the cluster shall verify the token at the FIPS host of STS; None for the option of the client.

    Raises:
        ConfigurationError: An argument is invalid, or the region is not known.
        CredentialsError: There are no credentials, or fetching them failed.
    """
    signing = await signing_of(credentials)
    if use_fips is None:
        use_fips = bool(signing.context.config.use_fips_endpoint)
    token = sign_eks_token(
        signing.credentials,
        cluster=cluster,
        region=checked_region(region or signing.region),
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
        use_fips: Whether the cluster shall verify the token at the FIPS host of STS.
        at: The time of signing, as an aware datetime.

    Raises:
        ConfigurationError: An argument is invalid.
        CredentialsError: The credentials have expired, or cannot sign.
    """
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
