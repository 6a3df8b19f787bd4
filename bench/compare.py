"""Do two lakes hold the same values? Every row and column of every type, matched by change.

    python -m bench.compare LAKE LAKE

Prints a line a type and ends with status 1 if anything differs. Parquet lakes only; change
identifiers must be unique, as they are in generated records.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb


@dataclass(frozen=True)
class Comparison:
    """How the rows of one type compare; ``differing`` has the rows that differ, by column."""

    type: str
    rows: tuple[int, int]
    unmatched: int
    columns: int
    problems: tuple[str, ...]

    @property
    def is_equal(self) -> bool:
        return not self.problems and not self.unmatched


def compare_lakes(left: Path, right: Path) -> Iterator[Comparison]:
    """One comparison a type, for the types of either lake."""
    names = {path.name for lake in (left, right) for path in lake.glob("type=*")}
    for name in sorted(names):
        with duckdb.connect() as con:
            con.execute("SET TimeZone = 'UTC'")
            yield _compare_type(con, name.removeprefix("type="), left / name, right / name)


def _compare_type(con: duckdb.DuckDBPyConnection, name: str, left: Path, right: Path) -> Comparison:
    kinds = [_view(con, "l", left), _view(con, "r", right)]
    if kinds[0] != kinds[1]:
        wrong = sorted(column for column, _ in kinds[0] ^ kinds[1])
        return Comparison(name, _rows(con), 0, 0, tuple(f"type of {column}" for column in wrong))
    columns = sorted(column for column, _ in kinds[0])
    unmatched, *counts = _one(con, _difference(columns))
    problems = tuple(
        f"{count} of {column}" for column, count in zip(columns, counts, strict=True) if count
    )
    return Comparison(name, _rows(con), unmatched, len(columns), problems)


def _view(con: duckdb.DuckDBPyConnection, view: str, folder: Path) -> set[tuple[str, str]]:
    """Make a view of a type's files; its columns, each with its type."""
    files = str(folder / "date=*" / "*.parquet").replace("'", "''")
    con.execute(f"CREATE VIEW {view} AS FROM read_parquet('{files}', hive_partitioning = true)")
    described = con.execute(f"DESCRIBE {view}").fetchall()
    return {(column, kind) for column, kind, *_ in described}


def _difference(columns: list[str]) -> str:
    counts = ", ".join(
        f'count(*) FILTER (l."{name}" IS DISTINCT FROM r."{name}")' for name in columns
    )
    unmatched = "count(*) FILTER (l.change_id IS NULL OR r.change_id IS NULL)"
    return f"SELECT {unmatched}, {counts} FROM l FULL JOIN r ON l.change_id = r.change_id"


def _rows(con: duckdb.DuckDBPyConnection) -> tuple[int, int]:
    left, right = _one(con, "SELECT (SELECT count(*) FROM l), (SELECT count(*) FROM r)")
    return left, right


def _one(con: duckdb.DuckDBPyConnection, query: str) -> tuple[int, ...]:
    row = con.execute(query).fetchone()
    assert row is not None
    return tuple(row)


def _line(found: Comparison) -> str:
    left, right = found.rows
    if found.is_equal:
        return f"{found.type}: {left} rows, all equal in {found.columns} columns"
    problems = ", ".join([f"{found.unmatched} without a match", *found.problems])
    return f"{found.type}: {left} and {right} rows; differing: {problems}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare the values of two lakes.")
    parser.add_argument("left", type=Path)
    parser.add_argument("right", type=Path)
    options = parser.parse_args()
    found = list(compare_lakes(options.left, options.right))
    print("\n".join(map(_line, found)) or "no data in either lake")
    sys.exit(0 if found and all(each.is_equal for each in found) else 1)


if __name__ == "__main__":
    main()
