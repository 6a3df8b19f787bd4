"""Where files are kept: a folder, or S3.

``open_store`` gives the store at a URI, ``split_uri`` the store and the key (or the start of keys)
of an input.
"""

from __future__ import annotations

import os
from urllib.parse import unquote

from schemas.errors import UsageError
from stores.objects.local import LocalObjectStore
from stores.objects.port import (
    ObjectInfo,
    ObjectStore,
    Presigner,
    SignedPut,
    StagedObject,
    StagedWriter,
)
from stores.objects.settings import S3Settings

__all__ = [
    "LocalObjectStore",
    "ObjectInfo",
    "ObjectStore",
    "Presigner",
    "S3Settings",
    "SignedPut",
    "StagedObject",
    "StagedWriter",
    "open_store",
    "split_uri",
]


def open_store(uri: str, s3: S3Settings | None = None) -> ObjectStore:
    """The store whose root is ``uri``: ``/data/lake``, ``file:///data/lake``, ``s3://bucket/prefix``.

    Does no I/O. Raises ``UsageError`` for another scheme or a URI without a bucket or path.
    """
    scheme, rest = _scheme(uri)
    if scheme == "s3":
        bucket, prefix = _bucket(uri, rest)
        return _s3_store(bucket, prefix, s3)
    return LocalObjectStore(rest)


def split_uri(uri: str, s3: S3Settings | None = None) -> tuple[ObjectStore, str]:
    """The store that holds an input, and its key there.

    The store is the whole bucket or the whole file system, so that a key, a glob's fixed start and
    a folder (a ``/`` at the end is kept) can all be used as they are with ``open`` or ``list``.
    Raises ``UsageError`` as ``open_store`` does.
    """
    scheme, rest = _scheme(uri)
    if scheme == "s3":
        bucket, key = _bucket(uri, rest)
        return _s3_store(bucket, "", s3), key
    folder = "/" if rest.endswith("/") else ""
    return LocalObjectStore("/"), (os.path.abspath(rest) + folder).lstrip("/")  # noqa: PTH100


def _s3_store(bucket: str, prefix: str, settings: S3Settings | None) -> ObjectStore:
    # The AWS SDK takes as long to load as a small delivery takes to run.
    from stores.objects.s3 import S3ObjectStore

    return S3ObjectStore(bucket, prefix, settings)


def _scheme(uri: str) -> tuple[str, str]:
    """The scheme, and what follows its ``://``; a plain path is a file's."""
    scheme, separator, rest = uri.partition("://")
    if not separator:
        scheme, rest = "file", uri
    elif scheme == "file":
        rest = unquote(rest)
    if scheme not in {"file", "s3"} or not rest or (separator and _has_host(scheme, rest)):
        raise UsageError(f"{uri!r} names no store: use a path, file:///path or s3://bucket/prefix")
    return scheme, rest


def _has_host(scheme: str, rest: str) -> bool:
    return scheme == "file" and not rest.startswith("/")


def _bucket(uri: str, rest: str) -> tuple[str, str]:
    bucket, _, key = rest.partition("/")
    if not bucket:
        raise UsageError(f"{uri!r} names no bucket: use s3://bucket/prefix")
    return bucket, key
