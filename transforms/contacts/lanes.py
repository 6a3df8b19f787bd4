"""Lanes: the parts of a file dealt out to workers, each with its share of the calls.

An engine may give a worker one lane or several at once: all that a worker has are worked off
together, with as many calls at the same time as their shares come to. So never more calls are made
at the same time than were asked for, whatever the engine does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from schemas.contacts import EnrichmentPlan, Part, Row
from schemas.errors import InputError
from stores.enrichment.api import EnrichmentApi
from stores.enrichment.area import PartResults, WorkArea
from stores.enrichment.client import ApiSettings, EnrichmentClient
from stores.enrichment.records import FinishedBatch
from stores.enrichment.rows import rows_of
from stores.inputs import InputOpener
from transforms.contacts.columns import summary_of
from transforms.contacts.crew import Crew
from transforms.contacts.enrich import enrich_rows
from transforms.contacts.output import encode_results
from transforms.contacts.prepare import batches_of
from transforms.contacts.progress import PartCounts, Progress
from transforms.contacts.read import read_part
from transforms.contacts.suppress import SuppressedLines, left_out

_PIECE = 1 << 18


@dataclass(frozen=True)
class Enrichment:
    """What is to be enriched, where the work is kept, and whom to ask.

    ``progress`` tells whoever looks how far the work is. ``with_columns`` is for tables, whose
    columns have to be found.
    """

    plan: EnrichmentPlan
    area: WorkArea
    api: ApiSettings
    progress: Progress
    opener: InputOpener
    with_columns: bool
    suppressed: SuppressedLines = field(default_factory=dict)
    """Where contacts stand that are left out."""


@dataclass(frozen=True)
class Lane:
    """Parts in their order, and a share of the calls: at the same time, and a second."""

    parts: tuple[Part, ...]
    calls: int
    rate: float | None


@dataclass(frozen=True)
class LaneCounts:
    """What a worker did: batches found finished, requests, and repeats among these."""

    kept_batches: int
    calls: int
    retries: int


def deal_out(plan: EnrichmentPlan, api: ApiSettings, workers: int) -> list[Lane]:
    """Lanes for so many workers, fewer if there are not so many parts or calls."""
    count = min(workers, len(plan.parts), api.concurrency)
    rate = None if api.rate is None else api.rate / count if count else None
    return [
        Lane(plan.parts[lane::count], (api.concurrency + lane) // count, rate)
        for lane in range(count)
    ]


def work_off(enrichment: Enrichment, lanes: Sequence[Lane]) -> LaneCounts:
    """Finish all batches of the lanes. Raises ``LetheError``, with what is finished kept."""
    with ExitStack() as stack:
        return _LaneWork(enrichment, lanes, stack).run(_in_turn(lanes))


def _in_turn(lanes: Sequence[Lane]) -> list[Part]:
    """All parts by number: those that are needed first, first."""
    return sorted((part for lane in lanes for part in lane.parts), key=lambda part: part.number)


class _LaneWork:
    def __init__(self, enrichment: Enrichment, lanes: Sequence[Lane], stack: ExitStack) -> None:
        self._enrichment = enrichment
        calls = sum(lane.calls for lane in lanes)
        rates = [lane.rate for lane in lanes if lane.rate is not None]
        settings = replace(enrichment.api, concurrency=calls, rate=sum(rates) if rates else None)
        self._counts = PartCounts(enrichment.progress.reporter())
        stack.callback(self._counts.close)
        self._api = EnrichmentApi(settings.url, calls, settings.timeout)
        stack.callback(self._api.close)
        self._open: dict[int, PartResults] = {}
        stack.callback(self._leave)
        # Some more threads than calls, so that an answer can be worked on while others are awaited.
        self._crew = Crew(calls + calls // 4 + 1)
        stack.callback(self._crew.dismiss)
        self._client = EnrichmentClient(settings, self._api, self._crew.clock)
        self._kept = 0

    def run(self, parts: Sequence[Part]) -> LaneCounts:
        for part in parts:
            self._begin(part)
        self._crew.finish()
        counts = self._client.counts
        return LaneCounts(self._kept, counts.calls, counts.retries)

    def _begin(self, part: Part) -> None:
        """Bring the batches of a part that are not finished to the crew."""
        enrichment = self._enrichment
        results = enrichment.area.results(enrichment.plan.id, part)
        self._kept += len(results.finished)
        self._counts.add(part.number, [batch.failed for batch in results.finished.values()])
        if results.is_complete:
            return
        self._open[part.number] = results
        rows = rows_of_part(enrichment, part)
        if part.number in enrichment.suppressed:
            rows = left_out(rows, enrichment.suppressed[part.number])
        for number, batch in batches_of(rows, part, enrichment.plan.batch_size):
            if number not in results.finished:
                self._crew.do(_Task(self, part.number, results, number, batch))

    def finish(self, part: int, results: PartResults, number: int, rows: list[Row]) -> None:
        """Finish one batch."""
        found = enrich_rows(rows, self._client.enrich)
        summary = summary_of(found, self._enrichment.with_columns)
        digests = b"".join([row.digest for row in rows])
        results.add(FinishedBatch(number, summary, digests, encode_results(found)))
        self._counts.add(part, [summary.failed])
        if results.is_complete:
            self._open.pop(part, None)

    def _leave(self) -> None:
        for results in list(self._open.values()):
            results.close()


@dataclass(frozen=True)
class _Task:
    """One batch for a thread of the crew."""

    work: _LaneWork
    part: int
    results: PartResults
    number: int
    rows: list[Row]

    def __call__(self) -> None:
        self.work.finish(self.part, self.results, self.number, self.rows)


def rows_of_part(enrichment: Enrichment, part: Part) -> Iterator[Row]:
    """The rows of a part, from where it was set aside or from the input.

    Raises ``InputError`` if that is not what it was.
    """
    plan = enrichment.plan
    if plan.lines is None:
        return rows_of(enrichment.area.read_part(plan.id, part.number))
    return read_part(plan.lines, _pieces(enrichment, part), part.line, plan.mapping)


def _pieces(enrichment: Enrichment, part: Part) -> Iterator[bytes]:
    known, left = enrichment.plan.input, part.size
    with enrichment.opener.open_file(known.uri, part.start) as stream:
        # Looked at after it was opened: what is read from here on is what was looked at.
        info = enrichment.opener.find(known.uri)[0].info
        if (info.size, info.etag) != (known.size, known.etag):
            raise InputError(f"{known.uri}: has changed since the run began")
        while left and (piece := stream.read(min(left, _PIECE))):
            left -= len(piece)
            yield piece
