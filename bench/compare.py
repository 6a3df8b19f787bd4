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
    """How the rows of one type compare: how many are in either lake, and what differs in them."""

    type: str
    rows: int
    problems: tuple[str, ...]


def compare_lakes(left: Path, right: Path) -> Iterator[Comparison]:
    """One comparison a type, for the types of either lake."""
    sides = [_types(left), _types(right)]
    for name in sorted(sides[0] | sides[1]):
        if name not in sides[0] & sides[1]:
            yield Comparison(name, 0, ("only one lake has this type",))
            continue
        with duckdb.connect() as con:
            con.execute("SET TimeZone = 'UTC'")
            yield _compare_type(con, name, left, right)


def _types(lake: Path) -> set[str]:
    """The types that have any row's file."""
    files = lake.glob("type=*/date=*/*.parquet")
    return {path.parent.parent.name.removeprefix("type=") for path in files}


def _compare_type(con: duckdb.DuckDBPyConnection, name: str, left: Path, right: Path) -> Comparison:
    kinds = [_view(con, "l", left, name), _view(con, "r", right, name)]
    if kinds[0] != kinds[1]:
        wrong = sorted({column for column, _ in kinds[0] ^ kinds[1]})
        return Comparison(name, 0, tuple(f"the type of {column}" for column in wrong))
    columns = sorted(column for column, _ in kinds[0])
    rows, *counts = _counts(con, columns)
    labels = ["rows without a match", *(f"values of {column}" for column in columns)]
    found = zip(labels, counts, strict=True)
    return Comparison(name, rows, tuple(f"{count} {label}" for label, count in found if count))


def _view(con: duckdb.DuckDBPyConnection, view: str, lake: Path, name: str) -> set[tuple[str, str]]:
    """Make a view of a type's files; its columns, each with its type."""
    files = str(lake / f"type={name}" / "date=*" / "*.parquet").replace("'", "''")
    con.execute(f"CREATE VIEW {view} AS FROM read_parquet('{files}', hive_partitioning = true)")
    described = con.execute(f"DESCRIBE {view}").fetchall()
    return {(column, kind) for column, kind, *_ in described}


def _counts(con: duckdb.DuckDBPyConnection, columns: list[str]) -> tuple[int, ...]:
    """All rows, those without a match, and of the others the unequal values of each column."""
    unequal = ", ".join(
        f'count(*) FILTER (l.change_id = r.change_id AND l."{name}" IS DISTINCT FROM r."{name}")'
        for name in columns
    )
    row = con.execute(
        f"""SELECT count(*), count(*) FILTER (l.change_id IS NULL OR r.change_id IS NULL),
        {unequal} FROM l FULL JOIN r ON l.change_id = r.change_id"""
    ).fetchone()
    assert row is not None
    return tuple(row)


def _line(found: Comparison) -> str:
    if found.problems:
        return f"{found.type}: differs: {', '.join(found.problems)}"
    return f"{found.type}: {found.rows} rows, equal in every column"


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare the values of two lakes.")
    parser.add_argument("left", type=Path)
    parser.add_argument("right", type=Path)
    options = parser.parse_args()
    found = list(compare_lakes(options.left, options.right))
    print("\n".join(map(_line, found)) or "no data in either lake")
    sys.exit(0 if found and not any(each.problems for each in found) else 1)


if __name__ == "__main__":
    main()
