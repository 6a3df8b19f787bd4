"""The stages of an erasure as Beam carries them.

What they found is left in an object of the lake, which holds paths and numbers and no subject: so
much is too much for counters, and whoever started the pipeline may be on another machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import msgspec
from apache_beam.utils.windowed_value import WindowedValue

from schemas.errors import ObjectMissing
from stores.lake_files import LakeFile
from stores.objects.port import ObjectStore
from transforms.erasure.work import FileWork, Findings, at_once, found_in
from transforms.stages import in_global_window


@dataclass(frozen=True)
class FindingsObject:
    """Where findings are left."""

    store: ObjectStore
    key: str

    def write(self, found: Findings) -> None:
        self.store.put(self.key, msgspec.json.encode(found))

    def take(self) -> Findings:
        """What was left, if anything was; it is gone afterwards."""
        try:
            content = self.store.read(self.key)
        except ObjectMissing:
            return Findings()
        self.store.delete(self.key)
        return msgspec.json.decode(content, type=Findings)


class EachFile(beam.DoFn):
    """Does some work with each file of a bundle, with several side by side."""

    def __init__(self, store: ObjectStore, work: FileWork) -> None:
        self._store = store
        self._work = work

    def setup(self) -> None:
        self._finder = self._work.open(self._store)

    def start_bundle(self) -> None:
        self._files: list[LakeFile] = []

    def process(self, file: LakeFile) -> None:
        self._files.append(file)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        with ThreadPoolExecutor(at_once(self._store)) as pool:
            for found in pool.map(lambda file: found_in(file, self._finder), self._files):
                if found is not None:
                    yield in_global_window(found)


class KeepFindings(beam.DoFn):
    """All that was found, in one element, to the object that keeps it."""

    def __init__(self, into: FindingsObject) -> None:
        self._into = into

    def process(self, keyed: tuple[None, Iterable[Any]]) -> None:
        self._into.write(Findings.of(keyed[1]))
