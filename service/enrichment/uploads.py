"""Uploads: contact files that come to the store of files directly, not in a JSON body.

    POST /v1/uploads ──> about.json ──> PUT (presigned at S3, or signed here) ──> contacts.<ending>
                             └── never used: swept a while after it cannot be used any more

The size and the SHA-256 are said beforehand and hold: S3 checks them, or this service while it
streams. So content is there whole and right, or not at all, and is never replaced. Its key is made
of ids of ours; nothing of the client's file name but a known ending is kept.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import BinaryIO

import msgspec

from config.service import EnrichmentSection
from schemas.access import Reach
from schemas.errors import (
    Conflict,
    Forbidden,
    NotFound,
    ObjectMissing,
    RequestError,
    TooLarge,
    UnsupportedType,
)
from schemas.job_files import UPLOADS
from stores.objects import ObjectStore, StagedObject, StagedWriter

MEDIA_TYPES: Mapping[str, str] = {
    "application/x-ndjson": ".ndjson",
    "application/json": ".json",
    "text/csv": ".csv",
    "application/gzip": ".gz",
    "application/zstd": ".zst",
    "application/x-bzip2": ".bz2",
    "application/octet-stream": "",
}
"""What may be uploaded, with the ending that tells its format if the file's name does not."""

SWEPT_LATER = timedelta(hours=1)
"""How long after its last use an upload goes: nobody who still may use it finds it gone."""

_ENDING = re.compile(r"((?:\.(?:csv|json|ndjson|jsonl))?(?:\.(?:gz|zst|bz2))?)$")
_KEY = re.compile(r"uploads/([0-9a-f]{32})/contacts(?:\.[a-z0-9]{2,6}){0,2}")
_CHUNK = 256 * 1024


@dataclass(frozen=True)
class NewUpload:
    """An upload as it was asked for; ``sha256`` is in hexadecimal."""

    media_type: str
    size: int
    sha256: str
    file_name: str | None = None


@dataclass(frozen=True)
class Upload:
    """What is known of an upload. ``secret`` signs the addresses to which it can be sent."""

    id: str
    organization: str
    owner: str
    ending: str
    media_type: str
    size: int
    sha256: str
    created_at: datetime
    secret: str = field(repr=False)

    @property
    def key(self) -> str:
        """Of its content."""
        return f"{_folder(self.id)}contacts{self.ending}"

    def is_within(self, reach: Reach) -> bool:
        return reach.organization in {None, self.organization} and reach.owner in {None, self.owner}

    def signature(self, expires: int) -> str:
        """What proves that this service let somebody send the content until then."""
        said = f"PUT\n{self.id}\n{expires}".encode()
        return hmac.new(self.secret.encode(), said, hashlib.sha256).hexdigest()


@dataclass(frozen=True)
class Address:
    """Where to PUT the content, with which headers, and until when."""

    url: str
    headers: Mapping[str, str]
    expires_at: datetime


_uploads = msgspec.json.Decoder(Upload)


class Uploads:
    """The uploads in a store of files. For any number of threads and processes."""

    def __init__(
        self,
        files: ObjectStore,
        section: EnrichmentSection,
        clock: Callable[[], datetime],
    ) -> None:
        self._files = files
        self._section = section
        self._clock = clock

    def begin(self, asked: NewUpload, organization: str, owner: str) -> Upload:
        """Keep that something is to come. Raises ``TooLarge`` and ``UnsupportedType``."""
        limit = self._section.max_upload_bytes
        if asked.size > limit:
            raise TooLarge(f"size: at most {limit:,} bytes are taken", limit=limit)
        upload = Upload(
            id=uuid.uuid4().hex,
            organization=organization,
            owner=owner,
            ending=_ending(asked),
            media_type=asked.media_type,
            size=asked.size,
            sha256=asked.sha256,
            created_at=self._clock(),
            secret=secrets.token_hex(32),
        )
        self._files.put(_about(upload.id), msgspec.json.encode(upload))
        return upload

    def address(self, upload: Upload) -> Address:
        """Where its content is to be sent, as long as it can be used: S3 asks nobody later."""
        seconds = min(self._section.url_seconds, int(self._lifetime.total_seconds()))
        expires_at = self._clock() + timedelta(seconds=seconds)
        presigner = self._files.presigner
        if presigner is not None:
            signed = presigner.put(
                upload.key, upload.size, upload.sha256, upload.media_type, seconds
            )
            return Address(signed.url, signed.headers, expires_at)
        expires = int(expires_at.timestamp())
        query = f"expires={expires}&signature={upload.signature(expires)}"
        headers = {"Content-Type": upload.media_type}
        return Address(f"/v1/uploads/{upload.id}?{query}", headers, expires_at)

    def usable(self, key: str, reach: Reach) -> Upload:
        """The upload whose content has this key, which is there.

        Raises ``NotFound`` for a key that was not given out, is not within reach or too old, and
        ``Conflict`` if the content has not come.
        """
        named = _KEY.fullmatch(key)
        upload = None if named is None else self._known(named[1])
        if upload is None or upload.key != key or not self._may_be_used(upload, reach):
            raise NotFound("inputFileKey: there is no upload of this key: POST /v1/uploads")
        if not self.is_received(upload):
            raise Conflict("the upload has not been received: PUT the file to its uploadUrl first")
        return upload

    def signed_for(self, upload_id: str, expires: int, signature: str) -> Upload:
        """The upload that an address is for.

        Raises ``Forbidden``, in the same words for an upload that there is not: ids tell nothing.
        """
        upload = self._known(upload_id)
        if upload is None or not hmac.compare_digest(upload.signature(expires), signature):
            raise Forbidden("the address was not signed here: use uploadUrl as it was given")
        if self._clock().timestamp() > expires:
            raise Forbidden("the address has expired: POST /v1/uploads for another one")
        return upload

    def receive(self, upload: Upload, stream: BinaryIO) -> None:
        """Keep the content, if it is what was announced; a repeat changes nothing.

        Raises ``TooLarge`` or ``RequestError``, and then nothing of it stays.
        """
        if self.is_received(upload):
            return
        writer = self._files.stage(upload.key, upload.id)
        try:
            staged = _written(writer, upload, stream)
        except BaseException:
            writer.abort()
            raise
        self._files.settle(upload.id)
        self._files.publish([staged])

    def is_received(self, upload: Upload) -> bool:
        """Whether the content is there."""
        found = self._files.head(upload.key)
        return found is not None and found.size == upload.size

    def sweep(self, in_use: frozenset[str]) -> int:
        """Remove uploads that cannot be used any more, but for these keys; how many."""
        before = self._clock() - self._lifetime - SWEPT_LATER
        gone = [u for u in self._all() if u.created_at < before and u.key not in in_use]
        for upload in gone:
            self._files.clear_staging(upload.id)
            self._files.delete(upload.key)
            self._files.delete(_about(upload.id))
        return len(gone)

    @property
    def _lifetime(self) -> timedelta:
        return timedelta(hours=self._section.upload_hours)

    def _may_be_used(self, upload: Upload, reach: Reach) -> bool:
        return upload.is_within(reach) and self._clock() < upload.created_at + self._lifetime

    def _known(self, upload_id: str) -> Upload | None:
        try:
            return _uploads.decode(self._files.read(_about(upload_id)))
        except ObjectMissing:
            return None

    def _all(self) -> Iterator[Upload]:
        for info in self._files.list(UPLOADS):
            if info.key.endswith("/about.json"):
                upload = self._known(info.key.split("/")[1])
                if upload is not None:
                    yield upload


def _written(writer: StagedWriter, upload: Upload, stream: BinaryIO) -> StagedObject:
    size = 0
    for chunk in _chunks(stream):
        size += len(chunk)
        if size > upload.size:
            raise TooLarge(f"the body is larger than the {upload.size:,} bytes announced")
        writer.write(chunk)
    if size < upload.size:
        raise RequestError(f"the body has {size:,} of the {upload.size:,} bytes announced")
    staged = writer.close()
    if staged.sha256 != upload.sha256:
        raise RequestError("the body's SHA-256 is not the one announced")
    return staged


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while chunk := _chunk(stream):
        yield chunk


def _chunk(stream: BinaryIO) -> bytes:
    try:
        return stream.read(_CHUNK)
    except OSError:
        raise RequestError("the body was cut off") from None


def _ending(asked: NewUpload) -> str:
    if asked.media_type not in MEDIA_TYPES:
        raise UnsupportedType(f"contentType: choose one of {', '.join(MEDIA_TYPES)}")
    found = _ENDING.search((asked.file_name or "").lower())
    return (found and found[1]) or MEDIA_TYPES[asked.media_type]


def _folder(upload_id: str) -> str:
    return f"{UPLOADS}{upload_id}/"


def _about(upload_id: str) -> str:
    return f"{_folder(upload_id)}about.json"
