"""Matching: which rows of a batch belong to subjects.

A row is a subject's if any of its subject columns holds one of the subject's identities, in the
form in which it is compared (``schemas.identities.normalised``) or as a field that is scrubbed by
hash holds it. Which of the two a file holds depends on when it was written, so both are looked for
in every column.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.dsr import Identity, IdentityFormat, IdentityType
from schemas.erasure import Suppressed
from schemas.fields import RecordType
from schemas.identities import digest_of, normalised
from transforms.normalise import normalised_column, words_in
from transforms.scrub import Scrubber
from transforms.subject_columns import SubjectColumn, subject_columns
from transforms.subject_hashes import SubjectHasher, stored_forms

Mask = npt.NDArray[np.bool_]


class Matcher(Protocol):
    """Knows the rows of some subjects."""

    def mask(self, record_type: RecordType, batch: pa.RecordBatch) -> pa.BooleanArray:
        """True for each row that belongs to a subject; never null.

        Raises ``SchemaError`` as ``subject_columns`` does.
        """


@dataclass(frozen=True)
class IdentityMatcher:
    """Finds the rows of subjects whose identities are at hand, however many.

    An identity that is given as a digest is found by the digest of each distinct value, normalised
    or as it is written. It is not found in what was scrubbed by hash, for that is a digest of
    another kind; nor is an address there found by its form without a tag.
    """

    identities: tuple[Identity, ...]
    scrubber: Scrubber
    plus_addressing: bool = False

    def mask(self, record_type: RecordType, batch: pa.RecordBatch) -> pa.BooleanArray:
        """True for each row in which a subject column holds an identity of its type."""
        return _rows_of(record_type, batch, self._matched)

    def _matched(self, column: SubjectColumn) -> Mask | None:
        wanted, digests = self._wanted.get(column.type), self._digests.get(column.type, {})
        if wanted is None and not digests:
            return None
        values = normalised_column(column.values, column.type, self.plus_addressing)
        found = np.zeros(len(values), bool)
        if wanted is not None:
            found |= _as_mask(pc.is_in(values, wanted.cast(values.type)))
        for form, wanted_digests in digests.items():
            found |= _is_digest(values, form, wanted_digests)
            found |= _is_digest(column.values, form, wanted_digests)
        return found

    @cached_property
    def _wanted(self) -> Mapping[IdentityType, pa.Array]:
        """The texts by which plain identities are found, by type."""
        found: dict[IdentityType, set[str]] = defaultdict(set)
        for one in self.identities:
            if one.format is IdentityFormat.RAW:
                found[one.type] |= self._forms(one)
        return {kind: pa.array(sorted(texts), pa.string()) for kind, texts in found.items()}

    def _forms(self, identity: Identity) -> set[str]:
        stored = stored_forms(identity, self.scrubber, self.plus_addressing)
        return {normalised(identity, self.plus_addressing), *stored}

    @cached_property
    def _digests(self) -> Mapping[IdentityType, Mapping[IdentityFormat, frozenset[str]]]:
        found: dict[IdentityType, dict[IdentityFormat, set[str]]] = defaultdict(
            lambda: defaultdict(set)
        )
        for one in self.identities:
            if one.format is not IdentityFormat.RAW:
                found[one.type][one.format].add(normalised(one))
        return {
            kind: {form: frozenset(digests) for form, digests in forms.items()}
            for kind, forms in found.items()
        }


@dataclass(frozen=True)
class SuppressedMatcher:
    """Finds the rows of subjects of whom nothing is kept but hashes, made with the lake's key.

    Near hashes pass over nearly all values at once; of the few others exact ones decide.
    """

    suppressed: tuple[Suppressed, ...]
    key: bytes

    def mask(self, record_type: RecordType, batch: pa.RecordBatch) -> pa.BooleanArray:
        """True for each row in which a subject column holds a suppressed identity."""
        return _rows_of(record_type, batch, self._matched)

    def _matched(self, column: SubjectColumn) -> Mask | None:
        lists = self._lists.get(column.type, ())
        if not lists:
            return None
        return np.logical_or.reduce([one.matched(column) for one in lists])

    @cached_property
    def _lists(self) -> Mapping[IdentityType, tuple[_SuppressedList, ...]]:
        found: dict[tuple[IdentityType, bool], list[Suppressed]] = defaultdict(list)
        for one in self.suppressed:
            found[one.type, one.plus_addressing].append(one)
        lists: dict[IdentityType, tuple[_SuppressedList, ...]] = defaultdict(tuple)
        for (kind, plus_addressing), members in found.items():
            hasher = SubjectHasher(self.key, plus_addressing)
            lists[kind] += (_SuppressedList.of(members, hasher),)
        return lists


@dataclass(frozen=True)
class _SuppressedList:
    """Those of one type whose hashes are made in one way."""

    hasher: SubjectHasher
    near: npt.NDArray[np.uint64]
    exact: frozenset[str]
    stored: frozenset[str]

    @staticmethod
    def of(members: Iterable[Suppressed], hasher: SubjectHasher) -> _SuppressedList:
        members = tuple(members)
        near = sorted({hash_ for one in members for hash_ in one.near})
        return _SuppressedList(
            hasher,
            np.array(near, np.uint64),
            frozenset(one.exact for one in members),
            frozenset(form for one in members for form in one.stored_forms),
        )

    def matched(self, column: SubjectColumn) -> Mask:
        present = np.flatnonzero(_as_mask(column.values.is_valid()))
        near = self.hasher.near_column(column.values, column.type)
        few = present[_is_among(near, self.near)]
        found = np.zeros(len(column.values), bool)
        found[few] = self._decided(column.values.take(few), column.type)
        return found

    def _decided(self, values: pa.Array, kind: IdentityType) -> list[bool]:
        exact = self.hasher.exact_values(values, kind)
        texts = normalised_column(values, kind).to_pylist()
        return [
            hash_ in self.exact or text in self.stored
            for hash_, text in zip(exact, texts, strict=True)
        ]


def _rows_of(
    record_type: RecordType,
    batch: pa.RecordBatch,
    matched: Callable[[SubjectColumn], Mask | None],
) -> pa.BooleanArray:
    """The rows in any of whose columns something matched."""
    rows = np.zeros(batch.num_rows, bool)
    for column in subject_columns(record_type, batch):
        found = matched(column)
        if found is None:
            continue
        if column.rows is None:
            rows |= found
        else:
            rows[column.rows[found]] = True
    return pa.array(rows)


def _is_digest(values: pa.Array, form: IdentityFormat, wanted: Collection[str]) -> Mask:
    """Which values have one of the digests; each distinct one is hashed once."""
    encoded = pc.dictionary_encode(values)
    words = words_in(encoded.dictionary)
    digests = (None if word is None else digest_of(word, form) for word in words)
    found = pa.array([digest in wanted for digest in digests], pa.bool_())
    return _as_mask(found.take(encoded.indices).fill_null(False))


def _is_among(hashes: npt.NDArray[np.uint64], wanted: npt.NDArray[np.uint64]) -> Mask:
    """Which hashes are among some that are sorted."""
    if not len(wanted):
        return np.zeros(len(hashes), bool)
    places = np.searchsorted(wanted, hashes)
    places[places == len(wanted)] = 0
    return wanted[places] == hashes


def _as_mask(array: pa.BooleanArray) -> Mask:
    return np.asarray(array.to_numpy(zero_copy_only=False), bool)
