"""The hostile corpus and the examples, from their bytes to rows and dead letters."""

from __future__ import annotations

import json
import resource
import runpy
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.changes import Block
from schemas.inputs import InputFile, Split
from schemas.registry import load_registry
from transforms.decode import Decoder
from transforms.decompress import TruncatedStream, detect_compression, pieces
from transforms.detect import SNIFF, detect_format
from transforms.read import read_split
from transforms.validate import validate

ROOT = Path(__file__).parents[3]
CORPUS = ROOT / "tests" / "data" / "hostile"
EXAMPLES = ROOT / "examples"
EXPECTED: dict[str, Any] = json.loads((CORPUS / "expected.json").read_text())
LARGE = {"gzip-bomb.ndjson.gz", "record-too-large.ndjson"}
MOST_MEMORY = 200_000


def detected(path: Path) -> InputFile:
    """The file as a plan would have it."""
    with path.open("rb") as stream:
        compression = detect_compression(stream.read(8))
        stream.seek(0)
        first = b""
        try:
            for piece in pieces(stream, compression):
                first += piece
                if len(first) >= SNIFF:
                    break
        except TruncatedStream:
            pass
    fmt, framing = detect_format(first[:SNIFF])
    return InputFile(str(path), path.stat().st_size, "tag", fmt, framing, compression)


def blocks(path: Path) -> Iterator[Block]:
    with path.open("rb") as stream:
        for found in read_split(stream, Split(detected(path))):
            if isinstance(found, Block):
                yield found


def delivered(path: Path) -> dict[str, Any]:
    decoder = Decoder(load_registry(EXAMPLES / "schemas"))
    counts: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    for batch in (validate(decoder.decode(block)) for block in blocks(path)):
        counts += Counter(read=batch.read, delivered=sum(map(len, batch.typed)))
        errors.update(reject.fault.code.value for reject in batch.rejects)
    return {
        "read": counts["read"],
        "delivered": counts["delivered"],
        "dead_letters": dict(errors),
    }


@pytest.mark.parametrize("name", sorted(EXPECTED.keys() - LARGE))
def test_a_hostile_file_gives_what_its_table_says(name: str) -> None:
    assert delivered(CORPUS / name) == EXPECTED[name]


@pytest.fixture(scope="module")
def large_cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    build = runpy.run_path(str(CORPUS / "large.py"))["build_large_cases"]
    return {path.name: path for path in build(tmp_path_factory.mktemp("large"))}


@pytest.mark.parametrize("name", sorted(LARGE))
def test_a_large_hostile_file_is_read_in_bounded_memory(
    name: str, large_cases: dict[str, Path]
) -> None:
    command = [sys.executable, __file__, str(large_cases[name])]
    path = [str(ROOT), *sys.path]
    done = subprocess.run(
        command, capture_output=True, check=True, timeout=120, env={"PYTHONPATH": ":".join(path)}
    )
    found = json.loads(done.stdout)
    assert found.pop("memory") < MOST_MEMORY
    assert found == EXPECTED[name]


EXAMPLE_COUNTS = {
    "kinesis-records.ndjson": 10,
    "lambda-kinesis-event.json": 5,
    "lambda-dynamodb-event.json": 7,
    "firehose-concatenated.json": 6,
    "debezium.ndjson": 7,
    "debezium-with-schema.ndjson": 5,
    "shipments.ndjson": 6,
}


@pytest.mark.parametrize("name", EXAMPLE_COUNTS)
def test_every_record_of_an_example_is_delivered(name: str) -> None:
    count = EXAMPLE_COUNTS[name]
    found = {"read": count, "delivered": count, "dead_letters": {}}
    assert delivered(EXAMPLES / name) == found


@pytest.mark.parametrize("folder", ["dynamodb-export", "dynamodb-incremental-export"])
def test_every_record_of_an_exports_data_is_delivered(folder: str) -> None:
    counts = [delivered(path) for path in sorted((EXAMPLES / folder).rglob("data/*.json.gz"))]
    assert sum(found["delivered"] for found in counts) == {"dynamodb-export": 7}.get(folder, 6)
    assert all(found["dead_letters"] == {} for found in counts)


if __name__ == "__main__":
    idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = delivered(Path(sys.argv[1]))
    found["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - idle
    print(json.dumps(found))
