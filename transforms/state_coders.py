"""How what an engine keeps is encoded: a byte that tells the version, and MessagePack.

Jobs are stopped with their state and started again with newer code, so what a version wrote must
be read by all later ones: tests hold the bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
import msgspec

from schemas.errors import LakeError
from schemas.stream_ledger import BlockAccount, Ledger, Mark
from schemas.stream_log import ShardState, Streamed, Stretch, Stretches, by_source
from transforms.cut import RowPiece

_VERSION = 1


class StateCoder(beam.coders.Coder):
    """Encodes values of one frozen dataclass of plain members."""

    def __init__(self, kind: type[Any]) -> None:
        self._kind = kind

    def encode(self, value: Any) -> bytes:
        return bytes([_VERSION]) + msgspec.msgpack.encode(value)

    def decode(self, encoded: bytes) -> Any:
        if encoded[0] != _VERSION:
            raise LakeError(
                f"the engine's state is of version {encoded[0]}, and this is version {_VERSION}: "
                "start the delivery anew, without the engine's state: it goes on from the log"
            )
        return msgspec.msgpack.decode(memoryview(encoded)[1:], type=self._kind)

    def is_deterministic(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StateCoder) and other._kind is self._kind

    def __hash__(self) -> int:
        return hash(self._kind)


@dataclass(frozen=True)
class Books:
    """The ledgers of all shards, and whether a commit of how far they got has been put off."""

    ledgers: Mapping[str, Ledger] = field(default_factory=dict)
    is_put_off: bool = False

    def add(self, account: BlockAccount) -> Books:
        source = account.stretch.source
        ledger = self.ledgers.get(source, Ledger(source))
        return Books({**self.ledgers, source: ledger.add(account)}, self.is_put_off)

    def trimmed(self, states: Mapping[str, ShardState]) -> Books:
        """Without what the log says is delivered wholly."""
        ledgers = {s: one.trimmed(states.get(s, ShardState())) for s, one in self.ledgers.items()}
        return Books(ledgers, self.is_put_off)


@dataclass(frozen=True)
class _LedgerRecord:
    source: str
    read: tuple[Stretch, ...]
    found: tuple[Streamed, ...]
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class _BooksRecord:
    ledgers: tuple[_LedgerRecord, ...]
    is_put_off: bool


class BooksCoder(StateCoder):
    """Encodes ``Books``."""

    def __init__(self) -> None:
        super().__init__(_BooksRecord)

    def encode(self, value: Books) -> bytes:
        ledgers = tuple(map(_as_record, value.ledgers.values()))
        return super().encode(_BooksRecord(ledgers, value.is_put_off))

    def decode(self, encoded: bytes) -> Books:
        record: _BooksRecord = super().decode(encoded)
        ledgers = {one.source: _as_ledger(one) for one in record.ledgers}
        return Books(ledgers, record.is_put_off)


def _as_record(ledger: Ledger) -> _LedgerRecord:
    found = (Streamed(p, places.named(ledger.source)) for p, places in ledger.found.items())
    return _LedgerRecord(
        ledger.source, ledger.read.named(ledger.source), tuple(found), ledger.marks
    )


def _as_ledger(record: _LedgerRecord) -> Ledger:
    found = {one.portion: _places(one.stretches) for one in record.found}
    return Ledger(record.source, _places(record.read), found, record.marks)


def _places(stretches: tuple[Stretch, ...]) -> Stretches:
    return next(iter(by_source(stretches).values()), Stretches())


class RowPieceCoder(StateCoder):
    """Encodes ``RowPiece``; named so that the registry can make it."""

    def __init__(self, *_: Any) -> None:
        super().__init__(RowPiece)


class BlockAccountCoder(StateCoder):
    """Encodes ``BlockAccount``."""

    def __init__(self, *_: Any) -> None:
        super().__init__(BlockAccount)


beam.coders.registry.register_coder(RowPiece, RowPieceCoder)
beam.coders.registry.register_coder(BlockAccount, BlockAccountCoder)
