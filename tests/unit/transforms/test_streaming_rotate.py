"""When rows leave the engine's state, and what a pane makes of them."""

from __future__ import annotations

from typing import Any

import pytest
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import Timestamp

from schemas.changes import Block
from schemas.errors import LakeError
from schemas.stream_ledger import BlockAccount
from schemas.stream_log import LETTERS, Portion, ShardState, Stretch, Stretches
from schemas.streams import ShardRange
from stores.log import DataFile
from tests.unit.transforms.batches import REGISTRY
from tests.unit.transforms.engine import KeyState
from tests.unit.transforms.memory_store import MemoryStore
from tests.unit.transforms.stream_blocks import NOON, SHARD, batch, block, event, moment
from transforms.cut import RowPiece, cut, drop_delivered, skip_delivered
from transforms.panes import Pane, stage_pane
from transforms.partition import Partitioning
from transforms.rotate import SETTLING, Rotate, Windowing, is_late
from transforms.state_coders import BlockAccountCoder, Books, BooksCoder, RowPieceCoder
from transforms.write import LakeWriter, Output

WINDOWS = Partitioning(window=300)
NOON_SECONDS = int(NOON.timestamp())


def pieces(found: Block) -> list[RowPiece]:
    return cut(batch(found), WINDOWS)[0]


class Key:
    """One key of ``Rotate``, with its timers in the test's hand."""

    def __init__(self, windowing: Windowing | None = None) -> None:
        self.rotate, self.state = Rotate(windowing or Windowing()), KeyState()

    def take(self, piece: RowPiece) -> list[Pane]:
        s = self.state
        stored = s.pieces, s.gathered, s.remembered
        timers = s.end, s.idle, s.forget
        return list(self.rotate.process((piece.portion.key, piece), *stored, *timers))

    def fire(self, timer: str = "at_end") -> list[Pane]:
        s = self.state
        return list(getattr(self.rotate, timer)(s.pieces, s.gathered, s.remembered, s.forget))


def rows(panes: list[Pane]) -> int:
    return sum(len(piece.rows) for pane in panes for piece in pane.pieces)


def test_rows_of_two_windows_are_two_pieces() -> None:
    made = pieces(block(0, [event(1, 10), event(2, 310), event(3, 20)]))
    assert [(p.portion.window, p.rows) for p in made] == [
        (NOON_SECONDS, 2),
        (NOON_SECONDS + 300, 1),
    ]


def test_a_piece_knows_where_each_of_its_rows_stood() -> None:
    (piece,) = pieces(block(6, [event(1, 10), event(2, 20)]))
    assert piece.open().column("_sequence").to_pylist() == ["7", "8"]


def test_a_block_accounts_for_its_stretch_and_all_its_portions() -> None:
    found = block(6, [event(1, 10), event(2, 310), b"{"], last=20)
    made, account = cut(batch(found), WINDOWS)
    assert account.stretch == found.stretch
    assert set(account.portions) == {piece.portion for piece in made}
    assert LETTERS in account.portions


def test_a_window_leaves_when_it_has_ended_and_settled() -> None:
    key = Key()
    assert key.take(pieces(block(0, [event(1, 10)], arrived=11))[0]) == []
    assert key.state.end.at == Timestamp(NOON_SECONDS + 300 + SETTLING)
    assert rows(key.fire()) == 1


def test_what_has_left_does_not_leave_again() -> None:
    key = Key()
    key.take(pieces(block(0, [event(1, 10)], arrived=11))[0])
    assert rows(key.fire()) == 1
    assert key.fire("when_idle") == []


@pytest.mark.parametrize("windowing", [Windowing(rows=3), Windowing(size=400)])
def test_a_full_portion_leaves_early(windowing: Windowing) -> None:
    key = Key(windowing)
    taken = []
    for number in range(5):
        taken += key.take(pieces(block(number, [event(number, 10)], arrived=11))[0])
        if taken:
            break
    assert 1 < rows(taken) <= 3


def test_a_quiet_portion_leaves_when_nothing_more_comes() -> None:
    key = Key(Windowing(idle=30))
    before = Timestamp.now()
    key.take(pieces(block(0, [event(1, 10)], arrived=11))[0])
    assert key.state.idle.at >= before + 30
    assert rows(key.fire("when_idle")) == 1


def test_late_rows_wait_for_each_other_but_not_for_ever() -> None:
    key, set_to = Key(Windowing(idle=30)), []
    for number in (1, 2):
        (piece,) = pieces(block(number, [event(number, 10)], arrived=400))
        assert is_late(piece)
        key.take(piece)
        set_to.append(key.state.idle.at)
    assert set_to[0] == set_to[1]
    assert rows(key.fire("when_idle")) == 2


def test_late_rows_leave_when_the_stream_ends() -> None:
    key = Key()
    key.take(pieces(block(1, [event(1, 10)], arrived=400))[0])
    assert key.state.end.at == GlobalWindow().max_timestamp()


def test_rows_that_arrive_while_a_window_settles_are_not_late() -> None:
    (piece,) = pieces(block(1, [event(1, 299)], arrived=300 + SETTLING - 0.5))
    assert not is_late(piece)


class Lake:
    """A lake to which panes are written."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.writer = LakeWriter(self.store, REGISTRY, Output(), "run-1~20260102T12")

    def stage(self, panes: list[Pane], state: ShardState | None = None) -> Any:
        (pane,) = panes
        return stage_pane(pane, {} if state is None else {SHARD: state}, self.writer, NOON)


def gathered(*found: Block, windowing: Windowing | None = None) -> list[Pane]:
    key = Key(windowing)
    for one in found:
        for piece in pieces(one):
            key.take(piece)
    return key.fire()


def delivered(portion: Portion, *spans: tuple[int, int]) -> ShardState:
    return ShardState(None, {portion: Stretches.of(*spans)})


FIRST = Portion("event", "2026-01-02", NOON_SECONDS, 300, "UTC")


def test_rows_that_the_log_calls_delivered_are_left_out() -> None:
    found = block(0, [event(n, 10) for n in range(1, 6)], arrived=11)
    staged = Lake().stage(gathered(found), delivered(FIRST, (1, 3)))
    assert staged.counts.delivered == 3
    assert staged.stretches == (Stretch(SHARD, None, "1"), Stretch(SHARD, "3", "5"))


def test_nothing_is_staged_of_what_is_delivered_wholly() -> None:
    lake = Lake()
    found = block(0, [event(1, 10)], arrived=11)
    assert lake.stage(gathered(found), delivered(FIRST, (-1, 5))) is None
    assert not lake.store.objects


@pytest.mark.parametrize(
    "other",
    [
        Portion("event", "2026-01-02", NOON_SECONDS, 600, "UTC"),
        Portion("event", "2026-01-02", NOON_SECONDS, 300, "Asia/Tokyo"),
        Portion("event", "2026-01-02", None, None, "UTC"),
    ],
)
def test_rows_that_were_delivered_by_other_windows_are_left_out(other: Portion) -> None:
    found = block(0, [event(1, 10), event(2, 20)], arrived=21)
    staged = Lake().stage(gathered(found), delivered(other, (-1, 1)))
    assert staged.counts.delivered == 1


def test_a_file_is_named_by_the_first_row_in_it() -> None:
    found = block(0, [event(n, 10) for n in range(1, 6)], arrived=11)
    staged = Lake().stage(gathered(found), delivered(FIRST, (-1, 3)))
    (file,) = staged.files
    assert isinstance(file, DataFile)
    assert "-000000000004-0000-" in file.path


def test_repeats_in_a_pane_are_left_out_and_counted() -> None:
    twice = [event(1, 10), event(2, 20), event(1, 10)]
    counts = Lake().stage(gathered(block(0, twice, arrived=21))).counts
    assert (counts.delivered, counts.repeats, counts.filtered) == (2, 1, 1)


def test_repeats_of_an_earlier_pane_are_left_out_on_condition_that_it_is_delivered() -> None:
    key, lake = Key(), Lake()
    key.take(pieces(block(0, [event(1, 10)], arrived=11))[0])
    key.fire()
    key.take(pieces(block(1, [event(1, 10), event(2, 10)], arrived=12))[0])
    staged = lake.stage(key.fire())
    assert (staged.counts.delivered, staged.counts.repeats) == (1, 1)
    assert staged.relies == (Stretch(SHARD, None, "1"),)


def test_what_is_no_longer_remembered_is_no_repeat() -> None:
    key, lake = Key(), Lake()
    for number in range(2):
        key.take(pieces(block(number, [event(1, 10)], arrived=11))[0])
        staged = lake.stage(key.fire())
        assert staged.counts.delivered == 1
        key.rotate.when_all_have_come(key.state.remembered)


def test_rows_without_an_identifier_are_no_repeats() -> None:
    nameless = event(1, 10).replace(b'"eventID":"change-1",', b"")
    counts = Lake().stage(gathered(block(0, [nameless, nameless], arrived=11))).counts
    assert (counts.delivered, counts.unidentified, counts.repeats) == (2, 2, 0)


def test_rows_later_than_allowed_are_delivered_and_counted() -> None:
    found = block(0, [event(1, 10)], arrived=500)
    staged = Lake().stage(gathered(found, windowing=Windowing(lateness=60)))
    assert (staged.counts.delivered, staged.late) == (1, 1)


def test_dead_letters_lie_under_the_date_of_their_arrival() -> None:
    found = block(0, [b"{", b"["], arrived=24 * 3600)
    staged = Lake().stage(gathered(found))
    assert [file.partition.date for file in staged.files] == ["2026-01-03"]
    assert staged.counts.dead_letters == 2


def test_a_letter_that_comes_again_in_a_later_block_is_delivered_once() -> None:
    found = block(1, [b"{", b"["], arrived=24 * 3600)
    staged = Lake().stage(gathered(found), delivered(LETTERS, (-1, 2)))
    assert staged.counts.dead_letters == 1


def test_rows_of_another_schema_are_refused() -> None:
    (pane,) = gathered(block(0, [event(1, 10)], arrived=11))
    (piece,) = pane.pieces
    other = piece.rows.rename_columns(
        ["renamed" if name == "name" else name for name in piece.rows.schema.names]
    )
    changed = Pane(pane.portion, (type(piece)(piece.stretch, 0, other, piece.hashes),), pane.seen)
    with pytest.raises(LakeError, match="another schema"):
        Lake().stage([changed])


def test_documents_up_to_through_are_skipped() -> None:
    left = skip_delivered(block(2, [event(n, 10) for n in range(3, 8)]), ShardState(through(5)))
    assert left.sequences == ("6", "7")
    assert left.stretch == ShardRange(SHARD, "5", "7", moment(0))
    assert len(left.documents) == len(left.starts) == 2


def test_a_block_that_is_delivered_wholly_still_says_how_far_it_was_read() -> None:
    left = skip_delivered(block(2, [event(3, 10)], arrived=99), ShardState(through(5)))
    assert left.documents == []
    assert left.stretch == ShardRange(SHARD, "5", None, moment(99))


def through(last: int) -> ShardRange:
    return ShardRange(SHARD, None, str(last), moment(0))


def test_a_round_leaves_out_what_a_stream_has_delivered() -> None:
    found = batch(block(0, [event(1, 10), event(2, 310), event(3, 20), b"{"]))
    state = ShardState(through(1), {FIRST: Stretches.of((1, 4)), LETTERS: Stretches.of((1, 4))})
    left = drop_delivered(found, {SHARD: state})
    assert [changes.columns["id"].to_pylist() for changes in left.typed] == [["E-2"]]
    assert (left.read, left.rejects) == (1, ())


PIECE = RowPiece(FIRST, Stretch(SHARD, None, "9"), 3, 100, 1.5, b"rows")
ACCOUNT = BlockAccount(ShardRange(SHARD, "4", "9", NOON), (FIRST, LETTERS), 2, 1)


def test_state_of_version_1_is_read() -> None:
    piece = bytes.fromhex(
        "0186a7706f7274696f6e85a46e616d65a56576656e74a464617465aa323032362d30312d3032a677696e646f77"
        "ce6957b340a66c656e677468cd012ca874696d657a6f6e65a3555443a77374726574636883a6736f75726365d9"
        "306b696e657369733a2f2f65752d776573742d312f6368616e6765732f736861726449642d3030303030303030"
        "30303030a56166746572c0a46c617374a139a4726f777303a473697a6564a761727269766564cb3ff800000000"
        "0000a7636f6e74656e74c404726f7773"
    )
    assert RowPieceCoder().decode(piece) == PIECE
    assert RowPieceCoder().encode(PIECE) == piece


def test_books_are_read_back_as_they_were_written() -> None:
    books = Books().add(ACCOUNT)
    assert BooksCoder().decode(BooksCoder().encode(books)) == books
    assert BlockAccountCoder().decode(BlockAccountCoder().encode(ACCOUNT)) == ACCOUNT


def test_state_of_a_newer_version_is_refused() -> None:
    with pytest.raises(LakeError, match="version 2"):
        RowPieceCoder().decode(b"\x02" + RowPieceCoder().encode(PIECE)[1:])
