"""Where an enrichment's files are, below the place of the service's files. Names are ids of ours.

enrichment/<job>/input.ndjson        contacts that stood in a request
enrichment/<job>/output.<format>     the result, and beside it the work of a run that goes on
uploads/<upload>/about.json          whose upload it is, and what it has to be
uploads/<upload>/contacts.<ending>   its content, when it is whole
"""

from __future__ import annotations

from schemas.jobs import Job

JOBS = "enrichment/"
UPLOADS = "uploads/"

OUTPUT_FORMAT = "outputFormat"
"""The parameter of a job that names the format of its output, which is its file's ending."""


def job_folder(job_id: str) -> str:
    """What the keys of all files of a job begin with."""
    return f"{JOBS}{job_id}/"


def inline_key(job_id: str) -> str:
    """Of the contacts that stood in a request."""
    return f"{job_folder(job_id)}input.ndjson"


def output_key(job: Job) -> str:
    """Of the output that a job is going to have."""
    return f"{job_folder(job.id)}output.{job.parameters[OUTPUT_FORMAT]}"
