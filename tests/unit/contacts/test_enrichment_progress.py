"""Progress: absolute figures, told once however often they are told."""

from __future__ import annotations

import threading
from pathlib import Path

from runners.enrich_progress import JobReporter
from schemas.errors import StoreUnavailable
from schemas.jobs import PartProgress
from transforms.contacts.progress import FileProgress, PartCounts


class Jobs:
    """Keeps what is reported; does not answer at first, ``failures`` times."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.told: list[PartProgress] = []

    def report(self, job_id: str, progress: PartProgress) -> None:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("locked")
        self.told.append(progress)


def reporter(jobs: Jobs) -> JobReporter:
    """One whose time stands still: it writes only at its end."""
    return JobReporter(
        jobs,  # type: ignore[arg-type]
        "job",
        lambda: None,
        lambda ended, _: threading.Event.wait(ended),
    )


def test_the_last_word_of_each_part_is_told_at_the_end() -> None:
    jobs = Jobs()
    told = reporter(jobs)
    for done in range(1, 51):
        told.report(PartProgress(0, done, 0))
    told.report(PartProgress(1, 3, 2))
    told.close()
    assert jobs.told == [PartProgress(0, 50, 0), PartProgress(1, 3, 2)]


def test_a_store_that_does_not_answer_does_not_end_the_run() -> None:
    jobs = Jobs(failures=1)
    told = reporter(jobs)
    told.report(PartProgress(0, 1, 0))
    told.close()
    assert jobs.told == []


def test_a_part_that_is_begun_again_counts_once(tmp_path: Path) -> None:
    progress = FileProgress(tmp_path / "progress")
    for _ in range(2):
        counts = PartCounts(progress.reporter())
        counts.add(3, [0, 1])
        counts.add(3, [1])
        counts.close()
    assert progress.total() == (3, 2)


def test_batches_that_were_finished_before_are_counted_with_the_others(tmp_path: Path) -> None:
    progress = FileProgress(tmp_path / "progress")
    counts = PartCounts(progress.reporter())
    counts.add(0, [0, 0, 5])
    counts.add(0, [1])
    assert progress.total() == (4, 6)


def test_a_file_that_cannot_be_written_costs_the_display_only(tmp_path: Path) -> None:
    progress = FileProgress(tmp_path / "nowhere" / "progress")
    counts = PartCounts(progress.reporter())
    counts.add(0, [0])
    assert progress.total() == (0, 0)
