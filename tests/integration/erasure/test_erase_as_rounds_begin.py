"""An erasure just before a round begins: after it has read the log, and before it has a marker."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from beam_pipelines.deliver import Rules
from runners.deliver import Delivery, run_round
from stores.inputs import InputOpener
from stores.log import RUNS
from stores.objects import LocalObjectStore
from stores.objects.port import ObjectInfo
from tests.erasing import EMAIL, OTHER, erase, runner, site
from tests.unit.transforms.batches import sale
from transforms.write import Output


class Interrupted(LocalObjectStore):
    """A lake in which a subject is erased before the next run has a marker."""

    is_erased = False

    def put(self, key: str, data: bytes) -> ObjectInfo:
        if key.startswith(RUNS) and not self.is_erased:
            self.is_erased = True
            assert erase(LocalObjectStore(self.uri)).is_complete
        return super().put(key, data)


def test_round_that_an_erasure_did_not_see_begin_keeps_its_subject_out(tmp_path: Path) -> None:
    (tmp_path / "in.ndjson").write_bytes(sale(1, EMAIL) + b"\n" + sale(2, OTHER) + b"\n")
    lake = Interrupted(tmp_path / "lake")
    here = site(lake)
    inputs, rules = (str(tmp_path / "in.ndjson"),), Rules(here.registry, here.scrub_key)
    delivery = Delivery(inputs, lake, InputOpener(), rules, Output(), workers=1)
    report = run_round(delivery, runner(), Console(file=io.StringIO()))
    assert (report.suppressed, report.delivered) == (1, 1)
