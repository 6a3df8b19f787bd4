"""What people see of an enrichment: how far it is, and what it did."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from runners.progress import beside
from runners.report import counted, labelled
from schemas.contacts import EnrichmentPlan, EnrichmentReport
from transforms.contacts.progress import FileProgress

_BAR_EVERY = 0.25
_LINE_EVERY = 10.0

_log = structlog.get_logger()


class Display:
    """Shows how many batches the workers have finished: a bar on a terminal, else log lines."""

    def __init__(self, file: Path, console: Console) -> None:
        self.progress = FileProgress(file)
        self._console = console
        self._batches = 0

    def planned(self, plan: EnrichmentPlan) -> None:
        """Know how many there are."""
        self._batches = plan.batches

    def show(self, stop: threading.Event) -> None:
        """Show what is known until ``stop`` is set."""
        if self._console.is_terminal:
            self._show_bar(stop)
        else:
            self._show_lines(stop)

    def _show_bar(self, stop: threading.Event) -> None:
        columns = (
            TextColumn("enriching"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("batches, {task.fields[failed]:,} contacts failed"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._console, transient=True) as bar:
            task = bar.add_task("", total=None, failed=0)
            while not stop.wait(_BAR_EVERY):
                batches, failed = self.progress.total()
                bar.update(task, total=self._batches or None, completed=batches, failed=failed)

    def _show_lines(self, stop: threading.Event) -> None:
        began = time.monotonic()
        while not stop.wait(_LINE_EVERY):
            batches, failed = self.progress.total()
            _log.info(
                "enriching",
                batches=batches,
                of_batches=self._batches,
                failed_contacts=failed,
                seconds=round(time.monotonic() - began, 1),
            )


@contextmanager
def shown_enrichment(console: Console) -> Iterator[Display]:
    """A display while the block runs; give its ``progress`` and ``planned`` to the enrichment."""
    with tempfile.TemporaryDirectory(prefix="lethe-enrich-") as folder:
        display = Display(Path(folder) / "progress", console)
        with beside(display.show):
            yield display


def show_enrichment_report(report: EnrichmentReport, console: Console) -> None:
    """Print the report as a table, and one of the reasons if any contact failed."""
    console.print(labelled(_lines(report)))
    if report.by_reason:
        console.print(counted("reason", "contacts", report.by_reason))


def _lines(report: EnrichmentReport) -> list[tuple[str, str]]:
    speed = report.contacts / report.seconds if report.seconds else 0.0
    return [
        ("contacts", f"{report.contacts:,}"),
        ("enriched", f"{report.enriched:,}"),
        ("failed", f"{report.failed:,}"),
        ("batches", f"{report.batches:,}, of these {report.kept_batches:,} finished before"),
        ("calls", f"{report.calls:,}, of these {report.retries:,} repeats"),
        ("time", f"{report.seconds:,.2f} s, {speed:,.0f} contacts/s"),
    ]
