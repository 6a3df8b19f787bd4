"""The direct runner: pipelines on this machine, in this process or in forked ones.

``FnApiRunner`` is chosen by name: ``DirectRunner`` would first try to download Prism.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.environments import ExternalEnvironment

from runners.forked import how_it_ended
from runners.memory import keep_freed_memory
from runners.results import counters_of, stage_error
from runners.workers import WorkerForks
from schemas.errors import LetheError


class DirectRunner:
    """Runs pipelines with a number of workers; more than one are processes of their own.

    Make it before anything starts a thread, use it as a context manager for any number of runs.
    """

    def __init__(self, workers: int) -> None:
        # What is imported by now lives for ever: the collector need not look at it again, and
        # forked workers go on sharing its pages.
        gc.freeze()
        keep_freed_memory()
        # They log what they raise, with all its frames; and Beam warns of several workers without
        # its own multi-processing, where ours are elsewhere.
        for library in ("apache_beam", "grpc"):
            logging.getLogger(library).setLevel(logging.CRITICAL)
        self._workers = workers
        self._forks: WorkerForks | None = WorkerForks(_worker_died) if workers > 1 else None
        self._entered: AbstractContextManager[Any] = self._forks or nullcontext()

    def __enter__(self) -> DirectRunner:
        self._entered.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._entered.__exit__(kind, error, trace)

    def run(self, build: Callable[[beam.Pipeline], None], parts: int) -> dict[str, int]:
        """Build and run a pipeline to its end; its counters by name.

        ``parts`` is how many pieces the work falls into: more workers than that are not used.
        Raises the ``LetheError`` that a stage raised; any other exception is a bug's.
        """
        workers = min(self._workers, parts)
        # Without flags it would take those of our own command for its.
        options = PipelineOptions([], direct_num_workers=workers, pipeline_type_check=False)
        pipeline = beam.Pipeline(runner=self._runner(workers), options=options)
        build(pipeline)
        try:
            result = pipeline.run()
            result.wait_until_finish()
        except (LetheError, RuntimeError) as error:
            raise stage_error(error) from error
        return counters_of(result)

    def _runner(self, workers: int) -> FnApiRunner:
        if self._forks is None or workers == 1:
            return FnApiRunner()
        return FnApiRunner(default_environment=ExternalEnvironment(self._forks.address))


def _worker_died(status: int) -> None:
    """Nothing of the run can go on; the next one finishes it or clears what it staged."""
    print(f"error: {how_it_ended(status)}", file=sys.stderr, flush=True)
    os._exit(1)
