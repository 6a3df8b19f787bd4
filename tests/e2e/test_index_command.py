"""Indexes that are missing are made from the files, and believed from then on."""

from __future__ import annotations

import shutil
from pathlib import Path

from schemas.dsr import Identity, IdentityType
from schemas.registry import load_registry
from stores.lake_files import lake_files
from stores.log import DeliveryLog
from stores.objects import LocalObjectStore
from stores.subject_index import may_hold
from tests.e2e.harness import SCRUB_KEY, deliver, lethe
from tests.e2e.test_suppressed_delivery import sale
from transforms.index import probes_for
from transforms.subject_hashes import SubjectHasher

REGISTRY = load_registry()
HASHER = SubjectHasher(SCRUB_KEY.encode())


def _has_to_be_read(lake: Path, email: str) -> list[bool]:
    """For each file of data whether somebody who looks for the address has to read it."""
    store = LocalObjectStore(lake)
    probes = probes_for([Identity(IdentityType.EMAIL, email)], REGISTRY, HASHER)
    assert probes is not None
    return [found for _, found in may_hold(store, lake_files(store, DeliveryLog(store)), probes)]


def test_an_index_that_is_gone_is_made_anew(tmp_path: Path) -> None:
    lake, changes = tmp_path / "lake", tmp_path / "in.ndjson"
    changes.write_bytes(sale(1, "ana@acme.example") + b"\n")
    assert deliver(lake, changes).status == 0
    shutil.rmtree(lake / "_lethe" / "index")
    assert _has_to_be_read(lake, "bob@acme.example") == [True]
    done = lethe("index", "--lake", lake, "--workers", 1)
    assert done.status == 0, done.err
    assert _has_to_be_read(lake, "bob@acme.example") == [False]
    assert _has_to_be_read(lake, "ana@acme.example") == [True]
