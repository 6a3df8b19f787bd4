"""Did a contender deliver everything? Rows by type, in an input and in a lake."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import duckdb
import fastavro

Rows = dict[str, int]

_IMAGE = "STRUCT(type STRUCT(S VARCHAR))"


def rows_in_input(source: Path) -> Rows:
    """The change records of each type in a file of DynamoDB-to-Kinesis records."""
    return _counts(
        f"""SELECT coalesce(dynamodb.NewImage, dynamodb.OldImage).type.S, count(*)
        FROM read_json({_quoted(source)}, format = 'newline_delimited', columns = {{
            dynamodb: 'STRUCT(NewImage {_IMAGE}, OldImage {_IMAGE})'}}) GROUP BY ALL"""
    )


def rows_in_lake(lake: Path, fmt: str) -> Rows:
    """The rows of each type in a lake of ``parquet`` or ``avro`` files."""
    files = sorted(lake.glob(f"type=*/date=*/*.{fmt}"))
    if not files:
        return {}
    return _avro_rows(files) if fmt == "avro" else _parquet_rows(lake)


def _parquet_rows(lake: Path) -> Rows:
    files = _quoted(lake / "type=*" / "date=*" / "*.parquet")
    return _counts(
        f"SELECT type, count(*) FROM read_parquet({files}, hive_partitioning = true) GROUP BY ALL"
    )


def _avro_rows(files: list[Path]) -> Rows:
    rows: Counter[str] = Counter()
    for path in files:
        with path.open("rb") as stream:
            count = sum(block.num_records for block in fastavro.block_reader(stream))
        rows[path.parent.parent.name.removeprefix("type=")] += count
    return dict(rows)


def _counts(query: str) -> Rows:
    with duckdb.connect() as con:
        return dict(con.execute(query).fetchall())


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
