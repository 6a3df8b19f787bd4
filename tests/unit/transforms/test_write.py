"""Writing: files from pieces, their names, their rotation."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from schemas.changes import Position
from schemas.delivery import Partition
from schemas.errors import UsageError
from stores.log import DataFile
from stores.objects import LocalObjectStore
from tests.unit.transforms.batches import REGISTRY, batch, event
from transforms.partition import Gathering, Partitioning, Piece
from transforms.write import (
    FileFormat,
    LakeWriter,
    Output,
    Rotation,
    choose_output,
    file_name,
    write_partition,
)

PARTITION = Partition("event", "2026-01-01")


def pieces(folder: Path, batches: list[list[bytes]]) -> list[Piece]:
    found = []
    start = 0
    for documents in batches:
        gathering = Gathering(folder, Partitioning(), datetime(2026, 2, 1, tzinfo=UTC))
        made = batch(documents, start=start)
        gathering.add(made)
        found += gathering.finish()[0][PARTITION]
        start = made.block.end
    return found


def shows(first: int, count: int) -> list[bytes]:
    return [event(first + n, "2026-01-01T10:00:00Z") for n in range(count)]


def written(folder: Path, batches: list[list[bytes]], output: Output) -> list[DataFile]:
    store = LocalObjectStore(str(folder / "lake"))
    lake = LakeWriter(store, REGISTRY, output, "run")
    files = list(write_partition(PARTITION, reversed(pieces(folder, batches)), lake))
    for file in files:
        store.publish([file.staged])
    return files


def ids(folder: Path, file: DataFile) -> list[str]:
    return pq.read_table(folder / "lake" / file.path, partitioning=None)["id"].to_pylist()


def test_a_file_holds_its_pieces_in_source_order(tmp_path: Path) -> None:
    files = written(tmp_path, [shows(0, 2), shows(2, 3)], Output())
    assert [ids(tmp_path, file) for file in files] == [["E-0", "E-1", "E-2", "E-3", "E-4"]]


def test_a_file_is_full_at_its_limit_of_rows(tmp_path: Path) -> None:
    files = written(tmp_path, [shows(0, 5), shows(5, 2)], Output(rotation=Rotation(rows=3)))
    assert [file.rows for file in files] == [3, 3, 1]
    assert len({file.path for file in files}) == 3


def test_a_file_is_full_at_its_limit_of_bytes(tmp_path: Path) -> None:
    batches = [shows(n * 10, 10) for n in range(3)]
    files = written(tmp_path, batches, Output(rotation=Rotation(rows=10, size=1)))
    assert [file.rows for file in files] == [10, 10, 10]


def test_a_retry_writes_the_same_names_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = written(tmp_path / "a", [shows(0, 4)], Output())
    again = written(tmp_path / "b", [shows(0, 4)], Output())
    assert [(f.path, f.staged.sha256) for f in first] == [(f.path, f.staged.sha256) for f in again]


def test_a_name_does_not_tell_its_source() -> None:
    name = file_name(Position("/home/jane.doe@example.com/x", 7, 0), "ab" * 32, 0, "parquet")
    assert "jane" not in name
    assert name.endswith("-000000000007-0000-abababab-000.parquet")


def test_files_know_the_span_of_their_event_times(tmp_path: Path) -> None:
    documents = [event(0, "2026-01-01T10:00:00Z"), event(1, "2026-01-01T09:00:00.5Z")]
    (file,) = written(tmp_path, [documents], Output())
    nine = int(datetime(2026, 1, 1, 9, tzinfo=UTC).timestamp()) * 1_000_000
    assert (file.earliest, file.latest) == (nine + 500_000, nine + 3_600_000_000)


@pytest.mark.parametrize(
    ("fmt", "codec"), [("orc", None), ("parquet", "deflate"), ("avro", "zstd")]
)
def test_unknown_formats_and_codecs_are_usage_errors(fmt: str, codec: str | None) -> None:
    with pytest.raises(UsageError, match="choose"):
        choose_output(fmt, codec, Rotation())


def test_each_format_has_a_codec_of_its_own_by_default() -> None:
    assert choose_output("avro", None, Rotation()).codec == "zstandard"
    assert choose_output("parquet", None, Rotation()) == Output(FileFormat.PARQUET, "zstd")
