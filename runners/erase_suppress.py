"""Suppress: whoever writes into the lake keeps the subjects of an erasure out, from an entry on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

from runners.alive import alive_run
from runners.erase_order import ErasureOrder, ErasureSite
from schemas.dsr import IdentityFormat
from schemas.erasure import Suppressed
from stores.log import SUPPRESS, DeliveryLog, new_run_id
from stores.log_entries import bare_entry
from stores.suppression import load_suppressions, merged_suppressions, save_suppressions
from transforms.subject_hashes import SubjectHasher


def suppress_subjects(
    order: ErasureOrder, site: ErasureSite, erasure_id: str, began_at: datetime
) -> None:
    """Enter into the log who is not kept out for so long by an earlier entry, or by this erasure.

    How long is counted from when the erasure began, so one that is gone on with enters nothing new.
    """
    log = DeliveryLog(site.store)
    known, now = log.positions(), site.clock()
    until = None if order.suppress_for is None else began_at + order.suppress_for
    listed = _not_among(
        load_suppressions(site.store, known.suppressions, now), _wanted(order, site, until)
    )
    if not listed:
        return
    merged = merged_suppressions(site.store, known.suppressions, listed, now)
    run = log.begin(new_run_id(datetime.now(UTC)), known.number, SUPPRESS)
    with alive_run(log, run):
        ref = save_suppressions(site.store, run.run_id, merged.suppressed, merged.holds)
        entry = bare_entry(run.run_id, SUPPRESS, now)
        log.commit(run, replace(entry, erasure=erasure_id, suppressed=ref))


def _wanted(order: ErasureOrder, site: ErasureSite, until: datetime | None) -> list[Suppressed]:
    """Identities that are given as digests cannot be kept out."""
    hasher = SubjectHasher.of(site.scrub_key, order.plus_addressing)
    plain = [one for one in order.identities if one.format is IdentityFormat.RAW]
    return hasher.suppressed_each(plain, until)


def _not_among(known: Iterable[Suppressed], wanted: Iterable[Suppressed]) -> list[Suppressed]:
    longest: dict[Suppressed, datetime] = {}
    for one in known:
        who = replace(one, expires_at=None)
        longest[who] = max(longest.get(who, _NEVER), one.expires_at or _FOR_EVER)
    return [
        one
        for one in wanted
        if longest.get(replace(one, expires_at=None), _NEVER) < (one.expires_at or _FOR_EVER)
    ]


_NEVER, _FOR_EVER = (moment.replace(tzinfo=UTC) for moment in (datetime.min, datetime.max))
