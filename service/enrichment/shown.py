"""What clients send to enrichment, and what they are shown of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from schemas.jobs import Job, JobStatus, shown_job
from service.answers import AnswerModel, RequestModel
from service.enrichment.submit import Order, Submitted
from service.errors import ErrorDetail
from service.paging import PageModel

MOST_ITEMS = 100
"""Items of one bulk request."""

OutputFormat = Literal["ndjson", "json", "csv", "parquet"]

_Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]

_NEW = "the contacts are queued to be enriched"
_KNOWN = "the same contacts were submitted before: this is that request"


class NewEnrichment(RequestModel):
    """Contacts to be enriched: as they are, or in an upload."""

    contacts: list[dict[str, Any]] | None = Field(
        default=None,
        min_length=1,
        description="Each with an `id`, or else a `contactId`, and any other fields.",
    )
    input_file_key: str | None = Field(
        default=None, min_length=1, max_length=200, description="As `POST /v1/uploads` gave it."
    )
    mapping: dict[_Name, _Name] = Field(
        default_factory=dict, max_length=100, description="Columns or fields to be renamed."
    )
    batch_size: int = Field(default=100, ge=1, le=10_000, description="Contacts of an API call.")
    output_format: OutputFormat = Field(default="ndjson", description="Of the result.")
    force: bool = Field(
        default=False, description="Enrich again what has been enriched, or is being enriched."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.contacts is None) == (self.input_file_key is None):
            raise ValueError("give either contacts or inputFileKey")
        if len(set(self.mapping.values())) < len(self.mapping):
            raise ValueError("mapping: two columns cannot have one name")
        return self

    def order(self, traceparent: str | None = None) -> Order:
        return Order(
            self.contacts,
            self.input_file_key,
            self.mapping,
            self.batch_size,
            self.output_format,
            self.force,
            traceparent=traceparent,
        )


class NewEnrichments(RequestModel):
    """Several enrichments at once."""

    items: list[NewEnrichment] = Field(min_length=1, max_length=MOST_ITEMS)
    atomic: bool = Field(
        default=False,
        description="All or nothing: new requests for all items, or an error and none.",
    )


class Accepted(AnswerModel):
    """What became of a submission."""

    message: str
    request_id: str
    status: JobStatus
    download_url: str = Field(description="Where the result is when the status is `completed`.")


class BulkResult(AnswerModel):
    """What became of one item; `status` is what a request of its own would have answered."""

    status: int
    result: Accepted | None = None
    error: ErrorDetail | None = None


class BulkAnswer(AnswerModel):
    """What became of each item, in their order."""

    results: list[BulkResult]


class JobErrorShown(AnswerModel):
    """Why an enrichment failed."""

    code: str
    message: str | None


class EnrichmentShown(AnswerModel):
    """An enrichment, and how far it is."""

    request_id: str
    status: JobStatus
    created_at: str
    updated_at: str
    ended_at: str | None
    total_batches: int | None = Field(description="Null until the input has been read.")
    processed_batches: int
    contacts: int | None = Field(description="Null until the input has been read.")
    failed_contacts: int
    output_file_key: str | None
    download_url: str | None = Field(description="Where the result is, when it is there.")
    attempts: int
    cancel_requested: bool
    version: int = Field(description="Grows with every change.")
    error: JobErrorShown | None = None


class EnrichmentsPage(PageModel):
    """Enrichments, newest first."""

    items: list[EnrichmentShown]


def output_url(job: Job) -> str:
    """Where a job's output is fetched."""
    return f"/v1/enrichment/{job.id}/output"


def shown(job: Job) -> Mapping[str, Any]:
    """A job as ``EnrichmentShown`` has it."""
    url = None if job.output_key is None else output_url(job)
    return {**shown_job(job), "downloadUrl": url}


def accepted(submitted: Submitted) -> Accepted:
    """What is said of a submission."""
    job = submitted.job
    return Accepted(
        message=_NEW if submitted.is_new else _KNOWN,
        request_id=job.id,
        status=job.status,
        download_url=output_url(job),
    )


def status_of(submitted: Submitted) -> int:
    """202 if work is to be done, 200 if it is, or was, done for an earlier request."""
    return 202 if submitted.is_new else 200
