"""Partitioning: which rows belong together, and where they are spilled."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from schemas.arrow import TIMESTAMP, arrow_schema
from schemas.changes import Position
from schemas.delivery import Counts, Partition, decode_dead_letter
from tests.unit.transforms.batches import REGISTRY, batch, event
from transforms.partition import Partitioning, Piece, Spill, partition_dates

NOW = datetime(2026, 2, 3, 4, 5, tzinfo=UTC)


def spilled(
    folder: Path, documents: list[bytes], partitioning: Partitioning | None = None
) -> tuple[dict[Partition, Piece], Counts]:
    spill = Spill(folder, partitioning or Partitioning(), NOW)
    counts = spill.add(batch(documents))
    return dict(spill.flush(counts)), counts


def ids(piece: Piece) -> list[str]:
    return [row["id"] for row in rows(piece)]


def rows(piece: Piece) -> Iterator[dict[str, object]]:
    content = Path(piece.path).read_bytes()[piece.offset : piece.offset + piece.length]
    schema = arrow_schema(REGISTRY["event"])
    yield from pa.ipc.read_record_batch(pa.py_buffer(content), schema).to_pylist()


def test_rows_of_one_date_lie_together_in_source_order(tmp_path: Path) -> None:
    days = ["2026-01-02", "2026-01-01", "2026-01-02", "2026-01-01"]
    documents = [event(n, f"{day}T10:00:00Z") for n, day in enumerate(days)]
    pieces, _ = spilled(tmp_path, documents)
    assert ids(pieces[Partition("event", "2026-01-01")]) == ["E-1", "E-3"]
    assert ids(pieces[Partition("event", "2026-01-02")]) == ["E-0", "E-2"]


def test_a_piece_knows_where_its_first_row_stood(tmp_path: Path) -> None:
    documents = [event(0, "2026-01-02T10:00:00Z"), event(1, "2026-01-01T10:00:00Z")]
    pieces, _ = spilled(tmp_path, documents)
    second = pieces[Partition("event", "2026-01-01")]
    assert second.first == Position("file", len(documents[0]) + 1, 0)


def test_windows_split_a_date(tmp_path: Path) -> None:
    hours = ["01:10", "00:50", "01:59"]
    documents = [event(n, f"2026-01-01T{hour}:00Z") for n, hour in enumerate(hours)]
    pieces, _ = spilled(tmp_path, documents, Partitioning(window=3600))
    midnight = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())
    assert ids(pieces[Partition("event", "2026-01-01", midnight)]) == ["E-1"]
    assert ids(pieces[Partition("event", "2026-01-01", midnight + 3600)]) == ["E-0", "E-2"]


def test_counts_agree_with_what_was_spilled(tmp_path: Path) -> None:
    documents = [event(0, "2026-01-01T10:00:00Z"), b"{}", event(2, "2026-01-02T10:00:00Z")]
    pieces, counts = spilled(tmp_path, documents)
    assert (counts.read, counts.delivered, counts.dead_letters) == (3, 2, 1)
    assert dict(counts.by_date) == {"2026-01-01": 1, "2026-01-02": 1}
    assert sum(piece.rows for piece in pieces.values()) == 3


def test_dead_letters_lie_under_the_day_of_their_rejection(tmp_path: Path) -> None:
    pieces, _ = spilled(tmp_path, [b"nonsense"])
    piece = pieces[Partition("errors", "2026-02-03")]
    letter = decode_dead_letter(Path(piece.path).read_bytes()[piece.offset :])
    assert (letter.code, letter.original) == ("invalid_json", "nonsense")


def test_a_flush_leaves_nothing_held(tmp_path: Path) -> None:
    spill = Spill(tmp_path, Partitioning(), NOW)
    counts = spill.add(batch([event(0, "2026-01-01T10:00:00Z")]))
    assert len(list(spill.flush(counts))) == 1
    assert list(spill.flush(counts)) == []


MOMENTS = st.datetimes(datetime(1900, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))


@given(MOMENTS, st.sampled_from(["UTC", "Pacific/Auckland", "America/New_York", "Asia/Kolkata"]))
def test_the_date_is_that_of_the_zones_own_calendar(moment: datetime, zone: str) -> None:
    from zoneinfo import ZoneInfo

    days = partition_dates(pa.array([moment], TIMESTAMP), zone)
    local = moment.astimezone(ZoneInfo(zone)).date()
    assert days.tolist() == [(local - datetime(1970, 1, 1).date()).days]


def test_the_last_moment_of_all_has_a_date_in_every_zone() -> None:
    moment = pa.array([datetime(9999, 12, 31, 23, 59, tzinfo=UTC)], TIMESTAMP)
    days = partition_dates(moment, "Pacific/Auckland")
    assert days.tolist() == partition_dates(moment, "UTC").tolist()
