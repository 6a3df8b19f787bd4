"""The hostile inputs that are too large to keep as files."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

_HERE = Path(__file__).parent
_MIB = 1 << 20


def build_large_cases(folder: Path) -> list[Path]:
    """Write the cases that ``README.md`` marks as built into ``folder``, and return their paths.

    Takes a few seconds and about 21 MB of disk; a reader that inflates the bomb gets 256 MiB.
    """
    long_line = folder / "record-too-large.ndjson"
    with long_line.open("wb") as plain:
        plain.writelines(_between_good_records(b"x" * 20_000_000, 1))
    bomb = folder / "gzip-bomb.ndjson.gz"
    with gzip.open(bomb, "wb") as packed:
        packed.writelines(_between_good_records(b"a" * _MIB, 256))
    return [long_line, bomb]


def _between_good_records(filler: bytes, times: int) -> Iterator[bytes]:
    """A good record, a line that is ``times`` the filler, another good record."""
    first, last = (_HERE / "crlf.ndjson").read_bytes().split(b"\r\n")[:2]
    yield first + b"\n"
    for _ in range(times):
        yield filler
    yield b"\n" + last + b"\n"
