"""Learn risk: past requests become a model of what is usual, by which new ones are judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import apache_beam as beam

from transforms.risk import Lesson, Span
from transforms.risk_stages import LearnForest, ModelFile, PastState, ReadPastRequests


def learn_risk(
    pipeline: beam.Pipeline,
    spans: Sequence[Span],
    open_state: Callable[[], PastState],
    lesson: Lesson,
    model: ModelFile,
) -> None:
    """Learn from the requests of these times; only numbers leave the stage that reads them."""
    _ = (
        pipeline
        | "ListSpans" >> beam.Create(list(spans), reshuffle=False)
        | "SpreadSpans" >> beam.Reshuffle()
        | "ReadPastRequests" >> beam.ParDo(ReadPastRequests(open_state))
        | "LearnForest" >> beam.CombineGlobally(LearnForest(lesson))
        | "KeepModel" >> beam.Map(model.keep)
    )
