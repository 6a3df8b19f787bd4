"""The erasure benchmark: ``lethe erase`` beside the usual method, and how it grows.

    python -m bench.erase [--count N] [--find-records N] [--big] [--repeat R]

- **Erase**: subjects in a lake, by whole processes, against ``peers/whole_file_erase.py``. That is
  told which files hold them; Lethe finds them, erases, looks at all files a second time, and signs
  a certificate. Both work with two processes.
- **Find**: what a preview reads of a lake of about 2,000 files with 100 subjects, each of whom is
  in one file; and with as many who are drawn by lot. All reading counts, of the log and the
  indexes, too.
- **Memory**: the peak with one file of more and more bytes; ``--big`` goes on to 2 GB.
- **Subjects**: one against 10,000 in the same file.

Prints a table with what is asked for, and writes ``bench/results/erase.json``.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import duckdb
import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import typer

from bench.check import rows_in_lake
from bench.compare import compare_lakes
from bench.contenders import environment
from bench.deliver import RESULTS, make_source
from bench.measure import Usage, run_measured
from bench.report import document
from runners.generate.people import Person, person

SUBJECTS, MANY = 100, 10_000
PARTS = 8
"""Deliveries that make the lake for finding: each brings about 240 files."""

MEMORY_MB = (10, 100)
BIG_MB = 2_000
MANY_MB = 100
_MEGA = 1_000_000
_PEER = Path(__file__).parent / "peers" / "whole_file_erase.py"
_SCRUB_KEY = "only-for-the-benchmark-of-erasing"

Count = Annotated[int, typer.Option(min=1, help="Records in the lake that is erased in.")]
FindRecords = Annotated[int, typer.Option(min=1, help="Records in the lake of many files.")]
Big = Annotated[bool, typer.Option("--big", help="Measure memory up to a file of 2 GB, too.")]
Repeat = Annotated[int, typer.Option(min=1, help="Runs of each; the median counts.")]


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    what: str
    found: str
    asked: str = ""


@dataclass(frozen=True)
class Ground:
    """Where the benchmark works, and with which settings."""

    folder: Path

    @property
    def env(self) -> dict[str, str]:
        own = {"LETHE_STATE__FOLDER": str(self.folder / "state"), "LETHE_SCRUB_KEY": _SCRUB_KEY}
        # What is installed has its bytecode: none is to be compiled anew for each command.
        inherited = {k: v for k, v in environment().items() if k != "PYTHONDONTWRITEBYTECODE"}
        return {**inherited, **own}

    def run(self, *command: object) -> Usage:
        """Run a command; ends the benchmark if it fails."""
        log = self.folder / "log"
        usage = run_measured(list(map(str, command)), self.env, log)
        if usage.status != 0:
            raise SystemExit(log.read_text())
        return usage

    def lethe(self, *arguments: object) -> Usage:
        return self.run(sys.executable, "-m", "runners.cli", *arguments)

    def deliver(self, source: Path, lake: Path, fmt: str = "parquet") -> None:
        self.lethe("deliver", source, "--lake", lake, "--format", fmt, "--workers", 2)

    def erase(self, lake: Path, subjects: Path) -> Usage:
        options = ("--subjects", subjects, "--max-match-share", 1, "--workers", 2)
        return self.lethe("erase", "--lake", lake, *options)


def main(
    count: Count = 1_000_000, find_records: FindRecords = 4_000_000, big: Big = False,
    repeat: Repeat = 3,
) -> None:  # fmt: skip
    """Measure and report."""
    with tempfile.TemporaryDirectory(prefix="lethe-bench-", dir=_room()) as name:
        ground = Ground(Path(name))
        lines = list(find(ground, find_records))
        for fmt in ("parquet", "avro"):
            lines += erase(ground, count, fmt, repeat)
        lines += growth(ground, (*MEMORY_MB, BIG_MB) if big else MEMORY_MB, repeat)
    print(table(lines))
    write_results(lines)


def _room() -> Path:
    """A folder on the disk that the other benchmarks use."""
    room = Path(__file__).parent / "data"
    room.mkdir(exist_ok=True)
    return room


# --- Erase, beside the usual method -----------------------------------------------------------


@dataclass(frozen=True)
class Contest:
    """A lake, the subjects that leave it, and the files that hold them."""

    ground: Ground
    lake: Path
    format: str
    people: Sequence[Person]

    def lethe(self, lake: Path) -> Usage:
        return self.ground.erase(lake, self._subjects())

    def peer(self, lake: Path) -> Usage:
        """The files are looked for beforehand, which costs the peer nothing."""
        named, files = self.ground.folder / "people", self.ground.folder / "files"
        people = ({"user_id": one.user_id, "email": one.email} for one in self.people)
        named.write_text("\n".join(map(json.dumps, people)))
        files.write_text("\n".join(map(str, self._candidates(lake))))
        return self.ground.run(sys.executable, _PEER, "--subjects", named, "--files", files)

    def _subjects(self) -> Path:
        return subject_file(self.ground.folder / "subjects", self.people)

    def _candidates(self, lake: Path) -> list[Path]:
        ids, emails = ({getattr(one, name) for one in self.people} for name in ("user_id", "email"))
        return [path for path in data_files(lake) if _holds(path, ids, emails)]


def _holds(path: Path, ids: set[str], emails: set[str]) -> bool:
    return any(
        row.get("user_id") in ids or {row.get("email"), row.get("address")} & emails
        for row in rows_in(path)
    )


def rows_in(path: Path) -> Iterator[dict[str, Any]]:
    if path.suffix == ".avro":
        with path.open("rb") as stream:
            yield from fastavro.reader(stream)
    else:
        table = pq.ParquetFile(path)
        names = {"user_id", "email", "address"} & set(table.schema_arrow.names)
        yield from table.read(columns=sorted(names)).to_pylist()


def erase(ground: Ground, count: int, fmt: str, repeat: int) -> Iterator[Line]:
    """Lethe and the peer in turn, each in a copy of the lake of its own."""
    lake = ground.folder / f"lake-{fmt}"
    ground.deliver(make_source(count).path, lake, fmt)
    contest = Contest(ground, lake, fmt, people_of(count, SUBJECTS, random.Random(7)))
    runs: dict[str, list[Usage]] = {"lethe": [], "peer": []}
    for _ in range(repeat):
        runs["lethe"].append(in_copy(lake, ground.folder / "lethe", contest.lethe))
        runs["peer"].append(in_copy(lake, ground.folder / "peer", contest.peer))
    check_same(ground.folder / "lethe", ground.folder / "peer", fmt)
    yield from _compared(fmt, runs)
    yield _size(lake, ground.folder / "lethe", fmt)


def _compared(fmt: str, runs: dict[str, list[Usage]]) -> Iterator[Line]:
    ours, theirs = (median(run.seconds for run in runs[name]) for name in ("lethe", "peer"))
    what = f"erase {SUBJECTS} subjects, {fmt}"
    yield Line(f"{what}: seconds, Lethe / usual method", f"{ours:.2f} / {theirs:.2f}")
    yield Line(f"{what}: times faster", f"{theirs / ours:.1f}", "3" if fmt == "parquet" else "")


def _size(before: Path, after: Path, fmt: str) -> Line:
    left = _rows(after, fmt) / _rows(before, fmt)
    share = size_of(data_files(after)) / size_of(data_files(before)) / left
    return Line(f"bytes after, of the share of rows left, {fmt}", f"{share:.3f}", "at most 1")


def _rows(lake: Path, fmt: str) -> int:
    return sum(rows_in_lake(lake, fmt).values())


def check_same(ours: Path, theirs: Path, fmt: str) -> None:
    """End the benchmark unless both have left the same rows."""
    same = rows_in_lake(ours, fmt) == rows_in_lake(theirs, fmt)
    if fmt == "parquet":
        same = same and not any(found.problems for found in compare_lakes(ours, theirs))
    if not same:
        raise SystemExit(f"{fmt}: Lethe and the usual method have not left the same rows")


def in_copy(lake: Path, copy: Path, work: Callable[[Path], Usage]) -> Usage:
    """Do it in a copy of the lake; of links, as a file's index is good for that very file."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(lake, copy, copy_function=os.link)
    os.sync()  # nobody pays for what the one before left in memory
    return work(copy)


# --- Find -------------------------------------------------------------------------------------


def find(ground: Ground, count: int) -> Iterator[Line]:
    """What a preview reads of a lake of many files."""
    lake = ground.folder / "many"
    for part in split(make_source(count).path, ground.folder, PARTS):
        ground.deliver(part, lake)
        part.unlink()
    yield Line("files to find in", f"{len(data_files(lake)):,}")
    alone = people_in_one_file(lake, SUBJECTS)
    by_lot = people_of(count, SUBJECTS, random.Random(7))
    yield from _found(ground, lake, alone, "each in one file", "under 5")
    yield from _found(ground, lake, by_lot, "drawn by lot")


def _found(
    ground: Ground, lake: Path, people: Sequence[Person], which: str, asked: str = ""
) -> Iterator[Line]:
    subjects = subject_file(ground.folder / "subjects", people)
    ground.run(sys.executable, "-m", "bench.erase_find", lake, subjects)
    read = json.loads((ground.folder / "log").read_text().splitlines()[-1])
    share = {name: 100 * read[name] / size_of(data_files(lake)) for name in read}
    what = f"find {len(people)} subjects, {which}"
    yield Line(f"{what}: % of bytes read", f"{share['all']:.1f}", asked)
    yield Line(f"{what}: % indexes / log", f"{share['index']:.1f} / {share['log']:.1f}")
    yield Line(f"{what}: files opened / that hold any", f"{read['opened']} / {read['holding']}")


def split(source: Path, folder: Path, parts: int) -> Iterator[Path]:
    """The file's lines in so many files, of which one is there at a time."""
    limit = source.stat().st_size // parts + 1
    with source.open("rb") as lines:
        for number in range(parts):
            part = folder / f"part-{number}.ndjson"
            part.write_bytes(b"".join(lines.readlines(limit)))
            yield part


def people_in_one_file(lake: Path, count: int) -> list[Person]:
    """People all of whose rows are in one file, and each in another one."""
    query = f"""
        SELECT any_value(user_id) FROM (
            SELECT user_id, any_value(filename) AS file
            FROM read_parquet('{lake}/type=*/date=*/*.parquet', union_by_name = true,
                              filename = true)
            WHERE user_id IS NOT NULL GROUP BY user_id HAVING count(DISTINCT filename) = 1)
        GROUP BY file ORDER BY hash(file) LIMIT {count}"""
    with duckdb.connect() as con:
        found = [str(row[0]) for row in con.execute(query).fetchall()]
    return [person(int(user_id.removeprefix("u-"))) for user_id in found]


# --- How it grows -----------------------------------------------------------------------------


def growth(ground: Ground, sizes: Sequence[int], repeat: int) -> Iterator[Line]:
    """Memory by the size of a file, and time by the number of subjects."""
    rows = sample(ground.folder / "lake-parquet")
    peaks = []
    for megabytes in sizes:
        lake = lake_of_one(ground.folder / f"one-{megabytes}", rows, megabytes * _MEGA)
        peaks.append(_erased_from(ground, lake, rows, 1).peak_bytes / _MEGA)
        yield Line(f"memory with a file of {megabytes:,} MB: peak MB", f"{peaks[-1]:,.0f}")
        shutil.rmtree(lake)
    flat = f"{peaks[-1] / peaks[0]:.2f}"
    yield Line(f"memory, {sizes[-1]:,} MB / {sizes[0]:,} MB: times", flat, "flat")
    lake = lake_of_one(ground.folder / "one", rows, MANY_MB * _MEGA)
    times = [
        median(_erased_from(ground, lake, rows, each).seconds for _ in range(repeat))
        for each in (1, MANY)
    ]
    yield Line(f"one pass: seconds with 1 / {MANY:,} subjects", f"{times[0]:.2f} / {times[1]:.2f}")
    yield Line("one pass: times longer", f"{times[1] / times[0]:.2f}", "about 1")


def _erased_from(ground: Ground, lake: Path, rows: pa.Table, count: int) -> Usage:
    ids = sorted(set(rows.column("user_id").to_pylist()))
    people = [person(int(one.removeprefix("u-"))) for one in ids[:count]]
    people += [person(10**6 + number) for number in range(count - len(people))]
    subjects = subject_file(ground.folder / "subjects", people)
    return in_copy(lake, ground.folder / "copy", lambda copy: ground.erase(copy, subjects))


def sample(lake: Path) -> pa.Table:
    """About as many rows as a row group has."""
    parts, rows = [], 0
    for path in data_files(lake, "demand"):
        parts.append(pq.ParquetFile(path).read())
        rows += len(parts[-1])
        if rows >= 100_000:
            break
    return pa.concat_tables(parts)


def lake_of_one(lake: Path, rows: pa.Table, size: int) -> Path:
    """A lake with one file of about this size, which no log knows."""
    path = lake / "type=demand" / "date=2026-01-01" / "one.parquet"
    path.parent.mkdir(parents=True)
    with path.open("wb") as sink, pq.ParquetWriter(sink, rows.schema, compression="zstd") as writer:
        while sink.tell() < size:
            writer.write_table(rows)
    return lake


# --- People, files, results -------------------------------------------------------------------


def people_of(count: int, number: int, chance: random.Random) -> list[Person]:
    """Some of those that so many generated records speak of."""
    return [person(index) for index in chance.sample(range(count // 5), number)]


def named(who: Person) -> str:
    return f"controller_customer_id={who.user_id},email={who.email}"


def subject_file(path: Path, people: Iterable[Person]) -> Path:
    path.write_text("\n".join(map(named, people)))
    return path


def data_files(lake: Path, of_type: str = "*") -> list[Path]:
    return sorted(lake.glob(f"type={of_type}/date=*/*"))


def size_of(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths)


def table(lines: Sequence[Line]) -> str:
    cells = [f"| {line.what} | {line.found} | {line.asked} |" for line in lines]
    return "\n".join(["| measured | found | asked |", "| --- | --: | --: |", *cells])


def write_results(lines: Sequence[Line]) -> None:
    found = document([])
    found["results"] = [asdict(line) for line in lines]
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "erase.json").write_text(json.dumps(found, indent=2) + os.linesep)


if __name__ == "__main__":
    typer.run(main)
