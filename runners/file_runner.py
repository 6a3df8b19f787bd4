"""Runs work that is done with one file after another: by processes of this machine, or by Beam.

An erasure goes to each file by itself, and nothing has to be brought together but what was found.
On one machine that takes no engine, whose start and pipelines would take longer than the work in a
lake of some hundred files. Engines do the same work on clusters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from runners.options import RunnerName, RunnerOptions
from stores.lake_files import LakeFile
from stores.objects.port import ObjectStore
from transforms.erasure.work import FileWork, Findings

if TYPE_CHECKING:
    from runners.choose import PipelineRunner


class FileRunner(Protocol):
    """Does work with files, several side by side."""

    def each(
        self, files: Sequence[LakeFile], work: FileWork, store: ObjectStore, erasure_id: str
    ) -> Findings:
        """Do the work with each file; what was found, once all is done.

        Raises the ``LetheError`` that it raised; any other exception is a bug's, or the engine's.
        """


@contextmanager
def open_file_runner(options: RunnerOptions) -> Iterator[FileRunner]:
    """The runner, for any amount of work. Open it before anything starts a thread."""
    if options.name is RunnerName.DIRECT:
        from runners.forked_files import ForkedFiles

        with ForkedFiles(options.workers) as forked:
            yield forked
    else:
        from runners.choose import open_runner

        with open_runner(options) as runner:
            yield by_pipelines(runner)


def by_pipelines(runner: PipelineRunner) -> FileRunner:
    """A runner whose work is done by pipelines of another one."""
    from runners.piped_files import PipedFiles

    return PipedFiles(runner)
