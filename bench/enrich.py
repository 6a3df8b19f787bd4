"""The enrichment benchmark: whether cost grows linearly, and how far it is from the ideal.

    python -m bench.enrich [--count N]... [--latency-ms L] [--concurrency C] [--batch-size B]
                           [--repeat R]

The ideal is that of a client which costs nothing: batches x latency / concurrency. "x ideal" is of
the time without the start, which is that of a run with one contact. Prints a Markdown table and
writes ``bench/results/enrich.json``. The mock API runs on the same machine.
"""

from __future__ import annotations

import json
import math
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from bench.contenders import environment
from bench.deliver import RESULTS
from bench.measure import Usage, run_alone
from bench.report import document
from runners.generate import contacts
from runners.generate.output import write_file
from tests.mock_api import running_mock

COUNTS = (50_000, 100_000, 200_000, 400_000, 1_000_000)
_MEGA = 1_000_000


@dataclass(frozen=True)
class Load:
    """How the API is called."""

    latency: float
    concurrency: int
    batch_size: int

    def ideal(self, count: int) -> float:
        """Seconds that a client takes which costs nothing."""
        rounds = math.ceil(math.ceil(count / self.batch_size) / self.concurrency)
        return rounds * self.latency


@dataclass(frozen=True)
class Outcome:
    """The runs with one number of contacts; figures are medians."""

    contacts: int
    ideal: float
    runs: tuple[Usage, ...]

    def middle(self, name: str) -> float:
        return median(getattr(run, name) for run in self.runs)


def main(
    count: Annotated[list[int] | None, typer.Option(min=1)] = None,
    latency_ms: Annotated[int, typer.Option(min=1)] = 50,
    concurrency: Annotated[int, typer.Option(min=1)] = 64,
    batch_size: Annotated[int, typer.Option(min=1)] = 100,
    repeat: Annotated[int, typer.Option(min=1)] = 3,
) -> None:
    """Measure and report."""
    load = Load(latency_ms / 1000, concurrency, batch_size)
    with tempfile.TemporaryDirectory(prefix="lethe-bench-") as name, api(load) as url:
        begun = measured(1, load, Path(name), url, repeat)
        start = max(0.0, begun.middle("seconds") - load.latency)
        outcomes = [measured(each, load, Path(name), url, repeat) for each in count or COUNTS]
    print(f"start: {start:.2f} s\n\n{table(outcomes, start)}")
    write_results(load, start, outcomes)


@contextmanager
def api(load: Load) -> Iterator[str]:
    with running_mock(latency=load.latency) as mock:
        yield mock.url


def measured(count: int, load: Load, folder: Path, url: str, repeat: int) -> Outcome:
    source = folder / f"{count}.ndjson"
    write_file(source, contacts(count, seed=7))
    runs = tuple(run(source, load, folder, url) for _ in range(repeat))
    return Outcome(count, load.ideal(count), runs)


def run(source: Path, load: Load, folder: Path, url: str) -> Usage:
    """One enrichment; ends the benchmark if it fails."""
    options = ("--batch-size", str(load.batch_size), "--concurrency", str(load.concurrency))
    out, log = folder / "out.ndjson", folder / "log"
    command = [sys.executable, "-m", "runners.cli", "enrich", str(source), "--out", str(out)]
    env = {**environment(), "LETHE_STATE__FOLDER": str(folder / "state")}
    usage = run_alone([*command, "--api", url, *options], env, log)
    if usage.status != 0:
        raise SystemExit(log.read_text())
    return usage


def table(outcomes: list[Outcome], start: float) -> str:
    lines = [
        "| contacts | seconds | contacts/s | ideal s | x ideal | CPU s | peak MB |",
        "| --: | --: | --: | --: | --: | --: | --: |",
    ]
    for each in outcomes:
        seconds = each.middle("seconds")
        times = (seconds - start) / each.ideal
        lines.append(
            f"| {each.contacts:,} | {seconds:.2f} | {each.contacts / seconds:,.0f} | "
            f"{each.ideal:.2f} | {times:.2f} | {each.middle('cpu_seconds'):.1f} | "
            f"{each.middle('peak_bytes') / _MEGA:,.0f} |"
        )
    return "\n".join(lines)


def write_results(load: Load, start: float, outcomes: list[Outcome]) -> None:
    found = document([])
    found["load"] = asdict(load)
    found["start_seconds"] = start
    found["results"] = [asdict(each) for each in outcomes]
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "enrich.json").write_text(json.dumps(found, indent=2) + os.linesep)


if __name__ == "__main__":
    typer.run(main)
