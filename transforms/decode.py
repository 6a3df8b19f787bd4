"""Decode: blocks of documents into columns, one set a record type.

The fast way reads a whole block with compiled decoders and then asks one question: do the images
hold exactly the JSON keys that were consumed? If they do, nothing was unknown, duplicated or
doubly typed, and no document needs a second look. Documents that raise, or whose count differs,
go the strict way, which tells good from bad one by one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import msgspec
import numpy as np
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
    Stage,
    TypedChanges,
)
from schemas.fields import RecordType
from schemas.registry import Registry
from transforms.attributes import NotAnAttribute, plain_json, unmarshal
from transforms.columns import (
    EARLIEST_MICROS,
    LATEST_MICROS,
    Column,
    ImageReader,
    RowFault,
    total_keys,
)
from transforms.envelopes import FAST_OPENERS, NeedsCare, Opened, unwrap_event
from transforms.strict import NotWanted, StrictChange, StrictDecoder, StrictFault

_TYPE_MARK = b'"type":{"S":"'
_KEY_MARK = b'":'

_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

_NESTED = frozenset({InputFormat.LAMBDA_KINESIS, InputFormat.LAMBDA_DYNAMODB})


class UnknownFields(StrEnum):
    """What becomes of fields that the schema does not name."""

    KEEP = "keep"
    DISCARD = "discard"
    REJECT = "reject"


@dataclass(frozen=True)
class _Records:
    """A block's records: its documents, or what its Lambda events hold. Lists run in parallel.

    An event that could not be unwrapped stands here whole, with index 0.
    """

    contents: Sequence[bytes]
    documents: Sequence[int]
    indexes: Sequence[int]


@dataclass
class _Group:
    """Changes of one type on their way into columns. Lists run in parallel."""

    images: list[Any] = field(default_factory=list)
    opened: list[Opened] = field(default_factory=list)
    records: list[int] = field(default_factory=list)
    indexes: list[int] = field(default_factory=list)
    extras: dict[int, str] = field(default_factory=dict)

    def add(self, image: Any, opened: Opened, record: int, index: int) -> None:
        self.images.append(image)
        self.opened.append(opened)
        self.records.append(record)
        self.indexes.append(index)


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
            name.encode(): msgspec.json.Decoder(reader.image_type).decode
            for name, reader in self.readers.items()
            if name in wanted
        }
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
        self._rejects = [_reader_reject(broken, block.source) for broken in block.broken]
        self._careful: list[int] = []
        self._filtered = 0
        self._discarded_fields = 0

    def run(self) -> ChangeBatch:
        typed = [self._vouched(name, group) for name, group in self._decode_fast().items()]
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

    def _decode_fast(self) -> dict[str, _Group]:
        """Groups of decoded images by type; records that raise are left for care."""
        groups: dict[bytes, _Group] = defaultdict(_Group)
        open_envelope = FAST_OPENERS[self._block.format]
        decoders = self._decoder.image_decoders
        for number, content in enumerate(self._records.contents):
            try:
                opened = open_envelope(content)
                raw = opened[0]
                begin = raw.index(_TYPE_MARK) + len(_TYPE_MARK)
                name = raw[begin : raw.index(b'"', begin)]
                image = decoders[name](raw)
            except (NeedsCare, msgspec.MsgspecError, ValueError, KeyError, RecursionError):
                self._careful.append(number)
                continue
            groups[name].add(image, opened, number, self._records.indexes[number])
        return {name.decode(): group for name, group in groups.items()}

    def _vouched(self, name: str, group: _Group) -> TypedChanges:
        """The rows that the fast way can vouch for; the others' records are left for care."""
        reader = self._decoder.readers[name]
        columns = reader.read(group.images)
        doubtful = self._surplus_rows(reader, group, columns)
        doubtful |= _rows_of_other_types(columns["type"].array, name)
        self._careful += [group.records[row] for row in doubtful]
        return self._without_faults(self._decoder.registry[name], group, columns, doubtful)

    def _sound(self, name: str, group: _Group) -> TypedChanges:
        columns = self._decoder.readers[name].read(group.images)
        return self._without_faults(self._decoder.registry[name], group, columns, set())

    def _surplus_rows(
        self, reader: ImageReader, group: _Group, columns: Mapping[str, Column]
    ) -> set[int]:
        """Rows whose bytes hold keys that were not consumed and are not plainly unknown fields."""
        expected = np.zeros(len(group.images), np.int64) + total_keys(columns)
        if count_keys(b"".join([opened[0] for opened in group.opened])) == expected.sum():
            return set()
        counted = np.array([opened[0].count(_KEY_MARK) for opened in group.opened])
        doubtful = set()
        for row in map(int, np.flatnonzero(counted != expected)):
            surplus = int(counted[row] - expected[row])
            unknown = _unknown_members(group.opened[row][0], reader.known, surplus)
            if unknown is None or self._decoder.policy is UnknownFields.REJECT:
                doubtful.add(row)
            else:
                self._treat_unknown(group, row, unknown)
        return doubtful

    def _treat_unknown(self, group: _Group, row: int, unknown: Mapping[str, Any]) -> None:
        if self._decoder.policy is UnknownFields.DISCARD:
            self._discarded_fields += len(unknown)
        elif unknown:
            group.extras[row] = plain_json(unknown)

    def _decode_careful(self) -> dict[str, _Group]:
        groups: dict[str, _Group] = defaultdict(_Group)
        for number in sorted(set(self._careful)):
            for outcome in self._decoder.strict.decode(self._records.contents[number]):
                index = self._records.indexes[number] + outcome.index
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
        self._treat_unknown(group, len(group.images), change.unknown)
        group.add(change.image, change.opened, number, index)

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

    def _without_faults(
        self,
        record_type: RecordType,
        group: _Group,
        columns: Mapping[str, Column],
        doubtful: set[int],
    ) -> TypedChanges:
        """The group's changes less its doubtful rows and its faulty ones, which are rejected."""
        changes, late = _typed_changes(record_type, group, columns, self._records)
        faults = _first_faults(columns) | late
        for row in faults.keys() - doubtful:
            self._reject(faults[row], group.records[row], group.indexes[row], record_type)
        bad = doubtful | faults.keys()
        if not bad:
            return changes
        mask = np.ones(len(changes), np.bool_)
        mask[list(bad)] = False
        return changes.keep(mask)


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
        origin=block.position(document, index) if replayed is None else replayed.origin,
        original=original,
        record_type=record_type,
        attempt=1 if replayed is None else replayed.attempt,
    )


def count_keys(text: bytes) -> int:
    """How many JSON keys compact ``text`` holds: the places where a quote meets a colon."""
    characters = np.frombuffer(text, np.uint8)
    pairs = np.frombuffer(text, "<u2", len(text) // 2)
    shifted = np.frombuffer(text, "<u2", max(len(text) - 1, 0) // 2, min(1, len(characters)))
    mark = int.from_bytes(_KEY_MARK, "little")
    return int(np.count_nonzero(pairs == mark) + np.count_nonzero(shifted == mark))


def _records(block: Block) -> _Records:
    if block.format not in _NESTED:
        plain = range(len(block.documents))
        return _Records(block.documents, plain, np.zeros(len(plain), np.int64).tolist())
    contents: list[bytes] = []
    documents: list[int] = []
    indexes: list[int] = []
    for number, document in enumerate(block.documents):
        inner = _unwrapped(document, block.format)
        contents += inner
        documents += [number] * len(inner)
        indexes += range(len(inner))
    return _Records(contents, documents, indexes)


def _unwrapped(document: bytes, fmt: InputFormat) -> list[bytes]:
    try:
        return unwrap_event(document, fmt)
    except NeedsCare:
        return [document]


def _reader_reject(broken: BrokenBytes, source: str) -> Reject:
    return Reject(broken.fault, Stage.READ, Position(source, broken.offset, 0), broken.sample)


def _unknown_members(image: bytes, known: frozenset[str], surplus: int) -> dict[str, Any] | None:
    """An image's unknown fields as plain values, if they alone explain its surplus of keys."""
    try:
        members = _decode_members(image)
        unknown = {n: bytes(raw) for n, raw in sorted(members.items()) if n not in known}
        if sum(1 + raw.count(_KEY_MARK) for raw in unknown.values()) != surplus:
            return None
        attributes = {name: msgspec.json.decode(raw) for name, raw in unknown.items()}
        if len(attributes) + _keys_within([*attributes.values()]) != surplus:
            return None
        return {name: unmarshal(attribute) for name, attribute in attributes.items()}
    except (msgspec.MsgspecError, NotAnAttribute, RecursionError):
        return None


def _keys_within(value: Any) -> int:
    match value:
        case dict():
            return len(value) + sum(map(_keys_within, value.values()))
        case list():
            return sum(map(_keys_within, value))
    return 0


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
    record_type: RecordType, group: _Group, columns: Mapping[str, Column], records: _Records
) -> tuple[TypedChanges, dict[int, Fault]]:
    names, ttl, times, ids = ([opened[place] for opened in group.opened] for place in (1, 2, 3, 4))
    change_time, faults = _change_times(times)
    extras = [group.extras.get(row) for row in range(len(names))] if group.extras else None
    changes = TypedChanges(
        record_type=record_type,
        columns={
            **{name: column.array for name, column in columns.items()},
            "extra": pa.nulls(len(names), pa.string()) if extras is None else pa.array(extras),
        },
        event_name=pa.array(names, pa.string()),
        by_ttl=pa.array(ttl, pa.bool_()),
        change_time=change_time,
        change_id=pa.array(ids, pa.string()),
        document=np.asarray(records.documents, np.int32)[group.records],
        index=np.array(group.indexes, np.int32),
    )
    return changes, faults


def _change_times(times: list[Any]) -> tuple[Any, dict[int, Fault]]:
    """Epoch numbers as timestamps. Their unit shows in their size: seconds, milli- or micro-."""
    numbers = np.array([np.nan if time is None else time for time in times], np.float64)
    size = np.abs(numbers)
    scale = np.where(size < 1e11, 1e6, np.where(size < 1e14, 1e3, 1.0))
    micros = np.round(numbers * scale)
    absent = np.isnan(micros)
    wrong = ~absent & ~((micros >= EARLIEST_MICROS) & (micros <= LATEST_MICROS))
    valid = np.where(absent | wrong, 0, micros).astype(np.int64)
    array = pa.array(valid, mask=absent | wrong).cast(TIMESTAMP)
    fault = Fault(ErrorCode.DATE_OUT_OF_RANGE, "change_time")
    return array, {int(row): fault for row in np.flatnonzero(wrong)}


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
