"""Which runner was asked for, and what has to be known of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from schemas.errors import UsageError


class RunnerName(StrEnum):
    DIRECT = "direct"
    PRISM = "prism"
    FLINK = "flink"
    SPARK = "spark"


@dataclass(frozen=True)
class RunnerOptions:
    """Where pipelines run. ``master`` is the cluster's, ``worker_pool`` that beside its workers.

    ``workers`` is the number of processes of the direct runner, and Flink's parallelism.
    """

    name: RunnerName = RunnerName.DIRECT
    workers: int = 1
    master: str | None = None
    worker_pool: str | None = None


def runner_options(
    name: str, workers: int, flink: str | None, spark: str | None, worker_pool: str | None
) -> RunnerOptions:
    """The options as they were given. Raises ``UsageError`` naming what is wrong or missing."""
    if name not in set(RunnerName):
        raise UsageError(f"--runner {name!r}: choose {', '.join(RunnerName)}")
    masters = {RunnerName.FLINK: flink, RunnerName.SPARK: spark}
    for engine, master in masters.items():
        if master is not None and name != engine:
            raise UsageError(f"--{engine}-master is for --runner {engine}")
    if name in masters and masters[RunnerName(name)] is None:
        raise UsageError(f"--runner {name} needs --{name}-master")
    if worker_pool is not None and name not in masters:
        raise UsageError("--worker-pool is for --runner flink and spark")
    return RunnerOptions(RunnerName(name), workers, masters.get(RunnerName(name)), worker_pool)
