"""Who takes part: each contender's command, and what must be there for it to run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PYSPARK = "pyspark==3.5.*"
PER_RECORD_COUNT = 100_000
"""The most records that the per-record pipeline is given: it keeps all it groups in memory."""

_ROOT = Path(__file__).parent.parent
_PEERS = Path(__file__).parent / "peers"


class Unavailable(Exception):
    """A contender cannot run on this machine; the message says why."""


def _this_python() -> str:
    return sys.executable


@dataclass(frozen=True)
class Contender:
    """One way to deliver.

    ``arguments`` follow the interpreter that ``python`` finds (or raises ``Unavailable``), with
    ``{input}`` and ``{lake}`` to be filled in. ``most`` is the most records it is given.
    """

    name: str
    title: str
    arguments: tuple[str, ...]
    python: Callable[[], str] = _this_python
    format: str = "parquet"
    most: int | None = None

    def count(self, count: int) -> int:
        """The records it is given when ``count`` are asked for."""
        return count if self.most is None else min(count, self.most)

    def command(self, python: str, source: Path, lake: Path) -> list[str]:
        return [python, *(part.format(input=source, lake=lake) for part in self.arguments)]


def pyspark_python() -> str:
    """The interpreter of PySpark's own environment, which is made the first time.

    PySpark's pins do not go with Beam's. Raises ``Unavailable``.
    """
    if shutil.which("java") is None:
        raise Unavailable("no Java on the PATH")
    folder = _cache() / "bench-pyspark-3.5"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        print(f"installing {PYSPARK} into {folder}", file=sys.stderr)
        _install(folder, python)
        (folder / "complete").touch()
    return str(python)


def _install(folder: Path, python: Path) -> None:
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", PYSPARK], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Unavailable(f"{PYSPARK} cannot be installed") from error


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lethe"


def environment() -> dict[str, str]:
    """The environment that contenders run in: this one, with the project importable."""
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _lethe(name: str, title: str, *options: str, fmt: str = "parquet") -> Contender:
    command = ("-m", "runners.cli", "deliver", "{input}", "--lake", "{lake}", "--format", fmt)
    return Contender(name, title, (*command, *options), format=fmt)


def _peer(file: str) -> tuple[str, ...]:
    return (str(_PEERS / file), "{input}", "--lake", "{lake}")


CONTENDERS = (
    _lethe("lethe-1", "Lethe, 1 worker", "--workers", "1"),
    _lethe("lethe-2", "Lethe, 2 workers", "--workers", "2"),
    _lethe("lethe-avro", "Lethe, 2 workers, Avro", "--workers", "2", fmt="avro"),
    Contender("duckdb", "DuckDB, 2 threads", _peer("duckdb_deliver.py")),
    Contender("pyspark", "PySpark, local[2]", _peer("pyspark_deliver.py"), pyspark_python),
    Contender("beam", "plain Beam, per record", _peer("per_record_beam.py"), most=PER_RECORD_COUNT),
)
