"""Reading: splits cover every document once, and a cut costs what is behind it."""

from __future__ import annotations

import bz2
import gzip
import io
from collections.abc import Callable

import pytest
from backports import zstd
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.changes import Block, ErrorCode, InputFormat
from schemas.inputs import Compression, Covered, Framing, InputFile, Split
from transforms import decompress
from transforms import read as reading
from transforms.read import read_split

PACKERS: dict[Compression, Callable[[bytes], bytes]] = {
    Compression.GZIP: lambda data: gzip.compress(data, mtime=0),
    Compression.ZSTD: zstd.compress,
    Compression.BZ2: bz2.compress,
}


def file(
    data: bytes, framing: Framing = Framing.LINES, compression: Compression = Compression.NONE
) -> InputFile:
    return InputFile("file", len(data), "tag", InputFormat.CHANGE, framing, compression)


def read(data: bytes, split: Split) -> tuple[list[Block], Covered]:
    """The blocks of a split, read as its stream is opened, and what they covered."""
    begin = split.start - (not split.exact) if split.file.splittable else 0
    *blocks, covered = read_split(io.BytesIO(data[begin:]), split)
    assert isinstance(covered, Covered)
    return [block for block in blocks if isinstance(block, Block)], covered


def documents(blocks: list[Block]) -> list[tuple[int, bytes]]:
    """The documents that are not blank, with their offsets."""
    return [
        (int(start), document)
        for block in blocks
        for start, document in zip(block.starts, block.documents, strict=True)
        if document.strip()
    ]


def broken(blocks: list[Block]) -> list[ErrorCode]:
    return [found.fault.code for block in blocks for found in block.broken]


def splits_at(data: bytes, offsets: list[int]) -> list[Split]:
    bounds = [0, *sorted({offset for offset in offsets if 0 < offset < len(data)})]
    ends: list[int | None] = [*bounds[1:], None]
    made = zip(bounds, ends, strict=True)
    return [Split(file(data), start, end, exact=start == 0) for start, end in made]


line_texts = st.lists(
    st.binary(max_size=9).map(lambda line: line.replace(b"\n", b"\r").replace(b"\xff", b".")),
    min_size=1,
    max_size=8,
)


@given(lines=line_texts, terminated=st.booleans(), offsets=st.lists(st.integers(1, 80)))
@example(lines=[b"", b"", b""], terminated=True, offsets=[1, 2])
def test_splits_anywhere_cover_each_document_once(
    lines: list[bytes], terminated: bool, offsets: list[int]
) -> None:
    data = b"\n".join(lines) + (b"\n" if terminated else b"x")
    alone, _ = read(data, Split(file(data)))
    parts = [read(data, split) for split in splits_at(data, offsets)]
    assert [d for blocks, _ in parts for d in documents(blocks)] == documents(alone)


@given(lines=line_texts, offsets=st.lists(st.integers(1, 80)))
def test_the_ranges_of_splits_join(lines: list[bytes], offsets: list[int]) -> None:
    data = b"\n".join([*lines, b"last"])
    ranges = [read(data, split)[1].range for split in splits_at(data, offsets)]
    joined = sorted((r for r in ranges if r.end > r.start), key=lambda r: r.start)
    assert [r.start for r in joined] == [0, *(r.end for r in joined[:-1])]
    assert joined[-1].end == len(data)


@given(data=st.binary(min_size=1), piece=st.integers(1, 40), size=st.integers(1, 40))
def test_the_digest_of_a_range_does_not_depend_on_how_it_was_read(
    data: bytes, piece: int, size: int
) -> None:
    data = data.replace(b"\xff", b".").replace(b"\xfe", b".")
    _, once = read(data, Split(file(data)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decompress, "PIECE", piece)
        patch.setattr(reading, "BLOCK_BYTES", size)
        assert read(data, Split(file(data)))[1] == once


@pytest.mark.parametrize("framing", Framing)
@pytest.mark.parametrize(("tail", "resume"), [(b"", 16), (b'{"c":', 16)])
def test_the_next_delivery_goes_on_at_the_half_document(
    framing: Framing, tail: bytes, resume: int
) -> None:
    data = b'{"a":1}\n{"b":2}\n' + tail
    _, covered = read(data, Split(file(data, framing)))
    assert (covered.resume, covered.range.end) == (resume, len(data))


def test_a_resumed_split_reads_what_was_added() -> None:
    data = b'{"a":1}\n{"b":2}\n'
    blocks, covered = read(data, Split(file(data), 8))
    assert documents(blocks) == [(8, b'{"b":2}')]
    assert (covered.range.start, covered.range.end) == (8, 16)


@pytest.mark.parametrize("compression", PACKERS)
def test_a_resumed_compressed_file_reads_what_was_added(compression: Compression) -> None:
    packed = PACKERS[compression](b'{"a":1}\n{"b":2}\n')
    blocks, _ = read(packed, Split(file(packed, compression=compression), 8))
    assert documents(blocks) == [(8, b'{"b":2}')]


@pytest.mark.parametrize("compression", PACKERS)
@pytest.mark.parametrize("padding", [b"", b"\0" * 3])
def test_members_one_after_another_are_one_file(compression: Compression, padding: bytes) -> None:
    pack = PACKERS[compression]
    packed = pack(b"on") + padding + pack(b"e\ntwo\n") + pack(b"")
    blocks, covered = read(packed, Split(file(packed, compression=compression)))
    assert (documents(blocks), covered.range.end) == ([(0, b"one"), (4, b"two")], 8)


@pytest.mark.parametrize("framing", Framing)
@pytest.mark.parametrize("compression", PACKERS)
def test_a_file_cut_anywhere_delivers_what_stood_before_the_cut(
    compression: Compression, framing: Framing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decompress, "PIECE", 16)
    lines = [b'{"n":%d}\n' % n for n in range(6)]
    pack = PACKERS[compression]
    packed = b"".join(pack(line) for line in lines)
    bounds = [sum(len(pack(line)) for line in lines[:n]) for n in range(7)]
    for place in range(4, len(packed)):
        blocks, covered = read(packed[:place], Split(file(packed, framing, compression)))
        whole = max(n for n, bound in enumerate(bounds) if bound <= place)
        found = [document for _, document in documents(blocks)]
        assert found[:whole] == [line.strip() for line in lines[:whole]]
        assert all(document in {line.strip() for line in lines} for document in found)
        assert broken(blocks) == ([] if place in bounds else [ErrorCode.TRUNCATED_COMPRESSION])
        assert covered.resume == covered.range.end
        assert covered.range.end - sum(map(len, lines[: len(found)])) in {0, -1}  # a line's end


@pytest.mark.parametrize("compression", PACKERS)
def test_the_half_document_before_a_cut_is_kept_for_inspection(compression: Compression) -> None:
    pack = PACKERS[compression]
    packed = pack(b'{"a":1}\n{"b":') + pack(b"2}\n")[:10]
    blocks, _ = read(packed, Split(file(packed, compression=compression)))
    samples = [found.sample for block in blocks for found in block.broken]
    assert [sample[:5] for sample in samples] == [b'{"b":']


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", ErrorCode.EMPTY_FILE),
        ("\ufeff{}".encode("utf-16-le"), ErrorCode.UNSUPPORTED_ENCODING),
        ("\ufeff{}".encode("utf-16-be"), ErrorCode.UNSUPPORTED_ENCODING),
    ],
)
def test_a_file_that_cannot_be_read_is_one_broken_stretch(data: bytes, code: ErrorCode) -> None:
    blocks, _ = read(data, Split(file(data)))
    assert (documents(blocks), broken(blocks)) == ([], [code])


def test_a_split_of_another_encoding_covers_no_more_than_itself() -> None:
    data = "\ufeff{}{}".encode("utf-16-le")
    assert read(data, Split(file(data), 0, 4))[1].range.end == 4


def test_a_file_of_blank_lines_is_not_empty() -> None:
    assert broken(read(b"\n\n", Split(file(b"\n\n")))[0]) == []


@pytest.mark.parametrize("framing", Framing)
def test_a_byte_order_mark_is_no_part_of_the_first_document(framing: Framing) -> None:
    data = b'\xef\xbb\xbf{"a":1}\n{"b":2}\n'
    blocks, covered = read(data, Split(file(data, framing)))
    assert [document for _, document in documents(blocks)] == [b'{"a":1}', b'{"b":2}']
    assert covered.range.end == len(data)
