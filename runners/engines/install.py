"""Engines in a cache folder: there in full, or not at all.

Each lies in a folder of its name and version, which is made beside it and renamed when complete.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from config.sections import EngineSection
from runners.engines.downloads import NotPublished, Progress, download, maven_digest
from runners.engines.errors import EngineError, EngineMissing
from runners.engines.jars import assemble
from runners.engines.packages import bring_distribution
from runners.engines.versions import (
    FLINK,
    FOUND_BEAM,
    LIBRARY_BEAM,
    PRISM_PACKAGE,
    SPARK,
    ClusterEngine,
)

NAMES = ("prism", "flink", "spark")
_ABOUT = "engine.json"
_GO_SECONDS = 1800

_log = structlog.get_logger()


@dataclass(frozen=True)
class Engine:
    """An installed engine. ``job_server`` is the Beam version of its job server."""

    name: str
    version: str
    job_server: str
    folder: Path

    @property
    def prism(self) -> Path:
        """Prism's program."""
        return self.folder / "prism"

    @property
    def jars(self) -> Path:
        """The folder of the jars of Flink's or Spark's distribution."""
        return self.folder / ("lib" if self.name == "flink" else "jars")

    @property
    def job_server_jar(self) -> Path:
        """Flink's or Spark's Beam job server."""
        return self.folder / "job-server.jar"


def engine_folder(settings: EngineSection, given: Path | None = None) -> Path:
    """The folder that was given, else that of the settings, as an absolute path."""
    return (given or settings.folder).expanduser().absolute()


def installed(folder: Path) -> list[Engine]:
    """The engines that are there, of the versions that this Lethe uses."""
    found = (_read(folder / _place(name)) for name in NAMES)
    return [engine for engine in found if engine is not None]


def find(name: str, folder: Path) -> Engine:
    """The installed engine. Raises ``EngineMissing`` if it is not there."""
    engine = _read(folder / _place(name))
    if engine is None:
        raise EngineMissing(f"{name} is not in {folder}: lethe engine install {name}")
    return engine


def install(name: str, folder: Path, settings: EngineSection, progress: Progress) -> Engine:
    """Bring an engine into ``folder`` if it is not there.

    Raises ``EngineUnreachable`` if a registry does not give it, ``EngineMissing`` without a
    program that is needed, and ``EngineDamaged`` if a digest is not as it should be.
    """
    place = folder / _place(name)
    with _locked(folder, name):
        if _read(place) is None:
            with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=folder) as work:
                _bring(name, Path(work), settings, progress).replace(place)
    return find(name, folder)


def _place(name: str) -> str:
    versions = {"prism": FOUND_BEAM, "flink": FLINK.version, "spark": SPARK.version}
    return f"{name}-{versions[name]}"


def _read(place: Path) -> Engine | None:
    try:
        about = json.loads((place / _ABOUT).read_text("utf-8"))
    except FileNotFoundError:
        return None
    return Engine(**{**about, "folder": place})


@contextmanager
def _locked(folder: Path, name: str) -> Iterator[None]:
    """One installs, others wait for it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / f".{name}.lock").open("w")
    except OSError as error:
        raise EngineError(f"{folder}: cannot be written to: {error.strerror}") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _bring(name: str, work: Path, settings: EngineSection, progress: Progress) -> Path:
    """A complete folder of the engine, in ``work``."""
    ready = work / "ready"
    ready.mkdir()
    bring: dict[str, Callable[[], Engine]] = {
        "prism": lambda: _bring_prism(ready),
        "flink": lambda: _bring_cluster(FLINK, work, ready, settings, progress),
        "spark": lambda: _bring_cluster(SPARK, work, ready, settings, progress),
    }
    engine = bring[name]()
    about = {"name": name, "version": engine.version, "job_server": engine.job_server}
    (ready / _ABOUT).write_text(json.dumps(about), "utf-8")
    return ready


def _bring_prism(ready: Path) -> Engine:
    """Built by Go from its module proxy, which verifies the sources by Go's checksum database."""
    if shutil.which("go") is None:
        raise EngineMissing("Prism is built by Go, and no 'go' is in PATH: install Go from go.dev")
    command = ["go", "install", f"{PRISM_PACKAGE}@v{FOUND_BEAM}"]
    env = {**os.environ, "GOBIN": str(ready)}
    _log.info("building Prism with Go, which takes a minute or two", version=FOUND_BEAM)
    result = subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=_GO_SECONDS, check=False
    )
    if result.returncode:
        raise EngineError(f"{' '.join(command)} failed: {result.stderr[-600:].strip()}")
    return Engine("prism", FOUND_BEAM, FOUND_BEAM, ready)


def _bring_cluster(
    engine: ClusterEngine, work: Path, ready: Path, settings: EngineSection, progress: Progress
) -> Engine:
    if shutil.which("java") is None:
        raise EngineMissing(f"{engine.name} needs Java 11 or 17, and no 'java' is in PATH")
    package = work / "package"
    package.mkdir()
    bring_distribution(engine, package, ready)
    beam = _bring_job_server(engine, work, ready / "job-server.jar", settings, progress)
    return Engine(engine.name, engine.version, beam, ready)


def _bring_job_server(
    engine: ClusterEngine, work: Path, jar: Path, settings: EngineSection, progress: Progress
) -> str:
    """The job server of this Beam, or one put together where the registry has none; its version."""
    repository = settings.maven.rstrip("/")
    try:
        digest = maven_digest(repository, engine.jar)
        download(f"{repository}/{engine.jar}", jar, "sha1", digest, progress)
    except NotPublished:
        jars = work / "jars"
        jars.mkdir()
        assemble(engine, repository, jars, jar, progress)
        return LIBRARY_BEAM
    return FOUND_BEAM
