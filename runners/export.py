"""Export: a subject's rows in one archive, which is whole or not there, and goes when it expires.

    record ──> gather ──> archive (staged) ──> record ──> publish ──> is the record still there?

The lake keeps a record of each export, so that an erasure of the subject removes it, too; one that
comes while the archive is made takes the record away, and the archive is not handed out. Who makes
one::

    site = open_site("s3://bucket/lake", settings)
    order = ExportOrder(parse_subject("email=ana@example.com", "subject"), "s3://bucket/exports")
    with open_runner(RunnerOptions(workers=2)) as runner:        # before any thread is started
        done = run_export(order, site, runner)
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from runners.choose import PipelineRunner
from runners.erase_order import ErasureSite
from runners.export_order import ExportOrder, place_of
from runners.export_work import ExportWork, SubjectErased, made_before
from schemas.audit import AuditDraft
from schemas.export import ExportRecord
from stores.exports import ExportNote, archive_link, sweep_archives, sweep_records
from stores.objects import open_store

__all__ = [
    "ExportDone",
    "ExportOrder",
    "SubjectErased",
    "exported",
    "link_to",
    "run_export",
]


@dataclass(frozen=True)
class ExportDone:
    """An export that was made. Whoever has the ``link`` has the archive: it is shown, not kept.

    ``link`` is None where the archive cannot be fetched by an address.
    """

    record: ExportRecord
    link: str | None = field(default=None, repr=False)
    seconds: float = 0.0

    @property
    def is_complete(self) -> bool:
        """Whether all files could be looked into."""
        return not self.record.unread


def run_export(order: ExportOrder, site: ErasureSite, runner: PipelineRunner) -> ExportDone:
    """Gather the subject's rows and put them into an archive.

    A subject of whom nothing is found gets an archive that says so. Raises ``SubjectErased``,
    ``UsageError`` for a place within the lake or the id of another subject's export, ``TooLarge``
    as ``Passphrase.encrypt`` does, and ``LetheError``; nothing is left then but what a sweep
    removes.
    """
    began = time.monotonic()
    out = place_of(order, site.store.uri, site.s3)
    made = made_before(order, site, out)
    if made is None:
        out.check_writable()
        sweep_records(site.store, site.s3, site.clock())
        sweep_archives(out, site.clock())
        made = ExportWork(order, site, out).make(runner)
    return ExportDone(made, link_to(made, site), round(time.monotonic() - began, 3))


def link_to(record: ExportRecord, site: ErasureSite) -> str | None:
    """An address to fetch the archive from, until it expires or for seven days at the most.

    None if it lies where clients cannot reach it by themselves, or has expired.
    """
    note = ExportNote(record.id, record.archive, record.expires_at)
    return archive_link(open_store(record.out, site.s3), note, site.clock())


def exported(record: ExportRecord, actor: str, organization: str = "") -> AuditDraft:
    """What the audit log says of an export."""
    return AuditDraft(
        actor,
        organization,
        "export.made",
        f"export:{record.id}",
        {
            "archiveSha256": record.sha256,
            "rows": record.rows,
            "unread": record.unread,
            "expiresAt": record.expires_at.isoformat(),
        },
    )
