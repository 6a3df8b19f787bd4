"""Inputs: which files a delivery is pointed at, and their bytes.

An input is a path, a glob, a folder, or the ``manifest-files.json`` of a DynamoDB export; local
or ``s3://``. Files whose names begin with ``.`` or ``_``, and the checksum files that lie beside
an export, are no inputs when a folder or glob finds them.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO

from schemas.errors import InputError, InputMissing, ObjectMissing, UsageError
from schemas.inputs import Compression, Split
from stores.objects import S3Settings, split_uri
from stores.objects.port import ObjectInfo, ObjectStore

_WILD = re.compile(r"[*?\[]")
_TOKEN = re.compile(r"\*\*/|\*\*|\[[!^]?\]?[^\]]*\]|.", re.DOTALL)
_TRANSLATIONS = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


@dataclass(frozen=True)
class FoundFile:
    """A file that an input led to."""

    uri: str
    info: ObjectInfo
    store: ObjectStore


@dataclass(frozen=True)
class InputOpener:
    """Opens splits, wherever their files lie."""

    s3: S3Settings | None = None

    def open(self, split: Split) -> BinaryIO:
        """The split's bytes: from its start for a plain file, from 0 for any other.

        A split that does not begin exactly at a document begins one byte early. Raises
        ``InputError`` if the file is gone.
        """
        offset = 0
        if split.file.compression is Compression.NONE:
            offset = split.start if split.exact else split.start - 1
            offset = offset if split.file.splittable else 0
        return self.open_file(split.file.uri, offset)

    def open_file(self, uri: str, offset: int = 0) -> BinaryIO:
        """Raises ``InputError`` if there is no such file."""
        store, key = split_uri(uri, self.s3)
        try:
            return store.open(key, offset)
        except ObjectMissing as error:
            raise InputError(f"{uri}: is gone: it was there when the delivery began") from error

    def read_first(self, uri: str, size: int) -> bytes:
        """At most the first ``size`` bytes, as stored."""
        with self.open_file(uri) as stream:
            content = io.BytesIO()
            while content.tell() < size and (piece := stream.read(size - content.tell())):
                content.write(piece)
            return content.getvalue()

    def find(self, pattern: str) -> list[FoundFile]:
        """The files that one input leads to, sorted by name.

        Raises ``InputMissing`` if it leads to none.
        """
        store, key = split_uri(pattern, self.s3)
        root = _root_of(pattern, key)
        found = [FoundFile(root + info.key, info, store) for info in _matches(store, key)]
        if not found:
            raise InputMissing(f"{pattern}: no such file, folder or match")
        return found

    def resolve(self, manifest_uri: str, key: str) -> str:
        """Where a data file lies that an export's manifest names by its key in a bucket.

        A manifest on S3 names objects of its own bucket. In a local copy the key is looked for
        below each folder above the manifest.
        """
        if manifest_uri.startswith("s3://"):
            bucket = manifest_uri.removeprefix("s3://").partition("/")[0]
            return f"s3://{bucket}/{key}"
        for folder in PurePosixPath(manifest_uri).parents:
            candidate = str(folder / key)
            if os.path.isfile(candidate):  # noqa: PTH113
                return candidate
        raise InputError(f"{manifest_uri}: names {key}, which lies in no folder above it")


def _root_of(pattern: str, key: str) -> str:
    if pattern.startswith("s3://"):
        return pattern[: len(pattern) - len(key)] if key else pattern.rstrip("/") + "/"
    return "/"


def _matches(store: ObjectStore, key: str) -> Iterator[ObjectInfo]:
    single = store.head(key) if key and not key.endswith("/") else None
    if single is not None:
        yield single
        return
    wild = _WILD.search(key)
    if wild is not None:
        yield from _data_below(store, key[: wild.start()], _glob(key))
    else:
        yield from _data_below(store, key.rstrip("/") + "/" if key else "", lambda _: True)


def _data_below(
    store: ObjectStore, start: str, accepts: Callable[[str], bool]
) -> Iterator[ObjectInfo]:
    """Accepted files whose keys begin with ``start``; only names after its folder may hide them."""
    folder = start.rpartition("/")[0]
    for info in store.list(start):
        if accepts(info.key) and _is_data(info.key[len(folder) :]):
            yield info


def _glob(pattern: str) -> Callable[[str], bool]:
    """``*``, ``?`` and ``[...]`` stay within a folder's name, ``**`` crosses folders."""
    try:
        matcher = re.compile("".join(map(_translated, _TOKEN.findall(pattern))), re.DOTALL)
    except re.error as error:
        raise UsageError(f"{pattern}: is no glob: {error.msg}") from error
    return lambda key: matcher.fullmatch(key) is not None


def _translated(token: str) -> str:
    if token in _TRANSLATIONS:
        return _TRANSLATIONS[token]
    if len(token) > 1:
        negated = token[1] in "!^"
        members = re.sub(r"([\\\[&~|])", r"\\\1", token[2 if negated else 1 : -1])
        return f"(?!/)[{'^' if negated else ''}{members}]"
    return re.escape(token)


def _is_data(key: str) -> bool:
    names = key.split("/")
    hidden = any(name.startswith((".", "_")) for name in names if name)
    return not hidden and not names[-1].endswith((".checksum", ".md5")) and names[-1] != ""
