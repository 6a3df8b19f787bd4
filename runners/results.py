"""What the end of a pipeline tells: its counters, and the error that a stage raised."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import apache_beam as beam

from schemas.errors import LetheError
from transforms.stages import NAMESPACE

_ANNOTATION = r"(?: \[while running '[^']*'\])*$"
"""The stage's name, which Beam adds to an error's message."""

_RAISED = re.compile(rf"^([\w.]+): (.*?){_ANNOTATION}", re.MULTILINE)
"""The line of a traceback that says what was raised."""


def counters_of(result: Any) -> dict[str, int]:
    """The pipeline's counters by name, from Beam's result of it: the sums of all stages' ones."""
    query = beam.metrics.MetricsFilter().with_namespace(NAMESPACE)
    found = result.metrics().query(query)["counters"]
    counts = Counter[str]()
    for counter in found:
        # Of a counter that stands at zero, Beam may have no result.
        counts[counter.key.metric.name] += counter.result or 0
    return dict(counts)


def stage_error(error: LetheError | RuntimeError) -> LetheError | RuntimeError:
    """The error that a stage raised, as it raised it, from the one that Beam raises for it.

    Beam adds its stage to an error of this process, and passes on that of a worker as the text of
    a traceback. If a stage raised none of Lethe's own errors, ``error`` itself.
    """
    if isinstance(error, LetheError):
        return type(error)(re.sub(_ANNOTATION, "", error.message), **error.details)
    kinds = own_errors()
    found = [(kinds[name], said) for name, said in _RAISED.findall(str(error)) if name in kinds]
    if not found:
        return error
    kind, message = found[-1]
    return kind(message)


def own_errors() -> dict[str, type[LetheError]]:
    """Lethe's errors by the name that a traceback gives them, as far as their modules are loaded.

    Where one is raised, its module is loaded.
    """
    return {f"{kind.__module__}.{kind.__qualname__}": kind for kind in _with_kinds(LetheError)}


def _with_kinds(kind: type[LetheError]) -> Iterator[type[LetheError]]:
    yield kind
    for narrower in kind.__subclasses__():
        yield from _with_kinds(narrower)
