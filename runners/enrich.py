"""Enrich a contact file: set its rows aside, finish all batches, publish the output.

Each step leaves what it did in the work area, and begins where that ends; so a run that was killed
is gone on with from any instant. Who starts it::

    request = EnrichmentRequest(input_uri, output_uri, ApiSettings(url), resume=True)
    with open_runner(RunnerOptions(workers=2)) as runner:        # before any thread is started
        report = run_enrichment(request, runner, JobProgress(settings, job_id), planned)

``planned`` is told what was found in the input before anything is asked for; what it raises ends
the run. ``progress`` is told by the workers how far each part is. ``RunCancelled``, or anything
else that is raised in the calling thread meanwhile, ends the run as a kill would: what is finished
is kept, and the same request with ``resume`` goes on from there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from beam_pipelines.enrich import Enrichment, enrich
from runners.choose import PipelineRunner
from schemas.contacts import EnrichmentPlan, EnrichmentReport, InputIdentity, Receipt, Row
from schemas.errors import LetheError, UsageError
from stores.enrichment.client import ApiSettings
from stores.enrichment.work import WorkFolder
from stores.inputs import FoundFile, InputOpener
from stores.objects import S3Settings
from transforms.contacts.output import output_format
from transforms.contacts.prepare import prepare
from transforms.contacts.progress import Progress
from transforms.contacts.read import read_contacts
from transforms.decompress import detect_compression, pieces

_MAGIC = 8
"""Bytes that tell a compression."""

Planned = Callable[[EnrichmentPlan], None]
"""Is told what was found in the input."""


@dataclass(frozen=True)
class EnrichmentRequest:
    """An enrichment as it was asked for.

    ``input`` and ``out`` are paths or URIs. ``mapping`` gives fields their names in the output.
    ``resume`` goes on with a run that was cut off, or begins one if there is none. ``workers`` is
    into how many shares the calls are split, for as many workers.
    """

    input: str
    out: str
    api: ApiSettings
    mapping: Mapping[str, str] = field(default_factory=dict)
    batch_size: int = 100
    resume: bool = False
    workers: int = 1
    s3: S3Settings | None = None

    @property
    def work(self) -> WorkFolder:
        """Where the work is kept."""
        return WorkFolder(_output(self.out))

    @property
    def opener(self) -> InputOpener:
        return InputOpener(self.s3)


def run_enrichment(
    request: EnrichmentRequest, runner: PipelineRunner, progress: Progress, planned: Planned
) -> EnrichmentReport:
    """Enrich the file, or finish what an earlier run began.

    Raises ``LetheError``; whatever happens, the output is not there or whole, and finished batches
    are kept for ``resume``. ``planned`` is not called where a finished run is found.
    """
    with request.work.locked():
        found, identity = _found(request)
        receipt = request.work.receipt() if request.resume else None
        if receipt is None or not _is_of(receipt, request, identity):
            receipt = _run(request, found, identity, runner, progress, planned)
        request.work.write_receipt(receipt)
        return receipt.report


def check_output(out: str) -> None:
    """Raise ``UsageError`` for an output that cannot be made."""
    _output(out)


def _output(out: str) -> Path:
    if "://" in out or out.startswith("s3:"):
        raise UsageError(f"--out {out!r}: write to a file of this machine")
    output_format(out)
    path = Path(out)
    if path.is_dir():
        raise UsageError(f"--out {out!r}: is a folder; name the file to write")
    return path.absolute()


def _is_of(receipt: Receipt, request: EnrichmentRequest, identity: InputIdentity) -> bool:
    """Whether the output is there, and was made of this input in the same way."""
    asked = (identity, dict(request.mapping))
    return (receipt.input, dict(receipt.mapping)) == asked and request.work.out.exists()


def _run(
    request: EnrichmentRequest,
    found: FoundFile,
    identity: InputIdentity,
    runner: PipelineRunner,
    progress: Progress,
    planned: Planned,
) -> Receipt:
    began = time.monotonic()
    plan = _plan(request, found, identity)
    planned(plan)
    enrichment = Enrichment(plan, request.work, request.api, progress)
    counters = runner.run(lambda p: enrich(p, enrichment), len(plan.parts))
    seconds = round(time.monotonic() - began, 3)
    return Receipt(identity, plan.mapping, replace(report_of(plan, counters), seconds=seconds))


def _plan(request: EnrichmentRequest, found: FoundFile, identity: InputIdentity) -> EnrichmentPlan:
    """The plan of the unfinished run to go on with, else a new one."""
    plan = request.work.plan()
    if plan is None:
        return _prepared(request, found, identity)
    if not request.resume:
        raise UsageError(
            f"{request.work.out}: an unfinished run is kept in {request.work.path}: go on with it "
            "by --resume, or remove that folder to begin anew"
        )
    _check_same(plan, request, identity)
    return plan


def _prepared(
    request: EnrichmentRequest, found: FoundFile, identity: InputIdentity
) -> EnrichmentPlan:
    """A new plan; of a file that cannot be read to its end, no row is kept."""
    request.work.clear()
    rows = _rows(request, found)
    try:
        return prepare(identity, rows, request.mapping, request.batch_size, request.work)
    except LetheError:
        request.work.clear()
        raise


def _found(request: EnrichmentRequest) -> tuple[FoundFile, InputIdentity]:
    files = request.opener.find(request.input)
    if len(files) > 1:
        raise UsageError(f"{request.input}: leads to {len(files)} files: name one")
    found = files[0]
    return found, InputIdentity(found.uri, found.info.size, found.info.etag)


def _rows(request: EnrichmentRequest, found: FoundFile) -> Iterator[Row]:
    compression = detect_compression(request.opener.read_first(found.uri, _MAGIC))
    with request.opener.open_file(found.uri) as stream:
        yield from read_contacts(found.uri, pieces(stream, compression), request.mapping)


def _check_same(plan: EnrichmentPlan, request: EnrichmentRequest, identity: InputIdentity) -> None:
    """Raise ``UsageError`` if going on would mix two different runs."""
    same = {
        "the input": plan.input == identity,
        "--map": dict(plan.mapping) == dict(request.mapping),
        "--batch-size": plan.batch_size == request.batch_size,
    }
    changed = [name for name, is_same in same.items() if not is_same]
    if changed:
        raise UsageError(
            f"--resume: since the run began, changed: {', '.join(changed)}: give what it was, or "
            f"remove {request.work.path} to begin anew"
        )


def report_of(plan: EnrichmentPlan, counters: Mapping[str, int]) -> EnrichmentReport:
    """The report of a pipeline's counters, without the time."""
    prefix = "by_reason."
    by_reason = {
        name.removeprefix(prefix): count
        for name, count in sorted(counters.items())
        if name.startswith(prefix)
    }
    failed = sum(by_reason.values())
    return EnrichmentReport(
        contacts=plan.contacts,
        enriched=plan.contacts - failed,
        failed=failed,
        by_reason=by_reason,
        batches=plan.batches,
        kept_batches=counters.get("kept_batches", 0),
        calls=counters.get("calls", 0),
        retries=counters.get("retries", 0),
        seconds=0.0,
        digest=plan.digest,
    )
