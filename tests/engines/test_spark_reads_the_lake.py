"""The Parquet lake, read by Spark; every value is held against the oracle."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.engines.lakes import EXAMPLES, generated, make_lake
from tests.engines.oracle import Row, as_read, expected_rows, in_order
from tests.engines.spark import spark_python

pytestmark = pytest.mark.engine

CODECS = ("zstd", "snappy", "gzip", "none")
SCRIPT = Path(__file__).with_name("read_with_spark.py")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    made = generated(tmp_path_factory.mktemp("inputs") / "changes.ndjson", 400)
    return made, EXAMPLES / "kinesis-records.ndjson", EXAMPLES / "shipments.ndjson"


@pytest.fixture(scope="module")
def read_by_spark(
    tmp_path_factory: pytest.TempPathFactory, inputs: tuple[Path, ...]
) -> dict[str, list[Row]]:
    """The rows of one lake a codec. Spark is started once, as that takes most of the time."""
    python = spark_python()
    root = tmp_path_factory.mktemp("lakes")
    options = ("--schemas", EXAMPLES / "schemas", "--codec")
    lakes = [make_lake(root / codec, inputs, *options, codec) for codec in CODECS]
    found: dict[str, list[Row]] = {codec: [] for codec in CODECS}
    for line in spark_output(python, lakes).splitlines():
        number, row = json.loads(line, object_hook=untagged)
        found[CODECS[number]].append(row)
    return found


@pytest.mark.parametrize("codec", CODECS)
def test_spark_sees_every_value(
    read_by_spark: dict[str, list[Row]], inputs: tuple[Path, ...], codec: str
) -> None:
    assert in_order(map(as_read, read_by_spark[codec])) == expected_rows(*inputs)


def spark_output(python: Path, lakes: list[Path]) -> str:
    result = subprocess.run(
        [python, SCRIPT, *lakes],
        env={**os.environ, "PYSPARK_PYTHON": str(python), "TZ": "UTC"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


def untagged(value: dict[str, Any]) -> Any:
    match value:
        case {"time": text, **rest} if not rest:
            return datetime.fromisoformat(text)
        case {"date": text, **rest} if not rest:
            return date.fromisoformat(text)
        case {"decimal": text, **rest} if not rest:
            return Decimal(text)
    return value
