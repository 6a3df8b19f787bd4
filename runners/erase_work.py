"""The steps of an erasure, over all of its places."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime

import structlog

from runners.erase_certify import NotErased, Verdict, erased_in, verdict_on
from runners.erase_late import LateRows
from runners.erase_order import ErasureOrder, ErasureSite
from runners.erase_passes import Sweep, Task, unread_in
from runners.erase_places import Place, place_beside
from runners.erase_preview import Counted, check_share, drift
from runners.erase_suppress import suppress_subjects
from runners.export_erased import RemovedExports, forget_exports, remove_exports
from runners.file_runner import FileRunner
from schemas.dsr import IdentityFormat
from schemas.erasure import Certificate, ErasedFile, OldVersionsRule
from stores.erasure_certificates import signed
from stores.erasures import ErasureRecord
from stores.lake_key import claim_key
from stores.log import DeliveryLog
from stores.objects import open_store
from stores.objects.port import KeptVersion, ObjectStore
from transforms.erasure.search import Wanted
from transforms.erasure.second_look import SecondLook
from transforms.index import probes_for
from transforms.subject_hashes import SubjectHasher

_POLL = 0.5
"""Seconds between two looks whether deliveries under way have ended."""

_LOOKS = 2
"""How often a second look may find something before that is an error."""

_log = structlog.get_logger()


class ErasureWork:
    """One erasure: call the steps in their order. Nothing is changed before ``erase``.

    ``missed`` is how much of what was to be reached the certificate names as not reached.
    """

    def __init__(
        self, order: ErasureOrder, site: ErasureSite, runner: FileRunner, erasure_id: str
    ) -> None:
        self._order = order
        self._site = site
        self._runner = runner
        self._id = erasure_id
        self._sweeps = [Sweep(place, self._task(place), runner) for place in self._places()]
        self._late = LateRows(site.store, site.scrub_key, site.registry)
        self._exports = RemovedExports()
        self.missed = 0

    def count(self) -> Counted:
        """How many rows belong to the subjects."""
        for sweep in self._sweeps:
            sweep.place.log.recover()
        files = [
            replace(match, path=sweep.place.shown(match.path))
            for sweep in self._sweeps
            for match in sweep.count()
        ]
        return Counted(sum(sweep.rows for sweep in self._sweeps), tuple(files), self._unread())

    def check_share(self) -> str:
        """Raise ``MatchShareExceeded`` if too much would go that nobody has seen in a preview.

        In words, how the preview differs from what is there now; empty if it does not.
        """
        preview = self._order.preview
        if preview is None and self._order.max_match_share >= 1:
            return ""
        counted = self.count()
        if preview is not None:
            return drift(preview, counted)
        check_share(counted, self._order.max_match_share)
        return ""

    def erase(self, began_at: datetime) -> tuple[str, ...]:
        """Keep the subjects out from now on, and erase what there is of them.

        Returns the deliveries that began before and have not ended.
        """
        lake = self._site.store
        for sweep in self._sweeps:
            sweep.place.store.check_writable()
            sweep.place.log.recover()
        claim_key(lake, self._site.scrub_key.fingerprint)
        suppress_subjects(self._order, self._site, self._id, began_at)
        under_way = DeliveryLog(lake).rounds_under_way()
        for sweep in self._sweeps:
            sweep.erase()
        left = self._waited(under_way)
        if under_way:
            self._sweeps[0].erase()
        self._late.cleanse(DeliveryLog(lake).positions())
        # Last, for an export that is made meanwhile may hold what was there before.
        hashes = self._order.hashes(self._site)
        self._exports = remove_exports(self._site, hashes, self._order.plus_addressing)
        return left

    def certificate(self, record: ErasureRecord, open_runs: tuple[str, ...]) -> Certificate:
        """What was done, after a second look at it; signed.

        Raises ``NotErased`` if that finds a subject still, or not the rows that should remain.
        """
        verdicts = self._verdicts(record)
        found = [(sweep.place, *self._erased(sweep.place, record)) for sweep in self._sweeps]
        files = tuple(
            replace(file, path=place.shown(file.path))
            for place, erased, _ in found
            for file in erased
        )
        files += self._exports.files
        now = self._site.clock()
        unsigned = Certificate(
            id=self._id,
            lake=self._site.store.uri,
            mode=record.mode,
            began_at=record.began_at,
            ended_at=now,
            subjects=record.subjects,
            files=files,
            files_looked_at=sum(sweep.looked_at for sweep in self._sweeps),
            files_read=sum(sweep.read for sweep in self._sweeps),
            rows_before=sum(file.rows_before for file in files),
            matched=sum(file.matched for file in files),
            rows_after=sum(file.rows_after for file in files),
            verified_at=now,
            verified_rows=sum(verdict.rows for verdict in verdicts),
            entries=tuple(
                number for place, _, entries in found for number in entries if place.is_lake
            ),
            open_runs=open_runs,
            unreachable=self._unreachable(),
        )
        return signed(unsigned, self._site.keys)

    def forget(self) -> None:
        """Forget the exports that were removed. Call when the certificate is kept."""
        forget_exports(self._site, self._exports)

    def _places(self) -> list[Place]:
        site = self._site
        beside = [place_beside(uri, site.store, site.s3) for uri in self._order.also]
        return [Place(site.store), *beside]

    def _task(self, place: Place) -> Task:
        order, site = self._order, self._site
        wanted = Wanted(site.scrub_key, site.registry, order.identities, order.plus_addressing)
        hasher = SubjectHasher.of(site.scrub_key, order.plus_addressing)
        probes = probes_for(order.identities, site.registry, hasher) if place.is_lake else None
        return Task(wanted, order.mode, self._id, probes)

    def _waited(self, under_way: set[str]) -> tuple[str, ...]:
        """Wait for deliveries that had begun; those that have not ended in time."""
        until = time.monotonic() + self._order.wait.total_seconds()
        log = DeliveryLog(self._site.store)
        left = under_way & log.open_runs()
        if left:
            _log.info("waiting for deliveries that had begun before", runs=len(left))
        while left and time.monotonic() < until:
            time.sleep(_POLL)
            log.recover()
            left &= log.open_runs()
        return tuple(sorted(left))

    def _erased(
        self, place: Place, record: ErasureRecord
    ) -> tuple[tuple[ErasedFile, ...], tuple[int, ...]]:
        return erased_in(place, record.id, record.after if place.is_lake else 0)

    def _verdicts(self, record: ErasureRecord) -> list[Verdict]:
        """What a second look sees; where it sees a subject, all files are read once more."""
        for _ in range(_LOOKS):
            verdicts = [self._verdict(sweep, record) for sweep in self._sweeps]
            if not any(verdict.dirty for verdict in verdicts):
                break
            _log.warning("a second look found a subject: reading all files")
            for sweep in self._sweeps:
                sweep.start_over()
                sweep.erase()
        _check(verdicts)
        return verdicts

    def _verdict(self, sweep: Sweep, record: ErasureRecord) -> Verdict:
        order, site, place = self._order, self._site, sweep.place
        look = SecondLook.for_identities(
            site.scrub_key, site.registry, order.identities, order.plus_addressing
        )
        erased, _ = self._erased(place, record)
        verdict = verdict_on(place, erased, look, self._id, self._runner)
        sweep.unread = {**verdict.unread, **sweep.unread}  # also those that their index has cleared
        return verdict

    def _unread(self) -> tuple[str, ...]:
        return tuple(line for one in self._sweeps for line in unread_in(one.place, one.unread))

    def _unreachable(self) -> tuple[str, ...]:
        """In words, what was not reached: what was missed, and what was not asked for."""
        kept = self._old_versions()
        is_missed = self._order.old_versions is OldVersionsRule.REMOVE
        missed = (*self._missed(), *self._exports.unreachable, *(kept if is_missed else ()))
        self.missed = len(missed)
        return (*missed, *self._unasked(), *(() if is_missed else kept))

    def _missed(self) -> tuple[str, ...]:
        unfinished = (
            f"{area}: rows of an enrichment that has not ended: finish it, and erase again"
            for sweep in self._sweeps
            for area in sweep.place.unfinished()
        )
        return (*self._unread(), *unfinished)

    def _unasked(self) -> tuple[str, ...]:
        digests = sum(one.format is not IdentityFormat.RAW for one in self._order.identities)
        if not digests:
            return ()
        line = (
            f"{digests} identities were given as digests: they are not kept out of what comes, and "
            "not found where the pipeline has hashed a value"
        )
        return (line,)

    def _old_versions(self) -> list[str]:
        """Remove or name what stores have kept of files as they were, as that was asked for.

        Of archives, and of all that the logs say was ever replaced or removed: an older version of
        what was compacted, or replayed, may hold the subjects as well.
        """
        rule = self._order.old_versions
        if rule is OldVersionsRule.KEEP:
            return []
        return [
            f"{shown}: an older version is kept: {kept.reason}"
            for store, path, shown in self._replaced_or_removed()
            for kept in _kept_versions(store, path, rule)
        ]

    def _replaced_or_removed(self) -> Iterator[tuple[ObjectStore, str, str]]:
        """The files of which stores may have kept more, and how they are called."""
        for place in (sweep.place for sweep in self._sweeps):
            for path in sorted({path for commit in place.log.commits() for path in commit.taken}):
                yield place.store, path, place.shown(path)
        for record in self._exports.records:
            yield open_store(record.out, self._site.s3), record.archive, record.address


def _kept_versions(store: ObjectStore, path: str, rule: OldVersionsRule) -> tuple[KeptVersion, ...]:
    if rule is OldVersionsRule.REMOVE:
        return store.remove_old_versions(path).kept
    return store.old_versions(path)


def _check(verdicts: Iterable[Verdict]) -> None:
    dirty = [path for verdict in verdicts for path in verdict.dirty]
    wrong = [path for verdict in verdicts for path in verdict.wrong]
    if dirty:
        raise NotErased(
            f"{dirty[0]} and {len(dirty) - 1} other files hold a subject still: no certificate was "
            "made: run again"
        )
    if wrong:
        raise NotErased(
            f"{wrong[0]}: its rows are not as many as should have remained: no certificate was made"
        )
