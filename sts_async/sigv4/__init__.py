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
from ._presigned_url import MAX_EXPIRES, PresignedUrl, presign
from ._signer import Signer, sign
from ._signing_input import UNSIGNED_HEADERS
from ._steps import (
    ALGORITHM,
    EMPTY_SHA256,
    UNSIGNED_PAYLOAD,
    host_header,
    signature,
    signing_key,
    string_to_sign,
)

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
