"""What tests send to enrichment, and jobs that are there already."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from flask.testing import FlaskClient

from schemas.access import Principal
from schemas.jobs import Job, JobEnd, JobStatus
from service.bootstrap import Wiring
from tests.integration.service.principals import OPERATOR

BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
CONTACTS = [{"id": "c-1", "name": "Ana"}, {"id": "c-2", "name": "Bo"}]
CSV = b"id;name\nc-1;Ana\n"


def submission(**more: Any) -> dict[str, Any]:
    return {"contacts": CONTACTS, **more}


def announcement(content: bytes = CSV, **more: Any) -> dict[str, Any]:
    """What announces an upload."""
    digest = hashlib.sha256(content).hexdigest()
    return {"contentType": "text/csv", "size": len(content), "sha256": digest, **more}


def uploaded(asker: FlaskClient, content: bytes = CSV) -> str:
    """The key of an upload that has been received."""
    upload = asker.post("/v1/uploads", json=announcement(content)).json
    assert upload is not None
    assert asker.put(upload["uploadUrl"], data=content).status_code == 204
    return str(upload["inputFileKey"])


def job(number: int, owner: Principal = OPERATOR) -> Job:
    """A queued job that nobody works on."""
    created = BEGIN + timedelta(seconds=number // 2)
    return Job(
        id=f"job-{number:04d}",
        kind="enrichment",
        organization=owner.organization,
        owner=owner.subject,
        fingerprint=f"{number:064d}",
        status=JobStatus.QUEUED,
        created_at=created,
        updated_at=created,
        input_key=f"enrichment/job-{number:04d}/input.ndjson",
        parameters={"mapping": {}, "batchSize": 100, "outputFormat": "ndjson"},
    )


def completed(wiring: Wiring, content: bytes, number: int = 1) -> Job:
    """A job that has ended, with this output."""
    key = f"enrichment/job-{number:04d}/output.ndjson"
    wiring.files.put(key, content)
    made = replace(job(number))
    wiring.state.jobs.add([made])
    wiring.state.jobs.begin(made.id, "run-1")
    wiring.state.jobs.finish(made.id, "run-1", JobEnd(JobStatus.COMPLETED, key))
    return made
