"""Submitting: an order becomes a job, or is answered by the job that there is already.

    order ──> input in the store of files ──> job: a new one, or the one before
                  └── (killed): swept, no job speaks of it

Jobs are alike if their contacts and whatever makes a difference to the output are: a fingerprint is
the SHA-256 of the contacts in a canonical form, or of an upload's bytes and its ending, together
with the mapping and the output's format, but not the size of batches. Whoever may see only their
own jobs shares none with others, so that nobody is given a request that is not there for them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from config.service import EnrichmentSection
from schemas.access import Action, Principal, Reach, Resource
from schemas.errors import Conflict, TooLarge, Unavailable
from schemas.job_files import OUTPUT_FORMAT, inline_key
from schemas.jobs import TRACE, Job, JobStatus
from service.enrichment.uploads import Upload, Uploads
from stores.objects import ObjectStore
from stores.state.port import AlreadyThere
from stores.state.service_port import JobStore

KIND = "enrichment"

_DELETED = (
    "this request was done before, under this Idempotency-Key, and was deleted since: "
    "choose a new key to have it done again"
)

_canonical = msgspec.json.Encoder(order="deterministic")


@dataclass(frozen=True)
class Order:
    """An enrichment as it was asked for: of these contacts, or of the upload of this key."""

    contacts: Sequence[Mapping[str, Any]] | None = None
    input_file_key: str | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)
    batch_size: int = 100
    output_format: str = "ndjson"
    force: bool = False
    traceparent: str | None = None


@dataclass(frozen=True)
class Submitted:
    """The job that answers an order; ``is_new`` unless it was there before, for another one."""

    job: Job
    is_new: bool


class Submissions:
    """Makes jobs of orders. For any number of threads and processes."""

    def __init__(
        self,
        jobs: JobStore,
        files: ObjectStore,
        uploads: Uploads,
        section: EnrichmentSection,
        clock: Callable[[], datetime],
    ) -> None:
        self._jobs = jobs
        self._files = files
        self._uploads = uploads
        self._section = section
        self._clock = clock

    def submit(self, order: Order, asker: Principal, job_id: str) -> Submitted:
        """The job of an order. Repeatable: under an id that is taken already, it is that job.

        Raises ``TooLarge``, ``NotFound`` and ``Conflict`` (see ``Uploads.usable``), ``Conflict``
        too if that job was deleted, ``Forbidden`` if ``asker`` may not read what they submit,
        ``Unavailable`` if no API is configured.
        """
        known = self._known([job_id], asker)
        if known:
            return Submitted(known[0], True)
        job = self._prepared(order, asker, job_id)
        try:
            there = self._added(job, order.force)
        except AlreadyThere:
            return Submitted(self._all_of([job_id], asker)[0], True)
        if there.id != job.id and order.contacts is not None:
            self._files.delete(job.input_key)
        return Submitted(there, there.id == job.id)

    def submit_all(
        self, orders: Sequence[Order], asker: Principal, ids: Sequence[str]
    ) -> list[Submitted]:
        """A new job for each order, or none at all. Raises as ``submit`` does.

        Orders are not compared with earlier ones: all or nothing speaks of jobs that are made.
        """
        if self._known(ids, asker):
            return [Submitted(job, True) for job in self._all_of(ids, asker)]
        pairs = zip(orders, ids, strict=True)
        jobs = [self._prepared(order, asker, job_id) for order, job_id in pairs]
        try:
            self._jobs.add(jobs)
        except AlreadyThere:
            jobs = self._all_of(ids, asker)
        return [Submitted(job, True) for job in jobs]

    def _known(self, ids: Sequence[str], asker: Principal) -> list[Job]:
        """Those that a request before this one has made, and that are not deleted."""
        found = (self._jobs.get(job_id, Reach(asker.organization)) for job_id in ids)
        return [job for job in found if job is not None]

    def _all_of(self, ids: Sequence[str], asker: Principal) -> list[Job]:
        """All that a request before this one has made. Raises ``Conflict`` if one was deleted.

        Its key is remembered for as long as its record is kept: a repeat that comes late must not
        do again what its owner has taken away.
        """
        known = self._known(ids, asker)
        if len(known) < len(ids):
            raise Conflict(_DELETED, reason="deleted")
        return known

    def _added(self, job: Job, force: bool) -> Job:
        """The job, or the one that stands for it. Raises ``AlreadyThere``."""
        if not force:
            return self._jobs.add_once(job)
        self._jobs.add([job])
        return job

    def _prepared(self, order: Order, asker: Principal, job_id: str) -> Job:
        """The job, its input in place."""
        if self._section.api is None:
            raise Unavailable("no enrichment API is configured: set service.enrichment.api")
        content, key = self._input(order, asker, job_id)
        now = self._clock()
        return Job(
            id=job_id,
            kind=KIND,
            organization=asker.organization,
            owner=asker.subject,
            fingerprint=_fingerprint(content, order, asker.reach(Resource.ENRICHMENT, Action.READ)),
            status=JobStatus.QUEUED,
            created_at=now,
            updated_at=now,
            input_key=key,
            parameters={
                "mapping": dict(order.mapping),
                "batchSize": order.batch_size,
                OUTPUT_FORMAT: order.output_format,
                TRACE: order.traceparent,
            },
        )

    def _input(self, order: Order, asker: Principal, job_id: str) -> tuple[str, str]:
        """What the contacts are, and the key of the file that holds them."""
        if order.contacts is None:
            within = asker.reach(Resource.UPLOAD, Action.READ)
            upload = self._uploads.usable(str(order.input_file_key), within)
            return _content_of_upload(upload), upload.key
        limit = self._section.max_contacts
        if len(order.contacts) > limit:
            raise TooLarge(f"contacts: at most {limit:,} in a request: upload a file", limit=limit)
        key = inline_key(job_id)
        self._files.put(key, _lines(order.contacts))
        return _content_of_contacts(order.contacts), key


def _fingerprint(content: str, order: Order, reach: Reach) -> str:
    said = (content, order.mapping, order.output_format, reach.owner)
    return hashlib.sha256(_canonical.encode(said)).hexdigest()


def _content_of_upload(upload: Upload) -> str:
    return f"file:{upload.sha256}:{upload.ending}"


def _content_of_contacts(contacts: Sequence[Mapping[str, Any]]) -> str:
    digest = hashlib.sha256()
    for contact in contacts:
        digest.update(_canonical.encode(contact) + b"\n")
    return f"contacts:{digest.hexdigest()}"


def _lines(contacts: Sequence[Mapping[str, Any]]) -> bytes:
    return b"".join(msgspec.json.encode(contact) + b"\n" for contact in contacts)
