"""Decode: blocks of documents into columns, one set a record type.

Three ways, each of which leaves to the next what it cannot vouch for. Records that are written
alike are read in lockstep, straight from bytes to columns (``transforms.alike``).

The fast way reads the others with compiled decoders and then asks one question: do the bytes
hold exactly the JSON keys that were consumed? If they do, nothing was unknown, duplicated or
doubly typed, and no document needs a second look. Documents that raise, or whose surplus of keys
is not explained by unknown fields, go the strict way, which tells good from bad one by one.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import chain
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.arrow import TIMESTAMP
from schemas.changes import (
    Block,
    BrokenBytes,
    ChangeBatch,
    ErrorCode,
    Fault,
    InputFormat,
    Position,
    Reject,
    Replayed,
    Stage,
    TypedChanges,
)
from schemas.fields import RecordType
from schemas.registry import Registry
from transforms.alike import Alike, AlikeReader, Envelopes
from transforms.attributes import plain_json
from transforms.columns import (
    Column,
    ImageReader,
    RowFault,
    StringValue,
    total_keys,
)
from transforms.envelopes import (
    INNER_MEMBERS,
    EventUnwrapper,
    NeedsCare,
    Opened,
    opener_for,
)
from transforms.keys import (
    count_keys,
    count_keys_by_text,
    repeats_a_key,
)
from transforms.strict import (
    NotWanted,
    StrictChange,
    StrictDecoder,
    StrictFault,
    records_of,
)
from transforms.unknown import UnknownFinder
from transforms.values import EARLIEST_MICROS, LATEST_MICROS

_TYPE_MARK = b'"type":{"S":"'


class _Typed(msgspec.Struct, gc=False):
    """An image of which only the type is read."""

    type: StringValue


_TYPE_ONLY = (msgspec.json.Decoder(_Typed).decode, attrgetter("type.S"))
"""How images of types that were not asked for are decoded, and what is taken of them."""

_CHANGE_RECORDS = frozenset(
    {InputFormat.CHANGE, InputFormat.LAMBDA_KINESIS, InputFormat.LAMBDA_DYNAMODB}
)
_NESTED = frozenset({InputFormat.LAMBDA_KINESIS, InputFormat.LAMBDA_DYNAMODB})


_FAR = 10**30
"""Stands for all change times beyond it, which are too far even for a floating point number."""


class UnknownFields(StrEnum):
    """What becomes of fields that the schema does not name."""

    KEEP = "keep"
    DISCARD = "discard"
    REJECT = "reject"


@dataclass(frozen=True)
class _Records:
    """A block's records: its documents, or what its Lambda events hold. Lists run in parallel.

    An event that could not be taken apart stands here whole, with index 0.
    """

    contents: Sequence[bytes]
    documents: npt.NDArray[np.int32]
    indexes: npt.NDArray[np.int32]


@dataclass
class _Group:
    """Changes of one type on their way into columns. Lists run in parallel."""

    rows: list[Any] = field(default_factory=list)
    opened: list[Opened] = field(default_factory=list)
    records: list[int] = field(default_factory=list)
    indexes: list[int] = field(default_factory=list)
    extras: dict[int, str] = field(default_factory=dict)

    @property
    def adders(
        self,
    ) -> tuple[Callable[[Any], None], Callable[[Opened], None], Callable[[int], None]]:
        """What adds a row, what was opened, and the record it was in: the hot path's ``add``."""
        return self.rows.append, self.opened.append, self.records.append

    def add(self, row: Any, opened: Opened, record: int, index: int) -> None:
        self.rows.append(row)
        self.opened.append(opened)
        self.records.append(record)
        self.indexes.append(index)

    def found(self, name: str, columns: Mapping[str, Column]) -> _Found:
        """The changes with the columns that their rows were made into."""
        envelopes = _envelopes(self.opened)
        return _Found(name, columns, envelopes, self.records, self.indexes, self.extras)


@dataclass(frozen=True)
class _Found:
    """Changes of one type, however they were read. Arrays and lists run in parallel."""

    name: str
    columns: Mapping[str, Column]
    envelopes: Envelopes
    records: Any
    indexes: Any
    extras: Mapping[int, str] = field(default_factory=dict)


class Decoder:
    """Decodes blocks by the types of a registry. Build once, use for many blocks."""

    def __init__(
        self,
        registry: Registry,
        wanted: frozenset[str] | None = None,
        unknown_fields: UnknownFields = UnknownFields.KEEP,
    ) -> None:
        wanted = frozenset(registry.types) if wanted is None else wanted
        self.registry = registry
        self.policy = unknown_fields
        self.readers = {
            record_type.name: ImageReader(record_type.image_fields, record_type.name)
            for record_type in registry
        }
        self.image_decoders = {
            name.encode(): (msgspec.json.Decoder(reader.image_type).decode, reader.row)
            for name, reader in self.readers.items()
            if name in wanted
        }
        self.alike = AlikeReader(
            {name: self.readers[name] for name in self.readers if name in wanted}
        )
        self.unwanted = frozenset(registry.types) - wanted
        self.strict = StrictDecoder(registry, self.readers, wanted)

    def decode(self, block: Block) -> ChangeBatch:
        """The block's changes by type, and what could not be decoded, with a code each."""
        return _BlockDecoding(self, block).run()


class _BlockDecoding:
    """The decoding of one block: what is found so far, and what needs a second look."""

    def __init__(self, decoder: Decoder, block: Block) -> None:
        self._decoder = decoder
        self._block = block
        self._records = _records(block)
        self._opener = opener_for(block.format, self._records.contents)
        self._rejects = [_reader_reject(broken, block.source) for broken in block.broken]
        self._careful: list[int] = []
        self._filtered = 0
        self._discarded_fields = 0

    def run(self) -> ChangeBatch:
        alike, left = self._read_alike()
        typed = [self._of_alike(changes) for changes in alike]
        typed += self._vouched(self._decode_fast(left))
        typed += [self._sound(*found) for found in self._decode_careful().items()]
        typed = [changes for changes in _merge_types(typed) if len(changes)]
        return ChangeBatch(
            block=self._block,
            typed=tuple(typed),
            rejects=tuple(self._rejects),
            read=sum(map(len, typed)) + len(self._rejects) + self._filtered,
            filtered=self._filtered,
            discarded_fields=self._discarded_fields,
        )

    def _read_alike(self) -> tuple[list[Alike], Sequence[int]]:
        """The changes that can be read in lockstep, and the numbers of the records that cannot."""
        if self._block.format in _CHANGE_RECORDS:
            return self._decoder.alike.read(self._records.contents)
        return [], range(len(self._records.contents))

    def _of_alike(self, alike: Alike) -> TypedChanges:
        indexes = self._records.indexes[alike.records]
        found = _Found(alike.name, alike.columns, alike.envelopes, alike.records, indexes)
        return self._without_faults(found, set())

    def _decode_fast(self, numbers: Iterable[int]) -> dict[str, _Group]:
        """Groups of decoded images by type; records that raise are left for care."""
        groups = {name: _Group() for name in self._decoder.image_decoders}
        unwanted = {name.encode(): _Group() for name in self._decoder.unwanted}
        targets = {
            name: (*self._decoder.image_decoders.get(name, _TYPE_ONLY), *group.adders)
            for name, group in (groups | unwanted).items()
        }
        open_envelope = self._opener.open
        for number in numbers:
            content = self._records.contents[number]
            try:
                opened = open_envelope(content)
                # Perhaps of another place in the record; then the image's own type will differ.
                begin = content.index(_TYPE_MARK) + len(_TYPE_MARK)
                name = content[begin : content.index(b'"', begin)]
                decode, take, add_row, add_opened, add_record = targets[name]
                add_row(take(decode(opened.image)))
            except (NeedsCare, msgspec.MsgspecError, ValueError, KeyError, RecursionError):
                self._careful.append(number)
                continue
            add_opened(opened)
            add_record(number)
        self._leave_out(unwanted)
        return self._with_indexes(groups)

    def _leave_out(self, unwanted: Mapping[bytes, _Group]) -> None:
        """Count the changes of types that were not asked for; nothing else in them is judged."""
        for name, group in unwanted.items():
            for found, record in zip(group.rows, group.records, strict=True):
                if name.decode() == found:
                    self._filtered += 1
                else:
                    self._careful.append(record)

    def _with_indexes(self, groups: Mapping[bytes, _Group]) -> dict[str, _Group]:
        """The groups that have changes, by the name as text."""
        found = {name.decode(): group for name, group in groups.items() if group.rows}
        for group in found.values():
            group.indexes = self._records.indexes[group.records].tolist()
        return found

    def _vouched(self, groups: dict[str, _Group]) -> list[TypedChanges]:
        """The rows that the fast way can vouch for; the others' records are left for care."""
        columns = {
            name: self._decoder.readers[name].read(group.rows) for name, group in groups.items()
        }
        doubtful = self._doubtful(groups, columns)
        typed = []
        for name, group in groups.items():
            rows = doubtful[name] | _rows_of_other_types(columns[name]["type"].array, name)
            self._careful += [group.records[row] for row in rows]
            typed.append(self._without_faults(group.found(name, columns[name]), rows))
        return typed

    def _doubtful(
        self, groups: Mapping[str, _Group], columns: Mapping[str, Mapping[str, Column]]
    ) -> dict[str, set[int]]:
        """Rows by type whose records hold keys that nothing explains."""
        expected = {
            name: np.zeros(len(group.rows), np.int64) + total_keys(columns[name])
            for name, group in groups.items()
        }
        in_images = self._keys_in_images(groups.values())
        if in_images == sum(int(keys.sum()) for keys in expected.values()):
            return {name: set() for name in groups}
        images = {name: _raw_images(group) for name, group in groups.items()}
        counted = {name: count_keys_by_text(images[name]) for name in groups}
        sound = in_images == sum(int(keys.sum()) for keys in counted.values())
        return {
            name: self._surplus_rows(name, group, images[name], counted[name] - expected[name])
            | (set() if sound else self._repeating_rows(group))
            for name, group in groups.items()
        }

    def _keys_in_images(self, groups: Iterable[_Group]) -> int:
        """The keys of the opened records less those of their envelopes.

        If an envelope has a key twice, more than the images have.
        """
        opened = [change for group in groups for change in group.opened]
        contents = self._records.contents
        if len(opened) < len(contents):
            contents = [contents[record] for group in groups for record in group.records]
        return self._keys_beyond_envelopes(opened, contents)

    def _keys_beyond_envelopes(self, opened: Sequence[Opened], contents: Sequence[bytes]) -> int:
        if not opened:
            return 0
        keys, unread = self._opener.keys(opened)
        return count_keys(b" ".join(contents)) - count_keys(b" ".join(unread)) - keys

    def _surplus_rows(
        self, name: str, group: _Group, images: list[bytes], surplus: npt.NDArray[np.int64]
    ) -> set[int]:
        """Rows whose images hold keys that are no plainly unknown fields."""
        finder = UnknownFinder(self._decoder.readers[name].known)
        doubtful = set()
        for row in np.flatnonzero(surplus).tolist():
            unknown = finder.find(images[row], int(surplus[row]))
            if unknown is None or (unknown and self._decoder.policy is UnknownFields.REJECT):
                doubtful.add(row)
            else:
                self._treat_unknown(group, row, unknown)
        return doubtful

    def _repeating_rows(self, group: _Group) -> set[int]:
        """Rows whose envelopes may have a key twice."""
        contents = [self._records.contents[record] for record in group.records]
        return {
            row
            for row, (opened, content) in enumerate(zip(group.opened, contents, strict=True))
            if self._keys_beyond_envelopes([opened], [content]) != count_keys(bytes(opened.image))
            and _may_repeat_a_key(content)
        }

    def _sound(self, name: str, group: _Group) -> TypedChanges:
        """The rows that were found sound one by one, less those whose values are not."""
        columns = self._decoder.readers[name].read(group.rows)
        return self._without_faults(group.found(name, columns), set())

    def _treat_unknown(self, group: _Group, row: int, unknown: Mapping[str, Any]) -> None:
        if self._decoder.policy is UnknownFields.DISCARD:
            self._discarded_fields += len(unknown)
        elif unknown:
            group.extras[row] = plain_json(unknown)

    def _decode_careful(self) -> dict[str, _Group]:
        groups: dict[str, _Group] = defaultdict(_Group)
        for number in sorted(set(self._careful)):
            for outcome in self._decoder.strict.decode(self._records.contents[number]):
                index = int(self._records.indexes[number]) + outcome.index
                match outcome:
                    case NotWanted():
                        self._filtered += 1
                    case StrictFault():
                        self._reject_strictly(outcome, number, index)
                    case StrictChange():
                        self._accept_strictly(outcome, number, index, groups)
        return groups

    def _reject_strictly(self, outcome: StrictFault, number: int, index: int) -> None:
        fault = outcome.fault
        last = self._records.documents[number] == len(self._block.documents) - 1
        if fault.code is ErrorCode.INVALID_JSON and last and self._block.unterminated:
            fault = Fault(ErrorCode.TRUNCATED_RECORD)
        self._reject(fault, number, index, outcome.record_type, outcome.original)

    def _accept_strictly(
        self, change: StrictChange, number: int, index: int, groups: dict[str, _Group]
    ) -> None:
        if change.unknown and self._decoder.policy is UnknownFields.REJECT:
            fault = Fault(ErrorCode.UNKNOWN_FIELD, next(iter(change.unknown)))
            self._reject(fault, number, index, change.record_type)
            return
        group = groups[change.record_type.name]
        self._treat_unknown(group, len(group.rows), change.unknown)
        row = self._decoder.readers[change.record_type.name].row(change.image)
        group.add(row, change.opened, number, index)

    def _reject(
        self,
        fault: Fault,
        number: int,
        index: int,
        record_type: RecordType | None,
        original: bytes | None = None,
    ) -> None:
        content = self._records.contents[number] if original is None else original
        document = self._records.documents[number]
        self._rejects.append(
            reject(self._block, document, index, fault, Stage.DECODE, content, record_type)
        )

    def _without_faults(self, found: _Found, doubtful: set[int]) -> TypedChanges:
        """The changes less the doubtful rows and the faulty ones, which are rejected."""
        record_type = self._decoder.registry[found.name]
        changes, late = _typed_changes(record_type, found, self._records)
        faults = _first_faults(found.columns) | late
        for row in faults.keys() - doubtful:
            self._reject(faults[row], int(found.records[row]), int(found.indexes[row]), record_type)
        bad = doubtful | faults.keys()
        if not bad:
            return changes
        mask = np.ones(len(changes), np.bool_)
        mask[list(bad)] = False
        return changes.keep(mask)


def _may_repeat_a_key(content: bytes) -> bool:
    """Whether a change record may have a key twice; true if what is unread in it is no JSON."""
    try:
        return repeats_a_key(content, INNER_MEMBERS)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return True


def _raw_images(group: _Group) -> list[bytes]:
    return [bytes(opened.image) for opened in group.opened]


def reject(
    block: Block,
    document: int,
    index: int,
    fault: Fault,
    stage: Stage,
    original: bytes,
    record_type: RecordType | None = None,
) -> Reject:
    """The one place where a record of a block becomes a reject."""
    replayed = None if block.replayed is None else block.replayed[document]
    return Reject(
        fault=fault,
        stage=stage,
        origin=block.position(document, index) if replayed is None else _again(replayed, index),
        original=original,
        record_type=record_type,
        attempt=1 if replayed is None else replayed.attempt,
    )


def _again(replayed: Replayed, index: int) -> Position:
    """Where a record stood at first that is one of those in a replayed document."""
    return replace(replayed.origin, index=replayed.origin.index + index)


def _records(block: Block) -> _Records:
    if block.format not in _NESTED:
        count = len(block.documents)
        return _Records(
            block.documents, np.arange(count, dtype=np.int32), np.zeros(count, np.int32)
        )
    unwrapper = EventUnwrapper(block.format)
    events = [unwrapper.unwrap(document) for document in block.documents]
    sizes = list(map(len, events))
    documents = np.repeat(np.arange(len(events), dtype=np.int32), sizes)
    indexes = [np.arange(size, dtype=np.int32) for size in [0, *sizes]]
    return _Records(list(chain.from_iterable(events)), documents, np.concatenate(indexes))


def original_of(block: Block, document: int, index: int) -> bytes:
    """The bytes of one record of a block, without those that share its document."""
    text = block.documents[document]
    nested = block.format in _NESTED
    return EventUnwrapper(block.format).unwrap(text)[index] if nested else records_of(text)[index]


def _reader_reject(broken: BrokenBytes, source: str) -> Reject:
    return Reject(broken.fault, Stage.READ, Position(source, broken.offset, 0), broken.sample)


def _rows_of_other_types(types: Any, name: str) -> set[int]:
    """Rows whose type was mistaken, because the name was found in another place of the image."""
    other = pc.not_equal(types, name)
    if not pc.any(other, min_count=0).as_py():
        return set()
    return set(map(int, np.flatnonzero(other.to_numpy(zero_copy_only=False))))


def _first_faults(columns: Mapping[str, Column]) -> dict[int, Fault]:
    """The first fault of every faulty row, in the order of the schema's fields."""
    faults: dict[int, Fault] = {}
    for name, column in columns.items():
        for found in column.faults:
            faults.setdefault(found.row, Fault(found.code, _path(name, found)))
    return faults


def _path(name: str, found: RowFault) -> str:
    return f"{name}.{found.path}" if found.path else name


def _typed_changes(
    record_type: RecordType, found: _Found, records: _Records
) -> tuple[TypedChanges, dict[int, Fault]]:
    change_time, faults = _change_times(found.envelopes.time)
    count = len(found.records)
    extras = [found.extras.get(row) for row in range(count)] if found.extras else None
    changes = TypedChanges(
        record_type=record_type,
        columns={
            **{name: column.array for name, column in found.columns.items()},
            "extra": pa.nulls(count, pa.string()) if extras is None else pa.array(extras),
        },
        event_name=found.envelopes.event_name,
        by_ttl=found.envelopes.by_ttl,
        change_time=change_time,
        change_id=found.envelopes.change_id,
        document=records.documents[found.records],
        index=np.asarray(found.indexes, np.int32),
    )
    return changes, faults


def _change_times(numbers: npt.NDArray[np.float64]) -> tuple[Any, dict[int, Fault]]:
    """Epoch numbers as timestamps. Their unit shows in their size: seconds, milli- or micro-."""
    size = np.abs(numbers)
    scale = np.where(size < 1e11, 1e6, np.where(size < 1e14, 1e3, 1.0))
    micros = np.round(numbers * scale)
    absent = np.isnan(micros)
    wrong = ~absent & ~((micros >= EARLIEST_MICROS) & (micros <= LATEST_MICROS))
    valid = np.where(absent | wrong, 0, micros).astype(np.int64)
    array = pa.array(valid, mask=absent | wrong).cast(TIMESTAMP)
    fault = Fault(ErrorCode.DATE_OUT_OF_RANGE, "change_time")
    return array, {int(row): fault for row in np.flatnonzero(wrong)}


def _envelopes(opened: Sequence[Opened]) -> Envelopes:
    times = [math.nan if change.time is None else change.time for change in opened]
    return Envelopes(
        event_name=pa.array([change.event_name for change in opened], pa.string()),
        by_ttl=pa.array([change.by_ttl for change in opened], pa.bool_()),
        time=_as_floats(times),
        change_id=pa.array([change.change_id for change in opened], pa.string()),
    )


def _as_floats(times: Sequence[float]) -> npt.NDArray[np.float64]:
    try:
        return np.array(times, np.float64)
    except OverflowError:
        return np.array([_FAR if abs(time) > _FAR else time for time in times], np.float64)


def _merge_types(typed: list[TypedChanges]) -> Iterator[TypedChanges]:
    """One entry a type, its rows in source order."""
    by_name: dict[str, list[TypedChanges]] = defaultdict(list)
    for changes in typed:
        by_name[changes.record_type.name].append(changes)
    for parts in by_name.values():
        yield parts[0] if len(parts) == 1 else _merge(parts)


def _merge(parts: list[TypedChanges]) -> TypedChanges:
    document = np.concatenate([part.document for part in parts])
    index = np.concatenate([part.index for part in parts])
    order = np.lexsort((index, document))

    def joined(arrays: Iterable[Any]) -> Any:
        return pa.concat_arrays(list(arrays)).take(pa.array(order))

    return TypedChanges(
        record_type=parts[0].record_type,
        columns={name: joined(p.columns[name] for p in parts) for name in parts[0].columns},
        event_name=joined(part.event_name for part in parts),
        by_ttl=joined(part.by_ttl for part in parts),
        change_time=joined(part.change_time for part in parts),
        change_id=joined(part.change_id for part in parts),
        document=document[order],
        index=index[order],
    )
