"""What people see of an enrichment: how far it is, and what it did."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import structlog
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from runners.progress import beside
from schemas.contacts import EnrichmentReport
from schemas.errors import StoreError
from transforms.progress import read_progress

_BAR_EVERY = 0.25
_LINE_EVERY = 10.0

_log = structlog.get_logger()


@contextmanager
def shown_enrichment(folder: Path, total: int, console: Console) -> Iterator[None]:
    """Show, while the block runs, how many of ``total`` contacts the workers have finished.

    A bar on a terminal, a log line now and then elsewhere.
    """
    show = _show_bar if console.is_terminal else _show_lines
    with beside(lambda stop: show(folder, total, console, stop)):
        yield


def _show_bar(folder: Path, total: int, console: Console, stop: threading.Event) -> None:
    columns = (
        TextColumn("enriching"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]:,} failed"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total, failed=0)
        while not stop.wait(_BAR_EVERY):
            now = read_progress(folder)
            bar.update(task, completed=now.records, failed=now.dead_letters)


def _show_lines(folder: Path, total: int, console: Console, stop: threading.Event) -> None:
    del console
    began = time.monotonic()
    while not stop.wait(_LINE_EVERY):
        now = read_progress(folder)
        _log.info(
            "enriching",
            contacts=now.records,
            of_contacts=total,
            failed=now.dead_letters,
            seconds=round(time.monotonic() - began, 1),
        )


def write_enrichment_report(report: EnrichmentReport, path: Path) -> None:
    """Write the report as JSON. Raises ``StoreError`` if the file cannot be written."""
    try:
        path.write_text(json.dumps(asdict(report), indent=2) + "\n")
    except OSError as error:
        raise StoreError(f"{path}: the report cannot be written: {error.strerror}") from error


def show_enrichment_report(report: EnrichmentReport, console: Console) -> None:
    """Print the report as a table, and one of the reasons if any contact failed."""
    table = Table(show_header=False, box=None, pad_edge=False)
    for label, value in _lines(report):
        table.add_row(f"[bold]{label}[/]", value)
    console.print(table)
    if report.by_reason:
        console.print(_reasons(report))


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


def _reasons(report: EnrichmentReport) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("reason")
    table.add_column("contacts", justify="right")
    for reason, count in sorted(report.by_reason.items(), key=lambda entry: (-entry[1], entry[0])):
        table.add_row(reason, f"{count:,}")
    return table
