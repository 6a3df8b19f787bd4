"""Jobs, whatever is done to them in whatever order, beside a model of a few lines."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from schemas.access import Reach
from schemas.events import Event, Topic
from schemas.jobs import Job, JobEnd, JobQuery, JobStatus, PartProgress
from tests.integration.state.records import ALL, AnyState, job, there

RUNS = st.sampled_from(["r1", "r2"])
FINAL = st.sampled_from([status for status in JobStatus if status.is_final])
_numbers = count()


@dataclass
class Model:
    """What a job has to be."""

    status: str = "queued"
    run: str | None = None
    parts: dict[int, int] = field(default_factory=dict)
    processed: int = 0
    deleted: bool = False
    asked: bool = False

    def is_run_by(self, run: str) -> bool:
        return self.status == "running" and self.run == run

    @property
    def is_over(self) -> bool:
        return self.status not in {"queued", "running"}


class Jobs(RuleBasedStateMachine):
    """Jobs of one organization, which is each machine's own."""

    jobs: Bundle[str] = Bundle("jobs")

    def __init__(self, state: AnyState) -> None:
        super().__init__()
        self.state = state
        self.name = f"org-{next(_numbers)}"
        self.models: dict[str, Model] = {}

    @rule(target=jobs)
    def add(self) -> str:
        job_id = f"{self.name}-{len(self.models)}"
        self.state.jobs.add([job(job_id, organization=self.name)])
        self.models[job_id] = Model()
        return job_id

    @rule(job_id=jobs, run=RUNS)
    def begin(self, job_id: str, run: str) -> None:
        model = self.models[job_id]
        begun = self.state.jobs.begin(job_id, run)
        assert (begun is not None) == (model.status == "queued")
        if begun is not None:
            model.status, model.run = "running", run

    @rule(job_id=jobs, run=RUNS)
    def requeue(self, job_id: str, run: str) -> None:
        model = self.models[job_id]
        requeued = self.state.jobs.requeue(job_id, run)
        assert (requeued is not None) == model.is_run_by(run)
        if requeued is not None:
            model.status, model.run = "queued", None

    @rule(job_id=jobs, part=st.integers(0, 2), processed=st.integers(0, 9))
    def report(self, job_id: str, part: int, processed: int) -> None:
        model = self.models[job_id]
        self.state.jobs.report(job_id, PartProgress(part, processed, processed))
        model.parts[part] = max(model.parts.get(part, 0), processed)

    @rule(job_id=jobs, run=RUNS)
    def advance(self, job_id: str, run: str) -> None:
        model = self.models[job_id]
        advanced = self.state.jobs.advance(job_id, run)
        assert (advanced is not None) == model.is_run_by(run)
        if advanced is not None:
            model.processed = sum(model.parts.values())

    @rule(job_id=jobs, run=RUNS | st.none(), status=FINAL)
    def finish(self, job_id: str, run: str | None, status: JobStatus) -> None:
        model = self.models[job_id]
        allowed = not model.is_over and (status != "completed" or model.status == "running")
        ended = self.state.jobs.finish(job_id, run, JobEnd(status))
        assert (ended is not None) == (allowed and run in {None, model.run})
        if ended is not None:
            model.status, model.processed = status.value, sum(model.parts.values())

    @rule(job_id=jobs, at_once=st.booleans())
    def request_cancel(self, job_id: str, at_once: bool) -> None:
        model = self.models[job_id]
        asked = self.state.jobs.request_cancel(job_id, Reach(self.name), at_once)
        assert (asked is not None) == (not model.is_over and not model.deleted)
        if asked is not None:
            self._asked(model, at_once)

    @rule(job_id=jobs)
    def delete(self, job_id: str) -> None:
        model = self.models[job_id]
        assert self.state.jobs.delete(job_id, Reach(self.name, "ana")) != model.deleted
        if not model.deleted:
            model.deleted = True
            self._asked(model, True)

    @rule(job_id=jobs)
    def look_from_elsewhere(self, job_id: str) -> None:
        assert self.state.jobs.get(job_id, Reach("elsewhere")) is None
        assert not self.state.jobs.delete(job_id, Reach(self.name, "ben"))

    @invariant()
    def jobs_are_what_the_model_says(self) -> None:
        found = {each.id: each for each in self._found()}
        for job_id, model in self.models.items():
            assert (job_id in found) != model.deleted
            if not model.deleted:
                assert_like(found[job_id], model)

    @invariant()
    def versions_of_events_have_no_gap(self) -> None:
        for job_id, model in self.models.items():
            versions = [event.version for event in self._told(job_id)]
            assert versions == [*range(1, len(versions) + 1)]
            if not model.deleted:
                assert there(self.state.jobs.get(job_id, ALL)).version == len(versions)

    @staticmethod
    def _asked(model: Model, at_once: bool) -> None:
        if not model.is_over:
            model.asked = True
        if at_once and model.status == "queued":
            model.status = "cancelled"

    def _found(self) -> list[Job]:
        return self.state.jobs.find(JobQuery("enrichment"), Reach(self.name))

    def _told(self, job_id: str) -> list[Event]:
        return self.state.outbox.of(Topic("job", job_id), 0, 1000)


def assert_like(found: Job, model: Model) -> None:
    assert (found.status, found.run_id) == (model.status, model.run)
    assert found.processed_batches == model.processed
    assert (found.cancel_requested_at is not None) == model.asked


def test_jobs_are_what_was_made_of_them(state: AnyState) -> None:
    few = settings(max_examples=15, stateful_step_count=15, deadline=None)
    run_state_machine_as_test(lambda: Jobs(state), settings=few)
