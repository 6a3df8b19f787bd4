"""Distributions of engines inside Python packages, brought by pip and unpacked, not installed.

pip knows the user's index, proxies and certificates, and verifies what the index gives digests
of. The packages are kept apart from this environment because their own pins conflict with it.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

from runners.engines.errors import EngineDamaged, EngineUnreachable
from runners.engines.versions import ClusterEngine

_SECONDS = 1800


def bring_distribution(engine: ClusterEngine, folder: Path, target: Path) -> None:
    """Download the engine's package into ``folder``, unpack its distribution into ``target``.

    Raises ``EngineUnreachable`` if pip cannot bring it.
    """
    wanted = f"{engine.package}=={engine.version}"
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(folder), wanted]
    options = ["--disable-pip-version-check", "--no-cache-dir", "--quiet"]
    try:
        # pip's own lines go to standard error: standard output is the command's answer.
        subprocess.run([*pip, *options], stdout=sys.stderr, timeout=_SECONDS, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise EngineUnreachable(
            f"pip could not download {wanted}: see its message above; PIP_INDEX_URL names a mirror"
        ) from error
    archive = next(folder.iterdir())
    unpack(archive, engine.subfolder, target)


def unpack(archive: Path, subfolder: str, target: Path) -> None:
    """Unpack what lies under ``*/subfolder/`` of an archive.

    A source archive has one folder above it, named for the version; a wheel one for the package.
    """
    if zipfile.is_zipfile(archive):
        _unpack_zip(archive, subfolder, target)
    else:
        _unpack_tar(archive, subfolder, target)
    if not any(target.iterdir()):
        raise EngineDamaged(f"{archive.name}: has no folder {subfolder!r}")


def _unpack_zip(archive: Path, subfolder: str, target: Path) -> None:
    with zipfile.ZipFile(archive) as package:
        for entry in package.infolist():
            inner = _inside(entry.filename, subfolder)
            if inner is not None and not entry.is_dir():
                entry.filename = str(inner)
                package.extract(entry, target)


def _unpack_tar(archive: Path, subfolder: str, target: Path) -> None:
    target.mkdir(exist_ok=True)
    with tarfile.open(archive) as package:
        for member in package:
            inner = _inside(member.name, subfolder)
            if inner is not None and member.isfile():
                member.name = str(inner)
                package.extract(member, target, filter="data")


def _inside(name: str, subfolder: str) -> PurePosixPath | None:
    parts = PurePosixPath(name).parts
    if len(parts) < 3 or parts[1] != subfolder:
        return None
    return PurePosixPath(*parts[2:])
