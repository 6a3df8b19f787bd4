"""Reading one S3 object across cut connections, and writing one part by part."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from botocore.exceptions import BotoCoreError, ClientError
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from schemas.errors import StoreError
from stores.objects.port import StagedObject, StagedWriter
from stores.objects.s3_client import S3Place, code_of

MAXIMUM_PARTS = 10_000
_READ_BUFFER = 256 * 1024
_MD5 = re.compile('"[0-9a-f]{32}"')


def open_stream(place: S3Place, key: str, offset: int, etag: str | None = None) -> BinaryIO:
    """A buffered stream over ``key`` from byte ``offset``, of this content if it is named.

    Raises ``ObjectMissing``, ``ObjectChanged``.
    """
    raw = _Download(place, key, offset, etag)
    raw.connect()
    return io.BufferedReader(raw, _READ_BUFFER)


def attempts(place: S3Place, wanted: type[Exception]) -> Retrying:
    """Attempts at what botocore does not retry itself: exponential back-off with full jitter."""
    return Retrying(
        retry=retry_if_exception_type(wanted),
        stop=stop_after_attempt(place.settings.max_attempts),
        wait=wait_random_exponential(multiplier=0.2, max=20),
        reraise=True,
    )


class _ConnectionCut(Exception):
    """The answer's body ended before the object did."""


class _Download(io.RawIOBase):
    """One object's bytes; a connection that breaks is followed by a request for the rest.

    The request itself is retried by botocore; the attempts here are for bodies that break off,
    and each read that makes progress has all of them again.
    """

    def __init__(self, place: S3Place, key: str, offset: int, etag: str | None) -> None:
        super().__init__()
        self._place = place
        self._key = key
        self._position = offset
        self._etag = etag
        self._body: Any = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        try:
            data: bytes = attempts(self._place, _ConnectionCut)(self._read, len(view))
        except _ConnectionCut as cut:
            raise self._place.unreachable(str(cut), self._key) from cut
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        self._hang_up()
        super().close()

    def connect(self) -> None:
        """Ask for the object from the current position on."""
        condition = {"IfMatch": self._etag} if self._etag else {}
        span = {"Range": f"bytes={self._position}-"} if self._position else {}
        with self._place.asking(self._key):
            try:
                answer = self._place.client.get_object(
                    **self._place.target(self._key), **condition, **span
                )
            except ClientError as error:
                if code_of(error) != "InvalidRange":
                    raise
                self._body = io.BytesIO()  # the position is at or beyond the end
            else:
                self._accept(answer)

    def _accept(self, answer: Any) -> None:
        first = f"bytes {self._position}-"
        if self._position and not answer.get("ContentRange", "").startswith(first):
            raise StoreError(f"{self._place.uri(self._key)}: the store ignores byte ranges")
        self._etag = answer["ETag"]
        self._body = answer["Body"]

    def _read(self, size: int) -> bytes:
        if self._body is None:
            self.connect()
        try:
            data: bytes = self._body.read(size)
        except (BotoCoreError, OSError) as error:
            self._hang_up()
            raise _ConnectionCut(type(error).__name__) from error
        return data

    def _hang_up(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None


@dataclass(frozen=True)
class Upload:
    """A multipart upload in progress, for the object that will be ``staged``."""

    place: S3Place
    upload_id: str
    staged: StagedObject
    discard: Callable[[StagedObject], None]


@dataclass(frozen=True)
class _Part:
    """A part that was sent. ``is_md5`` says that its entity tag is the MD5 of its bytes."""

    etag: str
    is_md5: bool


def _etag_of(parts: Sequence[_Part]) -> str:
    """The entity tag of an object of these parts: the MD5 of theirs, and how many there are.

    Empty where tags are no digests: under a key of KMS, or in a store with tags of its own.
    """
    if not all(part.is_md5 and _MD5.fullmatch(part.etag) for part in parts):
        return ""
    digests = b"".join(bytes.fromhex(part.etag.strip('"')) for part in parts)
    return f'"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"'


class MultipartWriter(StagedWriter):
    """Sends a part when it is full; at most two are in memory, one filling and one on its way.

    After a failed ``write`` or ``close`` the upload is still there: ``abort`` removes it, or the
    run's ``clear_staging`` later.
    """

    def __init__(self, upload: Upload) -> None:
        self._upload = upload
        self._buffer = bytearray()
        self._digest = hashlib.sha256()
        self._size = 0
        self._parts: list[Future[_Part]] = []
        self._sender = ThreadPoolExecutor(max_workers=1, thread_name_prefix="s3-upload")

    def write(self, data: bytes | memoryview) -> int:
        view = memoryview(data).cast("B")
        self._digest.update(view)
        self._size += len(view)
        for start in range(0, len(view), self._part_size):
            self._append(view[start : start + self._part_size])
        return len(view)

    def close(self) -> StagedObject:
        if self._buffer or not self._parts:
            self._send()
        parts = tuple(part.result() for part in self._parts)
        self._sender.shutdown()
        return replace(
            self._upload.staged,
            size=self._size,
            sha256=self._digest.hexdigest(),
            parts=tuple(part.etag for part in parts),
            etag=_etag_of(parts),
        )

    def abort(self) -> None:
        # A part that arrives after the abort would be kept, and billed, without an owner.
        self._sender.shutdown(wait=True, cancel_futures=True)
        self._buffer.clear()
        self._upload.discard(self._upload.staged)

    @property
    def _part_size(self) -> int:
        return self._upload.place.settings.part_size

    def _append(self, data: memoryview) -> None:
        """Add at most one part's worth of data."""
        room = self._part_size - len(self._buffer)
        self._buffer += data[:room]
        if len(self._buffer) == self._part_size:
            self._send()
            self._buffer += data[room:]

    def _send(self) -> None:
        if self._parts:
            self._parts[-1].result()  # bounds the memory, and tells of a failure early
        if len(self._parts) == MAXIMUM_PARTS:
            raise StoreError(
                f"{self._where}: more than {MAXIMUM_PARTS} parts of {self._part_size} bytes: "
                "use smaller files or a larger part_size"
            )
        part, self._buffer = self._buffer, bytearray()
        self._parts.append(self._sender.submit(self._put_part, len(self._parts) + 1, part))

    def _put_part(self, number: int, part: bytearray) -> _Part:
        upload = self._upload
        with upload.place.asking(upload.staged.key):
            answer = upload.place.client.upload_part(
                **upload.place.target(upload.staged.key),
                UploadId=upload.upload_id,
                PartNumber=number,
                Body=part,
            )
        encryption = answer.get("ServerSideEncryption", "")
        return _Part(str(answer["ETag"]), encryption in {"", "AES256"})

    @property
    def _where(self) -> str:
        return self._upload.place.uri(self._upload.staged.key)
