"""Indexes are made in a folder and on S3; whoever is killed at it leaves nothing behind."""

from __future__ import annotations

import signal

import numpy as np
import pytest

from runners.index import Indexing, IndexReport, run_indexing
from stores.lake_files import lake_files
from stores.log import DeliveryLog
from stores.objects.port import ObjectStore
from stores.subject_index import Probes, may_hold
from tests.e2e.harness import dying, in_child
from tests.erasing import EMAIL, OTHER, VISIT, deliver, emails_in, erase, runner, site
from transforms.index import stamp_of
from transforms.subject_hashes import SubjectHasher

DEATHS = [
    ("stage", True),
    ("append", False),  # all is staged
    ("append", True),  # the entry is there, and nothing published
    ("publish", True),
]


@pytest.fixture
def lake(store: ObjectStore) -> ObjectStore:
    """Two files that came without an index."""
    deliver(store, "one", EMAIL)
    deliver(store, "two", OTHER)
    return store


def indexed(lake: ObjectStore) -> IndexReport:
    here = site(lake)
    return run_indexing(Indexing(lake, here.registry, here.scrub_key), runner())


def to_be_read(lake: ObjectStore) -> int:
    """How many files whoever looks for nobody has to read."""
    stamp = stamp_of(VISIT, SubjectHasher.of(site(lake).scrub_key))
    probes = Probes(np.zeros(0, np.uint64), {"visit": stamp})
    asked = may_hold(lake, lake_files(lake, DeliveryLog(lake)), probes)
    return sum(has_to_be_read for _, has_to_be_read in asked)


@pytest.mark.parametrize(("method", "after"), DEATHS)
def test_killed_indexing_is_finished_by_the_next(
    lake: ObjectStore, method: str, after: bool
) -> None:
    def die() -> None:
        dying(DeliveryLog if method == "append" else type(lake), method, 1, after)
        indexed(lake)

    assert in_child(die) == -signal.SIGKILL
    indexed(lake)
    assert to_be_read(lake) == 0
    assert [*lake.list("_lethe/staging/"), *lake.list("_lethe/runs/")] == []


def test_indexing_takes_out_the_late_rows_of_whoever_was_killed(lake: ObjectStore) -> None:
    erase(lake)
    late = deliver(lake, "late", EMAIL, OTHER, knows=0)
    indexed(lake)
    assert emails_in(lake, late.files[0].path) == [OTHER]
    assert (DeliveryLog(lake).positions().owed, to_be_read(lake)) == ((), 0)
