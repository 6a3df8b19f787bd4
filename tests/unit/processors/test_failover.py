"""A request is in one region at most, and where the client says, whatever happens on the way.

``World`` plays regions that lose answers, answer late, refuse and fall silent as it is told; a
client is killed between any two steps, and goes on with what its port says is to be remembered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.opendsr.model import Acceptance, ProcessingStatus, StatusReport
from stores.processors.errors import (
    Duplicate,
    Misconfigured,
    ProcessorError,
    Refused,
    Throttled,
    Unreachable,
    Unsettled,
)
from stores.processors.failover import (
    Absent,
    Ask,
    Contested,
    Found,
    Lost,
    NotTaken,
    Outcome,
    Pause,
    Rules,
    Send,
    Step,
    Submission,
    Taken,
    Unknown,
    Waited,
)
from stores.processors.port import Accepted, Earlier

ID = "5d1f1f5e-6c1e-4e5b-9d8e-0a4f6f6b7c11"
START = datetime(2026, 1, 1, tzinfo=UTC)
LATEST = timedelta(seconds=60)
"""So long after it was sent a request may still arrive."""

BUDGET = timedelta(seconds=20)
RULES = Rules(attempts=3, settled_after=BUDGET + LATEST)
REGIONS = ("eu", "us", "au")

TAKEN = Taken(Acceptance(ID, "controller", START))
FOUND = Found(StatusReport(ID, ProcessingStatus.PENDING), "controller")
DOWN = Unreachable("down")


def submission(earlier: Earlier | None = None, regions: tuple[str, ...] = REGIONS) -> Submission:
    return Submission(ID, regions, RULES, lambda: START + timedelta(hours=1), earlier)


def talk(answers: list[tuple[Step, Outcome]], submitting: Submission) -> Accepted:
    """Hold the conversation by this script."""
    steps = submitting.converse()
    step = next(steps)
    try:
        for expected, outcome in answers:
            assert step == expected
            step = steps.send(outcome)
    except StopIteration as end:
        return end.value
    raise AssertionError(f"the conversation goes on with {step}")


def test_first_region_that_takes_it_has_it() -> None:
    accepted = talk([(Send("eu"), TAKEN)], submission())
    assert (accepted.region, accepted.is_late) == ("eu", False)


def test_next_region_is_tried_when_the_first_is_down() -> None:
    script = [(Send("eu"), NotTaken(DOWN)), (Send("us"), TAKEN)]
    assert talk(script, submission()).region == "us"


def test_lost_answer_is_asked_for_before_anything_is_sent_again() -> None:
    script = [(Send("eu"), Lost(DOWN)), (Ask("eu"), FOUND)]
    accepted = talk(script, submission())
    assert (accepted.region, accepted.is_late) == ("eu", True)


@pytest.mark.parametrize("answer", [Absent(), Unknown(DOWN)])
def test_after_a_lost_answer_no_other_region_is_tried(answer: Outcome) -> None:
    script = [
        (Send("eu"), Lost(DOWN)), (Ask("eu"), answer), (Pause(), Waited(True)), (Send("eu"), TAKEN),
    ]  # fmt: skip
    assert talk(script, submission()).region == "eu"


def test_what_stays_unknown_is_unsettled() -> None:
    script = [(Send("eu"), Lost(DOWN)), (Ask("eu"), Unknown(DOWN)), (Pause(), Waited(False))]
    with pytest.raises(Unsettled) as raised:
        talk(script, submission())
    assert raised.value.region == "eu"


def test_doubt_is_not_lifted_by_a_refused_connection() -> None:
    script = [
        (Send("eu"), Lost(DOWN)), (Ask("eu"), Absent()), (Pause(), Waited(True)),
        (Send("eu"), NotTaken(DOWN)), (Pause(failures=2), Waited(False)),
    ]  # fmt: skip
    with pytest.raises(Unsettled):
        talk(script, submission())


@pytest.mark.parametrize("error", [Refused("no", status=400), Duplicate("no", status=409)])
def test_repeat_that_the_region_refuses_is_found_there(error: ProcessorError) -> None:
    script = [(Send("eu"), Contested(error)), (Ask("eu"), FOUND)]
    assert talk(script, submission()).is_late


@pytest.mark.parametrize("error", [Refused("no", status=400), Duplicate("no", status=409)])
def test_refusal_of_what_the_region_does_not_have_is_final(error: ProcessorError) -> None:
    with pytest.raises(type(error)):
        talk([(Send("eu"), Contested(error)), (Ask("eu"), Absent())], submission())


def test_throttled_region_is_waited_for_and_not_passed_over() -> None:
    busy = Throttled("busy", retry_after=7.0)
    script = [(Send("eu"), NotTaken(busy)), (Pause(7.0), Waited(True)), (Send("eu"), TAKEN)]
    assert talk(script, submission()).region == "eu"


def test_throttling_that_outlasts_the_budget_is_told() -> None:
    busy = Throttled("busy", retry_after=700.0)
    with pytest.raises(Throttled):
        talk([(Send("eu"), NotTaken(busy)), (Pause(700.0), Waited(False))], submission())


def test_wrong_settings_are_not_tried_again() -> None:
    wrong = Misconfigured("look at the settings")
    with pytest.raises(Misconfigured):
        talk([(Send(region), NotTaken(wrong)) for region in REGIONS], submission())


def test_outage_is_told_rather_than_wrong_settings_elsewhere() -> None:
    wrong = Misconfigured("look at the settings")
    script = [(Send("eu"), NotTaken(DOWN)), (Send("us"), NotTaken(wrong)), (Pause(), Waited(False))]
    with pytest.raises(Unreachable):
        talk(script, submission(regions=("eu", "us")))


def test_after_a_crash_all_regions_are_asked_before_one_is_sent_to() -> None:
    asked = [(Ask(region), Absent()) for region in REGIONS]
    assert talk([*asked, (Send("eu"), TAKEN)], submission(Earlier(START))).region == "eu"


def test_after_a_crash_a_silent_region_stops_everything() -> None:
    script = [(Ask("eu"), Absent()), (Ask("us"), Unknown(DOWN)), (Ask("au"), Absent())]
    with pytest.raises(Unsettled) as raised:
        talk(script, submission(Earlier(START)))
    assert raised.value.region == "us"


def test_absence_just_after_sending_is_not_believed_but_by_the_same_region() -> None:
    earlier = Earlier(START + timedelta(minutes=59), "us")
    script = [(Ask("us"), Absent()), (Send("us"), TAKEN)]
    assert talk(script, submission(earlier)).region == "us"


def test_absence_in_several_regions_just_after_a_crash_is_waited_for() -> None:
    earlier = Earlier(START + timedelta(minutes=59))
    with pytest.raises(Unsettled) as raised:
        talk([(Ask(region), Absent()) for region in REGIONS], submission(earlier))
    assert raised.value.region is None


def test_region_that_is_no_longer_in_the_settings_is_not_forgotten() -> None:
    with pytest.raises(Unsettled, match="which the settings do not name"):
        talk([], submission(Earlier(START, "gone")))


# The world, played through

FATES = st.sampled_from(
    ["taken", "taken, answer lost", "late", "lost", "down", "busy", "away", "refused"]
)
ANSWERS = st.sampled_from(["true", "true", "silent"])


@dataclass
class World:
    """Regions with what they have, and what is on its way to them and arrives in time."""

    fates: Iterator[str]
    answers: Iterator[str]
    delays: Iterator[float]
    now: datetime = START
    has: Counter[str] = field(default_factory=Counter)
    on_its_way: list[tuple[datetime, str]] = field(default_factory=list)

    def does(self, step: Step, until: datetime) -> Outcome:
        self.pass_time(1.0)
        if isinstance(step, Send):
            return self.receives(step.region)
        if isinstance(step, Ask):
            return self.says(step.region)
        if self.now + timedelta(seconds=step.seconds or 1.0) >= until:
            return Waited(False)
        self.pass_time(step.seconds or 1.0)
        return Waited(True)

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        for due, region in [one for one in self.on_its_way if one[0] <= self.now]:
            self.on_its_way.remove((due, region))
            self.has[region] = 1

    def receives(self, region: str) -> Outcome:
        fate = next(self.fates)
        if fate in {"down", "away"}:
            return NotTaken(DOWN)
        if fate == "busy":
            return NotTaken(Throttled("busy", retry_after=5.0))
        if fate == "lost":
            return Lost(DOWN)
        if fate == "late":
            delay = timedelta(seconds=next(self.delays))
            self.on_its_way.append((self.now + delay, region))
            return Lost(DOWN)
        if fate == "refused" or self.has[region]:
            return Contested(Refused("no", status=400))
        self.has[region] = 1
        return TAKEN if fate == "taken" else Lost(DOWN)

    def says(self, region: str) -> Outcome:
        if next(self.answers) == "silent":
            return Unknown(DOWN)
        return FOUND if self.has[region] else Absent()


class Killed(Exception):
    pass


def submit(world: World, earlier: Earlier | None, killed_after: int) -> Accepted:
    """One submission in this world, which ends after so many steps if it has not by then."""
    until = world.now + BUDGET
    steps = Submission(ID, REGIONS, RULES, lambda: world.now, earlier).converse()
    step = next(steps)
    try:
        for _ in range(killed_after):
            step = steps.send(world.does(step, until))
    except StopIteration as end:
        return end.value
    raise Killed


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_whatever_happens_a_request_is_in_one_region_and_it_is_known_which(
    data: st.DataObject,
) -> None:
    def drawn(strategy: st.SearchStrategy[object]) -> Iterator[object]:
        while True:
            yield data.draw(strategy)

    world = World(drawn(FATES), drawn(ANSWERS), drawn(st.floats(0.5, LATEST.total_seconds() - 1)))
    earlier: Earlier | None = None
    for kill in data.draw(st.lists(st.integers(0, 12), max_size=6)):
        began, before = world.now, earlier
        earlier = Earlier(began)
        try:
            accepted = submit(world, before, kill)
        except Unsettled as error:
            earlier = Earlier(began, error.region)
        except ProcessorError:
            earlier = None
            world.pass_time(1000)
            assert not +world.has
        except Killed:
            pass
        else:
            world.pass_time(1000)
            assert +world.has == {accepted.region: 1}
            return
        world.pass_time(data.draw(st.sampled_from([0.0, 30.0, 300.0])))
        assert len(+world.has) <= 1
