"""An erasure ends, even where others bring the subject back as fast as it goes."""

from __future__ import annotations

import pytest

import runners.erase_passes as passes
from runners.erase_certify import NotErased
from stores.objects import ObjectStore
from tests.erasing import EMAIL, OTHER, Meanwhile, erase, put_visits


def test_subject_that_others_bring_back_without_end_is_not_certified(
    lake: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes, "_MOST_ROUNDS", 2)

    def bring_back() -> None:
        put_visits(lake, "mixed", EMAIL, OTHER)

    bring_back()
    with pytest.raises(NotErased, match="hold a subject still"):
        erase(lake, by=Meanwhile(*[bring_back] * 20))
    assert [*lake.list("_lethe/certificates/")] == []
