"""Spark: clusters, batch only."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from runners.engines.errors import EngineError, EngineUnreachable
from runners.engines.install import Engine
from runners.engines.local import job_server_command, started, started_pool
from runners.engines.portable import Build, run_to_end
from runners.engines.processes import free_ports
from runners.engines.versions import SPARK

_CONNECT_SECONDS = 10.0
_GIVEN_UP = (
    "Spark gave the job up, as it does if executors cannot start: the pages of its master and "
    "workers say why"
)
_ENDED = re.compile(
    "stopped SparkContext|SparkContext (?:has been|was) shut ?down"
    "|Master removed our application|masters are unresponsive"
)
_GONE_SECONDS = 15.0
"""A job that ended well is without its Spark for a moment too, until Beam says so."""


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
        ``EngineUnreachable`` without a cluster, ``EngineError`` if the cluster throws the job out.
        """
        del parts
        _check(self._cluster.master)
        driver = Driver(free_ports(1)[0])
        properties = [f"-D{name}={value}" for name, value in self._properties(driver)]
        master = ["--spark-master-url", self._cluster.master]
        server = started(
            "Spark's job server",
            lambda port, folder: job_server_command(
                self._engine, SPARK, port, folder, master, properties
            ),
        )
        pool = started_pool(self._cluster.worker_pool)
        with pool as address, server as endpoint, told_if_given_up():
            return run_to_end(build, endpoint, address, self._options(), driver.check)

    def _properties(self, driver: Driver) -> tuple[tuple[str, str], ...]:
        page = (("spark.ui.enabled", "true"), ("spark.ui.port", str(driver.port)))
        return self._cluster.properties + page

    def _options(self) -> list[str]:
        """Executors have Spark's own jars: only the job server's is sent to them."""
        return [f"--files_to_stage={self._engine.job_server_jar}"]


class Driver:
    """The driver inside the job server, watched by its page, which lives as long as its Spark does.

    Of a job that the master throws out Beam may say for ever that it runs.
    """

    def __init__(self, port: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.port = port
        self._clock = clock
        self._seen: float | None = None

    def check(self) -> None:
        """Raise ``EngineError`` if there was a page, and has been none for a while."""
        now = self._clock()
        if _answers("127.0.0.1", self.port):
            self._seen = now
        elif self._seen is not None and now - self._seen > _GONE_SECONDS:
            raise EngineError(_GIVEN_UP)


@contextmanager
def told_if_given_up() -> Iterator[None]:
    """Raise ``EngineError`` where Beam says, as of a failing stage, that its Spark has ended."""
    try:
        yield
    except RuntimeError as error:
        if _ENDED.search(str(error)):
            raise EngineError(_GIVEN_UP) from error
        raise


def _check(master: str) -> None:
    """Spark would wait a minute for a master that is not there, and then for ever."""
    parts = urlsplit(master)
    if not _answers(parts.hostname or "", parts.port or 7077):
        raise EngineUnreachable(f"no Spark master answers at {master}")


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), _CONNECT_SECONDS).close()
    except OSError:
        return False
    return True
