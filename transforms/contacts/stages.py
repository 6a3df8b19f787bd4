"""The stages of an enrichment as Beam carries them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from schemas.contacts import EnrichmentPlan, Part, Row
from stores.enrichment.api import EnrichmentApi
from stores.enrichment.client import ApiSettings, EnrichmentClient
from stores.enrichment.work import WorkFolder
from transforms.contacts.columns import summary_of
from transforms.contacts.crew import Crew
from transforms.contacts.enrich import enrich_rows
from transforms.contacts.output import WRITERS, Columns, encode_results, output_format
from transforms.contacts.prepare import batches_of
from transforms.contacts.progress import PartCounts, Progress
from transforms.stages import report_metrics


@dataclass(frozen=True)
class Tally:
    """What one bundle did: batches found finished, requests, and repeats among these."""

    kept_batches: int
    calls: int
    retries: int


class EnrichParts(beam.DoFn):
    """Parts to finished batches in the work folder, and a tally of the bundle.

    Batches are asked for side by side; those that are finished already are passed over.
    ``progress`` tells how far this is.
    """

    def __init__(
        self, work: WorkFolder, plan: EnrichmentPlan, api: ApiSettings, progress: Progress
    ) -> None:
        self._work = work
        self._batch_size = plan.batch_size
        self._settings = api
        self._progress = progress

    def start_bundle(self) -> None:
        settings = self._settings
        self._api = EnrichmentApi(settings.url, settings.concurrency, settings.timeout)
        self._crew = Crew(settings.concurrency)
        self._client = EnrichmentClient(settings, self._api, self._crew.clock)
        self._counts = PartCounts(self._progress.reporter())
        self._kept = 0

    def process(self, part: Part) -> None:
        for number, rows in batches_of(self._work.read_part(part), part, self._batch_size):
            found = self._work.summary(number)
            if found is not None:
                self._kept += 1
                self._counts.add(part.number, [found.failed])
            else:
                self._crew.do(_Task(self, part.number, number, rows))

    def finish_bundle(self) -> Iterator[Any]:
        self._crew.finish()
        self._counts.close()
        self._api.close()
        counts = self._client.counts
        tally = Tally(self._kept, counts.calls, counts.retries)
        window = GlobalWindow()
        yield WindowedValue(tally, window.max_timestamp(), [window])

    def enrich(self, part: int, number: int, rows: list[Row]) -> None:
        """Finish one batch."""
        results = enrich_rows(rows, self._client.enrich)
        summary = summary_of(results)
        self._work.write_batch(number, summary, encode_results(results))
        self._counts.add(part, [summary.failed])


@dataclass(frozen=True)
class _Task:
    """One batch for a thread of the crew."""

    stage: EnrichParts
    part: int
    number: int
    rows: list[Row]

    def __call__(self) -> None:
        self.stage.enrich(self.part, self.number, self.rows)


class Publish(beam.DoFn):
    """All tallies, which come when all batches are finished, to the output; counts as metrics."""

    def __init__(self, work: WorkFolder, plan: EnrichmentPlan) -> None:
        self._work = work
        self._batches = range(plan.batches)

    def process(self, keyed: tuple[None, Iterable[Tally]]) -> None:
        columns, by_reason = self._survey()
        writer = WRITERS[output_format(self._work.out.name)]
        with self._work.publishing() as sink:
            output = writer(sink, columns)
            for number in self._batches:
                output.add(self._work.lines(number))
            output.finish()
        tallies = list(keyed[1])
        report_metrics(
            {
                "by_reason": dict(by_reason),
                "kept_batches": sum(tally.kept_batches for tally in tallies),
                "calls": sum(tally.calls for tally in tallies),
                "retries": sum(tally.retries for tally in tallies),
            }
        )

    def _survey(self) -> tuple[Columns, Counter[str]]:
        """The columns of all batches, and how many contacts failed for which reason."""
        columns, by_reason = Columns(), Counter[str]()
        for number in self._batches:
            summary = self._work.finished(number)
            columns = columns.with_those_of(summary)
            by_reason.update(summary.by_reason)
        return columns, by_reason
