"""The guide tells of what there is: no metric and no flag is missing, none is made up."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from service.flags import FLAGS
from service.observe.metrics import Metrics

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs" / "observability.md").read_text()
ELSEWHERE = ("service/observe/exposition.py", "stores/resilience/breaker_metrics.py")
COMPUTED = sorted(
    {name for file in ELSEWHERE for name in re.findall(r'"(lethe_\w+)"', (ROOT / file).read_text())}
)


def test_every_flag_is_in_the_guide() -> None:
    table = GUIDE[GUIDE.index("## Feature flags") : GUIDE.index("## Connections")]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == sorted(FLAGS)


def test_every_metric_is_in_the_guide() -> None:
    names = [metric.name for metric in Metrics().registry.collect()]
    told = GUIDE.replace("`..._", "`lethe_operation_")
    assert [name for name in names if name not in told] == []


@pytest.mark.parametrize("name", COMPUTED)
def test_metric_that_no_worker_keeps_is_in_the_guide(name: str) -> None:
    assert f"`{name}`" in GUIDE or f"`{name}_total`" in GUIDE
