"""Choosing a runner: what goes together, and what is said of what does not."""

from __future__ import annotations

import pytest

from runners.options import RunnerName, RunnerOptions, runner_options
from schemas.errors import UsageError


def test_the_direct_runner_needs_nothing_else() -> None:
    assert runner_options("direct", 2, None, None, None) == RunnerOptions(workers=2)


def test_a_cluster_is_reached_through_its_master() -> None:
    options = runner_options("flink", 4, "host:8081", None, "host:50000")
    assert options == RunnerOptions(RunnerName.FLINK, 4, "host:8081", "host:50000")


@pytest.mark.parametrize(
    ("name", "flink", "spark", "pool", "said"),
    [
        ("dataflow", None, None, None, "choose direct, prism, flink, spark"),
        ("flink", None, None, None, "needs --flink-master"),
        ("spark", None, None, None, "needs --spark-master"),
        ("spark", "host:8081", "spark://host:7077", None, "--flink-master is for --runner flink"),
        ("direct", None, "spark://host:7077", None, "--spark-master is for --runner spark"),
        ("prism", None, None, "host:50000", "--worker-pool is for --runner flink and spark"),
    ],
)
def test_what_does_not_go_together_is_named(
    name: str, flink: str | None, spark: str | None, pool: str | None, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        runner_options(name, 1, flink, spark, pool)
