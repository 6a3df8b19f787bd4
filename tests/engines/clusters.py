"""Real engines for tests: clusters of separate processes on free loopback ports.

All processes end with the test session, also when it is killed.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from config.settings import load_settings
from runners.engines.errors import EngineUnreachable
from runners.engines.flink_rest import FlinkRest
from runners.engines.install import Engine, engine_folder, install
from runners.engines.local import JAVA_OPENS, started_pool
from runners.engines.processes import free_ports, start_tied, stop, wait_for_port
from tests.waiting import PATIENCE, wait_until

NEEDS = {"prism": "go", "flink": "java", "spark": "java"}
SLOTS = 2
"""Of a task manager."""

_QUICK_START = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
_JAVA = ["java", *_QUICK_START, *JAVA_OPENS]


def engine(name: str) -> Engine:
    """The engine, installed if it is not; skips the test without the program it needs."""
    if shutil.which(NEEDS[name]) is None:
        pytest.skip(f"{name} needs {NEEDS[name]!r} in PATH")
    settings = load_settings().engines
    return install(name, engine_folder(settings), settings, lambda _: None)


class FlinkProcesses:
    """A Flink cluster: one job manager and task managers, each killable, about 600 MB each."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._engine = engine
        self._rpc, self._port = free_ports(2)
        self.folder = folder
        self.job_manager: subprocess.Popen[bytes] | None = None
        self.task_managers: list[subprocess.Popen[bytes]] = []
        self.worker_pool = ""

    @property
    def master(self) -> str:
        """HOST:PORT of the REST service."""
        return f"127.0.0.1:{self._port}"

    @property
    def rest(self) -> FlinkRest:
        """The REST service."""
        return FlinkRest(self.master)

    def start_job_manager(self) -> None:
        """Start it, at the same ports if it died; task managers come back to it."""
        main = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
        self.job_manager = self._start("job-manager", main, "-Xmx400m")
        assert wait_for_port(self.job_manager, self._port, PATIENCE)

    def start_task_manager(self) -> subprocess.Popen[bytes]:
        """Start one more; it registers by itself."""
        main = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
        name = f"task-manager-{len(self.task_managers)}"
        self.task_managers.append(self._start(name, main, "-Xmx384m"))
        return self.task_managers[-1]

    def wait_for_task_managers(self, count: int) -> None:
        """Wait until that many are registered."""
        wait_until(lambda: len(self._registered()) >= count, "task managers")

    def wait_for_free_slots(self) -> None:
        """Wait until no task manager runs anything any more, for a dead job manager either."""
        wait_until(self._is_free, "free slots")

    def _is_free(self) -> bool:
        found = self._registered()
        return bool(found) and all(each["freeSlots"] == each["slotsNumber"] for each in found)

    def kill_job_manager(self) -> None:
        """SIGKILL; a new one can be started at the same ports."""
        assert self.job_manager is not None
        self.job_manager.kill()
        self.job_manager.wait()

    def kill_task_manager_of(self, job_id: str) -> None:
        """SIGKILL the process that runs the job's last stage."""
        vertex = self.rest.get(f"/jobs/{job_id}")["vertices"][-1]["id"]
        subtask = self.rest.get(f"/jobs/{job_id}/vertices/{vertex}")["subtasks"][0]
        index = int(subtask["taskmanager-id"].rpartition("-")[2])
        self.task_managers[index].kill()
        self.task_managers[index].wait()

    def wait_for_checkpoint(self, job_id: str) -> None:
        """Wait until the job has one to go on from: its output may be ahead of the first."""
        wait_until(lambda: any(self._checkpoints(job_id)), "a checkpoint")

    def newest_checkpoint(self, job_id: str) -> str:
        """Of a job whose job manager is dead: before, Flink may replace it by a newer one."""
        found = self._checkpoints(job_id)
        return max(found, key=lambda path: path.stat().st_mtime).parent.as_uri()

    def _checkpoints(self, job_id: str) -> Iterator[Path]:
        return (self.folder / "checkpoints" / job_id).glob("chk-*/_metadata")

    def close(self) -> None:
        """End all processes."""
        for process in (*self.task_managers, self.job_manager):
            if process is not None:
                stop(process)

    def _registered(self) -> list[Any]:
        try:
            return list(self.rest.get("/taskmanagers")["taskmanagers"])
        except EngineUnreachable:
            return []

    def _start(self, name: str, main: str, heap: str) -> subprocess.Popen[bytes]:
        configuration = self._configuration(name)
        jars = ":".join(map(str, sorted(self._engine.jars.glob("*.jar"))))
        log = configuration / "log4j.properties"
        command = [
            *_JAVA, heap, f"-Dlog4j.configurationFile={log}", "-cp", jars, main,
            "--configDir", str(configuration),
        ]  # fmt: skip
        return start_tied(command, self.folder / f"{name}.log")

    def _configuration(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        settings = {**self._settings(), "io.tmp.dirs": str(folder), "taskmanager.resource-id": name}
        lines = [f"{key}: {json.dumps(value)}\n" for key, value in settings.items()]
        (folder / "config.yaml").write_text("".join(lines))
        (folder / "log4j.properties").write_text(_FLINK_LOG)
        return folder

    def _settings(self) -> dict[str, Any]:
        return {
            **_FLINK_SETTINGS,
            "jobmanager.rpc.port": self._rpc,
            "rest.port": self._port,
            "execution.checkpointing.dir": f"{self.folder.as_uri()}/checkpoints",
            "state.checkpoints.dir": f"{self.folder.as_uri()}/checkpoints",
        }


_FLINK_LOG = """rootLogger.level=WARN
rootLogger.appenderRef.console.ref=Console
appender.console.name=Console
appender.console.type=CONSOLE
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d %-5p %c{1} - %m%n
"""

_FLINK_SETTINGS = {
    "jobmanager.rpc.address": "127.0.0.1",
    "jobmanager.bind-host": "127.0.0.1",
    "rest.address": "127.0.0.1",
    "rest.bind-address": "127.0.0.1",
    "taskmanager.host": "127.0.0.1",
    "taskmanager.bind-host": "127.0.0.1",
    "taskmanager.numberOfTaskSlots": SLOTS,
    # What Flink's own start script would work out of one number.
    "jobmanager.memory.process.size": "1024m",
    "taskmanager.cpu.cores": 1.0,
    "taskmanager.memory.framework.heap.size": "128m",
    "taskmanager.memory.task.heap.size": "256m",
    "taskmanager.memory.framework.off-heap.size": "128m",
    "taskmanager.memory.task.off-heap.size": "64m",
    "taskmanager.memory.network.min": "64m",
    "taskmanager.memory.network.max": "64m",
    "taskmanager.memory.managed.size": "64m",
    "taskmanager.memory.jvm-metaspace.size": "256m",
    "taskmanager.memory.jvm-overhead.min": "64m",
    "taskmanager.memory.jvm-overhead.max": "64m",
    "state.backend.type": "hashmap",
    "restart-strategy.type": "fixed-delay",
    "restart-strategy.fixed-delay.attempts": 3,
    "restart-strategy.fixed-delay.delay": "500 ms",
    "heartbeat.interval": 1000,
    "heartbeat.timeout": 5000,
}


@contextmanager
def flink_cluster(folder: Path, task_managers: int = 1) -> Iterator[FlinkProcesses]:
    """A cluster that is ready, and a worker pool for it."""
    cluster = FlinkProcesses(engine("flink"), folder)
    with ExitStack() as stack:
        stack.callback(cluster.close)
        cluster.start_job_manager()
        for _ in range(task_managers):
            cluster.start_task_manager()
        cluster.worker_pool = stack.enter_context(started_pool(None))
        cluster.wait_for_task_managers(task_managers)
        yield cluster


@contextmanager
def spark_cluster(folder: Path, executors_start: bool = True) -> Iterator[str]:
    """The URL of a master with one worker of two cores and 1 GB."""
    jars = f"{engine('spark').jars}/*"
    master, *others = free_ports(4)
    url = f"spark://127.0.0.1:{master}"
    # Spark's own start script would find this out.
    env = {"SPARK_HOME": str(engine("spark").folder), "SPARK_SCALA_VERSION": "2.12"}
    env["JDK_JAVA_OPTIONS"] = " ".join(_QUICK_START)  # of the executors, too
    if not executors_start:
        env["JAVA_HOME"] = str(folder / "nowhere")

    def start(name: str, main: str, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        command = [*_JAVA, "-Xmx256m", "-cp", jars, f"org.apache.spark.deploy.{main}", *arguments]
        local = {**env, "SPARK_LOCAL_IP": "127.0.0.1"}
        return start_tied(command, folder / f"{name}.log", local)

    with ExitStack() as stack:
        here = ["--host", "127.0.0.1", "--webui-port"]
        one = start("master", "master.Master", [*here, str(others[0]), "--port", str(master)])
        stack.callback(stop, one)
        assert wait_for_port(one, master, PATIENCE)
        size = ["--cores", "2", "--memory", "1g", "--work-dir", str(folder), "--port"]
        arguments = [*here, str(others[1]), *size, str(others[2]), url]
        two = start("worker", "worker.Worker", arguments)
        stack.callback(stop, two)
        assert wait_for_port(two, others[2], PATIENCE)
        yield url
