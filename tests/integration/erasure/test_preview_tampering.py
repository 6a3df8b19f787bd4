"""Previews that were changed, carried elsewhere, cut off, or are gone: nothing goes by them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from runners.erase import approved, preview_erasure, run_erasure
from schemas.erasure import ErasureMode, Preview
from schemas.errors import LakeError, UsageError
from stores.objects import LocalObjectStore, ObjectStore
from stores.previews import PREVIEWS, drop_previews, load_preview
from stores.subjects import SealBroken, Subjects
from tests.erasing import EMAIL, OTHER, Secrets, order, put_visits, runner, site


@pytest.fixture
def made(lake: ObjectStore) -> Preview:
    put_visits(lake, "mixed", EMAIL, OTHER)
    return preview_erasure(order(), site(lake), runner())


def dropped(lake: ObjectStore, now: datetime) -> int:
    return drop_previews(lake, site(lake).seals, frozenset(order(OTHER).identities), now)


def test_preview_of_another_lake_is_refused(made: Preview, tmp_path: Path) -> None:
    other = LocalObjectStore(tmp_path / "other")
    other.put(f"{PREVIEWS}{made.id}.json", msgspec.json.encode(made))
    with pytest.raises(UsageError, match=r"was made in .*/lake, and not here"):
        approved(load_preview(other, made.id, made.made_at), site(other))


CHANGES = {
    "mode": {"mode": ErasureMode.REDACT},
    "expiry": {"expires_at": datetime.max},
    "id": {"id": "another"},
    "subjects": {"sealed": b"\1nobody"},
}


@pytest.mark.parametrize("what", CHANGES)
def test_preview_that_was_changed_is_not_run(lake: ObjectStore, made: Preview, what: str) -> None:
    with pytest.raises(SealBroken):
        approved(replace(made, **CHANGES[what]), site(lake))  # type: ignore[arg-type]


@pytest.mark.parametrize("content", [b"", b'{"id":', b"[" * 100_000, b"{}"])
def test_damaged_preview_is_named_and_goes(lake: ObjectStore, content: bytes) -> None:
    now = site(lake).clock()
    lake.put(f"{PREVIEWS}cut.json", content)
    with pytest.raises(LakeError, match=r"cut\.json: is no preview"):
        load_preview(lake, "cut", now)
    assert dropped(lake, now) == 1


class Overtaken(LocalObjectStore):
    """A lake in which another erasure removes a preview just before it is read."""

    def read(self, key: str) -> bytes:
        self.delete(key)
        return super().read(key)


def test_preview_that_another_erasure_removes_is_no_error(lake: ObjectStore, made: Preview) -> None:
    assert dropped(Overtaken(lake.uri), made.made_at + timedelta(days=8)) == 0


class Without(Secrets):
    """Parameters of a machine that lacks one."""

    def __init__(self, missing: str) -> None:
        super().__init__()
        self._missing = missing

    def _fetch(self, name: str) -> str:
        if name == self._missing:
            raise UsageError(f"the parameter {name!r} is not set")
        return super()._fetch(name)


def test_erasure_that_could_not_tell_whose_previews_go_is_refused_first(
    lake: ObjectStore, made: Preview
) -> None:
    here = replace(site(lake), seals=Subjects(Without("dsr-seal-keys")))
    with pytest.raises(UsageError, match="dsr-seal-keys"):
        run_erasure(order(OTHER), here, runner())
    assert not list(lake.list("_lethe/suppression/"))


def test_key_that_finds_requests_is_not_needed_for_previews(
    lake: ObjectStore, made: Preview
) -> None:
    here = replace(site(lake), seals=Subjects(Without("dsr-subject-key")))
    run_erasure(order(), here, runner())
    assert not list(lake.list(PREVIEWS))
