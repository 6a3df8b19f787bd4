"""Enrich a contact file: divide it into parts, finish all batches, publish the output.

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
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from beam_pipelines.enrich import enrich
from runners.choose import PipelineRunner
from runners.progress import beside
from schemas.contacts import (
    MAX_ROW,
    EnrichmentPlan,
    EnrichmentReport,
    InputIdentity,
    LineFormat,
    Receipt,
    Row,
)
from schemas.errors import InputError, LetheError, UsageError
from schemas.inputs import Compression
from stores.enrichment import open_area
from stores.enrichment.area import WorkArea
from stores.enrichment.client import ApiSettings
from stores.inputs import FoundFile, InputOpener
from stores.lake_key import check_key
from stores.log import DeliveryLog
from stores.objects import S3Settings, open_store, split_uri
from stores.parameters import ParameterStore
from transforms.contacts.assemble import Assembled, Assembly
from transforms.contacts.lanes import Enrichment, deal_out
from transforms.contacts.output import output_format
from transforms.contacts.prepare import plan_of_lines, set_aside, sift_aside
from transforms.contacts.progress import Progress
from transforms.contacts.read import lines_begin, read_contacts
from transforms.contacts.split import NotByLines
from transforms.contacts.suppress import ContactSieve, SuppressedContacts, SuppressedLines
from transforms.decompress import detect_compression, pieces
from transforms.scrub import ScrubKey
from transforms.suppress import SubjectRules

_MAGIC = 8
"""Bytes that tell a compression."""

Planned = Callable[[EnrichmentPlan], None]
"""Is told what was found in the input."""


@dataclass(frozen=True)
class EnrichmentRequest:
    """An enrichment as it was asked for.

    ``input`` and ``out`` are paths or URIs. ``mapping`` gives fields their names in the output.
    ``resume`` goes on with a run that was cut off, or begins one if there is none. ``workers`` is
    into how many shares the calls are split, for as many workers. Contacts of those ``suppressed``
    are not sent, and come out without their values.
    """

    input: str
    out: str
    api: ApiSettings
    mapping: Mapping[str, str] = field(default_factory=dict)
    batch_size: int = 100
    resume: bool = False
    workers: int = 1
    s3: S3Settings | None = None
    suppressed: SuppressedContacts | None = None

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
    check_output(request)
    area = open_area(request.out, request.s3)
    with area.locked():
        found, identity = _found(request)
        receipt = area.receipt() if request.resume else None
        if receipt is None or not _is_of(receipt, request, identity, area):
            began = time.monotonic()
            plan, suppressed = _plan(request, area, found, identity)
            planned(plan)
            made, counters = _enriched(request, area, plan, suppressed, runner, progress)
            report = report_of(plan, made, counters, time.monotonic() - began)
            receipt = Receipt(identity, plan.mapping, report)
        area.write_receipt(receipt)
        return receipt.report


def suppressed_by(
    lake: str, parameters: ParameterStore, s3: S3Settings | None
) -> SuppressedContacts:
    """Those whom a lake suppresses now. Raises ``LetheError`` if it or its key cannot be had."""
    store = open_store(lake, s3)
    key = ScrubKey.of(parameters)
    check_key(store, key.fingerprint)
    known = DeliveryLog(store).positions()
    return SuppressedContacts(store, SubjectRules(key, known.suppressions))


def check_output(request: EnrichmentRequest) -> None:
    """Raise ``UsageError`` for an output that cannot be made, or would take the input's place."""
    output_format(request.out)
    open_area(request.out, request.s3)
    if _where(request.out, request.s3) == _where(request.input, request.s3):
        raise UsageError(f"--out {request.out!r}: is the file of contacts: name another one")


def _where(uri: str, s3: S3Settings | None) -> tuple[str, str]:
    store, key = split_uri(uri, s3)
    return store.uri, str(Path("/", key).resolve()) if store.uri == "/" else key


def _is_of(
    receipt: Receipt, request: EnrichmentRequest, identity: InputIdentity, area: WorkArea
) -> bool:
    """Whether the output is there, and was made of this input in the same way."""
    asked = (identity, dict(request.mapping))
    return (receipt.input, dict(receipt.mapping)) == asked and area.has_output()


def _enriched(
    request: EnrichmentRequest,
    area: WorkArea,
    plan: EnrichmentPlan,
    suppressed: SuppressedLines,
    runner: PipelineRunner,
    progress: Progress,
) -> tuple[Assembled, Mapping[str, int]]:
    """Make the output; what it came to, and the pipeline's counters."""
    fmt = output_format(request.out)
    enrichment = Enrichment(
        plan, area, request.api, progress, request.opener, fmt.is_table, suppressed
    )
    lanes = deal_out(plan, request.api, request.workers)
    with area.publishing() as sink:
        assembly = Assembly(area, plan, fmt, sink)
        with beside(assembly.follow):
            counters = runner.run(lambda p: enrich(p, enrichment, lanes), len(lanes))
        return assembly.finish(), counters


def _plan(
    request: EnrichmentRequest, area: WorkArea, found: FoundFile, identity: InputIdentity
) -> tuple[EnrichmentPlan, SuppressedLines]:
    """The plan of the unfinished run to go on with, else a new one; and who is left out of it."""
    sieve = None if request.suppressed is None else request.suppressed.open(datetime.now(UTC))
    plan = area.plan()
    if plan is None:
        return _new_plan(request, area, found, identity, sieve)
    if not request.resume:
        raise UsageError(
            f"{area.name}: an unfinished run is kept in {area.place}: go on with it "
            "by --resume, or remove that folder to begin anew"
        )
    _check_same(plan, request, identity, area)
    if sieve is not None and not plan.suppresses:
        plan = replace(plan, suppresses=True)
        area.write_plan(plan)
    return plan, _suppressed_since(request, area, plan, sieve)


def _new_plan(
    request: EnrichmentRequest,
    area: WorkArea,
    found: FoundFile,
    identity: InputIdentity,
    sieve: ContactSieve | None,
) -> tuple[EnrichmentPlan, SuppressedLines]:
    """A new plan; of a file that cannot be read to its end, no row is kept."""
    area.clear()
    planned = _plan_of_lines(request, found, identity, sieve)
    plan, suppressed = planned or (_plan_aside(request, area, found, identity, sieve), {})
    plan = replace(plan, suppresses=sieve is not None)
    area.write_plan(plan)
    return plan, suppressed


def _plan_of_lines(
    request: EnrichmentRequest,
    found: FoundFile,
    identity: InputIdentity,
    sieve: ContactSieve | None,
) -> tuple[EnrichmentPlan, SuppressedLines] | None:
    """The plan of a file that workers can read themselves, None if it is no such."""
    if request.out.startswith("s3://") and not found.uri.startswith("s3://"):
        return None  # workers may be where this machine's files are not
    first = request.opener.read_first(found.uri, MAX_ROW)
    if detect_compression(first[:_MAGIC]) is not Compression.NONE:
        return None
    lines = lines_begin(found.uri, first, request.mapping)
    if lines is None:
        return None
    with suppress(NotByLines):
        return _looked_through(request, identity, lines, sieve)
    return None


def _plan_aside(
    request: EnrichmentRequest,
    area: WorkArea,
    found: FoundFile,
    identity: InputIdentity,
    sieve: ContactSieve | None,
) -> EnrichmentPlan:
    """The plan of any other file, whose rows are set aside without those who are left out."""
    rows = _rows(request, found)
    try:
        sifted = rows if sieve is None else sieve.sift(rows)
        return set_aside(identity, sifted, request.mapping, request.batch_size, area)
    except LetheError:
        area.clear()
        raise


def _looked_through(
    request: EnrichmentRequest,
    identity: InputIdentity,
    lines: tuple[LineFormat, int, int],
    sieve: ContactSieve | None,
) -> tuple[EnrichmentPlan, SuppressedLines]:
    """The plan of a file of lines, and who is left out. Raises ``NotByLines``."""
    search = None if sieve is None else sieve.search(lines[0], request.mapping)
    look = None if search is None else search.look
    with request.opener.open_file(identity.uri, lines[1]) as stream:
        content = pieces(stream, Compression.NONE)
        plan = plan_of_lines(identity, lines, content, request.mapping, request.batch_size, look)
    return plan, {} if search is None else search.found(plan.parts)


def _suppressed_since(
    request: EnrichmentRequest, area: WorkArea, plan: EnrichmentPlan, sieve: ContactSieve | None
) -> SuppressedLines:
    """Who is left out of a run that is gone on with: some may have been erased since it began."""
    if sieve is None or not plan.parts:
        return {}
    if plan.lines is None:
        sift_aside(plan, area, sieve)
        return {}
    begin = plan.lines, plan.parts[0].start, plan.parts[0].line
    try:
        return _looked_through(request, plan.input, begin, sieve)[1]
    except NotByLines:
        raise InputError(f"{plan.input.uri}: has changed since the run began") from None


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


def _check_same(
    plan: EnrichmentPlan, request: EnrichmentRequest, identity: InputIdentity, area: WorkArea
) -> None:
    """Raise ``UsageError`` if going on would mix two different runs."""
    same = {
        "the input": plan.input == identity,
        "--map": dict(plan.mapping) == dict(request.mapping),
        "--batch-size": plan.batch_size == request.batch_size,
        "--suppressed-by": request.suppressed is not None or not plan.suppresses,
    }
    changed = [name for name, is_same in same.items() if not is_same]
    if changed:
        raise UsageError(
            f"--resume: since the run began, changed: {', '.join(changed)}: give what it was, or "
            f"remove {area.place} to begin anew"
        )


def report_of(
    plan: EnrichmentPlan, made: Assembled, counters: Mapping[str, int], seconds: float
) -> EnrichmentReport:
    """The report of an output, and of the counters of the pipeline that made it."""
    failed = sum(made.by_reason.values())
    return EnrichmentReport(
        contacts=plan.contacts,
        enriched=plan.contacts - failed,
        failed=failed,
        by_reason=made.by_reason,
        batches=plan.batches,
        kept_batches=counters.get("kept_batches", 0),
        calls=counters.get("calls", 0),
        retries=counters.get("retries", 0),
        seconds=round(seconds, 3),
        digest=made.digest,
    )
