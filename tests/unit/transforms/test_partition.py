"""Partitioning: which rows belong together, and what is spilled of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.arrow import TIMESTAMP
from schemas.changes import Position
from schemas.delivery import Counts, Partition, decode_dead_letter
from tests.unit.transforms.batches import REGISTRY, batch, event
from transforms import partition
from transforms.partition import Gathering, Partitioning, Piece, Spilled, partition_dates

NOW = datetime(2026, 2, 3, 4, 5, tzinfo=UTC)


def gathered(
    folder: Path, documents: list[bytes], partitioning: Partitioning | None = None
) -> tuple[dict[Partition, Piece], Counts]:
    gathering = Gathering(folder, partitioning or Partitioning(), NOW)
    counts = gathering.add(batch(documents))
    pieces, rest = gathering.finish()
    counts.add(rest)
    return {where: found for where, (found,) in pieces.items()}, counts


def ids(piece: Piece) -> list[str]:
    return [row["id"] for row in rows(piece)]


def rows(piece: Piece) -> Iterator[dict[str, object]]:
    yield from piece.batch(REGISTRY["event"]).to_pylist()


def test_rows_of_one_date_lie_together_in_source_order(tmp_path: Path) -> None:
    days = ["2026-01-02", "2026-01-01", "2026-01-02", "2026-01-01"]
    documents = [event(n, f"{day}T10:00:00Z") for n, day in enumerate(days)]
    pieces, _ = gathered(tmp_path, documents)
    assert ids(pieces[Partition("event", "2026-01-01")]) == ["E-1", "E-3"]
    assert ids(pieces[Partition("event", "2026-01-02")]) == ["E-0", "E-2"]


def test_a_piece_knows_where_its_first_row_stood(tmp_path: Path) -> None:
    documents = [event(0, "2026-01-02T10:00:00Z"), event(1, "2026-01-01T10:00:00Z")]
    pieces, _ = gathered(tmp_path, documents)
    second = pieces[Partition("event", "2026-01-01")]
    assert second.first == Position("file", len(documents[0]) + 1, 0)


def test_windows_split_a_date(tmp_path: Path) -> None:
    hours = ["01:10", "00:50", "01:59"]
    documents = [event(n, f"2026-01-01T{hour}:00Z") for n, hour in enumerate(hours)]
    pieces, _ = gathered(tmp_path, documents, Partitioning(window=3600))
    midnight = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())
    assert ids(pieces[Partition("event", "2026-01-01", midnight)]) == ["E-1"]
    assert ids(pieces[Partition("event", "2026-01-01", midnight + 3600)]) == ["E-0", "E-2"]


def test_counts_agree_with_what_was_gathered(tmp_path: Path) -> None:
    documents = [event(0, "2026-01-01T10:00:00Z"), b"{}", event(2, "2026-01-02T10:00:00Z")]
    pieces, counts = gathered(tmp_path, documents)
    assert (counts.read, counts.delivered, counts.dead_letters) == (3, 2, 1)
    assert dict(counts.by_date) == {"2026-01-01": 1, "2026-01-02": 1}
    assert sum(piece.rows for piece in pieces.values()) == 3


def test_dead_letters_lie_under_the_day_of_their_rejection(tmp_path: Path) -> None:
    pieces, _ = gathered(tmp_path, [b"nonsense"])
    piece = pieces[Partition("errors", "2026-02-03")]
    letter = decode_dead_letter(piece.lines())
    assert (letter.code, letter.original) == ("invalid_json", "nonsense")


def days_apart(folder: Path, count: int) -> Gathering:
    gathering = Gathering(folder, Partitioning(), NOW)
    for day in range(count):
        gathering.add(batch([event(day, f"2026-01-0{day + 1}T10:00:00Z"), b"nonsense"]))
    return gathering


def test_what_memory_does_not_hold_is_spilled_and_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = days_apart(tmp_path, 3).finish()[0]
    monkeypatch.setattr(partition, "HELD_BYTES", 1)
    monkeypatch.setattr(partition, "KEPT_BYTES", 1)
    spilled = days_apart(tmp_path, 3).finish()[0]
    pieces = [piece for found in spilled.values() for piece in found]
    assert all(isinstance(piece.content, Spilled) for piece in pieces)
    letters = [where for where in kept if where.is_errors]
    for where in kept.keys() - set(letters):
        assert list(map(ids, spilled[where])) == list(map(ids, kept[where]))
    for where in letters:
        assert [p.lines() for p in spilled[where]] == [p.lines() for p in kept[where]]


def test_nothing_spilled_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition, "KEPT_BYTES", 1)
    gathering = days_apart(tmp_path, 2)
    gathering.finish()
    assert list(tmp_path.iterdir()) != []
    gathering.clear()
    assert list(tmp_path.iterdir()) == []


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
