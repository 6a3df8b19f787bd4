"""Erasing as it is usually done: each file is read whole, and its rows are looked at one by one.

    python bench/peers/whole_file_erase.py --subjects FILE --files FILE [--processes N]

``--subjects`` has a JSON object a line, with ``user_id`` and ``email``; ``--files`` the paths of
the files that hold rows of theirs, one a line. Each is written anew beside itself, Parquet with
Snappy and Avro with the codec it had, and takes its own place; one without rows is removed.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq

Row = dict[str, Any]
Subjects = tuple[frozenset[str], frozenset[str]]


def erase(path: Path, subjects: Subjects) -> None:
    """Write a file anew without the subjects' rows."""
    new = path.with_name(f".{path.name}.new")
    rewrite = _rewrite_avro if path.suffix == ".avro" else _rewrite_parquet
    if rewrite(path, new, subjects):
        new.replace(path)
    else:
        path.unlink()
        new.unlink(missing_ok=True)


def _rewrite_parquet(path: Path, new: Path, subjects: Subjects) -> int:
    table = pq.ParquetFile(path).read()
    rows = [row for row in table.to_pylist() if not _is_subject(row, subjects)]
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), new, compression="snappy")
    return len(rows)


def _rewrite_avro(path: Path, new: Path, subjects: Subjects) -> int:
    with path.open("rb") as source, new.open("wb") as sink:
        reader = fastavro.reader(source)
        schema, codec = reader.writer_schema, reader.codec
        rows = [row for row in reader if not _is_subject(row, subjects)]
        fastavro.writer(sink, schema, rows, codec=codec)
    return len(rows)


def _is_subject(row: Row, subjects: Subjects) -> bool:
    user_ids, emails = subjects
    email = row.get("address") if row.get("channel") == "email" else row.get("email")
    return row.get("user_id") in user_ids or email in emails


def _subjects(path: Path) -> Subjects:
    people = [json.loads(line) for line in path.read_text().splitlines()]
    return (
        frozenset(person["user_id"] for person in people),
        frozenset(person["email"] for person in people),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Erase subjects, a whole file at a time.")
    parser.add_argument("--subjects", type=Path, required=True)
    parser.add_argument("--files", type=Path, required=True)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    paths = [Path(line) for line in options.files.read_text().splitlines()]
    with Pool(options.processes) as pool:
        pool.map(partial(erase, subjects=_subjects(options.subjects)), paths, chunksize=1)


if __name__ == "__main__":
    main()
