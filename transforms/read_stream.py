"""Reading a stream's source on an engine, in bundles that ask for nothing once they have ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.io.unbounded_source import _PROVIDER, _ReadFromUnboundedSourceDoFn
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator

from schemas.changes import Block
from transforms.kinesis import KinesisSource

POLL_EVERY = 0.5
"""Seconds until a source that had nothing is asked again, where an engine heeds it."""

BUNDLE_SECONDS = 2.0
"""How long a source that always has something may keep a bundle open, and checkpoints waiting."""

_BUNDLE_BLOCKS = 10_000


class ReadStream(beam.PTransform):
    """The blocks of a stream, without end.

    What ``beam.io.Read`` does, but no bundle is to be finalised: a stream's positions are the
    delivery log's. Flink finalises bundles when it has made a checkpoint, and until then their
    worker keeps all DoFns of each; dozens of sets of them would be made, and none found again.
    """

    def __init__(self, source: KinesisSource) -> None:
        super().__init__()
        self._source = source

    def expand(self, begin: Any) -> Any:
        read = _ReadParts(POLL_EVERY, _BUNDLE_BLOCKS, BUNDLE_SECONDS)
        source = begin | "Source" >> beam.Create([self._source], reshuffle=False)
        return source | "Blocks" >> beam.ParDo(read).with_output_types(Block)


class _NeverFinalized:
    """Takes the place of Beam's bundle finaliser, whose mere use is a wish to be called back."""

    def register(self, callback: Callable[[], None]) -> None:
        """Leave it: a mark of ours has nothing to do when it is finalised."""


_TRACKER = beam.DoFn.RestrictionParam(_PROVIDER)
_WATERMARK = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider())


class _ReadParts(_ReadFromUnboundedSourceDoFn):
    @beam.DoFn.unbounded_per_element()
    def process(
        self, element: KinesisSource, tracker: Any = _TRACKER, watermark: Any = _WATERMARK
    ) -> Iterator[Any]:
        return super().process(element, _NeverFinalized(), tracker, watermark)
