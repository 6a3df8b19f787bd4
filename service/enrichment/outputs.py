"""Outputs: the result of a job, streamed from a folder, or fetched from S3 by a signed address."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Request, Response
from werkzeug.wsgi import wrap_file

from schemas.errors import Conflict, NotFound
from schemas.job_files import OUTPUT_FORMAT
from schemas.jobs import Job
from service.answers import conditional
from stores.objects import ObjectInfo, ObjectStore

MEDIA_TYPES: Mapping[str, str] = {
    "ndjson": "application/x-ndjson",
    "json": "application/json",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
}

_CHUNK = 256 * 1024


def output_response(job: Job, files: ObjectStore, request: Request, seconds: int) -> Response:
    """The output, or the part of it that is asked for, or where it can be had for some seconds.

    Raises ``Conflict`` if the job has none, ``NotFound`` if it is past its time.
    """
    if job.output_key is None:
        raise Conflict(f"there is no output: the request is {job.status}", status=job.status.value)
    info = files.head(job.output_key)
    if info is None:
        raise NotFound("the output is past its time: submit the contacts again")
    kind = str(job.parameters[OUTPUT_FORMAT])
    name, media_type = f"enriched-{job.id}.{kind}", MEDIA_TYPES[kind]
    if files.presigner is not None:
        url = files.presigner.get(info.key, name, media_type, seconds)
        return Response(status=302, headers={"Location": url})
    return _streamed(info, files, request, (name, media_type))


def _streamed(
    info: ObjectInfo, files: ObjectStore, request: Request, named: tuple[str, str]
) -> Response:
    """Conditional and byte-range requests are answered as RFC 9110 has them."""
    name, media_type = named
    stream = files.open(info.key)
    response = Response(
        wrap_file(request.environ, stream, _CHUNK), mimetype=media_type, direct_passthrough=True
    )
    response.call_on_close(stream.close)
    response.content_length = info.size
    response.last_modified = info.modified
    response.set_etag(info.etag.strip('"'))
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return conditional(response, request.environ, accept_ranges=True, complete_length=info.size)
