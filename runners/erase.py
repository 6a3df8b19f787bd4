"""Erase: subjects leave a lake and what lies beside it, stay out of it, and that is proven.

    look ──> too much? ──> suppress ──> passes until nothing is left ──> look again ──> certificate
     │                        │
     └ a preview ends here    └ from here on deliveries drop their rows

Killed at any point, an erasure is gone on with when it is asked for again: by whoever names the
same subjects, or the same id. Who starts it::

    order = ErasureOrder((parse_subject("email=ana@example.com", "subject"),))
    site = open_site("s3://bucket/lake", settings)
    with open_file_runner(RunnerOptions(workers=2)) as runner:   # before any thread is started
        done = run_erasure(order, site, runner)
        ...                                                      # tell the audit log
        close_erasure(site, done)

``preview_erasure`` only looks, and keeps what it saw: ``approved`` makes an order of that.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

from runners.alive import heartbeats
from runners.erase_order import ErasureOrder, ErasureSite, approved, open_site
from runners.erase_preview import preview_of
from runners.erase_work import ErasureWork
from runners.file_runner import FileRunner
from schemas.erasure import Certificate, Preview
from stores.erasure_certificates import certificate_key, encode_certificate
from stores.erasures import (
    ErasureRecord,
    end_record,
    find_record,
    keep_record,
    sweep_records,
    take_over,
)
from stores.lake_key import check_key
from stores.log import DeliveryLog, Owner
from stores.objects.port import ObjectStore
from stores.previews import Previewed, check_keys, drop_previews, keep_preview, sealed

RECORDS_KEPT = timedelta(days=30)
"""How long an erasure that was killed can be gone on with under its own id."""

__all__ = [
    "ErasureDone",
    "ErasureOrder",
    "ErasureSite",
    "approved",
    "close_erasure",
    "open_site",
    "preview_erasure",
    "run_erasure",
]


@dataclass(frozen=True)
class ErasureDone:
    """What an erasure did. ``drift`` says how it differs from its preview, if it had one.

    ``missed`` is how much of what it was to reach it did not; what the certificate has beside that
    under ``unreachable`` was known when it was asked for.
    """

    certificate: Certificate
    drift: str = ""
    seconds: float = 0.0
    missed: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether everything could be reached, and no delivery from before is under way."""
        return not self.certificate.unreachable and not self.certificate.open_runs


def preview_erasure(order: ErasureOrder, site: ErasureSite, runner: FileRunner) -> Preview:
    """Count what the erasure would do, and keep that in the lake for some days.

    Nothing else is changed. Raises ``LetheError``.
    """
    check_key(site.store, site.scrub_key.fingerprint)
    preview_id = new_id()
    counted = ErasureWork(order, site, runner, preview_id).count()
    content = Previewed(order.identities, site.store.uri, order.plus_addressing, order.also)
    preview = preview_of(counted, preview_id, order.mode, len(order.subjects), site.clock())
    preview = sealed(site.seals, preview, content)
    keep_preview(site.store, preview)
    return preview


def run_erasure(order: ErasureOrder, site: ErasureSite, runner: FileRunner) -> ErasureDone:
    """Erase the subjects, and certify it. The certificate is kept in the lake.

    Raises ``MatchShareExceeded`` before anything is changed, and ``LetheError``; what was done by
    then stays done, and the same order goes on from there.
    """
    began = time.monotonic()
    check_key(site.store, site.scrub_key.fingerprint)
    check_keys(site.store, site.seals)  # they are needed last of all, to tell whose previews go
    record, is_new = _record(order, site)
    work = ErasureWork(order, site, runner, record.id)
    told = work.check_share() if is_new else ""
    with _kept(site.store, record):
        open_runs = work.erase(record.began_at)
        certificate = work.certificate(record, open_runs)
    site.store.put(certificate_key(record.id), encode_certificate(certificate))
    work.forget()
    drop_previews(site.store, site.seals, frozenset(order.identities), site.clock())
    return ErasureDone(certificate, told, round(time.monotonic() - began, 3), work.missed)


def new_id() -> str:
    """An id for an erasure, or a preview."""
    return uuid.uuid4().hex


def close_erasure(site: ErasureSite, done: ErasureDone) -> None:
    """Forget that the erasure was under way. Call when its certificate is where it belongs."""
    end_record(site.store, done.certificate.id)
    sweep_records(site.store, site.clock() - RECORDS_KEPT)


def _record(order: ErasureOrder, site: ErasureSite) -> tuple[ErasureRecord, bool]:
    """The record of the erasure, and whether it is a new one."""
    new = ErasureRecord(
        id=order.id or new_id(),
        owner=Owner.this_process(),
        began_at=site.clock(),
        mode=order.mode,
        subjects=order.hashes(site),
        plus_addressing=order.plus_addressing,
        after=DeliveryLog(site.store).last_number(),
    )
    if order.id is None:
        found = take_over(site.store, new, new.began_at)
    else:
        found = find_record(site.store, order.id)
    return (new, True) if found is None else (replace(found, owner=new.owner), False)


@contextmanager
def _kept(store: ObjectStore, record: ErasureRecord) -> Iterator[None]:
    """Keep the record, and say from time to time that somebody is at it."""
    keep_record(store, record)
    with heartbeats(lambda: keep_record(store, record)):
        yield
