"""Learning from past requests in Beam: what reads them, learns from them, and keeps what it was."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import apache_beam as beam
from apache_beam.metrics import Metrics

from schemas.risk_model import RiskModel, encode_model
from stores.objects.port import ObjectStore
from stores.state.dsr_port import DsrStore
from transforms.risk import (
    MOST,
    Lesson,
    Row,
    Sample,
    Span,
    learn,
    learnable,
    past_requests,
    reduced,
)
from transforms.stages import NAMESPACE

READ = "requests_read"
LEARNED_FROM = "requests_learned_from"
"""Counters; of the latter no more are kept than ``transforms.risk.MOST``."""


class PastState(Protocol):
    """What of the state is read."""

    @property
    def dsr(self) -> DsrStore: ...

    def close(self) -> None: ...


class ReadPastRequests(beam.DoFn):
    """The features of all requests of a ``Span``; ``open_state`` opens a worker's own state."""

    def __init__(self, open_state: Callable[[], PastState]) -> None:
        self._open_state = open_state
        self._read = Metrics.counter(NAMESPACE, READ)
        self._learned_from = Metrics.counter(NAMESPACE, LEARNED_FROM)

    def setup(self) -> None:
        self._state = self._open_state()

    def process(self, span: Span) -> Iterator[tuple[str, Row]]:
        for dsr in past_requests(self._state.dsr, span):
            self._read.inc()
            row = learnable(dsr)
            if row is not None:
                self._learned_from.inc()
                yield row

    def teardown(self) -> None:
        self._state.close()


class LearnForest(beam.CombineFn):
    """A model of all requests, in the memory of a sample. Raises ``UsageError`` as ``learn``."""

    def __init__(self, lesson: Lesson) -> None:
        self._lesson = lesson

    def create_accumulator(self) -> Sample:
        return []

    def add_input(self, sample: Sample, one: tuple[str, Row]) -> Sample:
        sample.append(one)
        return sample if len(sample) < 2 * MOST else reduced(sample)

    def merge_accumulators(self, samples: Iterable[Sample]) -> Sample:
        merged: Sample = []
        for sample in samples:
            merged = reduced([*merged, *sample])
        return merged

    def extract_output(self, sample: Sample) -> RiskModel:
        return learn(sample, self._lesson)


@dataclass(frozen=True)
class ModelFile:
    """Where a model is kept: replaced as a whole, so that a reader has the old one or the new."""

    store: ObjectStore
    key: str

    def keep(self, model: RiskModel) -> None:
        self.store.put(self.key, encode_model(model))
