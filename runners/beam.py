"""Apache Beam, loaded without clients of services that no pipeline of Lethe uses.

Beam brings sources and sinks of its own for S3, BigQuery and MongoDB, and loads their clients with
them: a quarter of the time that it takes to load, which everybody waits for who delivers. It can do
without them. A command that builds pipelines imports ``beam`` from here before anything else does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def _absent(*names: str) -> Iterator[None]:
    """Have these modules be missing for what is imported inside, unless they are loaded already."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: not to be found
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def _replaced(name: str) -> None:
    """Have a module be one with nothing in it, unless it is loaded already."""
    sys.modules.setdefault(name, ModuleType(name))


# Beam takes names from this one without a question whether it is there.
_replaced("apache_beam.io.mongodbio")
with _absent("boto3", "apache_beam.io.gcp.bigquery"):
    import apache_beam as beam

__all__ = ["beam"]
