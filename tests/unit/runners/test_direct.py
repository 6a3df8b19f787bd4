"""The direct runner, in one process."""

from __future__ import annotations

import sys

import apache_beam as beam
import pytest

from runners.direct import DirectRunner


def test_flags_of_our_own_command_are_not_taken_for_beams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["lethe", "export", "--subject", "-", "--out", "here"])

    def build(pipeline: beam.Pipeline) -> None:
        _ = pipeline | beam.Create([1])

    with DirectRunner(1) as runner:
        assert runner.run(build, 1) == {}
