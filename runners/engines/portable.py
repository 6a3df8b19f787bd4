"""Pipelines on an engine that Beam reaches through a job server."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.portable_runner import PortableRunner

from runners.engines.errors import EngineUnreachable
from runners.engines.jobs import JobState
from runners.results import counters_of, stage_error

_CHECK_EVERY = 0.5

Build = Callable[[beam.Pipeline], None]


def submit(build: Build, job_server: str, worker_pool: str, options: Sequence[str]) -> Any:
    """Build a pipeline and give it to a job server; Beam's result of it.

    Raises ``EngineUnreachable`` if the job server does not take it.
    """
    _silence_beam()
    arguments = [
        f"--job_endpoint={job_server}",
        "--environment_type=EXTERNAL",
        f"--environment_config={worker_pool}",
        *options,
    ]
    pipeline = beam.Pipeline(runner=PortableRunner(), options=PipelineOptions(arguments))
    build(pipeline)
    try:
        return pipeline.run()
    except grpc.RpcError as error:
        raise EngineUnreachable(f"the job server did not take the job: {error.code()}") from error


def run_to_end(
    build: Build,
    job_server: str,
    worker_pool: str,
    options: Sequence[str],
    check: Callable[[], None] | None = None,
) -> dict[str, int]:
    """Run a pipeline that ends; its counters by name.

    ``check`` is called every half second while the job runs; what it raises ends the wait. Raises
    the ``LetheError`` that a stage raised; any other exception is a bug's, or the engine's.
    """
    result = submit(build, job_server, worker_pool, options)
    with _cancelled_if_left(result):
        if check is not None:
            _check_while_running(result, check)
        try:
            result.wait_until_finish()
        except RuntimeError as error:
            raise stage_error(error) from error
    return counters_of(result)


def _check_while_running(result: Any, check: Callable[[], None]) -> None:
    while not JobState.of_beam(result.state).ended:
        check()
        time.sleep(_CHECK_EVERY)


@contextmanager
def _cancelled_if_left(result: Any) -> Iterator[None]:
    """Whoever is interrupted while waiting does not leave the job behind."""
    try:
        yield
    except Exception:
        raise
    except BaseException:
        result.cancel()
        raise


def _silence_beam() -> None:
    """Keep Beam from logging what an engine says of an error: it may hold a record's values."""
    for library in ("apache_beam", "grpc"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
    logging.getLogger().addFilter(_not_of_engine)


def _not_of_engine(record: logging.LogRecord) -> bool:
    return record.module != "portable_runner"
