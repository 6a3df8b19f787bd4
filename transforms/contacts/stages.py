"""The stage of an enrichment as Beam carries it."""

from __future__ import annotations

from dataclasses import asdict

import apache_beam as beam

from transforms.contacts.lanes import Enrichment, Lane, work_off
from transforms.stages import report_metrics


class WorkOffLanes(beam.DoFn):
    """Lanes to finished parts in the work area, and counts as metrics."""

    def __init__(self, enrichment: Enrichment) -> None:
        self._enrichment = enrichment

    def start_bundle(self) -> None:
        self._lanes: list[Lane] = []

    def process(self, lane: Lane) -> None:
        self._lanes.append(lane)

    def finish_bundle(self) -> None:
        report_metrics(asdict(work_off(self._enrichment, self._lanes)))
