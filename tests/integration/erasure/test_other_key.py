"""A lake that was written with one scrub key, met with another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from beam_pipelines.deliver import Rules
from runners.compact import Compaction, run_compaction
from runners.deliver import Delivery, prepare_lake
from runners.erase import ErasureSite, preview_erasure, run_erasure
from runners.export import ExportOrder, run_export
from runners.index import Indexing, run_indexing
from runners.verify_erasure import verify_erasure
from schemas.errors import LakeError
from stores.lake_key import LAKE_KEY, OtherKey, check_key, claim_key
from stores.log import DeliveryLog
from stores.objects import LocalObjectStore, ObjectStore
from stores.objects.port import ObjectInfo
from tests.erasing import EMAIL, OTHER, Secrets, erase, order, put_visits, runner, site
from transforms.compact import CompactionRules
from transforms.scrub import ScrubKey


class Rotated(Secrets):
    """Parameters of a machine that has another scrub key."""

    def _fetch(self, name: str) -> str:
        return "rotated" * 5 if name == "scrub-key" else super()._fetch(name)


def other_site(store: ObjectStore) -> ErasureSite:
    return replace(site(store), scrub_key=ScrubKey.of(Rotated()))


def index(here: ErasureSite) -> object:
    return run_indexing(Indexing(here.store, here.registry, here.scrub_key), runner())


def compact(here: ErasureSite) -> object:
    rules = CompactionRules(1, here.clock())
    return run_compaction(Compaction(here.store, here.registry, here.scrub_key, rules), runner())


def verify(here: ErasureSite) -> object:
    made = erase(here.store, OTHER).certificate
    return verify_erasure(made, here, runner())


def export(here: ErasureSite) -> object:
    return run_export(ExportOrder(order().identities, f"{here.store.uri}-out"), here, runner())


COMMANDS: dict[str, Callable[[ErasureSite], object]] = {
    "erase": lambda here: run_erasure(order(), here, runner()),
    "preview": lambda here: preview_erasure(order(), here, runner()),
    "verify": verify,
    "export": export,
    "index": index,
    "compact": compact,
}


@pytest.mark.parametrize("command", COMMANDS)
def test_command_with_another_key_is_refused(lake: ObjectStore, command: str) -> None:
    path = put_visits(lake, "mixed", EMAIL, OTHER)
    claim_key(lake, site(lake).scrub_key.fingerprint)
    with pytest.raises(OtherKey, match="give the lake's key"):
        COMMANDS[command](other_site(lake))
    assert lake.head(path) is not None


def test_delivery_with_another_key_is_refused(lake: ObjectStore) -> None:
    erase(lake)
    here = other_site(lake)
    rules = Rules(here.registry, here.scrub_key)
    delivery = Delivery((), lake, None, rules, None, 1)  # type: ignore[arg-type]
    with pytest.raises(OtherKey):
        prepare_lake(DeliveryLog(lake), delivery)


def test_lake_is_of_the_first_key_that_writes_into_it(store: ObjectStore) -> None:
    check_key(store, "aa")
    claim_key(store, "aa")
    claim_key(store, "aa")
    with pytest.raises(OtherKey, match="'aa'"):
        claim_key(store, "bb")


class Overtaken(LocalObjectStore):
    """A lake into which another process writes its key just before us."""

    def put_if_absent(self, key: str, data: bytes) -> ObjectInfo:
        claim_key(LocalObjectStore(self.uri), "aa")
        return super().put_if_absent(key, data)


def test_of_two_keys_at_once_one_is_refused(lake: ObjectStore) -> None:
    with pytest.raises(OtherKey):
        claim_key(Overtaken(lake.uri), "bb")


def test_damaged_fingerprint_is_named(lake: ObjectStore) -> None:
    lake.put(LAKE_KEY, b"{")
    with pytest.raises(LakeError, match=LAKE_KEY):
        check_key(lake, "aa")
