"""Job servers put together from the jars of a library."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from runners.engines.downloads import Progress, download
from runners.engines.versions import ClusterEngine

_AT_ONCE = 6
_SERVICES = "META-INF/services/"
_UNUSED_SERVICES = b".sdk.extensions.gcp."
"""Google's storage, which Lethe does not use and which clashes with older libraries of Spark."""

_SIGNATURES = (".SF", ".DSA", ".RSA")
_MANIFEST = "META-INF/MANIFEST.MF"


def read_lock(lock: Path) -> dict[str, str]:
    """SHA-256 by path in a Maven repository."""
    lines = (line.split() for line in lock.read_text("ascii").splitlines())
    return {path: digest for digest, path in lines}


def assemble(
    engine: ClusterEngine, repository: str, folder: Path, target: Path, progress: Progress
) -> None:
    """Bring the jars of the engine's lock into ``folder`` and make one job server of them."""
    locked = read_lock(engine.lock)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        fetch = _fetch(repository, folder, progress)
        jars = list(pool.map(fetch, locked, locked.values()))
    merge(jars, target, engine.main)


def _fetch(repository: str, folder: Path, progress: Progress) -> Callable[[str, str], Path]:
    def fetch(path: str, digest: str) -> Path:
        target = folder / path.replace("/", "_")
        download(f"{repository}/{path}", target, "sha256", digest, progress)
        return target

    return fetch


def merge(jars: Iterable[Path], target: Path, main: str) -> None:
    """One jar of many: of several files with one name the first stays, service lists are joined."""
    services: dict[str, list[bytes]] = {}
    seen = {_MANIFEST}
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out:
        manifest = f"Manifest-Version: 1.0\nMain-Class: {main}\nMulti-Release: true\n\n"
        out.writestr(_MANIFEST, manifest)
        for name, content in _entries(jars):
            if name.startswith(_SERVICES):
                services.setdefault(name, []).append(content)
            elif name not in seen:
                seen.add(name)
                out.writestr(name, content)
        for name, lists in services.items():
            used = (
                line for one in lists for line in one.splitlines() if _UNUSED_SERVICES not in line
            )
            out.writestr(name, b"\n".join(used) + b"\n")


def _entries(jars: Iterable[Path]) -> Iterator[tuple[str, bytes]]:
    """Without folders and without signatures, which do not hold for the whole."""
    for jar in jars:
        with zipfile.ZipFile(jar) as archive:
            for entry in archive.infolist():
                if not entry.is_dir() and not entry.filename.upper().endswith(_SIGNATURES):
                    yield entry.filename, archive.read(entry)
