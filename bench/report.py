"""What a benchmark found: a table to read and a JSON document to keep."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from bench.measure import Usage

_MEGA = 1_000_000
_HEADINGS = (
    "contender", "records", "seconds", "records/s", "MB/s", "CPU s", "peak MB", "x DuckDB",
    "x PySpark",
)  # fmt: skip
_PACKAGES = ("apache-beam", "duckdb", "fastavro", "msgspec", "pyarrow")


@dataclass(frozen=True)
class Result:
    """The runs of one contender; ``failure`` says why there are none that count."""

    name: str
    title: str
    records: int
    input_bytes: int
    runs: tuple[Usage, ...]
    failure: str | None = None

    @property
    def seconds(self) -> float:
        """Median over the runs, as are all figures below."""
        return median(run.seconds for run in self.runs)

    @property
    def cpu_seconds(self) -> float:
        return median(run.cpu_seconds for run in self.runs)

    @property
    def peak_bytes(self) -> float:
        return median(run.peak_bytes for run in self.runs)

    @property
    def records_per_second(self) -> float:
        return self.records / self.seconds


def table(results: Sequence[Result]) -> str:
    """The results as a Markdown table; a ratio of 2.0 is twice as many records per second."""
    lines = [list(_HEADINGS), *(_line(result, results) for result in results)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, [_rule(place, width) for place, width in enumerate(widths)])
    return "\n".join(_row(line, widths) for line in lines)


def _rule(place: int, width: int) -> str:
    return "-" * width if place == 0 else "-" * (width - 1) + ":"


def _row(cells: list[str], widths: list[int]) -> str:
    name, *figures = (
        cell.rjust(width) if place else cell.ljust(width)
        for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "| " + " | ".join([name, *figures]) + " |"


def _line(result: Result, results: Sequence[Result]) -> list[str]:
    if result.failure is not None:
        return [result.title, f"{result.records:,}", result.failure, *[""] * 6]
    return [
        result.title,
        f"{result.records:,}",
        f"{result.seconds:.2f}",
        f"{result.records_per_second:,.0f}",
        f"{result.input_bytes / result.seconds / _MEGA:.1f}",
        f"{result.cpu_seconds:.1f}",
        f"{result.peak_bytes / _MEGA:,.0f}",
        _ratio(result, "duckdb", results),
        _ratio(result, "pyspark", results),
    ]


def _ratio(result: Result, other: str, results: Sequence[Result]) -> str:
    for base in results:
        if base.name == other and base.failure is None:
            return f"{result.records_per_second / base.records_per_second:.2f}"
    return "-"


def document(results: Sequence[Result]) -> dict[str, Any]:
    """All runs of all contenders, with the machine and the versions they ran on."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": _machine(),
        "versions": {name: version(name) for name in _PACKAGES},
        "results": [_entry(result) for result in results],
    }


def _entry(result: Result) -> dict[str, Any]:
    entry = asdict(result)
    if result.failure is None:
        entry["records_per_second"] = round(result.records_per_second, 1)
    return entry


def _machine() -> dict[str, Any]:
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()
