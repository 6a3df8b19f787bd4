"""Running ``lethe`` as its users do, and looking at what it left in the lake."""

from __future__ import annotations

import atexit
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from runners.generate import changes
from runners.generate.output import write_file
from stores.log import Commit, DeliveryLog
from stores.objects import LocalObjectStore, ObjectStore
from tests.forked_commands import fork_command
from tests.waiting import PATIENCE

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SCRUB_KEY = "only-for-tests-only-for-tests-32"
_KEPT_BY_DESIGN = tuple(
    f"_lethe/{name}" for name in ("log/", "positions/", "locks/", "index/", "scrub-key.json")
)
_UPDATED = re.compile(rb'("updatedAt":\{"[SN]":")(2026-01-\d\d|\d{13})')
_NEW_YEAR = 1_767_225_600_000
_DAY = 86_400_000


@dataclass(frozen=True)
class Outcome:
    """What a command said; ``report`` is what it wrote with ``--report``."""

    status: int
    out: str
    err: str
    report: Mapping[str, Any] = field(default_factory=dict)


def start(*arguments: object, env: Mapping[str, str] | None = None, **more: Any) -> Any:
    """Start the command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "runners.cli", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(env),
        **more,
    )


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    ours = {
        "PYTHONPATH": str(ROOT),
        "LETHE_SCRUB_KEY": SCRUB_KEY,
        "LETHE_STATE__FOLDER": str(_state_folder()),
        "COLUMNS": "200",
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LETHE_")}
    return {**inherited, **ours, **(more or {})}


@cache
def _state_folder() -> Path:
    """Where the runs of this process's tests are recorded: away from the user's own."""
    folder = tempfile.mkdtemp(prefix="lethe-test-state-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def outcome(process: Any, report: Path | None = None) -> Outcome:
    """Wait for the command's end. Whatever happened, it shows no traceback and no address."""
    out, err = process.communicate(timeout=PATIENCE)
    assert "Traceback" not in out + err, err
    assert "@" not in out + err, "an address was shown"
    found = json.loads(report.read_text()) if report is not None and report.exists() else {}
    return Outcome(process.returncode, out, err, found)


def lethe(*arguments: object, env: Mapping[str, str] | None = None, **more: Any) -> Outcome:
    return outcome(_begun(*arguments, env=env, **more))


def _begun(*arguments: object, env: Mapping[str, str] | None = None, **more: Any) -> Any:
    """A command that is to be waited for, in a process with nothing left to load if it may be."""
    return start(*arguments, env=env, **more) if more else fork_command(arguments, environment(env))


def deliver(lake: Path | str, *arguments: object, workers: int = 1, **more: Any) -> Outcome:
    """Deliver; dead letters do not fail it unless the arguments say so."""
    return _reporting("deliver", *arguments, "--lake", lake, "--workers", workers, **more)


def replay(lake: Path | str, *arguments: object, **more: Any) -> Outcome:
    return _reporting("replay", "--lake", lake, *arguments, **more)


def _reporting(command: str, *arguments: object, **more: Any) -> Outcome:
    lenient = () if "--max-error-rate" in arguments else ("--max-error-rate", 1)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        started = _begun(command, *arguments, *lenient, "--report", report, **more)
        return outcome(started, report)


def generated(path: Path, count: int, seed: int = 1, hostile: float = 0.0, days: int = 30) -> Path:
    """A file of change records whose dates are the first ``days`` of January 2026."""

    def earlier(found: re.Match[bytes]) -> bytes:
        start, time = found.groups()
        if time.isdigit():
            return start + b"%d" % (_NEW_YEAR + (int(time) - _NEW_YEAR) % (days * _DAY))
        return start + b"2026-01-%02d" % (int(time[-2:]) % days + 1)

    content = b"".join(changes(count, seed, "kinesis", hostile))
    write_file(path, iter([_UPDATED.sub(earlier, content)]))
    return path


@dataclass(frozen=True)
class Lake:
    """What a reader sees in a lake, and what he does not."""

    store: ObjectStore

    @staticmethod
    def at(path: Path) -> Lake:
        return Lake(LocalObjectStore(path))

    def files(self) -> list[str]:
        """The keys of the visible data files."""
        return [info.key for info in self.store.list("type=")]

    def rows(self) -> dict[str, Any]:
        """All rows by type, each type's as a table sorted by change."""
        tables: dict[str, list[Any]] = {}
        for key in self.files():
            name = key.partition("/")[0].removeprefix("type=")
            table = pq.ParquetFile(io.BytesIO(self.store.read(key))).read(use_threads=False)
            tables.setdefault(name, []).append(table)
        return {
            name: pa.concat_tables(parts).sort_by("change_id")
            for name, parts in sorted(tables.items())
        }

    def changes(self) -> list[str]:
        """The change ids of all rows, sorted: as often as they are there."""
        return self._column("change_id")

    def references(self) -> list[str]:
        """The references of all rows, sorted: as often as they are there."""
        return self._column("reference")

    def _column(self, name: str) -> list[str]:
        return sorted(v for table in self.rows().values() for v in table.column(name).to_pylist())

    def letters(self, folder: str = "errors/date=") -> list[dict[str, Any]]:
        """The dead letters that wait, by id."""
        found = [
            json.loads(line)
            for info in self.store.list(folder)
            for line in self.store.read(info.key).splitlines()
        ]
        return sorted(found, key=lambda letter: str(letter["id"]))

    def parked(self) -> list[dict[str, Any]]:
        return self.letters("errors/parked/")

    def commits(self) -> list[Commit]:
        return list(DeliveryLog(self.store).commits())

    def leftovers(self) -> list[str]:
        """What lies in the lake's own folder beside the log: nothing, unless a run is under way."""
        own = (info.key for info in self.store.list("_lethe/"))
        return [key for key in own if not key.startswith(_KEPT_BY_DESIGN)]

    def snapshot(self) -> dict[str, str]:
        """Every object but locks with its entity tag, to tell whether anything was touched."""
        everything = self.store.list("")
        return {i.key: i.etag for i in everything if not i.key.startswith("_lethe/locks/")}


def in_child(work: Callable[[], None]) -> int:
    """Do it in a forked process; how that ended, negative for a signal."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def dying(owner: type[Any], method: str, call: int, after: bool) -> None:
    """Make this process kill itself before, or after, the n-th call of a method."""
    original, calls = getattr(owner, method), iter(range(1, call + 1))

    def deadly(*arguments: Any, **more: Any) -> Any:
        last = next(calls, None) == call
        if last and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*arguments, **more)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, method, deadly)


def everything(path: Path) -> dict[str, bytes]:
    """All files below a folder."""
    files = (file for file in path.rglob("*") if file.is_file())
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def balanced(report: Mapping[str, Any]) -> bool:
    """Whether every record that was read is accounted for."""
    known = sum(report[name] for name in ("delivered", "dead_letters", "filtered", "suppressed"))
    return bool(report["read"] == known and sum(report["by_type"].values()) == report["delivered"])
