"""The lists of suppressed subjects that erasures leave: few, however many erasures there were."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from runners.erase_suppress import suppress_subjects
from schemas.dsr import Identity, IdentityType
from schemas.erasure import Suppressed, SuppressionRef
from stores.log import SUPPRESS, DeliveryLog, new_run_id
from stores.log_entries import bare_entry
from stores.objects import LocalObjectStore, ObjectStore
from stores.suppression import load_suppressions, merged_suppressions, save_suppressions
from tests.erasing import EMAIL, OTHER, order, site
from transforms.subject_hashes import SubjectHasher

NOW = datetime(2026, 1, 2, tzinfo=UTC)
DAY = timedelta(days=1)


def suppress(lake: ObjectStore, email: str = EMAIL, **more: object) -> tuple[SuppressionRef, ...]:
    suppress_subjects(order(email, **more), site(lake, lambda: NOW), "an-erasure", NOW)
    return DeliveryLog(lake).positions().suppressions


def in_force(lake: ObjectStore, at: datetime = NOW) -> int:
    return len(load_suppressions(lake, DeliveryLog(lake).positions().suppressions, at))


def test_lists_stay_few_and_forget_nobody(lake: ObjectStore) -> None:
    for number in range(12):
        lists = suppress(lake, f"{number}@acme.example")
    assert [ref.number for ref in lists] == [8, 12]
    assert in_force(lake) == 12


def test_subject_who_is_kept_out_for_so_long_is_not_listed_again(lake: ObjectStore) -> None:
    once = suppress(lake, suppress_for=3 * DAY)
    assert suppress(lake, suppress_for=3 * DAY) == suppress(lake, suppress_for=DAY) == once


def test_subject_who_is_to_be_kept_out_for_longer_is_listed(lake: ObjectStore) -> None:
    suppress(lake, suppress_for=DAY)
    suppress(lake)
    assert in_force(lake, NOW + 2 * DAY) == 1


def test_address_that_is_taken_with_its_tags_is_listed_for_that(lake: ObjectStore) -> None:
    suppress(lake)
    suppress(lake, plus_addressing=True)
    assert in_force(lake) == 2


def test_address_whose_tag_made_no_difference_is_not_listed_again(lake: ObjectStore) -> None:
    once = suppress(lake, "ana+other@acme.example", plus_addressing=True)
    assert suppress(lake, "ana+other@acme.example", plus_addressing=True) == once


def test_address_on_a_list_from_before_is_listed_as_it_is_now(lake: ObjectStore) -> None:
    hers = Identity(IdentityType.EMAIL, "ana+other@acme.example")
    known = SubjectHasher.of(site(lake).scrub_key, plus_addressing=True).suppressed(hers)
    log = DeliveryLog(lake)
    run = log.begin(new_run_id(NOW), 0, SUPPRESS)
    ref = save_suppressions(lake, run.run_id, [replace(known, stored_untagged=None)])
    log.commit(run, replace(bare_entry(run.run_id, SUPPRESS, NOW), suppressed=ref))
    lists = suppress(lake, hers.value, plus_addressing=True)
    assert known in load_suppressions(lake, lists, NOW)


def test_list_that_has_just_expired_stays_for_late_rows(lake: ObjectStore) -> None:
    suppress(lake, suppress_for=-DAY)
    assert [ref.holds for ref in suppress(lake, OTHER)] == [(), ()]


def test_list_that_has_long_expired_goes(lake: ObjectStore) -> None:
    suppress(lake, suppress_for=-40 * DAY)
    assert [ref.holds for ref in suppress(lake, OTHER)] == [(1,)]


def listed(number: int) -> Suppressed:
    return Suppressed(IdentityType.EMAIL, f"{number:064x}", "", (number,))


@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=12))
def test_any_lists_together_are_few_and_hold_everybody(
    tmp_path_factory: object, sizes: list[int]
) -> None:
    store = LocalObjectStore(tmp_path_factory.mktemp("lake"))  # type: ignore[attr-defined]
    refs, total = list[SuppressionRef](), 0
    for number, size in enumerate(sizes, 1):
        new = [listed(total + one) for one in range(size)]
        merged, total = merged_suppressions(store, refs, new, NOW), total + size
        ref = save_suppressions(store, str(number), merged.suppressed, merged.holds)
        refs = [one for one in refs if one.number not in ref.holds] + [replace(ref, number=number)]
    assert len(load_suppressions(store, refs, NOW)) == total
    assert 2 ** (len(refs) - 1) <= 2 * total
