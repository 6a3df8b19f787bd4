"""Recording runs: what is kept of them, how they are cancelled, and that it never fails them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer

from config.sections import StateSection
from config.settings import Settings
from runners import runs
from runners.report import Report
from runners.runs import CANCEL, RUN_ID, counts_of, owner_here, recorded_run, state_of
from schemas.access import Reach
from schemas.errors import InputError, StoreUnavailable
from schemas.runs import RunEnd, RunOwner, RunQuery, RunRecord, RunStatus
from stores.state.port import State
from stores.state.sql import utc_now

ROOT = Path(__file__).parents[3]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state=StateSection(folder=tmp_path))


@pytest.fixture
def state(settings: Settings) -> Iterator[State]:
    state = state_of(settings)
    yield state
    state.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "WATCH_EVERY", 0.02)
    monkeypatch.setattr(runs, "BEAT_EVERY", 0.04)
    monkeypatch.delenv(RUN_ID, raising=False)


def only_run(state: State) -> RunRecord:
    (found,) = state.runs.find(RunQuery(9), Reach(None))
    return found


def eventually(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.01)


def recorded_while_raising(settings: Settings, error: BaseException) -> None:
    with pytest.raises(type(error)), recorded_run("deliver", settings):
        raise error


def recorded(settings: Settings, work: Callable[[], None]) -> None:
    with recorded_run("deliver", settings):
        work()


def test_a_run_that_works_has_succeeded_with_its_counts(settings: Settings, state: State) -> None:
    with recorded_run("deliver", settings) as run:
        run.add(counts_of(Report(read=5, delivered=4, dead_letters=1)))
        run.add(counts_of(Report(read=2, delivered=2)))
    found = only_run(state)
    assert (found.kind, found.status, found.exit_status) == ("deliver", RunStatus.SUCCEEDED, 0)
    assert (found.counts["read"], found.counts["dead_letters"]) == (7, 1)
    assert found.owner == owner_here()


def test_a_short_run_began_before_it_did_its_work(settings: Settings, state: State) -> None:
    with recorded_run("deliver", settings):
        working = datetime.now(UTC)
    found = only_run(state)
    assert found.started_at is not None
    assert found.started_at <= working


def test_a_run_is_seen_while_it_runs(settings: Settings, state: State) -> None:
    with recorded_run("deliver", settings) as run:
        run.add({"read": 3})
        eventually(
            lambda: (
                [found.counts for found in state.runs.find(RunQuery(1), Reach(None))]
                == [{"read": 3}]
            )
        )
        assert only_run(state).status is RunStatus.RUNNING


def test_a_run_may_hold_its_record_back(settings: Settings, state: State) -> None:
    with recorded_run("enrich", settings) as run:
        run.hold()
        time.sleep(1.0)
        assert state.runs.find(RunQuery(1), Reach(None)) == []
        run.release()
        eventually(lambda: bool(state.runs.find(RunQuery(1), Reach(None))))


def test_a_run_that_ends_while_its_record_is_held_back_is_recorded(
    settings: Settings, state: State
) -> None:
    with recorded_run("enrich", settings) as run:
        run.hold()
    assert only_run(state).status is RunStatus.SUCCEEDED


def test_an_error_is_kept_by_its_code_and_message(settings: Settings, state: State) -> None:
    recorded_while_raising(settings, InputError("a.ndjson: is gone"))
    found = only_run(state)
    assert (found.status, found.exit_status) == (RunStatus.FAILED, 1)
    assert (found.error_code, found.error_message) == ("bad_input", "a.ndjson: is gone")


def test_an_error_that_nobody_vouches_for_is_kept_without_its_message(
    settings: Settings, state: State
) -> None:
    recorded_while_raising(settings, ValueError("jane.doe@example.com"))
    assert only_run(state).error_message == "ValueError: a mistake in Lethe"


@pytest.mark.parametrize(("code", "status"), [(0, RunStatus.SUCCEEDED), (3, RunStatus.FAILED)])
def test_an_exit_is_kept_by_its_status(
    settings: Settings, state: State, code: int, status: RunStatus
) -> None:
    recorded_while_raising(settings, typer.Exit(code))
    assert (only_run(state).status, only_run(state).exit_status) == (status, code)


def test_an_interrupted_run_is_cancelled(settings: Settings, state: State) -> None:
    recorded_while_raising(settings, KeyboardInterrupt())
    assert only_run(state).status is RunStatus.CANCELLED


def test_a_request_to_cancel_ends_the_run(settings: Settings, state: State) -> None:
    def work() -> None:
        eventually(lambda: bool(state.runs.find(RunQuery(1), Reach(None))))
        state.runs.request_cancel(only_run(state).id)
        time.sleep(20)

    with pytest.raises(typer.Exit) as left:
        recorded(settings, work)
    assert left.value.exit_code == 130
    assert only_run(state).status is RunStatus.CANCELLED


def test_cancelling_twice_interrupts_no_cleaning_up(settings: Settings, state: State) -> None:
    cleaned = []

    def work() -> None:
        try:
            signal.raise_signal(CANCEL)
        finally:
            signal.raise_signal(CANCEL)
            cleaned.append(True)

    with pytest.raises(typer.Exit):
        recorded(settings, work)
    assert cleaned == [True]


def test_cancelling_after_the_end_does_nothing(settings: Settings, state: State) -> None:
    with recorded_run("deliver", settings):
        pass
    signal.raise_signal(CANCEL)
    assert only_run(state).status is RunStatus.SUCCEEDED


def refusing(error: Exception) -> Callable[[Settings], State]:
    def open_state(_: Settings) -> State:
        raise error

    return open_state


def test_a_store_that_cannot_be_opened_is_a_warning(
    settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    with recorded_run("deliver", settings, refusing(StoreUnavailable("it is away"))) as run:
        run.add({"read": 1})
    said = "".join(capfd.readouterr())
    assert "it is away" in said
    assert "not fully recorded" in said


def test_a_folder_that_cannot_be_made_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings = Settings(state=StateSection(folder=tmp_path / "file" / "state"))
    with recorded_run("deliver", settings):
        done = True
    assert done


def test_a_store_that_hangs_does_not_hold_up_the_end(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "_END_WITHIN", 0.05)
    let_go = threading.Event()

    def hanging(_: Settings) -> Any:
        let_go.wait(20)
        raise StoreUnavailable("late")

    with recorded_run("deliver", settings, hanging):
        pass
    assert not let_go.is_set()
    let_go.set()


def queued(run_id: str = "r1") -> RunRecord:
    owner, now = RunOwner("h", 1, "1"), utc_now()
    return RunRecord(run_id, "deliver", RunStatus.QUEUED, owner, now, now, schedule="nightly")


def test_a_scheduled_run_goes_on_with_the_record_it_was_given(
    settings: Settings, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.runs.add(queued())
    monkeypatch.setenv(RUN_ID, "r1")
    with recorded_run("deliver", settings):
        pass
    found = only_run(state)
    assert (found.status, found.schedule, found.owner) == (
        RunStatus.SUCCEEDED, "nightly", owner_here(),
    )  # fmt: skip


def test_a_scheduled_run_that_was_given_up_ends_itself(
    settings: Settings, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.runs.add(queued())
    state.runs.finish("r1", RunEnd(RunStatus.LOST))
    monkeypatch.setenv(RUN_ID, "r1")
    with pytest.raises(typer.Exit), recorded_run("deliver", settings):
        time.sleep(20)
    assert only_run(state).status is RunStatus.LOST


def test_old_runs_are_forgotten_when_another_ends(tmp_path: Path, state: State) -> None:
    state.runs.add(queued("old"))
    state.runs.finish("old", RunEnd(RunStatus.SUCCEEDED))
    eventually(lambda: utc_now() > only_run(state).queued_at)
    runs.prune_runs(state, utc_now())
    assert state.runs.find(RunQuery(9), Reach(None)) == []


SCRIPT = """
import signal, sys, time
from config.settings import load_settings
from runners.runs import recorded_run
with recorded_run("deliver", load_settings()):
    print("ready", flush=True)
    time.sleep(30)
"""


def child(settings: Settings) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "LETHE_STATE__FOLDER": str(settings.state.folder)}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], env=env, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_run_whose_process_was_killed_is_shown_as_lost(settings: Settings, state: State) -> None:
    process = child(settings)
    eventually(
        lambda: (
            [run.status for run in state.runs.find(RunQuery(1), Reach(None))] == [RunStatus.RUNNING]
        )
    )
    assert not runs.is_gone(only_run(state), utc_now())
    process.kill()
    process.communicate()
    assert runs.as_seen(only_run(state), utc_now()).status is RunStatus.LOST


def test_a_run_elsewhere_is_lost_after_long_silence(state: State) -> None:
    run = queued()
    assert not runs.is_gone(run, run.seen_at + runs.SILENT_FOR)
    assert runs.is_gone(run, run.seen_at + runs.SILENT_FOR * 2)


@pytest.mark.parametrize("words", [["--help"], ["deliver", "--help"], ["runs", "--help"]])
def test_the_state_store_is_not_loaded_before_it_is_needed(words: list[str]) -> None:
    code = (
        "import sys; from runners.cli import build_app\n"
        f"try: build_app({words[0]!r})({words!r})\n"
        "except SystemExit: pass\n"
        "sys.exit(any(name in sys.modules for name in ('sqlalchemy', 'alembic', 'yaml')))"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
