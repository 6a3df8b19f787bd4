"""Writes generated chunks to a file that appears whole or not at all."""

from __future__ import annotations

import bz2
import errno
import gzip
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from backports import zstd

from schemas.errors import AccessDenied, StoreError, StoreFull, UsageError


def write_file(path: Path, chunks: Iterator[bytes]) -> None:
    """Write ``chunks`` to ``path``, compressed as its suffix says: .gz, .zst, .bz2 or not at all.

    The data goes to a hidden name beside it, which takes the place of ``path`` at the end.
    Missing folders are made. Raises ``UsageError`` where ``path`` is no file, ``AccessDenied``,
    ``StoreFull`` or another ``StoreError`` where it cannot be written.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name the file to write")
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is a device or a pipe; name a file, which is put in its place")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_aside(path, chunks)
    except OSError as error:
        raise _store_error(path, error) from error


def _write_aside(path: Path, chunks: Iterator[bytes]) -> None:
    target = path.resolve()  # a link stays
    aside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with aside.open("xb") as raw, _compressed(raw, path.suffix) as sink:
            for chunk in chunks:
                sink.write(chunk)
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def _compressed(raw: BinaryIO, suffix: str) -> Iterator[BinaryIO]:
    """A sink that compresses into ``raw``; the same data always gives the same bytes."""
    if suffix == ".gz":
        # A name or a time in the header would make two runs differ.
        with gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed:
            yield cast(BinaryIO, packed)
    elif suffix == ".zst":
        with zstd.ZstdFile(raw, "wb") as packer:
            yield cast(BinaryIO, packer)
    elif suffix == ".bz2":
        with bz2.BZ2File(raw, "wb") as squeezed:
            yield cast(BinaryIO, squeezed)
    else:
        yield raw


_KINDS: dict[int | None, type[StoreError]] = {
    errno.EACCES: AccessDenied,
    errno.EPERM: AccessDenied,
    errno.EROFS: AccessDenied,
    errno.ENOSPC: StoreFull,
    errno.EDQUOT: StoreFull,
}


def _store_error(path: Path, error: OSError) -> StoreError:
    kind = _KINDS.get(error.errno, StoreError)
    return kind(f"cannot write {path}: {error.strerror or error}", path=str(path))
