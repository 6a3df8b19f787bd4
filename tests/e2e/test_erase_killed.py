"""An erasure that is killed, wherever that is, leaves a whole lake and is gone on with."""

from __future__ import annotations

import signal
import subprocess
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

from stores.objects import LocalObjectStore
from tests.e2e.harness import Lake, deliver, dying, generated, in_child, lethe, start
from tests.erasing import EMAIL, OTHER, emails_in, erase, paths, put_visits

SECRETS = {"LETHE_AUDIT_KEYS": "1f" * 32, "LETHE_DSR_SEAL_KEYS": "t" * 32,
           "LETHE_DSR_SUBJECT_KEY": "s" * 32}  # fmt: skip

DEATHS = [
    ("put_if_absent", 1, True),  # the suppression is in the log
    ("stage", 2, True),
    ("put_if_absent", 2, False),  # all is staged
    ("put_if_absent", 2, True),  # the entry is there, and nothing replaced
    ("publish_if_match", 1, True),
    ("delete_if_match", 1, True),  # all is in place
]


@pytest.fixture
def lake(tmp_path: Path) -> LocalObjectStore:
    store = LocalObjectStore(tmp_path / "lake")
    for name in "ab":
        put_visits(store, name, EMAIL, OTHER)
    put_visits(store, "hers", EMAIL)
    return store


@pytest.mark.parametrize(("method", "call", "after"), DEATHS)
def test_killed_erasure_is_finished_by_the_next(
    lake: LocalObjectStore, method: str, call: int, after: bool
) -> None:
    def die() -> None:
        dying(LocalObjectStore, method, call, after)
        erase(lake)

    assert in_child(die) == -signal.SIGKILL
    made = erase(lake).certificate
    left = [emails_in(lake, path) for path in paths(lake)]
    assert left == [[OTHER], [OTHER]]
    assert (made.matched, made.rows_after, len(made.files)) == (3, 2, 3)


def test_command_killed_at_any_instant_is_gone_on_with(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    assert deliver(lake, generated(tmp_path / "changes", 3_000)).status == 0
    before = Lake.at(lake)
    user = before.rows()["notification"].column("user_id")[0].as_py()
    hers, others = split_by(before, user)
    asked = (
        "erase", "--lake", lake, "--subject", f"controller_customer_id={user}", "--workers", 1,
        "--max-match-share", 1,
    )  # fmt: skip
    for seconds in (1.0, 1.8):
        kill_after(seconds, start(*asked, env=SECRETS))
    done = lethe(*asked, env=SECRETS)
    assert done.status == 0, done.err
    assert hers
    assert Lake.at(lake).changes() == others


def split_by(lake: Lake, user: str) -> tuple[list[str], list[str]]:
    """The changes of a user, and those of all others."""
    hers, others = [], []
    for table in lake.rows().values():
        users = table["user_id"].to_pylist() if "user_id" in table.column_names else []
        changes = table["change_id"].to_pylist()
        for change, one in zip_longest(changes, users):
            (hers if one == user else others).append(change)
    return hers, sorted(others)


def kill_after(seconds: float, process: Any) -> None:
    with suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=seconds)
    process.kill()
    process.communicate()
