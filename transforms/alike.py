"""Change records that are alike: read a block of them in lockstep, straight into columns.

This is the first and by far the fastest way that a block is read. It takes those records that are
written as others were before them (``transforms.producers``), and of each it has proved that it
holds its columns' values and nothing else (``transforms.lockstep``). All others are left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.columns import Column, ImageReader
from transforms.lockstep import Finds, Places, Text
from transforms.producers import (
    BY_TTL,
    CHANGE_ID,
    EVENT_NAME,
    EVENTS,
    TIME,
    ChangeShape,
    Habits,
    image_key,
)
from transforms.shapes import texts_within

FEWEST = 256
"""Records below which reading them one by one is faster."""

_SAMPLES = 64
"""Records to learn from at first; and, of those that were left, in every block."""
_FEW_SAMPLES = 8
_REST = 16
"""Blocks that are passed by after one in which few records were alike."""


@dataclass(frozen=True)
class Envelopes:
    """What the envelopes of some changes said; arrays run in parallel.

    ``time`` is epoch numbers, not a number where there is none.
    """

    event_name: Any
    by_ttl: Any
    time: npt.NDArray[np.float64]
    change_id: Any

    def chosen(self, rows: Places) -> Envelopes:
        """Those of some changes."""
        chosen = pa.array(rows)
        return Envelopes(
            self.event_name.take(chosen),
            self.by_ttl.take(chosen),
            self.time[rows],
            self.change_id.take(chosen),
        )


@dataclass(frozen=True)
class Alike:
    """Changes of one type that were read in lockstep; ``records`` are their numbers."""

    name: str
    records: Places
    columns: Mapping[str, Column]
    envelopes: Envelopes


class AlikeReader:
    """Reads change records of the types of ``readers``; learns from block to block."""

    def __init__(self, readers: Mapping[str, ImageReader]) -> None:
        self._habits = Habits(readers)
        self._shape = ChangeShape(self._habits)
        self._version = 0
        self._rest = 0

    def read(self, records: Sequence[bytes]) -> tuple[list[Alike], list[int]]:
        """Changes by type, and the numbers of the records that were left."""
        if len(records) < FEWEST or self._is_resting():
            return [], list(range(len(records)))
        if self._version == 0:
            self._learn(records[:_SAMPLES])
        found = self._read(records)
        read = np.zeros(len(records), np.bool_)
        for alike in found:
            read[alike.records] = True
        left = np.flatnonzero(~read).tolist()
        self._look_at(records, left)
        return found, left

    def _is_resting(self) -> bool:
        self._rest = max(self._rest - 1, 0)
        return self._rest > 0

    def _learn(self, records: Sequence[bytes]) -> bool:
        self._habits.learn(records)
        if self._version == self._habits.version:
            return False
        self._version = self._habits.version
        self._shape = ChangeShape(self._habits)
        return True

    def _look_at(self, records: Sequence[bytes], left: Sequence[int]) -> None:
        """Learn from records that were left; rest if that was most of them and taught nothing."""
        learned = self._learn([records[number] for number in left[:_FEW_SAMPLES]])
        if len(left) > len(records) // 2 and not learned:
            self._rest = _REST

    def _read(self, records: Sequence[bytes]) -> list[Alike]:
        text = Text(records)
        finds = self._shape.walk(text)
        envelopes = _envelopes(finds)
        found = []
        for name, image in self._shape.images.items():
            places = finds.spans(image_key(name)).begins
            if len(places):
                numbers = text.document(places)
                columns = image.columns(finds, places)
                found.append(Alike(name, numbers, columns, envelopes.chosen(numbers)))
        return found


def _envelopes(finds: Finds) -> Envelopes:
    """What is known of the envelopes of a text's documents; of those not read, nothing."""
    text = finds.text
    count = len(text.starts)
    names = np.zeros(count, np.int8)
    for number, name in enumerate(EVENTS):
        names[text.document(finds.spans((EVENT_NAME, name)).begins)] = number
    by_ttl = np.zeros(count, np.bool_)
    by_ttl[text.document(finds.spans(BY_TTL).begins)] = True
    by_ttl &= names == EVENTS.index("REMOVE")
    times = texts_within(finds, TIME, text.starts).cast(pa.float64())
    return Envelopes(
        event_name=pa.array(EVENTS).take(pa.array(names)),
        by_ttl=pa.array(by_ttl),
        time=times.to_numpy(zero_copy_only=False),
        change_id=texts_within(finds, CHANGE_ID, text.starts),
    )
