"""Prints the rows of lakes as Spark sees them; run by the Python that has PySpark.

Arguments are lakes. A line of output is ``[number of the lake, row]`` in JSON, where a decimal,
a time or a date is an object whose only key says which, as in ``{"decimal": "12.50"}``.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from pyspark.sql import Row, SparkSession  # type: ignore[import-not-found]


def main(lakes: list[str]) -> None:
    spark = (
        SparkSession.builder.master("local[1]")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.ui.enabled", "false")
        .getOrCreate()
    )
    for number, lake in enumerate(lakes):
        for row in rows(spark, Path(lake)):
            print(json.dumps([number, row.asDict(recursive=True)], default=tagged))
    spark.stop()


def rows(spark: SparkSession, lake: Path) -> Iterator[Row]:
    for folder in lake.glob("type=*"):
        yield from spark.read.parquet(str(folder)).toLocalIterator()


def tagged(value: Any) -> dict[str, str]:
    match value:
        case datetime():
            return {"time": value.astimezone(UTC).isoformat()}
        case date():
            return {"date": value.isoformat()}
        case Decimal():
            return {"decimal": str(value)}
    raise TypeError(type(value).__name__)


if __name__ == "__main__":
    os.environ["TZ"] = "UTC"
    main(sys.argv[1:])
