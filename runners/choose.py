"""The runner that was asked for: the direct one, or an engine's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from runners.beam import beam
from runners.options import RunnerName, RunnerOptions
from schemas.errors import UsageError

if TYPE_CHECKING:
    from runners.engines.flink import FlinkRunner
    from runners.engines.install import Engine
    from runners.engines.jobs import Job


class PipelineRunner(Protocol):
    """Runs pipelines that end."""

    def run(self, build: Callable[[beam.Pipeline], None], parts: int) -> dict[str, int]:
        """Build and run a pipeline to its end; its counters by name.

        ``parts`` is how many pieces the work falls into. Raises the ``LetheError`` that a stage
        raised; any other exception is a bug's, or the engine's.
        """


@contextmanager
def open_runner(options: RunnerOptions) -> Iterator[PipelineRunner]:
    """The runner, for any number of pipelines. Open it before anything starts a thread."""
    match options.name:
        case RunnerName.DIRECT:
            from runners.direct import DirectRunner

            with DirectRunner(options.workers) as direct:
                yield direct
        case RunnerName.PRISM:
            from runners.engines.prism import PrismRunner

            with PrismRunner(_engine("prism")) as prism:
                yield prism
        case RunnerName.FLINK:
            yield flink_runner(options)
        case RunnerName.SPARK:
            from runners.engines.spark import SparkCluster, SparkRunner

            cluster = SparkCluster(str(options.master), options.worker_pool)
            yield SparkRunner(_engine("spark"), cluster)


@contextmanager
def started_job(options: RunnerOptions, build: Callable[[beam.Pipeline], None]) -> Iterator[Job]:
    """A pipeline without end, started. Prism's ends with this; Flink's has to be cancelled.

    Raises ``UsageError`` for a runner that has no such pipelines.
    """
    if options.name is RunnerName.PRISM:
        from runners.engines.prism import PrismRunner

        with PrismRunner(_engine("prism")) as prism:
            yield prism.start(build)
    elif options.name is RunnerName.FLINK:
        with flink_runner(options).started(build) as job:
            yield job
    else:
        raise UsageError(f"--runner {options.name} runs rounds only: use prism or flink")


def flink_runner(options: RunnerOptions) -> FlinkRunner:
    """The runner of a Flink cluster."""
    from runners.engines.flink import FlinkCluster, FlinkRunner

    cluster = FlinkCluster(str(options.master), options.worker_pool, options.workers)
    return FlinkRunner(_engine("flink"), cluster)


def _engine(name: str) -> Engine:
    from config.settings import load_settings
    from runners.engines.install import engine_folder, find

    return find(name, engine_folder(load_settings().engines))
