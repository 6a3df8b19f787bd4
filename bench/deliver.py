"""The delivery benchmark: the same change records, delivered by Lethe and by others, in turn.

    python -m bench.deliver [--count N] [--repeat R] [--only NAMES] [--no-avro]

Prints a Markdown table and writes ``bench/results/deliver.json``. Ends with status 1 if a
contender failed or delivered other rows than it was given.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from bench.check import Rows, rows_in_input, rows_in_lake
from bench.contenders import CONTENDERS, Contender, Unavailable, environment
from bench.measure import Usage, run_measured
from bench.report import Result, document, table
from runners.generate import FileFormat, changes
from runners.generate.output import write_file

SEED = 7
DATA = Path(__file__).parent / "data"
RESULTS = Path(__file__).parent / "results"

Count = Annotated[int, typer.Option(min=1, help="How many change records to deliver.")]
Repeat = Annotated[int, typer.Option(min=1, help="Runs of each contender; the median counts.")]
Only = Annotated[str | None, typer.Option(help="Only these contenders: lethe-2,duckdb.")]
Avro = Annotated[bool, typer.Option(help="Whether Lethe also delivers Avro.")]


@dataclass(frozen=True)
class Source:
    """An input file, and the rows of each type that a lake of it must hold."""

    path: Path
    count: int
    expected: Rows


@dataclass
class Entry:
    """A contender in the running, with its runs so far; ``failure`` takes it out."""

    contender: Contender
    source: Source
    python: str = ""
    runs: list[Usage] = field(default_factory=list)
    failure: str | None = None

    @property
    def result(self) -> Result:
        contender, source = self.contender, self.source
        size = source.path.stat().st_size
        runs = tuple(self.runs)
        return Result(contender.name, contender.title, source.count, size, runs, self.failure)


def main(
    count: Count = 1_000_000, repeat: Repeat = 3, only: Only = None, avro: Avro = True
) -> None:
    """Deliver the same change records with every contender, and compare."""
    entries = enter(choose(only, avro), count)
    for turn in range(repeat):
        for entry in entries:
            take_turn(entry, turn)
    results = [entry.result for entry in entries]
    print(table(results))
    write_results(results)
    sys.exit(any(result.failure is not None for result in results))


def choose(only: str | None, avro: bool) -> list[Contender]:
    """The contenders of these names, separated by commas; all of them if ``only`` is None."""
    names = {contender.name for contender in CONTENDERS}
    wanted = names if only is None else set(only.split(","))
    if not wanted <= names:
        raise typer.BadParameter(f"--only takes some of {', '.join(sorted(names))}")
    chosen = [contender for contender in CONTENDERS if contender.name in wanted]
    return [contender for contender in chosen if avro or contender.format != "avro"]


def enter(contenders: Sequence[Contender], count: int) -> list[Entry]:
    """An entry each; one that cannot run here is entered with its failure."""
    counts = {contender.count(count) for contender in contenders}
    sources = {each: make_source(each) for each in sorted(counts)}
    return [_entry(contender, sources[contender.count(count)]) for contender in contenders]


def _entry(contender: Contender, source: Source) -> Entry:
    try:
        return Entry(contender, source, contender.python())
    except Unavailable as reason:
        return Entry(contender, source, failure=f"not available: {reason}")


def make_source(count: int) -> Source:
    """The file of ``count`` seeded records, made once; counting its rows also warms the cache."""
    path = DATA / f"changes-{count}.ndjson"
    if not path.exists():
        write_file(path, changes(count, SEED, FileFormat.KINESIS))
    return Source(path, count, rows_in_input(path))


def take_turn(entry: Entry, turn: int) -> None:
    """Run a contender into an empty lake, and hold its rows against the input's."""
    if entry.failure is not None:
        return
    name = entry.contender.name
    lake = _empty_lake(name)
    command = entry.contender.command(entry.python, entry.source.path, lake)
    log = _log(name)
    usage = run_measured(command, environment(), log)
    entry.failure = _failure(entry, usage, lake)
    entry.runs.append(usage)
    outcome = f"{entry.failure}: see {log}" if entry.failure else f"{usage.seconds:.2f} s"
    print(f"{name} {turn + 1}: {outcome}", file=sys.stderr)


def _empty_lake(name: str) -> Path:
    lake = DATA / "lakes" / name
    if lake.exists():
        shutil.rmtree(lake)
    lake.parent.mkdir(parents=True, exist_ok=True)
    os.sync()  # nobody pays for what the one before left in memory
    return lake


def _log(name: str) -> Path:
    path = DATA / "logs" / f"{name}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _failure(entry: Entry, usage: Usage, lake: Path) -> str | None:
    if usage.status != 0:
        return f"failed with status {usage.status}"
    if rows_in_lake(lake, entry.contender.format) != entry.source.expected:
        return "delivered other rows than it was given"
    return None


def write_results(results: Sequence[Result]) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document(results), indent=2)
    (RESULTS / "deliver.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
