"""What the log and the engine know of a shard: stretches, states and ledgers."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from schemas.stream_ledger import MARK_EVERY, Advance, BlockAccount, Ledger
from schemas.stream_log import (
    LETTERS,
    Portion,
    ShardState,
    Streamed,
    Stretch,
    Stretches,
    by_source,
    fold,
    sequence,
)
from schemas.streams import ShardRange, rank
from tests.unit.transforms.stream_blocks import SHARD, moment

SALES = Portion("sale", "2026-01-02", 0, 300, "UTC")
LATER = replace(SALES, window=300)

END = 30
spans = st.lists(st.tuples(st.integers(-1, END), st.integers(-1, END)), max_size=6)


def places(stretches: Stretches) -> set[int]:
    return {place for place in range(END + 1) if stretches.holds([place])[0]}


def model(chosen: list[tuple[int, int]]) -> set[int]:
    return {place for after, last in chosen for place in range(after + 1, last + 1)}


@given(spans)
def test_stretches_hold_what_any_of_their_spans_holds(chosen: list[tuple[int, int]]) -> None:
    assert places(Stretches.of(*chosen)) == model(chosen)


@given(spans)
def test_equal_stretches_are_written_alike(chosen: list[tuple[int, int]]) -> None:
    one_by_one = [(place - 1, place) for place in model(chosen)]
    assert Stretches.of(*chosen) == Stretches.of(*one_by_one)


@given(spans, spans, st.integers(-1, END))
def test_stretches_are_sets(
    left: list[tuple[int, int]], right: list[tuple[int, int]], place: int
) -> None:
    one, other = Stretches.of(*left), Stretches.of(*right)
    assert places(one | other) == model(left) | model(right)
    assert places(one - other) == model(left) - model(right)
    assert one.meets(other) == bool(model(left) & model(right))
    assert places(one.above(place)) == {p for p in model(left) if p > place}


@given(spans)
def test_stretches_by_name_are_the_same_stretches(chosen: list[tuple[int, int]]) -> None:
    stretches = Stretches.of(*chosen)
    assert by_source(stretches.named("s")) == ({"s": stretches} if stretches else {})


@given(st.integers(0, 10**128))
def test_a_rank_leads_back_to_its_sequence_number(place: int) -> None:
    assert rank(sequence(place)) == place


def through(last: int, until: float = 0, ended: bool = False) -> ShardRange:
    return ShardRange(SHARD, None, str(last), moment(until), ended)


def delivered(portion: Portion, *chosen: tuple[int, int]) -> Streamed:
    return Streamed(portion, Stretches.of(*chosen).named(SHARD))


def folded(*commits: tuple[list[ShardRange], list[Streamed]]) -> ShardState:
    states: dict[str, ShardState] = {}
    for shards, streamed in commits:
        fold(states, shards, streamed)
    return states[SHARD]


def test_a_portions_rows_are_delivered_up_to_through_and_in_its_own_stretches() -> None:
    state = folded(([through(4)], [delivered(SALES, (6, 8))]))
    assert state.of(SALES).holds([4, 5, 7, 9]) == [True, False, True, False]
    assert state.of(LATER).holds([4, 7]) == [True, False]


def test_stretches_below_through_are_forgotten() -> None:
    state = folded(([], [delivered(SALES, (-1, 5)), delivered(LATER, (2, 9))]), ([through(6)], []))
    assert state.delivered == {LATER: Stretches.of((6, 9))}


def test_through_never_goes_back() -> None:
    state = folded(([through(6)], []), ([through(4, until=99)], [delivered(SALES, (1, 5))]))
    assert (state.place, state.delivered) == (6, {})


def test_a_shard_that_held_nothing_is_still_read_up_to_a_later_moment() -> None:
    state = folded(([through(6)], []), ([ShardRange(SHARD, "6", None, moment(60), ended=True)], []))
    assert state.through == through(6, until=60, ended=True)


def account(
    after: int, last: int, *portions: Portion, arrived: float = 0, filtered: int = 0
) -> BlockAccount:
    stretch = ShardRange(SHARD, sequence(after), sequence(last), moment(arrived))
    return BlockAccount(stretch, portions, filtered)


def ledger(*accounts: BlockAccount) -> Ledger:
    made = Ledger(SHARD)
    for one in accounts:
        made = made.add(one)
    return made


def reached(advance: Advance | None) -> str | None:
    return None if advance is None else advance.reached.last


def test_a_shard_is_delivered_as_far_as_none_of_its_rows_is_missing() -> None:
    books = ledger(
        account(-1, 5, SALES, arrived=0),
        account(5, 9, SALES, LATER, arrived=20),
        account(9, 12, SALES, arrived=40),
    )
    assert reached(books.advance(ShardState())) is None
    assert reached(books.advance(folded(([], [delivered(SALES, (-1, 12))])))) == "5"
    both = [delivered(SALES, (-1, 12)), delivered(LATER, (5, 9))]
    assert reached(books.advance(folded(([], both)))) == "12"


def test_a_shard_is_not_delivered_beyond_what_was_read_without_a_gap() -> None:
    books = ledger(account(-1, 5), account(7, 9))
    assert reached(books.advance(ShardState())) == "5"
    assert reached(books.add(account(5, 7)).advance(ShardState())) == "9"


def test_a_block_without_rows_is_delivered_at_once() -> None:
    advance = ledger(account(-1, 5, filtered=5)).advance(ShardState())
    assert advance is not None
    assert (advance.reached, advance.filtered) == (through(5), 5)


def test_what_was_left_out_is_counted_where_through_passes_it() -> None:
    books = ledger(account(-1, 5, filtered=1), account(5, 9, LATER, arrived=60, filtered=2))
    first = books.advance(ShardState())
    assert first is not None
    assert first.filtered == 1
    state = ShardState(first.reached).with_streamed(LATER, Stretches.of((5, 9)))
    second = books.trimmed(ShardState(first.reached)).advance(state)
    assert second is not None
    assert second.filtered == 2


def test_an_account_that_comes_twice_is_counted_once() -> None:
    books = ledger(account(-1, 5, filtered=1), account(-1, 5, filtered=1))
    advance = books.advance(ShardState())
    assert advance is not None
    assert advance.filtered == 1


def test_reading_nothing_moves_the_moment_on() -> None:
    state = ShardState(through(5))
    quiet = BlockAccount(ShardRange(SHARD, "5", None, moment(60)), ())
    advance = Ledger(SHARD).add(quiet).advance(state)
    assert advance is not None
    assert advance.reached == through(5, until=60)


def test_what_is_delivered_leaves_the_ledger() -> None:
    books = ledger(account(-1, 5, SALES), account(5, 9, LETTERS, arrived=60))
    state = folded(([through(5)], []))
    left = books.trimmed(state)
    assert (left.read, left.found) == (Stretches.of((5, 9)), {LETTERS: Stretches.of((5, 9))})
    assert [mark.last for mark in left.marks] == ["9"]


def test_a_ledger_stays_small_however_many_blocks_are_read() -> None:
    books, seconds = Ledger(SHARD), 2 * MARK_EVERY.seconds
    for number in range(10 * seconds):
        books = books.add(account(number, number + 1, SALES, arrived=number / 10))
    assert len(books.marks) <= seconds / MARK_EVERY.seconds * 2 + 1
    assert books.found == {SALES: Stretches.of((0, 10 * seconds))}


def test_marks_that_are_left_out_leave_their_counts_to_the_next() -> None:
    books = ledger(*(account(n, n + 1, arrived=n, filtered=1) for n in range(-1, 25)))
    advance = books.advance(ShardState())
    assert advance is not None
    assert (advance.filtered, advance.reached.last) == (26, "25")
    assert advance.reached.until == moment(0) + timedelta(seconds=24)


def test_portions_have_keys_of_their_own() -> None:
    others = [SALES, LATER, replace(SALES, length=600), replace(SALES, timezone="Asia/Tokyo")]
    assert len({portion.key for portion in (*others, LETTERS)}) == 5


def test_a_stretch_of_a_shards_first_record_follows_nothing() -> None:
    assert Stretches.of((-1, 3)).named("s") == (Stretch("s", None, "3"),)
