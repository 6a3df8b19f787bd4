"""The scheduler with a clock and processes that do as the test says."""

from __future__ import annotations

import signal
import threading
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from runners.launcher import Launch
from runners.runs import BEAT_EVERY, CANCEL, owner_here
from runners.scheduler import loop
from runners.scheduler.config import Schedule
from runners.scheduler.loop import LOST_AFTER, Place, Scheduler
from schemas.access import Reach
from schemas.errors import StoreError, StoreUnavailable
from schemas.runs import RunOwner, RunQuery, RunRecord, RunStatus
from schemas.schedule import ScheduleEvent
from stores.state.sql import SqlState, open_state

START = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
MINUTE = 60.0
ALIVE = owner_here()


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class FakeChild:
    """A process that never was; its owner is this one, so it lives."""

    launch: Launch
    owner: RunOwner = ALIVE
    opened: bool = False
    ended: int | None = None
    signals: list[int] = field(default_factory=list)

    def open_gate(self) -> None:
        self.opened = True

    def turn_away(self) -> None:
        self.ended = 1

    def status(self) -> int | None:
        return self.ended

    def send(self, number: int) -> None:
        self.signals.append(number)


@dataclass
class FakeLauncher:
    children: list[FakeChild] = field(default_factory=list)
    fails: bool = False

    def start(self, launch: Launch) -> FakeChild:
        if self.fails:
            raise StoreError("no more processes")
        self.children.append(FakeChild(launch))
        return self.children[-1]

    @property
    def at_work(self) -> list[FakeChild]:
        return [child for child in self.children if child.opened]


@dataclass
class World:
    """A state store, a clock, processes, and schedulers of one schedule."""

    state: SqlState
    clock: Clock
    launcher: FakeLauncher
    folder: Path

    def scheduler(self, holder: str = "a", **job: Any) -> Scheduler:
        keep = timedelta(days=30)
        place = Place(self.state, self.launcher, self.clock, self.folder / "logs", keep)
        return Scheduler(schedule(**job), place, holder)

    def led(self, **job: Any) -> Scheduler:
        """A scheduler that leads, and has seen its job for the first time."""
        scheduler = self.scheduler(**job)
        scheduler.step()
        return scheduler

    def later(self, scheduler: Scheduler, seconds: float = MINUTE) -> None:
        """Let time pass, as the loop sees it: in small steps."""
        for _ in range(int(seconds // 5)):
            self.clock.pass_by(5)
            scheduler.step()

    def runs(self) -> list[RunRecord]:
        return self.state.runs.find(RunQuery(100), Reach(None))[::-1]

    def events(self) -> list[ScheduleEvent]:
        return [entry.event for entry in self.state.history.entries("default", None, 100)][::-1]


def schedule(**job: Any) -> Schedule:
    known = {"cron": "* * * * *", "command": ["log", "--lake", "lake"], **job}
    return Schedule.model_validate({"jobs": {"job": known}, "lease": "15s", "grace": "10s"})


@pytest.fixture
def world(tmp_path: Path) -> World:
    clock = Clock()
    state = open_state(f"sqlite:///{tmp_path / 'state.db'}", clock)
    return World(state, clock, FakeLauncher(), tmp_path)


def test_a_job_starts_when_it_is_due_and_is_recorded_as_running(world: World) -> None:
    world.later(world.led())
    assert [child.launch.words for child in world.launcher.at_work] == [("log", "--lake", "lake")]
    assert [(run.status, run.schedule, run.kind) for run in world.runs()] == [
        (RunStatus.RUNNING, "job", "log")
    ]


def test_the_process_knows_its_run_and_its_log(world: World) -> None:
    world.later(world.led())
    launch, run = world.launcher.children[0].launch, world.runs()[0]
    assert (launch.run_id, str(launch.log)) == (run.id, run.log_path)


@pytest.mark.parametrize(
    ("exit_status", "status"),
    [(0, RunStatus.SUCCEEDED), (1, RunStatus.FAILED), (-9, RunStatus.FAILED)],
)
def test_how_a_process_ended_is_how_its_run_ended(
    world: World, exit_status: int, status: RunStatus
) -> None:
    scheduler = world.led()
    world.later(scheduler)
    world.launcher.children[0].ended = exit_status
    scheduler.step()
    assert [(run.status, run.exit_status) for run in world.runs()] == [(status, exit_status)]


def test_a_process_that_ends_as_asked_is_cancelled(world: World) -> None:
    scheduler = world.led()
    world.later(scheduler)
    world.state.runs.request_cancel(world.runs()[0].id)
    world.launcher.children[0].ended = -CANCEL
    scheduler.step()
    assert world.runs()[0].status is RunStatus.CANCELLED


def test_a_job_does_not_overlap_with_itself(world: World) -> None:
    scheduler = world.led()
    world.later(scheduler, 10 * MINUTE)
    assert len(world.launcher.children) == 1


def test_what_was_missed_meanwhile_is_made_good_by_one_run(world: World) -> None:
    scheduler = world.led()
    world.later(scheduler, 4 * MINUTE)
    world.launcher.children[0].ended = 0
    world.later(scheduler, 5)
    assert len(world.launcher.children) == 2
    newest = world.state.history.last("default", "job")
    assert newest is not None
    assert newest.missed == 2


def test_missed_runs_are_skipped_if_the_job_says_so(world: World) -> None:
    scheduler = world.led(missed="skip", cron="*/5 * * * *")
    world.clock.pass_by(7 * MINUTE)
    scheduler.step()  # finds its lease gone
    scheduler.step()
    assert world.events() == [ScheduleEvent.ADDED, ScheduleEvent.SKIPPED]
    assert world.launcher.children == []


def test_a_failed_job_is_tried_again_as_often_as_it_says(world: World) -> None:
    scheduler = world.led(cron="0 0 * * *", attempts=3, delay="10s")
    world.clock.pass_by(12 * 60 * MINUTE)
    for _ in range(60):
        world.later(scheduler, 5)
        for child in world.launcher.children:
            child.ended = 1
    assert [run.status for run in world.runs()] == [RunStatus.FAILED] * 3


def test_of_two_schedulers_one_starts_the_job(world: World) -> None:
    first, second = world.scheduler("a"), world.scheduler("b")
    for _ in range(30):
        world.clock.pass_by(5)
        for scheduler in (second, first):
            scheduler.step()
    assert (second.leads, first.leads) == (True, False)
    assert len(world.launcher.children) == 1


def test_another_takes_over_when_the_lease_has_expired_and_misses_nothing(world: World) -> None:
    world.led()
    follower = world.scheduler("b")
    world.later(follower)
    assert follower.leads
    assert len(world.launcher.at_work) == 1


def test_a_run_of_a_dead_leader_is_not_started_again_while_its_process_lives(world: World) -> None:
    world.later(world.led())
    world.later(world.scheduler("b"), 5 * MINUTE)
    assert len(world.launcher.children) == 1


def test_a_leader_that_was_paused_beyond_its_lease_starts_nothing(world: World) -> None:
    paused = world.led()
    world.clock.pass_by(55)
    world.later(world.scheduler("b"), 5)
    started = len(world.launcher.children)
    paused.step()
    assert (paused.leads, len(world.launcher.children)) == (False, started)


def test_a_leader_that_is_paused_at_the_gate_turns_its_process_away(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease ends after the run was noted and before the process may work."""
    scheduler = world.led()
    start = world.launcher.start

    def paused(launch: Launch) -> FakeChild:
        world.clock.pass_by(3600)
        return start(launch)

    monkeypatch.setattr(world.launcher, "start", paused)
    world.clock.pass_by(MINUTE)
    scheduler.step()
    scheduler.step()
    monkeypatch.undo()
    assert world.launcher.at_work == []
    scheduler.step()
    assert world.runs()[0].never_started


def test_what_was_turned_away_is_started_by_whoever_leads_then(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = world.led(cron="0 13 * * *")
    world.later(scheduler, 3595)
    world.clock.pass_by(5)
    monkeypatch.setattr(type(world.state.history), "hand_over", refuse)
    with pytest.raises(StoreUnavailable):
        scheduler.step()
    monkeypatch.undo()
    assert world.launcher.at_work == []
    world.later(scheduler, 10)
    last = world.state.history.last("default", "job")
    assert len(world.launcher.at_work) == 1
    assert last is not None
    assert last.attempt == 1


def refuse(*_: object) -> None:
    raise StoreUnavailable("not now")


def dead(run_id: str, status: RunStatus) -> RunRecord:
    started = START if status is RunStatus.RUNNING else None
    owner = RunOwner(ALIVE.host, ALIVE.pid, "another start")
    return RunRecord(run_id, "log", status, owner, START, START, started)


def led_after(world: World, status: RunStatus, **job: Any) -> Scheduler:
    """A scheduler that finds a run of its job whose process is gone."""
    scheduler = world.led(**job)
    lease = world.state.leases.current("schedule:default")
    last = world.state.history.last("default", "job")
    assert lease is not None
    assert last is not None
    found = replace(last, sequence=1, event=ScheduleEvent.STARTED, attempt=1, run_id="r1")
    world.state.history.append(lease, found, dead("r1", status))
    scheduler.step()
    return scheduler


def test_a_queued_run_whose_process_is_gone_never_started_and_is_started_now(world: World) -> None:
    led_after(world, RunStatus.QUEUED, cron="0 0 * * *")
    found = world.state.runs.get("r1")
    assert found is not None
    assert found.never_started
    assert len(world.launcher.at_work) == 1


def test_a_run_whose_process_is_gone_is_lost_after_a_moment(world: World) -> None:
    """Whose scheduler may be about to say how it ended."""
    scheduler = led_after(world, RunStatus.RUNNING, cron="0 0 * * *")
    assert world.runs()[0].status is RunStatus.RUNNING
    world.clock.pass_by(LOST_AFTER.total_seconds())
    scheduler.step()
    assert world.runs()[0].status is RunStatus.LOST
    assert world.launcher.children == []


def test_a_job_that_cannot_be_started_has_failed(world: World) -> None:
    scheduler = world.led()
    world.launcher.fails = True
    world.later(scheduler)
    assert [(run.status, run.error_message) for run in world.runs()] == [
        (RunStatus.FAILED, "no more processes")
    ]


def test_a_running_process_gives_signs_of_life(world: World) -> None:
    scheduler = world.led(cron="0 0 * * *")
    world.clock.pass_by(12 * 60 * MINUTE)
    world.later(scheduler, 10)
    before = world.runs()[0].seen_at
    world.later(scheduler, BEAT_EVERY + 10)
    assert world.runs()[0].seen_at > before


def test_old_history_is_forgotten_with_runs_and_logs(world: World) -> None:
    scheduler = world.led(cron="0 0 * * *")
    for _ in range(40):
        world.clock.pass_by(24 * 60 * MINUTE)
        for _ in range(3):
            scheduler.step()
        child = world.launcher.children[-1]
        child.launch.log.parent.mkdir(exist_ok=True)
        child.launch.log.touch()
        child.ended = 0
    assert 29 <= len(world.runs()) <= 32
    assert len(list((world.folder / "logs").iterdir())) == len(world.runs())
    assert len(world.events()) <= 32


class Stopping(threading.Event):
    """A wish to stop that comes after so many looks; the clock goes on at each."""

    def __init__(self, clock: Clock, looks: int) -> None:
        super().__init__()
        self._clock, self._looks = clock, looks

    def wait(self, timeout: float | None = None) -> bool:
        self._clock.pass_by(5)
        self._looks -= 1
        if self._looks == 0:
            self.set()
        return self.is_set()


@pytest.fixture
def sleepless(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop.time, "sleep", lambda _: world.clock.pass_by(1))


@pytest.mark.usefixtures("sleepless")
def test_stopping_asks_processes_to_end_and_leaves_those_that_do_not(world: World) -> None:
    scheduler = world.scheduler()
    scheduler.run(Stopping(world.clock, 15))
    assert [child.signals for child in world.launcher.children] == [[signal.SIGTERM]]
    assert world.runs()[0].status is RunStatus.RUNNING


@pytest.mark.usefixtures("sleepless")
def test_stopping_lets_another_lead_at_once(world: World) -> None:
    world.scheduler("a").run(Stopping(world.clock, 15))
    other = world.scheduler("b")
    other.step()
    assert other.leads


@pytest.mark.usefixtures("sleepless")
def test_stopping_waits_for_processes_and_records_their_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeChild, "send", lambda child, _: setattr(child, "ended", 0))
    world.scheduler().run(Stopping(world.clock, 15))
    assert world.runs()[0].status is RunStatus.SUCCEEDED


@pytest.mark.usefixtures("sleepless")
def test_a_state_store_that_fails_does_not_end_the_scheduler(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = world.scheduler()
    monkeypatch.setattr(type(world.state.leases), "acquire", refuse)
    scheduler.run(Stopping(world.clock, 3))
    monkeypatch.undo()
    scheduler.step()
    assert scheduler.leads
