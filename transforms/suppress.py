"""Suppress: rows and dead letters of erased subjects are kept out where files are written.

The same hashes serve two ends: they go into the file's subject index, and by them nearly all values
are known to be nobody's who is suppressed. What is left, usually nothing, is decided exactly.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.changes import ChangeBatch
from schemas.delivery import Counts, Partition
from schemas.dsr import IdentityType
from schemas.erasure import Suppressed, SuppressionRef
from schemas.fields import RecordType
from stores.objects.port import ObjectStore
from stores.subject_index import Hashes, Indexed, IndexWriter
from stores.suppression import load_suppressions
from transforms.erasure.letters import is_letter_of, is_record_of, leaves
from transforms.erasure.matching import SuppressedMatcher
from transforms.erasure.search import SuppressedText
from transforms.index import HashedColumn, hashed_columns, hashes_of, stamp_of
from transforms.partition import Piece
from transforms.scrub import ScrubKey
from transforms.subject_columns import subject_column_names
from transforms.subject_hashes import NearForms, SubjectHasher

Mask = npt.NDArray[np.bool_]

_FEWEST_MARKS, _MOST_MARKS = 16, 24
"""Bits of a hash by which it is looked up whether one of those sought begins alike."""


@dataclass(frozen=True)
class SubjectRules:
    """What is done about subjects where files are written. Travels without the key itself."""

    key: ScrubKey
    suppressions: tuple[SuppressionRef, ...] = ()

    @property
    def knows(self) -> int:
        """The number of the newest suppression that is heeded; 0 for none."""
        return self.suppressions[-1].number if self.suppressions else 0

    def open(self, store: ObjectStore, now: datetime) -> SubjectSieve:
        """Raises ``UsageError`` if the key here is another one, ``LakeError`` if a list is gone."""
        suppressed = load_suppressions(store, self.suppressions, now)
        return SubjectSieve(SubjectHasher.of(self.key), suppressed)


@dataclass(frozen=True)
class Sifted:
    """Rows of subjects that are not suppressed, the hashes of theirs, and how many others went."""

    rows: Any
    hashes: Sequence[Hashes]
    dropped: int = 0


@dataclass(frozen=True)
class SubjectSieve:
    """Hashes subjects, and keeps out those that are suppressed."""

    hasher: SubjectHasher
    suppressed: tuple[Suppressed, ...] = ()

    def sift(self, record_type: RecordType, rows: pa.Table) -> Sifted:
        """The rows without those of suppressed subjects. For what memory holds at once."""
        columns = hashed_columns(record_type, rows, self.hasher)
        gone = self._rows_to_drop(record_type, rows, columns)
        if not len(gone):
            return Sifted(rows, [*hashes_of(columns)])
        keep = np.ones(len(rows), np.bool_)
        keep[gone] = False
        kept = rows.filter(pa.array(keep))
        hashes = hashes_of(hashed_columns(record_type, kept, self.hasher))
        return Sifted(kept, [*hashes], len(gone))

    def sift_rejects(self, batch: ChangeBatch) -> ChangeBatch:
        """A batch without dead letters of suppressed subjects: neither new nor carried ones."""
        if not self.suppressed or not (batch.rejects or batch.block.carried):
            return batch
        kept = tuple(r for r in batch.rejects if not is_record_of(r.original, self._text))
        carried = tuple(line for line in batch.block.carried if not self.is_letter(line))
        suppressed = batch.suppressed + len(batch.rejects) - len(kept)
        block = replace(batch.block, carried=carried)
        return replace(batch, block=block, rejects=kept, suppressed=suppressed)

    @property
    def kinds(self) -> frozenset[IdentityType]:
        """The types of suppressed identities."""
        return frozenset(self._near)

    def places_near(self, values: pa.Array, kind: IdentityType) -> npt.NDArray[np.int64]:
        """Where values stand that may be suppressed ones of this type. There are no nulls."""
        return self._near[kind].places_in(self.hasher.near_forms(values, kind))

    def is_document(self, document: Any) -> bool:
        """Whether a value in a JSON document, or a name, is a suppressed identity."""
        return any(self._text.is_subject(value, name) for name, value in leaves(document))

    def is_letter(self, line: bytes) -> bool:
        """Whether a line of dead letters is of a suppressed subject."""
        return bool(self.suppressed) and is_letter_of(line, self._text)

    def _rows_to_drop(
        self, record_type: RecordType, rows: pa.Table, columns: Sequence[HashedColumn]
    ) -> npt.NDArray[np.int64]:
        candidates = self._candidates(columns)
        if not len(candidates):
            return candidates
        names = subject_column_names(record_type, rows.schema)
        few = rows.select(names).take(pa.array(candidates)).combine_chunks()
        found = [self._matcher.mask(record_type, batch) for batch in few.to_batches()]
        return candidates[np.asarray(pa.chunked_array(found).to_numpy(), np.bool_)]

    def _candidates(self, columns: Sequence[HashedColumn]) -> npt.NDArray[np.int64]:
        """Rows in which a value is near a suppressed one."""
        found = [
            _rows_near(one, self._near[one.column.type])
            for one in columns
            if one.column.type in self._near
        ]
        return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)

    @cached_property
    def _near(self) -> Mapping[IdentityType, _NearSets]:
        found: dict[IdentityType, tuple[set[int], set[int]]] = defaultdict(lambda: (set(), set()))
        for one in self.suppressed:
            found[one.type][one.plus_addressing].update(one.near)
        return {
            kind: _NearSets(NearSet.of(plain), NearSet.of(untagged))
            for kind, (plain, untagged) in found.items()
        }

    @cached_property
    def _matcher(self) -> SuppressedMatcher:
        return SuppressedMatcher(self.suppressed, self.hasher.key)

    @cached_property
    def _text(self) -> SuppressedText:
        return SuppressedText(self.suppressed, self.hasher.key)


@dataclass(frozen=True)
class NearSet:
    """Hashes to be found among many: by their first bits most others are passed over."""

    hashes: Hashes = field(repr=False)
    marks: Mask = field(repr=False)
    shift: np.uint64

    @staticmethod
    def of(hashes: Iterable[int]) -> NearSet:
        own = np.array(sorted(hashes), np.uint64)
        bits = min(max((64 * len(own)).bit_length(), _FEWEST_MARKS), _MOST_MARKS)
        shift = np.uint64(64 - bits)
        marks = np.zeros(1 << bits, np.bool_)
        marks[own >> shift] = True
        return NearSet(own, marks, shift)

    def places_in(self, hashes: Hashes) -> npt.NDArray[np.int64]:
        """Where hashes stand that are in the set."""
        if not len(self.hashes):
            return np.zeros(0, np.int64)
        # As signed numbers, which numpy takes several times faster.
        places = np.flatnonzero(self.marks.take((hashes >> self.shift).view(np.int64)))
        few = hashes[places]
        nearest = np.minimum(np.searchsorted(self.hashes, few), len(self.hashes) - 1)
        return places[self.hashes[nearest] == few]


@dataclass(frozen=True)
class _NearSets:
    """Of one type: hashes of values as they are, and of emails without their tag."""

    plain: NearSet
    untagged: NearSet

    def places_in(self, forms: NearForms) -> npt.NDArray[np.int64]:
        """Where values stand whose hashes are in the sets."""
        untagged = forms.near
        if len(forms.tagged) and len(self.untagged.hashes):
            untagged = forms.near.copy()
            untagged[forms.tagged] = forms.untagged
        return np.concatenate((self.plain.places_in(forms.near), self.untagged.places_in(untagged)))


def _rows_near(hashed: HashedColumn, sets: _NearSets) -> npt.NDArray[np.int64]:
    """The rows of such values; values are counted without nulls."""
    places = sets.places_in(hashed.forms)
    values, rows = hashed.column.values, hashed.column.rows
    if values.null_count:
        valid = values.is_valid().to_numpy(zero_copy_only=False)
        places = np.flatnonzero(valid)[places]
    return places if rows is None else rows[places]


class SubjectWriter:
    """What is done about subjects while the files of a bundle are written.

    ``counts`` is what the rows that were dropped change in the counts of what was gathered.
    """

    def __init__(self, sieve: SubjectSieve, store: ObjectStore, run_id: str) -> None:
        self._sieve = sieve
        self._indexes = IndexWriter(store, run_id)
        self.counts = Counts()

    def sift(self, partition: Partition, record_type: RecordType, rows: pa.Table) -> Sifted:
        """As ``SubjectSieve.sift``; what is dropped is counted."""
        sifted = self._sieve.sift(record_type, rows)
        if sifted.dropped:
            self.counts.add(_moved(partition, sifted.dropped))
        return sifted

    def begin(self, path: str, record_type: RecordType) -> None:
        """Begin the set of a file. The one before has to have been ended."""
        self._indexes.begin(path, stamp_of(record_type, self._sieve.hasher))

    def gather(self, hashes: Iterable[Hashes]) -> None:
        """Take in the hashes of rows that are in the file."""
        for some in hashes:
            self._indexes.add(some)

    def end(self) -> None:
        """The file is complete."""
        self._indexes.end()

    def finish(self) -> Indexed:
        """The sets of all files, staged."""
        return self._indexes.finish()

    def __enter__(self) -> SubjectWriter:
        return self

    def __exit__(self, *_: object) -> None:
        """Drop what was not finished."""
        self._indexes.abort()


def suppressed_in(
    partition: Partition, pieces: Iterable[Piece], record_type: RecordType, sieve: SubjectSieve
) -> Counts:
    """What rows of suppressed subjects change in the counts of a partition that was gathered."""
    counts = Counts()
    for piece in pieces:
        rows = pa.Table.from_batches([piece.batch(record_type)])
        if dropped := sieve.sift(record_type, rows).dropped:
            counts.add(_moved(partition, dropped))
    return counts


def _moved(partition: Partition, rows: int) -> Counts:
    """From those delivered to those suppressed."""
    counts = Counts(delivered=-rows, suppressed=rows)
    counts.by_type[partition.name] = -rows
    counts.by_date[partition.date] = -rows
    return counts
