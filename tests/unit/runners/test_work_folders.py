"""Work folders: those of dead runs are cleared, those of live ones are left alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from beam_pipelines.deliver import Rules
from runners.deliver import Delivery, prepare_lake, work_folder
from schemas.errors import StoreError
from schemas.registry import load_registry
from stores.inputs import InputOpener
from stores.log import DeliveryLog, Owner
from stores.objects import LocalObjectStore
from stores.parameters import FileParameters
from transforms.scrub import ScrubKey
from transforms.write import Output

DEAD = replace(Owner.this_process(), started="0")


@pytest.fixture
def delivery(tmp_path: Path) -> Delivery:
    rules = Rules(load_registry(), ScrubKey.of(FileParameters(tmp_path / "parameters")))
    store = LocalObjectStore(tmp_path / "lake")
    return Delivery((), store, InputOpener(), rules, Output(), 1, work_folder=tmp_path / "work")


def prepare(delivery: Delivery) -> None:
    prepare_lake(DeliveryLog(delivery.store), delivery)


def test_a_work_folder_is_gone_when_its_run_ends(delivery: Delivery) -> None:
    with work_folder(delivery, "run") as folder:
        (folder / "rows.spill").write_bytes(b"rows")
    assert not folder.exists()


def test_the_folder_of_a_live_run_is_left_alone(delivery: Delivery) -> None:
    DeliveryLog(delivery.store).begin("run", 0)
    with work_folder(delivery, "run") as folder:
        prepare(delivery)
        assert folder.exists()


def test_the_folder_of_a_dead_run_is_cleared(delivery: Delivery) -> None:
    DeliveryLog(delivery.store, DEAD).begin("run", 0)
    with work_folder(delivery, "run") as folder:
        prepare(delivery)
        assert not folder.exists()


def test_the_folder_of_another_lakes_run_is_left_alone(delivery: Delivery, tmp_path: Path) -> None:
    other = replace(delivery, store=LocalObjectStore(tmp_path / "other"))
    with work_folder(other, "run") as folder:
        prepare(delivery)
        assert folder.exists()


def test_the_folder_of_a_run_that_begins_meanwhile_is_left_alone(
    delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, recover = DeliveryLog(delivery.store), DeliveryLog.recover
    with work_folder(delivery, "early") as early:
        early.rmdir()

        def recover_slowly(log: DeliveryLog) -> object:
            found = recover(log)
            log.begin("early", 0)
            early.mkdir()
            return found

        monkeypatch.setattr(DeliveryLog, "recover", recover_slowly)
        prepare_lake(log, delivery)
        assert early.exists()


def test_a_work_folder_that_cannot_be_made_is_named(delivery: Delivery, tmp_path: Path) -> None:
    (tmp_path / "work").write_text("a file")
    with pytest.raises(StoreError, match=r"work.*cannot be made"), work_folder(delivery, "run"):
        pass
