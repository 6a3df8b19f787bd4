"""Jobs in DynamoDB: a job is read, changed by a function of ``job_changes``, and put back with its
event if nobody else has changed it meanwhile.

Beside the jobs stand two kinds of sets of their ids, kept in the same transactions: the unfinished
ones, for whoever has to start them, and those of one fingerprint, for whoever asks for the same
again. An index would be a moment late for both.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from itertools import islice

from schemas import job_changes
from schemas.access import Reach
from schemas.errors import StoreError, TooLarge
from schemas.events import Topic
from schemas.jobs import Job, JobEnd, JobQuery, PartProgress, event_of_job
from stores.state.dynamo.contention import contended, done
from stores.state.dynamo.items import Item, Key, decoded, encoded, joined, key_of, moment
from stores.state.dynamo.job_parts import JobParts
from stores.state.dynamo.listing import Listing, due, due_before, listed, listed_of, records_of
from stores.state.dynamo.outbox import EventLog, events_key
from stores.state.dynamo.table import MOST_WRITES, DynamoTable, Refused
from stores.state.dynamo.writes import ABSENT, Write, delete, put, update
from stores.state.port import AlreadyThere

MOST_AT_ONCE = (MOST_WRITES - 3) // 3
"""How many jobs can be added at once: each is a record, an event, and an id of a fingerprint."""

_RECORD = "record"
_UNFINISHED = "unfinished"
_UNCHANGED = "#version = :before"
_NO_MORE = "attribute_not_exists(#jobs)"
_PAGE = 50

Change = Callable[[Job], Job | None]
"""What becomes of a job, None if nothing may."""


class DynamoJobs:
    """See ``stores.state.service_port.JobStore``."""

    def __init__(self, table: DynamoTable, log: EventLog, clock: Callable[[], datetime]) -> None:
        self._table = table
        self._log = log
        self._clock = clock
        self._parts = JobParts(table)

    def add(self, jobs: Sequence[Job]) -> None:
        """Also raises ``TooLarge`` for more than ``MOST_AT_ONCE``."""
        if len(jobs) > MOST_AT_ONCE:
            raise TooLarge(
                f"items: this service's state store takes all or none of at most {MOST_AT_ONCE}: "
                "send fewer at once, or each on its own",
                limit=MOST_AT_ONCE,
            )
        try:
            self._add(jobs, _added_to_claims(jobs))
        except Refused:
            raise AlreadyThere("state store: this job is there already") from None

    def add_once(self, job: Job) -> Job:
        def attempt() -> Job:
            known = self._table.get(_claim_key(job))
            before = self._standing(job, known)
            if before is None:
                self._add_alone(job, known)
            return before or job

        return contended(attempt)

    def get(self, job_id: str, reach: Reach) -> Job | None:
        item = self._table.get(job_key(job_id))
        job = None if item is None else decoded(Job, item)
        return job if job is not None and _visible(job, reach) else None

    def find(self, query: JobQuery, reach: Reach) -> list[Job]:
        after = None if query.after is None else (query.after.created_at, query.after.id)
        keys = _listing(self._table, query, reach).keys(_equal(query), after)

        def read(item: Item) -> Job | None:
            job = decoded(Job, item)
            wanted = query.status in {None, job.status}
            return job if wanted and _visible(job, reach) else None

        return records_of(self._table, islice(keys, query.offset, None), read, query.limit)

    def count(self, query: JobQuery, reach: Reach) -> int:
        return _listing(self._table, query, reach).count(_equal(query))

    def unfinished(self, limit: int) -> list[Job]:
        found: list[Job] = []
        for ids in self._unfinished_ids():
            items = self._table.get_all([job_key(job_id) for job_id in sorted(ids)])
            jobs = [decoded(Job, item) for item in items]
            found += sorted((job for job in jobs if not job.status.is_final), key=_place)
            if len(found) >= limit:
                break
        return found[:limit]

    def begin(self, job_id: str, run_id: str) -> Job | None:
        return self._change(job_id, lambda job: job_changes.begun(job, run_id))

    def requeue(self, job_id: str, run_id: str) -> Job | None:
        return self._change(job_id, lambda job: job_changes.requeued(job, run_id))

    def plan(
        self, job_id: str, run_id: str, fingerprint: str, contacts: int, batches: int
    ) -> Job | None:
        return self._change(
            job_id, lambda job: job_changes.planned(job, run_id, fingerprint, contacts, batches)
        )

    def report(self, job_id: str, progress: PartProgress) -> None:
        job = self.get(job_id, Reach(None))
        if job is not None and not job.status.is_final:
            self._parts.report(job_id, progress)

    def advance(self, job_id: str, run_id: str) -> Job | None:
        def change(job: Job) -> Job | None:
            return job_changes.advanced(job, run_id, *self._parts.sums(job_id))

        return self._change(job_id, change)

    def finish(self, job_id: str, run_id: str | None, end: JobEnd) -> Job | None:
        def change(job: Job) -> Job | None:
            sums = self._parts.sums(job_id)
            return job_changes.ended(job, run_id, end, self._clock(), *sums)

        ended = self._change(job_id, change)
        if ended is not None:
            with suppress(StoreError):  # it has ended all the same; they go with the job
                self._parts.forget(job_id)
        return ended

    def request_cancel(self, job_id: str, reach: Reach, at_once: bool) -> Job | None:
        def change(job: Job) -> Job | None:
            return job_changes.asked_to_end(job, self._clock(), at_once)

        return self._change(job_id, change, reach)

    def delete(self, job_id: str, reach: Reach) -> bool:
        def change(job: Job) -> Job:
            return job_changes.taken_away(job, self._clock())

        return self._change(job_id, change, reach) is not None

    def prune(self, before: datetime) -> int:
        due = due_before(self._table, "jobs", before)
        return sum(self._forgotten(key) is not None for key in due)

    def _add(self, jobs: Sequence[Job], claims: list[Write]) -> None:
        if not jobs:
            return
        marker = _marker(jobs)
        added = [put(_item(job, marker.sk), ABSENT) for job in jobs]
        unfinished = update(marker, "ADD #jobs :ids", ids=frozenset(job.id for job in jobs))
        self._log.commit([*added, *claims, unfinished], [event_of_job(job) for job in jobs])

    def _add_alone(self, job: Job, known: Item | None) -> None:
        try:
            self._add([job], [_claimed(job, known)])
        except Refused as refused:
            if refused.failed[0]:
                raise AlreadyThere("state store: this job is there already") from None
            raise

    def _standing(self, job: Job, claim: Item | None) -> Job | None:
        """The newest job that stands for the same as this one."""
        keys = [job_key(job_id) for job_id in sorted(_ids(claim))]
        known = [decoded(Job, item) for item in self._table.get_all(keys)]
        return max((other for other in known if _stands_for(other, job)), key=_place, default=None)

    def _change(self, job_id: str, change: Change, reach: Reach | None = None) -> Job | None:
        return contended(lambda: self._attempt(job_id, change, reach))

    def _attempt(self, job_id: str, change: Change, reach: Reach | None) -> Job | None:
        """Make of the job, if it is there and within reach, what ``change`` says."""
        item = self._table.get(job_key(job_id))
        before = None if item is None else decoded(Job, item)
        if item is None or before is None or (reach is not None and not _visible(before, reach)):
            return None
        after = change(before)
        if after is None or after == before:
            return after
        after = replace(after, version=before.version + 1, updated_at=self._clock())
        self._log.commit(_changes(item, before, after), [event_of_job(after)])
        return after

    def _unfinished_ids(self) -> Iterator[frozenset[str]]:
        """The ids by the time at which they were added; sets that have become empty are cleared."""
        for item in self._table.query("#pk = :pk", values={"pk": _UNFINISHED}, page=_PAGE):
            if ids := _ids(item):
                yield ids
            else:
                done(self._table, [delete(key_of(item), _NO_MORE)])

    def _forgotten(self, key: Key) -> Job | None:
        """The job, if this call is the one that forgets it."""
        item = self._table.get(key)
        if item is None:
            return None
        job = decoded(Job, item)
        self._parts.forget(job.id)
        unclaimed = update(_claim_key(job), "DELETE #jobs :ids", ids=frozenset([job.id]))
        gone = [delete(key, _UNCHANGED, before=job.version), unclaimed]
        if not done(self._table, gone):
            return None
        done(self._table, [delete(_claim_key(job), _NO_MORE)])
        return job


def job_key(job_id: str) -> Key:
    return Key(events_key(Topic("job", job_id)), _RECORD)


def _changes(item: Item, before: Job, after: Job) -> list[Write]:
    """The writes that put a job into the place of what was read, and its id where it belongs."""
    marker = item["marker"]
    writes = [put(_item(after, marker), _UNCHANGED, before=before.version)]
    ids = frozenset([after.id])
    if after.fingerprint != before.fingerprint:
        writes.append(update(_claim_key(before), "DELETE #jobs :ids", ids=ids))
        writes.append(update(_claim_key(after), "ADD #jobs :ids", ids=ids))
    if after.status.is_final and not before.status.is_final:
        writes.append(update(Key(_UNFINISHED, marker), "DELETE #jobs :ids", ids=ids))
    return writes


def _item(job: Job, marker: str) -> Item:
    key, what = job_key(job.id), ("jobs", job.kind)
    seen = {**listed(what, job.created_at, job.id), **listed_of(what, job.organization, job.owner)}
    return {
        **encoded(job),
        **(seen if job.deleted_at is None else {}),
        **({} if job.ended_at is None else due("jobs", job.ended_at, job.id)),
        "pk": key.pk,
        "sk": key.sk,
        "marker": marker,
    }


def _marker(jobs: Sequence[Job]) -> Key:
    """The set of unfinished jobs that these are put into, which is theirs alone."""
    first = min(jobs, key=_place)
    return Key(_UNFINISHED, moment(first.created_at, first.id))


def _claim_key(job: Job) -> Key:
    return Key(joined("fingerprint", job.organization, job.kind, job.fingerprint), "claim")


def _added_to_claims(jobs: Sequence[Job]) -> list[Write]:
    """One write a fingerprint, as a transaction touches no item twice."""
    alike = defaultdict(set)
    for job in jobs:
        alike[_claim_key(job)].add(job.id)
    return [update(key, "ADD #jobs :ids", ids=frozenset(ids)) for key, ids in alike.items()]


def _claimed(job: Job, known: Item | None) -> Write:
    """The claim as this job's, unless it has changed since it was read.

    Those who were in it stand for nothing any more, and never will.
    """
    change, mine = "SET #jobs = :mine", frozenset([job.id])
    if ids := _ids(known):
        return update(_claim_key(job), change, "#jobs = :known", mine=mine, known=ids)
    return update(_claim_key(job), change, _NO_MORE, mine=mine)


def _ids(item: Item | None) -> frozenset[str]:
    ids = None if item is None else item.get("jobs")
    return ids if isinstance(ids, frozenset) else frozenset()


def _stands_for(other: Job, job: Job) -> bool:
    return other.stands_for_repeats and other.fingerprint == job.fingerprint


def _listing(table: DynamoTable, query: JobQuery, reach: Reach) -> Listing:
    return Listing(table, ("jobs", query.kind), reach)


def _equal(query: JobQuery) -> dict[str, str]:
    return {} if query.status is None else {"status": query.status.value}


def _visible(job: Job, reach: Reach) -> bool:
    limits = ((job.organization, reach.organization), (job.owner, reach.owner))
    return job.deleted_at is None and all(limit in {None, value} for value, limit in limits)


def _place(job: Job) -> tuple[datetime, str]:
    return job.created_at, job.id
