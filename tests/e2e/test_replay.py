"""``lethe replay``: dead letters tried again, delivered, counted, parked, and never lost."""

from __future__ import annotations

import os
import random
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from config.settings import load_settings
from runners.commands.options import RuleOptions, build_rules
from runners.deliver import Delivery
from runners.direct import DirectRunner
from runners.replay import replay_round
from schemas.delivery import MAX_ATTEMPTS
from stores.inputs import InputOpener
from stores.objects import LocalObjectStore, ObjectStore
from stores.objects.local import _StagedFile
from tests.e2e.harness import (
    EXAMPLES,
    ROOT,
    SCRUB_KEY,
    Lake,
    balanced,
    deliver,
    dying,
    generated,
    in_child,
    lethe,
    replay,
)
from transforms.letters import LetterFilter
from transforms.write import Output

SHIPMENTS = EXAMPLES / "shipments.ndjson"
SCHEMAS = EXAMPLES / "schemas"
EMPTY = ROOT / "tests" / "data" / "hostile" / "empty-file.ndjson"


@dataclass(frozen=True)
class Hostile:
    """A lake with many dead letters, to be copied and not touched."""

    path: Path

    def copy(self, to: Path) -> Lake:
        shutil.copytree(self.path, to / "lake")
        return Lake.at(to / "lake")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Hostile:
    folder = tmp_path_factory.mktemp("hostile")
    broken = generated(folder / "h.ndjson", 2_000, hostile=0.05, days=3)
    deliver(folder / "lake", broken, SHIPMENTS)
    return Hostile(folder / "lake")


@pytest.fixture
def lake(original: Hostile, tmp_path: Path) -> Lake:
    return original.copy(tmp_path)


def by_id(letters: list[dict[str, Any]], *names: str) -> dict[str, Any]:
    return {letter["id"]: tuple(letter[name] for name in names) for letter in letters}


def test_with_nothing_mended_the_same_letters_come_back_at_their_next_attempt(lake: Lake) -> None:
    before = lake.letters()
    done = replay(lake.store.uri)
    assert (done.status, done.report["delivered"], done.report["dead_letters"]) == (
        0,
        0,
        len(before),
    )
    facts = ("source", "offset", "index", "type", "original")
    assert by_id(lake.letters(), *facts) == by_id(before, *facts)
    assert {letter["attempt"] for letter in lake.letters()} == {2}
    assert len(lake.letters()) == len(before)


def test_a_letter_fails_again_for_the_same_reason(lake: Lake) -> None:
    before = by_id(lake.letters(), "code", "field")
    replay(lake.store.uri)
    assert by_id(lake.letters(), "code", "field") == before


def test_a_replay_changes_no_row_and_writes_a_new_file_of_letters(lake: Lake) -> None:
    before = lake.snapshot()
    replay(lake.store.uri)
    after = lake.snapshot()
    kept = {key for key in before if key.startswith("type=")}
    assert {key: after.get(key) for key in kept} == {key: before[key] for key in kept}
    assert {k for k in before if k.startswith("errors/")}.isdisjoint(after)
    assert lake.leftovers() == []


def test_only_letters_of_the_code_are_tried_and_the_others_stay_as_they_were(lake: Lake) -> None:
    before = {letter["id"]: letter for letter in lake.letters()}
    tried = {id for id, letter in before.items() if letter["code"] == "bad_timestamp"}
    done = replay(lake.store.uri, "--code", "bad_timestamp")
    after = {letter["id"]: letter for letter in lake.letters()}
    assert (done.report["read"], done.report["dead_letters"]) == (len(tried), len(tried))
    assert {id for id, letter in after.items() if letter["attempt"] == 2} == tried
    assert {id: letter for id, letter in after.items() if id not in tried} == {
        id: letter for id, letter in before.items() if id not in tried
    }


def test_a_code_that_no_letter_has_changes_nothing(lake: Lake) -> None:
    before = lake.snapshot()
    done = replay(lake.store.uri, "--code", "bad_base64")
    assert (done.status, done.report["commit"], lake.snapshot()) == (0, None, before)


@pytest.mark.parametrize("option", [("--code", "bad_luck"), ("--since", "yesterday")])
def test_a_bad_option_is_named(lake: Lake, option: tuple[str, str]) -> None:
    done = lethe("replay", "--lake", lake.store.uri, *option)
    assert (done.status, option[1] in done.err) == (2, True)


def test_a_lake_without_letters_has_nothing_to_replay(tmp_path: Path) -> None:
    deliver(tmp_path, EXAMPLES / "kinesis-records.ndjson")
    assert replay(tmp_path).report["commit"] is None


def test_with_the_missing_schema_the_records_are_delivered(lake: Lake, tmp_path: Path) -> None:
    done = replay(lake.store.uri, "--schemas", SCHEMAS, "--code", "unknown_type")
    direct = tmp_path / "direct"
    deliver(direct, SHIPMENTS, "--schemas", SCHEMAS)
    assert done.report["by_type"] == {"shipment": 6}
    assert balanced(done.report)
    assert lake.rows()["shipment"].equals(Lake.at(direct).rows()["shipment"])
    assert all(letter["source"] != str(SHIPMENTS) for letter in lake.letters())


@pytest.mark.parametrize(
    "example",
    [
        "debezium.ndjson",
        "dynamodb-incremental-export",
        "firehose-concatenated.json",
        "lambda-dynamodb-event.json",
        "dynamodb-export",
    ],
)
def test_records_of_every_envelope_are_delivered_once_their_fields_are_accepted(
    tmp_path: Path, example: str
) -> None:
    direct, replayed = Lake.at(tmp_path / "direct"), Lake.at(tmp_path / "replayed")
    deliver(direct.store.uri, EXAMPLES / example)
    deliver(replayed.store.uri, EXAMPLES / example, "--unknown-fields", "reject")
    assert replayed.letters()
    replay(replayed.store.uri)
    assert replayed.letters() == []
    assert replayed.references() == direct.references()


def test_the_last_attempt_parks_a_letter_and_it_is_not_tried_again(lake: Lake) -> None:
    ids = [letter["id"] for letter in lake.letters()]
    reports = [replay(lake.store.uri).report for _ in range(MAX_ATTEMPTS)]
    assert [report["parked"] for report in reports] == [0, 0, 0, len(ids), 0]
    assert [letter["id"] for letter in lake.parked()] == ids
    assert {letter["attempt"] for letter in lake.parked()} == {MAX_ATTEMPTS}
    assert (lake.letters(), reports[-1]["commit"]) == ([], None)


def test_only_letters_since_a_time_are_tried(lake: Lake, tmp_path: Path) -> None:
    old = {letter["id"] for letter in lake.letters()}
    deliver(lake.store.uri, EXAMPLES / "with-broken-records.ndjson")
    new = [letter for letter in lake.letters() if letter["id"] not in old]
    done = replay(lake.store.uri, "--since", min(letter["time"] for letter in new))
    assert done.report["read"] == len(new) == 2
    attempts = {letter["id"]: letter["attempt"] for letter in lake.letters()}
    assert {id for id, attempt in attempts.items() if attempt == 2} == {
        letter["id"] for letter in new
    }
    assert len(attempts) == len(old) + 2


def test_a_letter_that_holds_no_record_stays_as_it_is(lake: Lake) -> None:
    deliver(lake.store.uri, EMPTY)
    before = [letter for letter in lake.letters() if letter["stage"] == "read"]
    replay(lake.store.uri)
    assert [letter for letter in lake.letters() if letter["stage"] == "read"] == before != []


def test_a_damaged_file_of_letters_is_named_and_nothing_is_lost(lake: Lake) -> None:
    lake.store.put("errors/date=2026-01-01/x.ndjson", b'{"id": "jane@example.com"}\n')
    before = lake.snapshot()
    done = lethe("replay", "--lake", lake.store.uri)
    assert (done.status, "errors/date=2026-01-01/x.ndjson: at byte 0" in done.err) == (1, True)
    assert lake.snapshot() == before


def test_two_workers_replay_what_one_does(original: Hostile, tmp_path: Path) -> None:
    lakes = [original.copy(tmp_path / str(workers)) for workers in (1, 2)]
    for workers, lake in enumerate(lakes, 1):
        deliver(lake.store.uri, EXAMPLES / "with-broken-records.ndjson")
        replay(lake.store.uri, "--schemas", SCHEMAS, "--workers", workers)
    assert lakes[0].changes() == lakes[1].changes()
    assert by_id(lakes[0].letters(), "attempt") == by_id(lakes[1].letters(), "attempt")


AT = [
    ("stage", 1),
    ("close", 1),
    ("close", 3),
    ("put_if_absent", 1),
    ("_publish", 1),
    ("_publish", 3),
    ("_publish", 6),
    ("delete", 1),
    ("delete", 2),
    ("clear_staging", 1),
]
"""Methods of the store, and the number of the call that is the last."""


def run(store: ObjectStore) -> None:
    os.environ["LETHE_SCRUB_KEY"] = SCRUB_KEY  # in a child of its own
    rules = build_rules(load_settings(), RuleOptions(SCHEMAS))
    delivery = Delivery((), store, InputOpener(), rules, Output(), workers=1)
    with DirectRunner(1) as runner, Path(os.devnull).open("w") as nowhere:
        replay_round(delivery, LetterFilter(), runner, Console(file=nowhere))


@pytest.fixture(scope="module")
def undisturbed(original: Hostile, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = original.copy(tmp_path_factory.mktemp("undisturbed"))
    assert in_child(lambda: run(lake.store)) == 0
    return lake


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("method", "call"), AT)
def test_a_replay_that_is_killed_loses_and_doubles_nothing(
    lake: Lake, undisturbed: Lake, method: str, call: int, after: bool
) -> None:
    def die() -> None:
        dying(_StagedFile if method == "close" else LocalObjectStore, method, call, after)
        run(lake.store)

    assert in_child(die) == -signal.SIGKILL
    assert_recovers(lake, undisturbed)


@pytest.mark.parametrize("number", range(6))
def test_a_replay_that_is_killed_at_a_random_instant_loses_and_doubles_nothing(
    lake: Lake, undisturbed: Lake, number: int
) -> None:
    chance = random.Random(number)

    def die() -> None:
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, 0.02 + chance.random() * (number + 1) / 10)
        run(lake.store)

    assert in_child(die) in {-signal.SIGKILL, 0}
    assert_recovers(lake, undisturbed)


def assert_recovers(lake: Lake, undisturbed: Lake) -> None:
    """Run again, every row and every letter is there once, and nothing is left behind."""
    assert in_child(lambda: run(lake.store)) == 0
    assert lake.changes() == undisturbed.changes()
    ids = [letter["id"] for letter in lake.letters()]
    assert ids == [letter["id"] for letter in undisturbed.letters()]
    assert len(ids) == len(set(ids))
    assert lake.leftovers() == []
