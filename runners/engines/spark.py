"""Spark: clusters, batch only."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from runners.engines.errors import EngineUnreachable
from runners.engines.install import Engine
from runners.engines.local import job_server_command, started, started_pool
from runners.engines.portable import Build, run_to_end
from runners.engines.versions import SPARK


@dataclass(frozen=True)
class SparkCluster:
    """``master`` is ``spark://HOST:PORT``, ``worker_pool`` what each executor calls.

    Without a worker pool one is started here, for a cluster on this machine. ``properties`` are
    Spark's own, such as ``spark.executor.memory``.
    """

    master: str
    worker_pool: str | None = None
    properties: tuple[tuple[str, str], ...] = ()


class SparkRunner:
    """Runs pipelines on a Spark cluster."""

    def __init__(self, engine: Engine, cluster: SparkCluster) -> None:
        self._engine = engine
        self._cluster = cluster

    def run(self, build: Build, parts: int) -> dict[str, int]:
        """Build and run a pipeline to its end; its counters by name.

        ``parts`` is for runners that can use it. Raises the ``LetheError`` that a stage raised,
        ``EngineUnreachable`` without a cluster.
        """
        del parts
        _check(self._cluster.master)
        properties = [f"-D{name}={value}" for name, value in self._cluster.properties]
        master = ["--spark-master-url", self._cluster.master]
        server = started(
            "Spark's job server",
            lambda port, folder: job_server_command(
                self._engine, SPARK, port, folder, master, properties
            ),
        )
        with started_pool(self._cluster.worker_pool) as pool, server as endpoint:
            return run_to_end(build, endpoint, pool, self._options())

    def _options(self) -> list[str]:
        """Executors have Spark's own jars: only the job server's is sent to them."""
        return [f"--files_to_stage={self._engine.job_server_jar}"]


def _check(master: str) -> None:
    """Spark would wait a minute for a master that is not there, and then for ever."""
    parts = urlsplit(master)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 7077), 10).close()
    except OSError as error:
        raise EngineUnreachable(f"no Spark master answers at {master}") from error
