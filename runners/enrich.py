"""Enrich a contact file: set its rows aside, finish all batches, publish the output.

Each step leaves what it did in the work folder, and begins where that ends; so a run that was
killed is gone on with from any instant.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from beam_pipelines.enrich import Enrichment, enrich
from runners.choose import PipelineRunner
from runners.enrich_report import shown_enrichment
from schemas.contacts import EnrichmentPlan, EnrichmentReport, InputIdentity, Receipt, Row
from schemas.errors import LetheError, UsageError
from stores.enrichment.client import ApiSettings
from stores.enrichment.work import WorkFolder
from stores.inputs import FoundFile, InputOpener
from transforms.contacts.prepare import prepare
from transforms.contacts.read import read_contacts
from transforms.decompress import detect_compression, pieces

_MAGIC = 8
"""Bytes that tell a compression."""


@dataclass(frozen=True)
class EnrichmentRequest:
    """An enrichment as it was asked for. ``mapping`` gives fields their names in the output."""

    input: str
    work: WorkFolder
    api: ApiSettings
    mapping: Mapping[str, str]
    batch_size: int
    resume: bool
    opener: InputOpener


def run_enrichment(
    request: EnrichmentRequest, runner: PipelineRunner, console: Console
) -> EnrichmentReport:
    """Enrich the file, or finish what an earlier run began.

    Raises ``LetheError``; whatever happens, the output is not there or whole, and finished batches
    are kept for ``resume``.
    """
    with request.work.locked():
        found, identity = _found(request)
        receipt = request.work.receipt() if request.resume else None
        if receipt is None or not _is_of(receipt, request, identity):
            receipt = _run(request, found, identity, runner, console)
        request.work.write_receipt(receipt)
        return receipt.report


def _is_of(receipt: Receipt, request: EnrichmentRequest, identity: InputIdentity) -> bool:
    """Whether the output is there, and was made of this input in the same way."""
    asked = (identity, dict(request.mapping))
    return (receipt.input, dict(receipt.mapping)) == asked and request.work.out.exists()


def _run(
    request: EnrichmentRequest,
    found: FoundFile,
    identity: InputIdentity,
    runner: PipelineRunner,
    console: Console,
) -> Receipt:
    began = time.monotonic()
    plan = _plan(request, found, identity)
    with (
        tempfile.TemporaryDirectory(prefix="lethe-enrich-") as progress,
        shown_enrichment(Path(progress), plan.contacts, console),
    ):
        enrichment = Enrichment(plan, request.work, request.api, Path(progress))
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
