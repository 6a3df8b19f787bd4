"""Deliveries killed at any instant, restarted, and compared with one that nobody disturbed.

Most kills happen in a child forked from this process, which has everything loaded already: the
child kills itself, without any tidying up, at the n-th call of a method of the store. The others
come from outside, at random instants, to the command and all its worker processes.

``LETHE_KILLS`` is the number of random kills in the longer mode.
"""

from __future__ import annotations

import io
import os
import random
import signal
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from config.settings import load_settings
from runners.commands.options import RuleOptions, build_rules
from runners.deliver import Delivery, run_round
from runners.direct import DirectRunner
from stores.inputs import InputOpener
from stores.log import ABANDONED
from stores.objects import LocalObjectStore, ObjectStore, S3Settings
from stores.objects.keys import TEMPORARY
from stores.objects.local import _StagedFile
from stores.objects.s3 import S3ObjectStore
from stores.objects.s3_streams import MultipartWriter
from tests.e2e.harness import SCRUB_KEY, Lake, dying, generated, in_child, start
from tests.emulators import ACCESS_KEY, REGION, SECRET_KEY, make_bucket, moto_url, s3_client
from transforms.write import Output

__all__ = ["moto_url"]  # a fixture: pytest finds it here

RECORDS = 30_000
FILES = 3
DAYS = 2
STAGED = 13
"""Files that a delivery stages: of four types, two dates and one by time zone; and of letters."""

KILLS = int(os.environ.get("LETHE_KILLS", "200"))

LOCAL = {"stage": LocalObjectStore, "close": _StagedFile, "_publish": LocalObjectStore}
S3 = {"stage": S3ObjectStore, "close": MultipartWriter, "_publish": S3ObjectStore}

AT = [
    *(("stage", n) for n in (1, 2, 7, STAGED)),
    *(("close", n) for n in (1, 2, 7, STAGED)),
    ("settle", 1),
    ("put", 1),
    ("put_if_absent", 1),
    *(("_publish", n) for n in (1, 2, 7, STAGED, STAGED + 1, STAGED + 7)),
    ("publish", 1),
    ("publish", 2),
    ("clear_staging", 1),
    ("delete", 1),
]
"""Methods, and the number of the call that is the last. Ending the run publishes again."""

AT_ON_S3 = [("stage", 3), ("close", 2), ("put_if_absent", 2), ("_publish", 4), ("delete", 12)]


@dataclass(frozen=True)
class Inputs:
    """Files to deliver, and the lake that an undisturbed delivery makes of them."""

    paths: tuple[str, ...]
    expected: Lake


def delivery_of(paths: tuple[str, ...], store: ObjectStore) -> Delivery:
    os.environ["LETHE_SCRUB_KEY"] = SCRUB_KEY  # in a child of its own
    rules = build_rules(load_settings(), RuleOptions(None))
    return Delivery(paths, store, InputOpener(), rules, Output(), workers=1)


def run(paths: tuple[str, ...], store: ObjectStore) -> None:
    with DirectRunner(1) as runner, Path(os.devnull).open("w") as nowhere:
        run_round(delivery_of(paths, store), runner, Console(file=nowhere))


def assert_whole(lake: Lake) -> None:
    """Every visible file is one that the log names, and has all the rows the log says."""
    logged = {file.path: file for commit in lake.commits() for file in commit.files}
    for key in lake.files():
        content = lake.store.read(key)
        assert len(content) == logged[key].staged.size
        assert pq.ParquetFile(io.BytesIO(content)).metadata.num_rows == logged[key].rows


def assert_same(lake: Lake, expected: Lake) -> None:
    """Nothing is lost, nothing is there twice, nothing is left behind."""
    assert_same_content(lake, expected)
    assert lake.leftovers() == []


def assert_same_content(lake: Lake, expected: Lake) -> None:
    ours, theirs = lake.rows(), expected.rows()
    assert ours.keys() == theirs.keys()
    for name, table in ours.items():
        assert table.equals(theirs[name]), f"rows of {name} differ"
    assert timeless(lake.letters()) == timeless(expected.letters())


def timeless(letters: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**letter, "time": None} for letter in letters]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return delivered(tmp_path_factory.mktemp("inputs"), RECORDS)


@pytest.fixture(scope="module")
def few_inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return delivered(tmp_path_factory.mktemp("few"), 1_500)


def delivered(folder: Path, count: int) -> Inputs:
    paths = tuple(
        str(generated(folder / f"{n}.ndjson", count // FILES, seed=n, hostile=0.01, days=DAYS))
        for n in range(FILES)
    )
    store = LocalObjectStore(folder / "expected")
    assert in_child(lambda: run(paths, store)) == 0
    return Inputs(paths, Lake(store))


def test_the_undisturbed_delivery_is_worth_comparing_with(inputs: Inputs) -> None:
    changes, letters = inputs.expected.changes(), inputs.expected.letters()
    assert len(changes) == len(set(changes)) == RECORDS - len(letters)
    assert 100 < len(letters) == len({letter["id"] for letter in letters})
    assert len(inputs.expected.files()) == STAGED - 1


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("method", "call"), AT)
def test_a_kill_at_a_call_of_the_store_loses_and_doubles_nothing(
    inputs: Inputs, tmp_path: Path, method: str, call: int, after: bool
) -> None:
    lake = Lake.at(tmp_path / "lake")

    def die() -> None:
        dying(LOCAL.get(method, LocalObjectStore), method, call, after)
        run(inputs.paths, lake.store)

    assert in_child(die) == -signal.SIGKILL
    assert_whole(lake)
    assert in_child(lambda: run(inputs.paths, lake.store)) == 0
    assert_same(lake, inputs.expected)


def test_a_recovery_that_is_killed_too_loses_and_doubles_nothing(
    inputs: Inputs, tmp_path: Path
) -> None:
    lake = Lake.at(tmp_path / "lake")
    for method, call in (("_publish", 3), ("_publish", 4), ("clear_staging", 1), ("delete", 1)):

        def die(method: str = method, call: int = call) -> None:
            dying(LocalObjectStore, method, call, after=False)
            run(inputs.paths, lake.store)

        assert in_child(die) == -signal.SIGKILL
        assert_whole(lake)
    assert in_child(lambda: run(inputs.paths, lake.store)) == 0
    assert_same(lake, inputs.expected)


def test_a_run_that_was_killed_before_its_commit_is_abandoned_in_the_log(
    few_inputs: Inputs, tmp_path: Path
) -> None:
    lake = Lake.at(tmp_path / "lake")

    def die() -> None:
        dying(_StagedFile, "close", 2, after=True)
        run(few_inputs.paths, lake.store)

    in_child(die)
    in_child(lambda: run(few_inputs.paths, lake.store))
    assert [commit.kind for commit in lake.commits()] == [ABANDONED, "deliver"]


@pytest.mark.parametrize("workers", [1, 2])
def test_kills_of_the_command_at_random_instants_lose_and_double_nothing(
    inputs: Inputs, tmp_path: Path, workers: int
) -> None:
    kill_at_random(inputs, tmp_path, workers, kills=5)


@pytest.mark.slow
@pytest.mark.skipif("LETHE_KILLS" not in os.environ, reason="set LETHE_KILLS to how many")
@pytest.mark.parametrize("workers", [1, 2])
def test_many_kills_of_the_command_lose_and_double_nothing(
    inputs: Inputs, tmp_path: Path, workers: int
) -> None:
    kill_at_random(inputs, tmp_path, workers, kills=KILLS)


def kill_at_random(inputs: Inputs, folder: Path, workers: int, kills: int) -> None:
    """Kill the command with all its processes, and at times only the first of them."""
    chance = random.Random(workers)
    whole = undisturbed_seconds(inputs, folder / "timed", workers)
    for number in range(kills):
        lake = Lake.at(folder / str(number))
        arguments = ("deliver", *inputs.paths, "--lake", lake.store.uri, "--workers", workers)
        process = start(*arguments, start_new_session=True)
        time.sleep(whole * (number + chance.random()) / kills)
        kill = os.kill if number % 3 == 2 else os.killpg
        kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert_whole(lake)
        assert in_child(lambda lake=lake: run(inputs.paths, lake.store)) == 0  # type: ignore[misc]
        assert_same(lake, inputs.expected)


def undisturbed_seconds(inputs: Inputs, lake: Path, workers: int) -> float:
    began = time.monotonic()
    start("deliver", *inputs.paths, "--lake", lake, "--workers", workers).communicate()
    return time.monotonic() - began


@dataclass(frozen=True)
class Bucket:
    """A lake on S3, and the bucket behind it."""

    lake: Lake
    url: str
    name: str

    def uploads(self) -> int:
        answer = s3_client(self.url).list_multipart_uploads(Bucket=self.name)
        return len(answer.get("Uploads", []))


@pytest.fixture
def bucket(moto_url: str) -> Bucket:
    name = f"lethe-{uuid.uuid4().hex}"
    make_bucket(moto_url, name)
    access = S3Settings(moto_url, REGION, ACCESS_KEY, SECRET_KEY)
    return Bucket(Lake(S3ObjectStore(name, "lake", access)), moto_url, name)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("method", "call"), AT_ON_S3)
def test_a_kill_on_s3_loses_and_doubles_nothing_and_leaves_no_upload(
    few_inputs: Inputs, bucket: Bucket, method: str, call: int, after: bool
) -> None:
    lake = bucket.lake

    def die() -> None:
        dying(S3.get(method, S3ObjectStore), method, call, after)
        run(few_inputs.paths, lake.store)

    assert in_child(die) == -signal.SIGKILL
    assert_whole(lake)
    assert in_child(lambda: run(few_inputs.paths, lake.store)) == 0
    assert_same(lake, few_inputs.expected)
    assert bucket.uploads() == 0


@pytest.mark.parametrize("number", range(6))
def test_a_kill_on_s3_at_a_random_instant_loses_and_doubles_nothing(
    few_inputs: Inputs, bucket: Bucket, number: int
) -> None:
    chance = random.Random(number)

    def die() -> None:
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, 0.05 + chance.random() * (number + 1) / 6)
        run(few_inputs.paths, bucket.lake.store)

    assert in_child(die) in {-signal.SIGKILL, 0}
    assert_whole(bucket.lake)
    assert in_child(lambda: run(few_inputs.paths, bucket.lake.store)) == 0
    assert_same_content(bucket.lake, few_inputs.expected)
    # Another process may be using a young probe of writability; one is deleted after an hour.
    assert [key for key in bucket.lake.leftovers() if not key.startswith(f"{TEMPORARY}/")] == []
    assert bucket.uploads() == 0


def test_work_folders_outside_the_lake_are_cleared_after_a_kill(
    few_inputs: Inputs, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die() -> None:
        dying(MultipartWriter, "close", 2, after=True)
        run(few_inputs.paths, bucket.lake.store)

    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    in_child(die)
    assert list(folder.glob("lethe-*"))
    in_child(lambda: run(few_inputs.paths, bucket.lake.store))
    assert not list(folder.glob("lethe-*"))
