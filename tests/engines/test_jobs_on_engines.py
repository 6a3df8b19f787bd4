"""A job of the service whose work an engine does: its progress and end are told all the same."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from config.settings import load_settings
from runners.generate import contacts
from runners.runs import state_of
from schemas.events import Topic
from schemas.jobs import JobStatus
from tests.engines.clusters import engine
from tests.integration.test_job_process import JOB, KEY, attempt, begin, now
from tests.mock_api import running_mock

pytestmark = pytest.mark.engine

COUNT = 20_000


def test_progress_on_prism_moves_forward_and_is_exact_at_the_end(tmp_path: Path) -> None:
    engine("prism")
    with running_mock(latency=0.1) as mock:
        settings = load_settings(
            state={"folder": tmp_path / "state"},
            service={"enrichment": {"api": mock.url, "runner": "prism", "workers": 2}},
        )
        file = settings.state.folder / "files" / KEY
        file.parent.mkdir(parents=True)
        file.write_bytes(b"".join(contacts(COUNT, seed=1)))
        with closing(state_of(settings)) as state:
            state.jobs.add([JOB])
            begin(state, "run-1")
            assert attempt(settings, "run-1") == 0
            job = now(state)
            told = state.outbox.of(Topic("job", JOB.id), 0, 1000)
    batches = COUNT // 20
    assert (job.status, job.processed_batches) == (JobStatus.COMPLETED, batches)
    seen = [event.payload["processedBatches"] for event in told]
    assert seen == sorted(seen)
    assert any(0 < each < batches for each in seen)
