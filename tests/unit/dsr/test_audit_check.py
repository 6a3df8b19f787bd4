"""What is wrong with an audit log is found, and named."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.audit import AuditEntry, AuditHead, chained
from schemas.audit_check import Fault, Flaw, Whole, check_log
from schemas.audit_lines import AuditLink, checkpoint_line, entry_line, link_of
from tests.audit_logs import AT, KEYS, STRANGER, a_file, a_log, checked, draft, keys_of, signed

LOG = a_log(6)
LINES = a_file(LOG)


def test_a_whole_file_is_whole() -> None:
    assert checked(LINES) == Whole(LOG[-1].head, LOG[-1].head)


def test_an_empty_log_is_whole() -> None:
    assert checked(a_file([])) == Whole(AuditHead(), AuditHead())


def test_a_changed_entry_is_named() -> None:
    lines = [*LINES]
    lines[3] = lines[3].replace(b"user-1", b"user-2")
    assert checked(lines) == Flaw(Fault.CHANGED, 3)


def test_a_missing_entry_is_named() -> None:
    assert checked([*LINES[:3], *LINES[4:]]) == Flaw(Fault.MISSING, 3)


def test_reordered_entries_are_named() -> None:
    lines = [*LINES[:3], LINES[4], LINES[3], *LINES[5:]]
    assert checked(lines) == Flaw(Fault.REORDERED, 3)


def test_a_repeated_entry_is_named() -> None:
    assert checked([*LINES[:4], LINES[2], *LINES[4:]]) == Flaw(Fault.REPEATED, 4, 3)


def test_a_tail_that_was_cut_off_is_found() -> None:
    assert checked(LINES[:-2]) == Flaw(Fault.CUT_OFF, 5, 6)


def test_an_entry_that_was_changed_and_hashed_again_breaks_the_chain() -> None:
    forged = chained(draft(99), AT, LOG[1].head)
    assert checked([*LINES[:3], entry_line(forged), *LINES[4:]]) == Flaw(Fault.CHANGED, 4)


def test_a_chain_that_was_made_anew_does_not_fit_the_checkpoint() -> None:
    anew = [*LOG[:2], *a_log(4, LOG[1].head)]
    assert checked([LINES[0], *map(entry_line, anew)]) == Flaw(Fault.REWRITTEN, 1, 6)


def test_what_was_made_anew_lies_behind_the_last_good_checkpoint() -> None:
    anew = [*LOG[:4], *a_log(2, LOG[3].head)]
    found = check_log(map(link_of, anew), [signed(LOG[:3]), signed(LOG)], KEYS.public.is_signed)
    assert found == Flaw(Fault.REWRITTEN, 4, 6)


def test_a_checkpoint_of_a_stranger_is_not_trusted() -> None:
    lines = [checkpoint_line(signed(LOG, STRANGER)), *LINES[1:]]
    assert checked(lines) == Flaw(Fault.BAD_SIGNATURE, 6)


def test_a_stranger_cannot_borrow_the_id_of_a_key() -> None:
    forged = replace(signed(LOG, STRANGER), key_id=signed(LOG).key_id)
    assert checked([checkpoint_line(forged), *LINES[1:]]) == Flaw(Fault.BAD_SIGNATURE, 6)


def test_a_signature_that_is_no_number_is_bad() -> None:
    forged = replace(signed(LOG), signature="zz")
    assert check_log(map(link_of, LOG), [forged], KEYS.public.is_signed) == Flaw(
        Fault.BAD_SIGNATURE, 6
    )


def test_a_file_without_its_checkpoint_is_not_whole() -> None:
    assert checked(LINES[1:]) == checked([]) == Flaw(Fault.NO_CHECKPOINT, 1)


def test_entries_that_no_checkpoint_covers_are_not_taken() -> None:
    more = chained(draft(7), AT, LOG[-1].head)
    assert checked([*LINES, entry_line(more)]) == Flaw(Fault.NOT_COVERED, 7)


def test_a_kept_checkpoint_shows_that_an_older_export_was_put_in_place() -> None:
    older = a_file(LOG[:4])
    assert isinstance(checked(older), Whole)
    assert checked(older, signed(LOG)) == Flaw(Fault.CUT_OFF, 5, 6)


def test_a_replaced_key_is_still_known() -> None:
    by_both = keys_of("2", "1").public
    found = check_log(
        map(link_of, LOG), [signed(LOG[:3]), signed(LOG, STRANGER)], by_both.is_signed
    )
    assert found == Whole(LOG[-1].head, LOG[-1].head)


def test_what_no_checkpoint_covers_yet_is_said() -> None:
    found = check_log(map(link_of, LOG), [signed(LOG[:4])], KEYS.public.is_signed)
    assert found == Whole(LOG[-1].head, LOG[3].head)


def test_a_log_is_checked_without_being_held() -> None:
    seen: list[int] = []

    def links() -> Iterator[AuditLink]:
        for entry in LOG:
            seen.append(entry.sequence)
            yield link_of(replace(entry, hash="0") if entry.sequence == 2 else entry)

    assert check_log(links(), [], KEYS.public.is_signed) == Flaw(Fault.CHANGED, 2)
    assert seen[-1] <= 3


@pytest.mark.parametrize("fault", Fault)
def test_every_fault_is_said_in_words(fault: Fault) -> None:
    assert "{" not in str(Flaw(fault, 3, 5))


FILE = b"".join(LINES)


@given(st.integers(0, len(FILE) - 1), st.integers(1, 255))
def test_any_changed_byte_is_found(place: int, flip: int) -> None:
    changed = bytearray(FILE)
    changed[place] ^= flip
    assert isinstance(checked([bytes(changed)]), Flaw)


@given(st.integers(0, len(FILE) - 1))
def test_any_truncation_is_found(length: int) -> None:
    assert isinstance(checked([FILE[:length]]), Flaw)


@given(st.integers(0, len(LINES) - 1))
def test_any_dropped_line_is_found(place: int) -> None:
    assert isinstance(checked([*LINES[:place], *LINES[place + 1 :]]), Flaw)


@given(st.permutations(LINES).filter(lambda lines: lines != LINES))
def test_any_other_order_is_found(lines: list[bytes]) -> None:
    assert isinstance(checked(lines), Flaw)


@given(st.integers(0, len(FILE)), st.binary(min_size=1, max_size=80))
def test_anything_put_in_is_found(place: int, more: bytes) -> None:
    assert isinstance(checked([FILE[:place], more, FILE[place:]]), Flaw)


@given(st.integers(0, len(LOG) - 1), st.text(min_size=1))
def test_any_entry_changed_with_all_that_follow_hashed_again_is_found(
    place: int, actor: str
) -> None:
    entries = [
        *LOG[:place],
        *_again(LOG[place:], LOG[place - 1].head if place else AuditHead(), actor),
    ]
    assert isinstance(checked([LINES[0], *map(entry_line, entries)]), Flaw)


def _again(entries: list[AuditEntry], head: AuditHead, actor: str) -> Iterator[AuditEntry]:
    """The entries with the first one's actor changed, chained again by whoever has no key."""
    for number, entry in enumerate(entries):
        said = replace(entry.draft, actor=f"{actor}!") if number == 0 else entry.draft
        again = chained(said, entry.at, head)
        head = again.head
        yield again
