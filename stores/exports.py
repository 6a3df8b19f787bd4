"""Exports: where they lie, until when, and whose they are, so that an erasure reaches them.

    OUT/lethe-export-<id>.zip              the archive; ``.zip.age`` if it is encrypted
    OUT/lethe-export-<id>.zip.sha256       its digest, as sha256sum reads it
    OUT/lethe-export-<id>.json             until when it is kept
    LAKE/_lethe/exports/<id>.json          the record: where it lies, and of whom, as keyed hashes
    LAKE/_lethe/exports/<id>-<any>.part    rows on their way to it, sealed

The record is written first and goes last: an archive of which no record speaks is none that Lethe
has made from this lake.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Set
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
import structlog

from schemas.errors import LakeError, LetheError, ObjectMissing
from schemas.export import ExportRecord
from stores.objects import S3Settings, open_store
from stores.objects.port import ObjectInfo, ObjectStore
from stores.owners import Owner

EXPORTS = "_lethe/exports/"
PREFIX = "lethe-export-"

LONGEST_LINK = timedelta(days=7)
"""How long an address can be signed for (AWS, Signature Version 4)."""

YOUNG = timedelta(days=1)
"""How old what an export was making must be to be taken for left behind."""

_RECORD = re.compile(rf"{EXPORTS}([0-9a-f]{{32}})\.json")
_NOTE = re.compile(rf"{PREFIX}[0-9a-f]{{32}}\.json")

_log = structlog.get_logger()


@dataclass(frozen=True)
class ExportNote:
    """What lies beside an archive, and says until when it is kept.

    ``maker`` is whoever makes the archive; None once it is there.
    """

    id: str
    archive: str
    expires_at: datetime
    maker: Owner | None = None

    @property
    def is_abandoned(self) -> bool:
        """Whether it is certain that nobody makes the archive any more."""
        return self.maker is not None and self.maker.is_here() and not self.maker.is_running()


def archive_name(export_id: str, suffix: str) -> str:
    """The name of an archive: random, as the id is."""
    return f"{PREFIX}{export_id}.zip{suffix}"


def parts_prefix(export_id: str) -> str:
    """How the keys begin of what lies in a lake on its way to the archive."""
    return f"{EXPORTS}{export_id}-"


def keep_export(lake: ObjectStore, record: ExportRecord) -> ObjectInfo:
    """Write the record of an export that begins."""
    return lake.put(_record_key(record.id), msgspec.json.encode(record))


def update_export(lake: ObjectStore, record: ExportRecord, before: ObjectInfo) -> ObjectInfo:
    """Write the record anew. Raises ``ObjectChanged`` if others changed or removed it."""
    return lake.put_if_match(_record_key(record.id), msgspec.json.encode(record), before.etag)


def find_export(lake: ObjectStore, export_id: str) -> ExportRecord | None:
    """The record of an export. Raises ``LakeError`` for a damaged one."""
    key = _record_key(export_id)
    try:
        return msgspec.json.decode(lake.read(key), type=ExportRecord)
    except ObjectMissing:
        return None
    except msgspec.MsgspecError:
        raise LakeError(f"{key}: is damaged: remove it, and the export with it") from None


def exports_in(lake: ObjectStore) -> Iterator[ExportRecord]:
    """All exports out of a lake that it knows of."""
    for info in list(lake.list(EXPORTS)):
        if named := _RECORD.fullmatch(info.key):
            record = find_export(lake, named[1])
            if record is not None:
                yield record


def exports_of(
    lake: ObjectStore, subjects: Set[str], plus_addressing: bool = False
) -> list[ExportRecord]:
    """The exports with rows of any of these subjects, whose exact hashes are given.

    One whose rows identify too many to be listed is among them.
    """
    return [
        record
        for record in exports_in(lake)
        if record.of_many
        or not subjects.isdisjoint(record.untagged if plus_addressing else record.subjects)
    ]


def remove_archive(out: ObjectStore, export_id: str, archive: str) -> None:
    """Remove an archive and what lies beside it, whether or not it is finished.

    What is staged goes first, so that nobody can put it in its place any more; the note goes last,
    so that a removal that is killed is gone on with by a sweep.
    """
    out.clear_staging(export_id)
    out.delete(archive)
    out.delete(f"{archive}.sha256")
    out.delete(_note_key(export_id))


class Elsewhere(LakeError):
    """An export lies on another machine."""

    code = "on_another_machine"


def withdraw(record: ExportRecord, s3: S3Settings | None) -> None:
    """Remove the archive of an export.

    Raises ``Elsewhere`` if it lies in a folder of another machine, which cannot be seen here, and
    ``StoreError``.
    """
    out = open_store(record.out, s3)
    is_elsewhere = record.machine not in {"", socket.gethostname()}
    if is_elsewhere and out.head(record.archive) is None:
        raise Elsewhere(f"{record.address}: lies on the machine {record.machine}: remove it there")
    remove_archive(out, record.id, record.archive)


def forget_export(lake: ObjectStore, export_id: str) -> None:
    """Remove the record, and rows that a process has left on their way."""
    remove_parts(lake, export_id)
    lake.delete(_record_key(export_id))


def remove_parts(lake: ObjectStore, export_id: str) -> None:
    """Remove the rows on their way to an archive."""
    for info in list(lake.list(parts_prefix(export_id))):
        lake.delete(info.key)


def keep_note(out: ObjectStore, note: ExportNote) -> None:
    """Say beside an archive, which is yet to be there, until when it is kept."""
    out.put(_note_key(note.id), msgspec.json.encode(note))


def keep_digest(out: ObjectStore, archive: str, sha256: str) -> None:
    """Write the digest of an archive beside it, as ``sha256sum --check`` reads it."""
    out.put(f"{archive}.sha256", f"{sha256}  {archive}\n".encode())


@dataclass(frozen=True)
class Swept:
    """What a sweep removed: archives, and beginnings of such that were never finished."""

    archives: int = 0
    beginnings: int = 0


def sweep_archives(out: ObjectStore, now: datetime) -> Swept:
    """Remove what has expired from where archives lie. Safe to be repeated, and beside exports.

    Nothing is touched but what an export has written there.
    """
    archives = beginnings = 0
    for info in list(out.list(PREFIX)):
        if not _NOTE.fullmatch(info.key):
            continue
        note = _note(out, info.key)
        if note is None:
            continue
        is_there = out.head(note.archive) is not None
        is_left = not is_there and (note.is_abandoned or info.modified < now - YOUNG)
        if note.expires_at <= now or is_left:
            remove_archive(out, note.id, note.archive)
            archives += is_there
            beginnings += not is_there
    return Swept(archives, beginnings)


def sweep_records(lake: ObjectStore, s3: S3Settings | None, now: datetime) -> int:
    """Forget the exports out of a lake that have expired, or were never finished; how many.

    Their archives go first, wherever they are. The record of a finished one stays as long as it
    cannot be removed from here: an erasure of the subject is to know of it.
    """
    past = [record for record in exports_in(lake) if _is_past(record, now)]
    return sum(_is_forgotten(lake, record, s3) for record in past)


def _is_forgotten(lake: ObjectStore, record: ExportRecord, s3: S3Settings | None) -> bool:
    try:
        withdraw(record, s3)
    except LetheError as error:
        if record.is_finished:
            _log.warning("an expired export was not removed", export=record.id, code=error.code)
            return False
    forget_export(lake, record.id)
    return True


def archive_link(out: ObjectStore, note: ExportNote, now: datetime) -> str | None:
    """An address to fetch an archive from until it expires, or for seven days at the most.

    None if clients cannot reach the store by themselves, or the archive has expired. Whoever has
    the address has the archive.
    """
    left = min(note.expires_at - now, LONGEST_LINK)
    if out.presigner is None or left < timedelta(seconds=1):
        return None
    media_type = "application/zip" if note.archive.endswith(".zip") else "application/octet-stream"
    return out.presigner.get(note.archive, note.archive, media_type, int(left.total_seconds()))


def _is_past(record: ExportRecord, now: datetime) -> bool:
    if record.expires_at <= now:
        return True
    return not record.is_finished and record.made_at < now - YOUNG


def _note(out: ObjectStore, key: str) -> ExportNote | None:
    """A note; None for what is none of ours, or is gone."""
    try:
        note = msgspec.json.decode(out.read(key), type=ExportNote)
    except (ObjectMissing, msgspec.MsgspecError):
        return None
    return note if key == _note_key(note.id) and note.archive.startswith(PREFIX) else None


def _note_key(export_id: str) -> str:
    return f"{PREFIX}{export_id}.json"


def _record_key(export_id: str) -> str:
    return f"{EXPORTS}{export_id}.json"
