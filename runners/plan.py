"""Plan: which parts of which files a delivery has to read.

What the delivery log says was covered is not read again. A file that has grown is read from where
the last delivery stopped, after the old part has been proved unchanged; a file that has changed
otherwise is an error, because its old rows are in the lake already.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import BinaryIO

import xxhash

from schemas.errors import InputError
from schemas.inputs import Compression, InputFile, SourcePosition, Split
from stores.inputs import FoundFile, InputOpener
from transforms.decompress import TruncatedStream, detect_compression, pieces
from transforms.detect import BOM, SNIFF, detect_format, is_manifest_summary, manifest_keys
from transforms.framing import end_of_text

_SMALLEST_SPLIT = 4 * 1024 * 1024
_LARGEST_SPLIT = 64 * 1024 * 1024
_SPLITS_A_WORKER = 32
_LARGEST_MANIFEST = 1024 * 1024 * 1024
_LOOKERS = 16
"""Files looked into at a time; it is the network that is waited for."""


@dataclass(frozen=True)
class Plan:
    """What is to be read: ``files`` by URI, and their splits; ``skipped`` were covered before."""

    files: Mapping[str, InputFile] = field(default_factory=dict)
    splits: tuple[Split, ...] = ()
    skipped: int = 0

    @property
    def size(self) -> int:
        """Bytes to be read, as stored."""
        return sum(
            (split.end or split.file.size) - min(split.start, split.file.size)
            for split in self.splits
        )


def plan_delivery(
    inputs: Sequence[str],
    opener: InputOpener,
    positions: Mapping[str, SourcePosition],
    workers: int,
) -> Plan:
    """The plan for some inputs. Raises ``InputError`` for one that is unreadable or has changed.

    ``positions`` are those of the delivery log: how far each source was delivered, by its URI.
    """
    found = _unique(file for pattern in inputs for file in opener.find(pattern))
    new = [file for file in found if not _is_covered(file, positions.get(file.uri))]
    with ThreadPoolExecutor(_LOOKERS) as pool:
        looked_at = {
            file.uri: file
            for part in pool.map(lambda f: list(_look(f, opener)), new)
            for file in part
        }
    files = {
        uri: file for uri, file in looked_at.items() if not _is_covered(file, positions.get(uri))
    }
    starts = {uri: _resume(file, positions.get(uri), opener) for uri, file in files.items()}
    fresh = {uri: file for uri, file in files.items() if starts[uri] is not None}
    size = _split_size(fresh.values(), workers)
    splits = [s for uri, file in fresh.items() for s in _split(file, starts[uri] or 0, size)]
    covered = {file.uri for file in found}.difference(file.uri for file in new) | looked_at.keys()
    return Plan(fresh, tuple(splits), skipped=len(covered - fresh.keys()))


def _unique(files: Iterable[FoundFile]) -> list[FoundFile]:
    return list({file.uri: file for file in files}.values())


def _is_covered(file: FoundFile | InputFile, position: SourcePosition | None) -> bool:
    """Whether the file is, by size and tag, the one that was delivered."""
    seen = file.info if isinstance(file, FoundFile) else file
    return position is not None and (seen.size, seen.etag) == (position.size, position.etag)


def _look(found: FoundFile, opener: InputOpener) -> Iterator[InputFile]:
    """The file with its format, or the files that it names if it is a manifest."""
    first = opener.read_first(found.uri, SNIFF)
    compression = detect_compression(first)
    content = _start_of(found.uri, compression, SNIFF, opener)
    if is_manifest_summary(content):
        return
    if manifest_keys(content.lstrip().partition(b"\n")[0]) is not None:
        yield from _named_files(found, compression, opener)
        return
    fmt, framing = detect_format(content)
    yield InputFile(found.uri, found.info.size, found.info.etag, fmt, framing, compression)


def _named_files(
    manifest: FoundFile, compression: Compression, opener: InputOpener
) -> Iterator[InputFile]:
    keys = manifest_keys(_start_of(manifest.uri, compression, _LARGEST_MANIFEST, opener))
    if keys is None:
        raise InputError(f"{manifest.uri}: is no whole manifest of an export: fetch it again")
    for key in keys:
        for file in opener.find(opener.resolve(manifest.uri, key)):
            yield from _look(file, opener)


def _start_of(uri: str, compression: Compression, size: int, opener: InputOpener) -> bytes:
    """The first ``size`` bytes of a file's content, or all there is."""
    content = bytearray()
    with opener.open_file(uri) as stream:
        try:
            for piece in pieces(stream, compression):
                content += piece
                if len(content) >= size:
                    break
        except TruncatedStream:
            pass
    return bytes(content[:size])


def _resume(file: InputFile, position: SourcePosition | None, opener: InputOpener) -> int | None:
    """Where to begin reading; None if nothing is new.

    Raises ``InputError`` if the part that was delivered has changed.
    """
    if position is None:
        return 0
    for covered in position.ranges:
        if _digest(file, covered.start, covered.end, opener) != covered.digest:
            raise InputError(
                f"{file.uri}: changed before byte {covered.end} since it was delivered: "
                "deliver the new content under a new name"
            )
    end = max((covered.end for covered in position.ranges), default=0)
    if not _has_more(file, end, opener):
        return None
    return end if _is_whole(file, position.resume, end, opener) else position.resume


def _is_whole(file: InputFile, start: int, end: int, opener: InputOpener) -> bool:
    """Whether the line that the file ended in was whole all the same, and so was dealt with."""
    text = b"".join(_content(file, start, end, opener)).removeprefix(BOM).strip()
    return text.startswith(b"{") and end_of_text(text, 0) == len(text)


def _digest(file: InputFile, start: int, end: int, opener: InputOpener) -> str:
    digest = xxhash.xxh3_128()
    for piece in _content(file, start, end, opener):
        digest.update(piece)
    return digest.hexdigest()


def _has_more(file: InputFile, end: int, opener: InputOpener) -> bool:
    return any(_content(file, end, end + 1, opener))


def _content(file: InputFile, start: int, end: int, opener: InputOpener) -> Iterator[bytes]:
    """The decompressed bytes of [start, end), as far as there are any."""
    plain = file.compression is Compression.NONE
    with opener.open_file(file.uri, start if plain else 0) as stream:
        yield from _window(stream, file.compression, 0 if plain else start, end - start)


def _window(stream: BinaryIO, compression: Compression, skip: int, count: int) -> Iterator[bytes]:
    try:
        for piece in pieces(stream, compression):
            kept = piece[skip : skip + count]
            skip = max(skip - len(piece), 0)
            count -= len(kept)
            if kept:
                yield kept
            if count <= 0:
                return
    except TruncatedStream:
        return


def _split_size(files: Iterable[InputFile], workers: int) -> int:
    total = sum(file.size for file in files)
    return min(max(total // (workers * _SPLITS_A_WORKER), _SMALLEST_SPLIT), _LARGEST_SPLIT)


def _split(file: InputFile, start: int, size: int) -> Iterator[Split]:
    if not file.splittable or file.size - start <= size:
        yield Split(file, start)
        return
    for begin in range(start, file.size, size):
        last = begin + size >= file.size
        yield Split(file, begin, None if last else begin + size, exact=begin == start)
