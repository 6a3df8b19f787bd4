"""How S3 is reached, and what its refusals mean."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.exceptions import ConnectionError as NoConnection

from schemas.errors import (
    AccessDenied,
    ObjectChanged,
    ObjectMissing,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from stores.objects.keys import check_key
from stores.objects.settings import S3Settings

_NO_CREDENTIALS = (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError)
_UNREACHABLE = (HTTPClientError, NoConnection)
_DENIED = {"AccessDenied", "ExpiredToken", "InvalidToken", "InvalidAccessKeyId"}
_BUSY = {"SlowDown", "Throttling", "ThrottlingException", "RequestTimeout", "InternalError"}


@dataclass(frozen=True)
class S3Place:
    """A bucket, a prefix in it (empty, or ending at a ``/``) and how to reach them."""

    bucket: str
    prefix: str
    settings: S3Settings

    @property
    def client(self) -> Any:
        """A boto3 client of this process; safe to share between threads."""
        return _client(self.settings, os.getpid())

    def uri(self, key: str = "") -> str:
        return f"s3://{self.bucket}/{self.prefix}{key}".rstrip("/")

    def target(self, key: str) -> dict[str, str]:
        """The arguments by which boto3 addresses ``key``. Raises ``UsageError``."""
        return {"Bucket": self.bucket, "Key": self.prefix + check_key(key)}

    @contextmanager
    def asking(self, key: str = "") -> Iterator[None]:
        """Turn the client's errors into the store's."""
        try:
            yield
        except ClientError as error:
            raise self._refusal(error, key) from error
        except BotoCoreError as error:
            raise self._failure(error, key) from error

    def _refusal(self, error: Any, key: str) -> StoreError:
        code, status = code_of(error), status_of(error)
        where = f"{self.uri(key)}: the store answered {code}"
        if code == "NoSuchBucket":
            return StoreError(f"bucket {self.bucket} does not exist: create it or correct the URI")
        if status == 403 or code in _DENIED:
            return AccessDenied(f"{where}: check the credentials and the bucket's policy", key=key)
        if status == 507:
            return StoreFull(f"{where}: free some room or raise the quota", key=key)
        if status >= 500 or status == 429 or code in _BUSY:
            return StoreUnavailable(f"{where} to every attempt: try again later", key=key)
        if status == 404:
            return ObjectMissing(f"{self.uri(key)}: there is no such object ({code})", key=key)
        if status == 412:
            return ObjectChanged(
                f"{self.uri(key)} was changed by someone else: read it again", key=key
            )
        return StoreError(f"{where} (HTTP {status}): check the URI and the settings", key=key)

    def _failure(self, error: Any, key: str) -> StoreError:
        kind = type(error).__name__
        if isinstance(error, _NO_CREDENTIALS):
            return AccessDenied(f"{self.uri(key)}: no usable credentials ({kind}): set them up")
        if isinstance(error, _UNREACHABLE):
            return self.unreachable(kind, key)
        return StoreError(f"{self.uri(key)}: the request cannot be made ({kind})", key=key)

    def unreachable(self, reason: str, key: str) -> StoreUnavailable:
        """The error for a store that does not answer or hangs up, after all attempts."""
        store = self.settings.endpoint_url or "S3"
        attempts = self.settings.max_attempts
        return StoreUnavailable(
            f"{self.uri(key)}: {store} gave no whole answer in {attempts} attempts ({reason}): "
            "check the endpoint and the network, then try again",
            key=key,
        )


def code_of(error: Any) -> str:
    """S3's error code of a ``ClientError``; the HTTP status where an answer had no body."""
    return str(error.response.get("Error", {}).get("Code", "unknown"))


def status_of(error: Any) -> int:
    """The HTTP status of a ``ClientError``; 0 if it has none."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


@lru_cache(maxsize=16)
def _client(settings: S3Settings, process: int) -> Any:  # noqa: ARG001 - part of the cache key
    """One client a process: a forked child must not share its parent's connections."""
    session = boto3.session.Session(
        aws_access_key_id=settings.access_key,
        aws_secret_access_key=settings.secret_key,
        aws_session_token=settings.session_token,
        region_name=settings.region,
    )
    return session.client("s3", endpoint_url=settings.endpoint_url, config=_config(settings))


def _config(settings: S3Settings) -> Any:
    custom = settings.endpoint_url is not None
    # Many stores that speak the protocol do not know the checksums boto3 adds unasked.
    checksums = "when_required" if custom else "when_supported"
    return Config(
        # Without it, addresses are presigned by a scheme that signs neither size nor digest.
        signature_version="s3v4",
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
        retries={"mode": "standard", "total_max_attempts": settings.max_attempts},
        s3={"addressing_style": "path" if custom else "auto"},
        request_checksum_calculation=checksums,
        response_checksum_validation=checksums,
    )
