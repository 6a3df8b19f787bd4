"""The steps of an export, from its record in the lake to the archive in its place."""

from __future__ import annotations

import hashlib
import socket
import uuid
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

from runners.choose import PipelineRunner
from runners.erase_order import ErasureSite
from runners.export_gather import Gathering, gather
from runners.export_order import ExportOrder, id_of
from schemas.dsr import Identity, IdentityFormat
from schemas.errors import LakeError, LetheError, ObjectChanged, UsageError
from schemas.export import ArchiveIndex, ExportRecord
from schemas.identities import normalised
from stores.exports import (
    ExportNote,
    archive_name,
    find_export,
    forget_export,
    keep_digest,
    keep_export,
    keep_note,
    remove_archive,
    remove_parts,
    update_export,
)
from stores.objects.port import ObjectInfo, ObjectStore, StagedObject
from stores.owners import Owner
from transforms.export.archive import ArchivePlan, archive_of
from transforms.export.encryption import SUFFIX, Plain
from transforms.export.fields import Described
from transforms.export.stages import MOST_SUBJECTS
from transforms.sink import Sink
from transforms.subject_hashes import SubjectHasher


class SubjectErased(LakeError):
    """An erasure of the subject came while their export was made."""

    code = "subject_erased"


class ExportWork:
    """One export under way."""

    def __init__(self, order: ExportOrder, site: ErasureSite, out: ObjectStore) -> None:
        self._order = order
        self._site = site
        self._out = out
        now = site.clock()
        self._record = ExportRecord(
            id=id_of(order.id) if order.id else uuid.uuid4().hex,
            out=out.uri,
            archive="",
            made_at=now,
            expires_at=now + order.expires,
            subjects=self._asked_for(plus_addressing=False),
            untagged=self._asked_for(plus_addressing=True),
            machine="" if out.presigner is not None else socket.gethostname(),
        )
        suffix = "" if isinstance(order.encryption, Plain) else SUFFIX
        archive = archive_name(self._record.id, suffix)
        self._record = replace(self._record, archive=archive)

    def make(self, runner: PipelineRunner) -> ExportRecord:
        """Make the archive; its record. Leaves nothing if that fails."""
        begun, order = self._record, self._order
        info = self._begin()
        try:
            gathered = gather(begun.id, order.identities, order.plus_addressing, self._site, runner)
            made = self._published(gathered, info)
        except BaseException:
            # Interrupted or refused, and even if it was published: nobody was told of it.
            self._drop()
            raise
        with suppress(LetheError):
            remove_parts(self._site.store, begun.id)  # sealed, and else removed by a sweep
        return made

    def _asked_for(self, plus_addressing: bool) -> tuple[str, ...]:
        hasher = SubjectHasher.of(self._site.scrub_key, plus_addressing)
        return tuple(sorted(hashes_of(self._order.identities, hasher)))

    def _begin(self) -> ObjectInfo:
        """Say that there is going to be an archive; clear what an earlier attempt has left."""
        record = self._record
        remove_parts(self._site.store, record.id)
        self._out.clear_staging(record.id)
        info = keep_export(self._site.store, record)
        maker = Owner.this_process()
        keep_note(self._out, ExportNote(record.id, record.archive, record.expires_at, maker))
        return info

    def _published(self, gathered: Gathering, begun: ObjectInfo) -> ExportRecord:
        staged = self._staged(gathered)
        record = self._finished(gathered, staged)
        try:
            update_export(self._site.store, record, begun)
        except ObjectChanged:
            raise _erased_meanwhile() from None
        keep_digest(self._out, record.archive, record.sha256)
        self._out.settle(record.id)
        self._out.publish([staged])
        keep_note(self._out, ExportNote(record.id, record.archive, record.expires_at))
        if finished(record.id, self._site, self._out) is None:
            raise _erased_meanwhile()
        return record

    def _staged(self, gathered: Gathering) -> StagedObject:
        writer = self._out.stage(self._record.archive, self._record.id)
        try:
            self._order.encryption.encrypt(archive_of(self._plan(gathered)), Sink(writer))
            return writer.close()
        except BaseException:
            writer.abort()
            raise

    def _plan(self, gathered: Gathering) -> ArchivePlan:
        record, haul = self._record, gathered.haul
        index = ArchiveIndex(
            id=record.id,
            lake=self._site.store.uri,
            log_number=gathered.log_number,
            made_at=record.made_at,
            expires_at=record.expires_at,
            rows=0,
            files=(),
            sources=haul.sources,
            not_looked_into={one.path: one.reason for one in haul.unread},
        )
        described = Described(self._site.registry)
        return ArchivePlan(index, self._order.form, haul.parts, gathered.area, described)

    def _finished(self, gathered: Gathering, staged: StagedObject) -> ExportRecord:
        haul, record = gathered.haul, self._record
        by_type: Counter[str] = Counter()
        for part in haul.parts:
            by_type[part.member.type] += part.rows
        named = haul.identified
        return replace(
            record,
            subjects=tuple(sorted({*record.subjects, *_some(named.subjects)})),
            untagged=tuple(sorted({*record.untagged, *_some(named.untagged)})),
            of_many=haul.is_of_many,
            sha256=staged.sha256,
            etag=staged.etag,
            size=staged.size,
            rows=by_type.total(),
            by_type=dict(by_type),
            unread=len(haul.unread),
        )

    def _drop(self) -> None:
        with suppress(LetheError):
            remove_archive(self._out, self._record.id, self._record.archive)
        with suppress(LetheError):
            forget_export(self._site.store, self._record.id)


def made_before(order: ExportOrder, site: ErasureSite, out: ObjectStore) -> ExportRecord | None:
    """The record of the export of this id, if it was finished before.

    Raises ``UsageError`` if that is of another subject.
    """
    record = None if order.id is None else finished(order.id, site, out)
    asked_for = hashes_of(order.identities, SubjectHasher.of(site.scrub_key))
    if record is not None and not asked_for.issubset(record.subjects):
        raise UsageError(f"the export {record.id} is of another subject: choose another id")
    return record


def finished(export_id: str, site: ErasureSite, out: ObjectStore) -> ExportRecord | None:
    """The record of an export whose archive is in its place."""
    record = find_export(site.store, id_of(export_id))
    if record is None or not record.is_finished or record.expires_at <= site.clock():
        return None
    info = out.head(record.archive)
    return record if info is not None and info.size == record.size else None


def hashes_of(identities: Iterable[Identity], hasher: SubjectHasher) -> frozenset[str]:
    """The exact hashes of identities, and of what digests others may name them by."""
    return frozenset(hasher.exact(form) for one in identities for form in _forms(one, hasher))


def _erased_meanwhile() -> SubjectErased:
    return SubjectErased(
        "the subject, or one in the same rows, is being erased: nothing was exported"
    )


def _some(hashes: frozenset[str]) -> list[str]:
    return sorted(hashes)[:MOST_SUBJECTS]


_DIGESTS = {
    IdentityFormat.MD5: hashlib.md5,
    IdentityFormat.SHA1: hashlib.sha1,
    IdentityFormat.SHA256: hashlib.sha256,
}


def _forms(identity: Identity, hasher: SubjectHasher) -> list[Identity]:
    """The identity, and what an erasure may name instead of it."""
    if identity.format is not IdentityFormat.RAW:
        return [identity]
    content = normalised(identity, hasher.plus_addressing).encode()
    digests = [
        Identity(identity.type, make(content).hexdigest(), form) for form, make in _DIGESTS.items()
    ]
    return [identity, *digests]
