"""Letters: dead letters as blocks of records to be tried again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO

import msgspec
import numpy as np

from schemas.changes import Block, InputFormat, Replayed, Stage
from schemas.delivery import DeadLetter, decode_dead_letter, original_bytes
from schemas.errors import LakeError

_LETTERS_A_BLOCK = 2_000


@dataclass(frozen=True)
class LetterFilter:
    """Which dead letters are replayed: by error code, and by time (inclusive); None means any.

    Never those of the reading stage: they hold no record that could be tried again, only a sample
    of a file that has to be delivered anew, once it is mended.
    """

    code: str | None = None
    since: datetime | None = None

    def accepts(self, letter: DeadLetter) -> bool:
        if letter.stage == Stage.READ or self.code not in {None, letter.code}:
            return False
        return self.since is None or letter.time >= self.since


def letter_blocks(path: str, stream: BinaryIO, chosen: LetterFilter) -> Iterator[Block]:
    """The file's letters: those chosen as documents, the others carried over as they are.

    Raises ``LakeError`` naming the line that is no dead letter.
    """
    lines: list[tuple[int, bytes]] = []
    offset = 0
    for line in stream:
        lines.append((offset, line))
        offset += len(line)
        if len(lines) == _LETTERS_A_BLOCK:
            yield _block(path, lines, offset, chosen)
            lines = []
    if lines:
        yield _block(path, lines, offset, chosen)


def _block(path: str, lines: list[tuple[int, bytes]], end: int, chosen: LetterFilter) -> Block:
    letters = [(offset, line, _decode(path, offset, line)) for offset, line in lines]
    selected = [(offset, letter) for offset, _, letter in letters if chosen.accepts(letter)]
    return Block(
        source=path,
        format=InputFormat.CHANGE,
        documents=[original_bytes(letter) for _, letter in selected],
        start=lines[0][0],
        end=end,
        starts=np.array([offset for offset, _ in selected], np.int64),
        replayed=tuple(_replayed(letter) for _, letter in selected),
        carried=tuple(line for _, line, letter in letters if not chosen.accepts(letter)),
    )


def _replayed(letter: DeadLetter) -> Replayed:
    return Replayed(letter.origin, letter.attempt + 1)


def _decode(path: str, offset: int, line: bytes) -> DeadLetter:
    try:
        return decode_dead_letter(line)
    except msgspec.MsgspecError as error:
        raise LakeError(f"{path}: at byte {offset} there is no dead letter: {error}") from error
