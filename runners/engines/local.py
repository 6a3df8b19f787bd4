"""What an engine's run needs on this machine: a job server, and a worker pool if none stands."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from runners.engines.errors import EngineError
from runners.engines.install import Engine
from runners.engines.processes import free_ports, start_tied, stop, wait_for_port
from runners.engines.versions import ClusterEngine
from runners.engines.worker_pool import modules, own_command

_READY_SECONDS = 90.0

JAVA_OPENS = tuple(
    f"--add-opens=java.base/{package}=ALL-UNNAMED"
    for package in (
        "java.io", "java.lang", "java.lang.invoke", "java.lang.reflect", "java.net", "java.nio",
        "java.text", "java.time", "java.util", "java.util.concurrent",
        "java.util.concurrent.atomic", "java.util.concurrent.locks", "sun.nio.ch", "sun.nio.cs",
        "sun.security.action", "sun.util.calendar",
    )
)  # fmt: skip
"""What Flink and Spark reach for in Java, closed to them since Java 16."""

_SHORT_LIVED = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""A job server works for one job, and mostly loads classes: to optimise them does not pay."""


@contextmanager
def started(
    name: str,
    command: Callable[[int, Path], Sequence[str | Path]],
    env: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """The address of a process that serves at a port of its own, for as long as it is needed.

    ``command`` makes its command line from the port and a folder for its files. Raises
    ``EngineError`` if it does not serve.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lethe-engine-")))
        (port,) = free_ports(1)
        process = start_tied(command(port, folder), env=env)
        stack.callback(stop, process)
        if not wait_for_port(process, port, _READY_SECONDS):
            raise EngineError(f"{name} did not start: status {process.poll()}")
        yield f"127.0.0.1:{port}"


@contextmanager
def started_pool(address: str | None) -> Iterator[str]:
    """The address of the worker pool that stands there, or of one started for this run."""
    if address is not None:
        yield address
        return
    with started("the worker pool", lambda port, _: own_command(port), modules()) as own:
        yield own


def job_server_command(
    engine: Engine,
    kind: ClusterEngine,
    port: int,
    folder: Path,
    arguments: Sequence[str],
    properties: Sequence[str] = (),
) -> list[str | Path]:
    """The command line of a Flink or Spark job server; ``properties`` are Java's ``-D``.

    Spark's needs Spark itself, in the very version of the cluster; Flink's holds its client.
    """
    path = [str(engine.job_server_jar)]
    if kind.name == "spark":
        path.append(f"{engine.jars}/*")
    return [
        "java", "-Xmx1g", *_SHORT_LIVED, *JAVA_OPENS, *properties, "-cp", ":".join(path), kind.main,
        "--job-port", str(port), "--artifact-port", "0", "--expansion-port", "-1",
        "--artifacts-dir", folder, *arguments,
    ]  # fmt: skip
