"""Prism: one machine, batch and true streaming. Its state is in memory and dies with it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from runners.engines.install import Engine
from runners.engines.jobs import JobState
from runners.engines.local import started, started_pool
from runners.engines.portable import Build, run_to_end, submit
from runners.results import counters_of

_KEEP_KEYS_TOGETHER = "--experiments=prism_disable_sdf_split"
"""Prism 2.77 splits slow bundles in the midst of a key, and does both parts at once: what one of
them adds to the key's state is lost."""


class PrismRunner:
    """Runs pipelines on a Prism of its own; a context manager for any number of runs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._stack = ExitStack()
        self._prism = self._pool = ""

    def __enter__(self) -> PrismRunner:
        with ExitStack() as stack:
            self._pool = stack.enter_context(started_pool(None))
            self._prism = stack.enter_context(started("Prism", self._command))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, build: Build, parts: int) -> dict[str, int]:
        """Build and run a pipeline to its end; its counters by name.

        ``parts`` is for runners that can use it. Raises the ``LetheError`` that a stage raised.
        """
        del parts
        return run_to_end(build, self._prism, self._pool, [_KEEP_KEYS_TOGETHER])

    def start(self, build: Build) -> PrismJob:
        """Start a pipeline without end. It ends with this runner."""
        return PrismJob(
            submit(build, self._prism, self._pool, ["--streaming", _KEEP_KEYS_TOGETHER])
        )

    def _command(self, port: int, folder: Path) -> list[str | Path]:
        del folder
        return [
            self._engine.prism, "--job_port", str(port), "--serve_http=false",
            "--log_level=error", "--log_kind=json",
        ]  # fmt: skip


class PrismJob:
    """A streaming pipeline on Prism."""

    def __init__(self, result: Any) -> None:
        self._result = result

    @property
    def id(self) -> str:
        """Prism's name of the job."""
        return str(self._result._job_id)

    def state(self) -> JobState:
        """What the job is doing now."""
        return JobState.of_beam(self._result.state)

    def counters(self) -> dict[str, int]:
        """The pipeline's counters by name; they are complete when the job has ended."""
        return counters_of(self._result)

    def cancel(self) -> None:
        """End the job; what it holds in memory is lost."""
        self._result.cancel()
