"""Flink: clusters, batch and streaming, with checkpoints that survive a task manager."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from runners.engines.flink_rest import FlinkJob, FlinkRest
from runners.engines.install import Engine
from runners.engines.local import job_server_command, started, started_pool
from runners.engines.portable import Build, run_to_end, submit
from runners.engines.versions import FLINK

_BUNDLE_MILLISECONDS = 200


@dataclass(frozen=True)
class FlinkCluster:
    """``master`` is HOST:PORT of the REST service, ``worker_pool`` what each task manager calls.

    Without a worker pool one is started here, for a cluster on this machine. ``checkpoint_every``
    is in seconds; only what a checkpoint holds survives a failure.
    """

    master: str
    worker_pool: str | None = None
    parallelism: int = 1
    checkpoint_every: float = 10.0


class FlinkRunner:
    """Runs pipelines on a Flink cluster."""

    def __init__(self, engine: Engine, cluster: FlinkCluster) -> None:
        self._engine = engine
        self._cluster = cluster
        self._rest = FlinkRest(cluster.master)

    def run(self, build: Build, parts: int) -> dict[str, int]:
        """Build and run a pipeline to its end; its counters by name.

        ``parts`` is how many pieces the work falls into: more slots than that are not used. Raises
        the ``LetheError`` that a stage raised, ``EngineUnreachable`` without a cluster.
        """
        self._rest.check()
        options = [f"--parallelism={max(1, min(parts, self._cluster.parallelism))}"]
        with started_pool(self._cluster.worker_pool) as pool, self._job_server() as server:
            return run_to_end(build, server, pool, options)

    @contextmanager
    def started(self, build: Build, savepoint: str | None = None) -> Iterator[FlinkJob]:
        """A pipeline without end, with a worker pool of this process if no other stands.

        The job itself is the cluster's and goes on after this ends, where a pool of its own stands.
        """
        with started_pool(self._cluster.worker_pool) as pool:
            yield self.start(build, pool, savepoint)

    def start(self, build: Build, worker_pool: str, savepoint: str | None = None) -> FlinkJob:
        """Start a pipeline without end, from a savepoint or checkpoint if one is given.

        The job runs on when this process ends: ``FlinkJob(FlinkRest(master), id)`` finds it again.
        Raises ``EngineUnreachable`` without a cluster, ``EngineError`` if Flink does not take the
        job.
        """
        self._rest.check()
        name = f"lethe-{uuid.uuid4().hex[:12]}"
        with self._job_server() as server:
            result = submit(build, server, worker_pool, self._streaming(name, savepoint))
            return self._rest.job_named(name, lambda: str(result.state))

    def _job_server(self) -> AbstractContextManager[str]:
        master = ["--flink-master", self._cluster.master]
        return started(
            "Flink's job server",
            lambda port, folder: job_server_command(self._engine, FLINK, port, folder, master),
        )

    def _streaming(self, name: str, savepoint: str | None) -> list[str]:
        """Options for a stream.

        Bundles are finished before a checkpoint because otherwise the output of the last one waits
        for a next, which never comes after the element that starts a source.
        """
        options = [
            f"--job_name={name}",
            "--streaming",
            f"--parallelism={self._cluster.parallelism}",
            f"--checkpointing_interval={round(self._cluster.checkpoint_every * 1000)}",
            "--finish_bundle_before_checkpointing",
            f"--max_bundle_time_mills={_BUNDLE_MILLISECONDS}",
            "--externalized_checkpoints_enabled",
        ]
        return options + ([f"--savepoint_path={savepoint}"] if savepoint else [])
