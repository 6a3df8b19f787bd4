"""The report of a delivery, and how it looks to people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from schemas.contacts import EnrichmentReport
from schemas.errors import StoreError


@dataclass(frozen=True)
class Report:
    """What a delivery did. ``read == delivered + dead_letters + filtered + suppressed``, always.

    ``files`` and ``bytes`` are of the data files written; ``inputs`` were read and ``skipped``
    found covered already. ``commit`` is the number in the delivery log, None if nothing was new
    or nothing was to be written.
    """

    read: int = 0
    delivered: int = 0
    dead_letters: int = 0
    filtered: int = 0
    suppressed: int = 0
    parked: int = 0
    discarded_fields: int = 0
    repeats: int = 0
    unidentified: int = 0
    by_type: dict[str, int] = field(default_factory=dict)
    by_date: dict[str, int] = field(default_factory=dict)
    by_error: dict[str, int] = field(default_factory=dict)
    inputs: int = 0
    skipped: int = 0
    input_bytes: int = 0
    files: int = 0
    bytes: int = 0
    seconds: float = 0.0
    records_per_second: float = 0.0
    commit: int | None = None
    dry_run: bool = False

    @property
    def error_rate(self) -> float:
        return self.dead_letters / self.read if self.read else 0.0


def write_report(report: Report | EnrichmentReport, path: Path) -> None:
    """Write the report as JSON. Raises ``StoreError`` if the file cannot be written."""
    try:
        path.write_text(json.dumps(asdict(report), indent=2) + "\n")
    except OSError as error:
        raise StoreError(f"{path}: the report cannot be written: {error.strerror}") from error


def show_report(report: Report, console: Console) -> None:
    """Print the report as a table."""
    console.print(labelled(_lines(report)))
    if report.by_type:
        console.print(counted("type", "rows", report.by_type))
    if report.by_error:
        console.print(counted("error", "dead letters", report.by_error))


def labelled(lines: Iterable[tuple[str, str]]) -> Table:
    """Values, each behind its label."""
    table = Table(show_header=False, box=None, pad_edge=False)
    for label, value in lines:
        table.add_row(f"[bold]{label}[/]", value)
    return table


def counted(name: str, unit: str, counts: Mapping[str, int]) -> Table:
    """How many ``unit`` there are of each ``name``, most first."""
    table = Table(box=None, pad_edge=False)
    table.add_column(name)
    table.add_column(unit, justify="right")
    for key, count in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])):
        table.add_row(key, f"{count:,}")
    return table


def _lines(report: Report) -> list[tuple[str, str]]:
    commit = "nothing written (dry run)" if report.dry_run else str(report.commit or "nothing new")
    lines = [
        ("commit", commit),
        ("inputs", f"{report.inputs:,} read, {report.skipped:,} covered before"),
        ("read", f"{report.read:,}"),
        ("delivered", f"{report.delivered:,} in {len(report.by_date):,} dates"),
        ("dead letters", f"{report.dead_letters:,}"),
        ("filtered", f"{report.filtered:,}"),
        ("files", f"{report.files:,} of {report.bytes / 1e6:,.1f} MB"),
        ("time", f"{report.seconds:,.2f} s, {report.records_per_second:,.0f} records/s"),
    ]
    if report.repeats:
        lines.insert(6, ("of these repeats", f"{report.repeats:,}"))
    if report.suppressed:
        lines.insert(6, ("suppressed", f"{report.suppressed:,}"))
    if report.parked:
        lines.insert(5, ("parked", f"{report.parked:,}"))
    if report.discarded_fields:
        lines.insert(5, ("discarded fields", f"{report.discarded_fields:,}"))
    return lines
