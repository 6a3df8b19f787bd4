"""PySpark in an environment of its own, which pins other versions than Lethe does."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

VERSION = "3.5.9"
_PIP_SECONDS = 600


def spark_python() -> Path:
    """The interpreter of the environment, made when first asked for.

    Skips the test where there is no Java, or where PySpark cannot be installed.
    """
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java, and no 'java' is in PATH")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lethe"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"spark-{VERSION}"
    with (cache / "spark.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _install(folder)
    return folder / "bin" / "python"


def _install(folder: Path) -> None:
    done = folder / "installed"
    if done.exists():
        return
    python = str(folder / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", f"pyspark=={VERSION}"]
    for command in ([sys.executable, "-m", "venv", "--clear", str(folder)], pip):
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=_PIP_SECONDS, check=False
        )
        if result.returncode:
            pytest.skip(f"PySpark cannot be installed: {result.stderr[-300:]}")
    done.touch()
