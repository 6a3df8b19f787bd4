"""Addresses by which a client reaches one object of an S3 bucket by itself, for a while.

Signed by SigV4 in the query string. What is signed cannot be changed: a PUT is bound to the key,
size, SHA-256, which S3 checks, and media type of an object, and replaces none.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping

from stores.objects.port import SignedPut
from stores.objects.s3_client import S3Place


class S3Presigner:
    """See ``Presigner``. Signs with the credentials by which Lethe itself reaches the place."""

    def __init__(self, place: S3Place) -> None:
        self._place = place

    def put(self, key: str, size: int, sha256: str, media_type: str, seconds: int) -> SignedPut:
        digest = b64encode(bytes.fromhex(sha256)).decode()
        arguments = {
            **self._place.target(key),
            "ContentLength": size,
            "ContentType": media_type,
            "ChecksumSHA256": digest,
            "IfNoneMatch": "*",
        }
        headers = {
            "Content-Length": str(size),
            "Content-Type": media_type,
            "x-amz-checksum-sha256": digest,
            "If-None-Match": "*",
        }
        return SignedPut(self._sign("put_object", arguments, seconds), headers)

    def get(self, key: str, file_name: str, media_type: str, seconds: int) -> str:
        arguments = {
            **self._place.target(key),
            "ResponseContentDisposition": f'attachment; filename="{file_name}"',
            "ResponseContentType": media_type,
        }
        return self._sign("get_object", arguments, seconds)

    def _sign(self, operation: str, arguments: Mapping[str, object], seconds: int) -> str:
        with self._place.asking():
            return str(
                self._place.client.generate_presigned_url(
                    operation, Params=dict(arguments), ExpiresIn=seconds
                )
            )
