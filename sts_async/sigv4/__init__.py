"""
AWS Signature Version 4 for any service: signed headers and presigned URLs. Pure: the time is a parameter.

    headers = sign(credentials, method="POST", url=url, headers={...}, body=body,
                   service="sts", region="eu-west-1", at=datetime.now(UTC))

The URL must be percent-encoded and sent unchanged. With aiohttp, pass ``yarl.URL(url, encoded=True)``, which is not
encoded again. The service determines how paths are signed.

The steps (`canonical_request`, `string_to_sign`, `signing_key`, `signature`) are public, so that a mismatch can be
found step by step. They do not check their arguments.

Source: "AWS Signature Version 4 for API requests", IAM User Guide.
"""

from ._canonical_request import canonical_request
from ._signer import (
    ALGORITHM,
    EMPTY_SHA256,
    MAX_EXPIRES,
    UNSIGNED_PAYLOAD,
    PresignedUrl,
    Signer,
    host_header,
    presign,
    sign,
    signature,
    signing_key,
    string_to_sign,
)
from ._signing_input import UNSIGNED_HEADERS

__all__ = [
    "ALGORITHM",
    "EMPTY_SHA256",
    "MAX_EXPIRES",
    "UNSIGNED_HEADERS",
    "UNSIGNED_PAYLOAD",
    "PresignedUrl",
    "Signer",
    "canonical_request",
    "host_header",
    "presign",
    "sign",
    "signature",
    "signing_key",
    "string_to_sign",
]
