"""The guide tells of what there is: no metric and no flag is missing, none is made up."""

from __future__ import annotations

import re
from pathlib import Path

from service.flags import FLAGS
from service.observe.metrics import Metrics

GUIDE = (Path(__file__).parents[3] / "docs" / "observability.md").read_text()


def test_every_flag_is_in_the_guide() -> None:
    table = GUIDE[GUIDE.index("## Feature flags") : GUIDE.index("## Connections")]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == sorted(FLAGS)


def test_every_metric_is_in_the_guide() -> None:
    names = [metric.name for metric in Metrics().registry.collect()]
    told = GUIDE.replace("`..._", "`lethe_operation_")
    assert [name for name in names if name not in told] == []
