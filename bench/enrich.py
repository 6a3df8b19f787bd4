"""The enrichment benchmark: whether cost grows linearly, and how far it is from the ideal.

    python -m bench.enrich [--count N]... [--latency-ms L] [--concurrency C] [--batch-size B]
                           [--repeat R] [--suppress N]

The ideal is that of a client which costs nothing: batches x latency / concurrency. "x ideal" is of
the time without the start, which is that of a run with one contact. Then the most contacts of all
are enriched in turns with and without a lake that N subjects were erased from, none of them among
the contacts: what leaving them out costs. Prints Markdown tables and writes
``bench/results/enrich.json``. The mock API runs on the same machine.
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

from bench.deliver import RESULTS
from bench.erase import Ground, subject_file
from bench.measure import Usage, run_alone
from bench.report import document
from runners.generate import contacts
from runners.generate.output import write_file
from runners.generate.people import person
from tests.mock_api import running_mock

COUNTS = (50_000, 100_000, 200_000, 400_000, 1_000_000)
_MEGA = 1_000_000
_EXAMPLE = Path(__file__).parents[1] / "examples" / "kinesis-records.ndjson"
_NOBODYS = 90_000_000
"""People of numbers from here on are in no file of contacts."""


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
    suppress: Annotated[int, typer.Option(min=1, help="Erased subjects.")] = 100,
) -> None:
    """Measure and report."""
    load = Load(latency_ms / 1000, concurrency, batch_size)
    with tempfile.TemporaryDirectory(prefix="lethe-bench-") as name:
        folder = Path(name)
        lake = erased_lake(folder, suppress)
        with api(load) as url:
            begun = measured(1, load, folder, url, repeat)
            start = max(0.0, begun.middle("seconds") - load.latency)
            outcomes = [measured(each, load, folder, url, repeat) for each in count or COUNTS]
            turns = in_turns(max(count or COUNTS), load, folder, url, repeat, lake)
    print(f"start: {start:.2f} s\n\n{table(outcomes, start)}\n\n{suppression_table(turns)}")
    write_results(load, start, outcomes, turns)


@contextmanager
def api(load: Load) -> Iterator[str]:
    with running_mock(latency=load.latency) as mock:
        yield mock.url


def measured(count: int, load: Load, folder: Path, url: str, repeat: int) -> Outcome:
    source = folder / f"{count}.ndjson"
    write_file(source, contacts(count, seed=7))
    runs = tuple(run(source, load, folder, url) for _ in range(repeat))
    return Outcome(count, load.ideal(count), runs)


@dataclass(frozen=True)
class Turns:
    """Runs with the same contacts, in turns: by themselves, and with subjects to leave out."""

    contacts: int
    plain: tuple[Usage, ...]
    suppressing: tuple[Usage, ...]


def in_turns(count: int, load: Load, folder: Path, url: str, repeat: int, lake: Path) -> Turns:
    """The contacts must have been written by ``measured``."""
    source = folder / f"{count}.ndjson"
    pairs = [
        (
            run(source, load, folder, url),
            run(source, load, folder, url, "--suppressed-by", str(lake)),
        )
        for _ in range(repeat)
    ]
    plain, suppressing = zip(*pairs, strict=True)
    return Turns(count, plain, suppressing)


def erased_lake(folder: Path, subjects: int) -> Path:
    """A lake from which people were erased who are in none of the contacts."""
    ground, lake = Ground(folder), folder / "lake"
    ground.deliver(_EXAMPLE, lake)
    people = [person(_NOBODYS + n) for n in range(subjects)]
    ground.erase(lake, subject_file(folder / "subjects", people))
    return lake


def run(source: Path, load: Load, folder: Path, url: str, *suppress: str) -> Usage:
    """One enrichment; ends the benchmark if it fails."""
    options = ("--batch-size", str(load.batch_size), "--concurrency", str(load.concurrency))
    out, log = folder / "out.ndjson", folder / "log"
    command = [sys.executable, "-m", "runners.cli", "enrich", str(source), "--out", str(out)]
    env = Ground(folder).env
    usage = run_alone([*command, "--api", url, *options, *suppress], env, log)
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


def suppression_table(turns: Turns) -> str:
    lines = ["| in turns | seconds | CPU s |", "| :-- | --: | --: |"]
    for what, runs in (
        (f"{turns.contacts:,} contacts", turns.plain),
        ("beside erased subjects", turns.suppressing),
    ):
        seconds = median(run.seconds for run in runs)
        lines.append(f"| {what} | {seconds:.2f} | {median(run.cpu_seconds for run in runs):.2f} |")
    return "\n".join(lines)


def write_results(load: Load, start: float, outcomes: list[Outcome], turns: Turns) -> None:
    found = document([])
    found["load"] = asdict(load)
    found["start_seconds"] = start
    found["results"] = [asdict(each) for each in outcomes]
    found["suppression"] = asdict(turns)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "enrich.json").write_text(json.dumps(found, indent=2) + os.linesep)


if __name__ == "__main__":
    typer.run(main)
