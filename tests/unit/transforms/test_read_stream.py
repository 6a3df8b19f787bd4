"""Reading a stream's source: what ``beam.io.Read`` does, but for finalisation."""

from __future__ import annotations

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

from tests.unit.transforms.fake_stream import ADDRESS
from tests.unit.transforms.test_kinesis_source import ending_stream
from transforms.checkpoint import StreamMark
from transforms.kinesis import KinesisSource
from transforms.read_stream import ReadStream

SOURCE = KinesisSource(ADDRESS, connect=ending_stream)


@pytest.fixture
def finalized(monkeypatch: pytest.MonkeyPatch) -> list[StreamMark]:
    """The marks that have been finalised."""
    marks: list[StreamMark] = []

    def keep(mark: StreamMark) -> None:
        marks.append(mark)

    monkeypatch.setattr(StreamMark, "finalize_checkpoint", keep)
    return marks


def read(transform: beam.PTransform) -> None:
    with beam.Pipeline(FnApiRunner()) as pipeline:
        documents = pipeline | transform | beam.FlatMap(lambda block: block.documents)
        assert_that(documents, equal_to([b"1", b"2", b"3", b"4"]))


def test_all_blocks_are_read(finalized: list[StreamMark]) -> None:
    read(ReadStream(SOURCE))


def test_no_bundle_is_finalised(finalized: list[StreamMark]) -> None:
    read(ReadStream(SOURCE))
    assert finalized == []


def test_beams_own_reading_finalises_bundles(finalized: list[StreamMark]) -> None:
    """If it does not any more, ``ReadStream`` is not needed."""
    read(beam.io.Read(SOURCE))
    assert finalized != []
