"""Framing: documents come out whole, with their places, however the bytes are cut."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.changes import ErrorCode
from transforms import framing
from transforms.framing import Frames, frame_lines, frame_stream

Framer = Callable[[Iterator[bytes]], Iterator[Frames]]

texts = st.one_of(
    st.text(max_size=6), st.sampled_from(["}{", "} {", '"', "\\", '\\"', "{", "}", "[", "]}", '"}'])
)
values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.integers(), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)
objects = st.dictionaries(texts, values, max_size=3)


def cut(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    """The data in pieces of these sizes, over and over."""
    place = turn = 0
    while place < len(data):
        size = sizes[turn % len(sizes)]
        yield data[place : place + size]
        place, turn = place + size, turn + 1


def whole(frames: list[Frames]) -> bytes:
    return b"".join(frame.data for frame in frames)


def placed(frames: list[Frames]) -> list[tuple[int, bytes]]:
    """The documents that are not blank, with their offsets."""
    return [
        (int(start), document)
        for frame in frames
        for start, document in zip(frame.starts, frame.documents, strict=True)
        if document.strip()
    ]


sizes = st.lists(st.integers(1, 40), min_size=1, max_size=4)
lines = st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"."))


@given(
    documents=st.lists(lines, max_size=6),
    ends=st.lists(st.sampled_from([b"\n", b"\r\n", b"\n\n"]), min_size=1),
    unterminated=st.booleans(),
    pieces=sizes,
    size=st.integers(1, 30),
)
def test_lines_come_out_whole(
    documents: list[bytes], ends: list[bytes], unterminated: bool, pieces: list[int], size: int
) -> None:
    data = b"".join(d + ends[i % len(ends)] for i, d in enumerate(documents))
    data = data[:-1] if unterminated else data
    frames = list(frame_lines(cut(data, pieces), 0, None, size))
    expected = [line for line in data.split(b"\n") if line.strip()]
    assert [document for _, document in placed(frames)] == expected
    assert all(data[start:].startswith(document) for start, document in placed(frames))
    assert whole(frames) == data


@given(
    documents=st.lists(objects, max_size=5),
    gaps=st.lists(st.sampled_from(["", " ", "\n", "\r\n\t", "\n\n"]), min_size=1),
    indent=st.sampled_from([None, 1]),
    pieces=sizes,
    size=st.integers(1, 30),
)
@example(documents=[{"a": "x}"}], gaps=[""], indent=None, pieces=[8], size=1)
@example(documents=[{"a": "\\"}, {}], gaps=[""], indent=None, pieces=[7], size=1)
def test_concatenated_texts_come_out_whole(
    documents: list[Any], gaps: list[str], indent: int | None, pieces: list[int], size: int
) -> None:
    written = [json.dumps(document, indent=indent) for document in documents]
    data = "".join(t + gaps[i % len(gaps)] for i, t in enumerate(written)).encode()
    frames = list(frame_stream(cut(data, pieces), 0, size))
    assert [document for _, document in placed(frames)] == [t.encode() for t in written]
    assert all(data[start:].startswith(document) for start, document in placed(frames))
    assert whole(frames) == data


@given(pieces=sizes, size=st.integers(1, 30))
def test_junk_between_texts_is_one_document_however_it_is_cut(pieces: list[int], size: int) -> None:
    data = b'{"a":1}upstream request timeout{"b":2}'
    frames = list(frame_stream(cut(data, pieces), 0, size))
    expected = [b'{"a":1}', b"upstream request timeout", b'{"b":2}']
    assert [document for _, document in placed(frames)] == expected


def test_a_text_that_does_not_end_costs_itself() -> None:
    data = b'{"a":1}{"b":"x}{"c":3}'
    (frames,) = frame_stream(iter([data]), 0, 100)
    assert frames.documents[0] == b'{"a":1}'
    assert (frames.documents[-1], frames.unterminated) == (b'{"c":3}', False)


def test_a_text_that_the_file_ends_in_is_unterminated() -> None:
    (frames,) = frame_stream(iter([b'{"a":1}{"b":']), 0, 100)
    assert (frames.documents, frames.unterminated) == ([b'{"a":1}', b'{"b":'], True)


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "LARGEST", 64)
    monkeypatch.setattr(framing, "_LONGEST_GAP", 4)


def codes(frames: list[Frames]) -> list[tuple[int, ErrorCode]]:
    return [(broken.offset, broken.fault.code) for frame in frames for broken in frame.broken]


@pytest.mark.parametrize("length", [64, 65, 200, 1000])
@pytest.mark.parametrize("piece", [1, 7, 50, 5000])
@pytest.mark.usefixtures("small_limit")
def test_a_line_above_the_limit_is_passed_over(length: int, piece: int) -> None:
    data = b"first\n" + b"x" * length + b"\nlast\n"
    frames = list(frame_lines(cut(data, [piece]), 0, None, 16))
    too_large = [(6, ErrorCode.RECORD_TOO_LARGE)] if length > 64 else []
    assert codes(frames) == too_large
    assert [len(d) for _, d in placed(frames)] == [5, *([] if too_large else [length]), 4]
    assert whole(frames) == data


@pytest.mark.parametrize("length", [50, 100, 1000])
@pytest.mark.parametrize("piece", [1, 7, 50, 5000])
@pytest.mark.parametrize("gap", ["", "\n", "  "])
@pytest.mark.usefixtures("small_limit")
def test_a_text_above_the_limit_is_passed_over(length: int, piece: int, gap: str) -> None:
    texts = ['{"a":1}', json.dumps({"b": "x" * length}), '{"c":3}']
    data = gap.join(texts).encode()
    frames = list(frame_stream(cut(data, [piece]), 0, 16))
    too_large = [(7 + len(gap), ErrorCode.RECORD_TOO_LARGE)] if length > 64 else []
    assert codes(frames) == too_large
    assert [d.decode() for _, d in placed(frames)] == texts[:: 2 if too_large else 1]
    assert whole(frames) == data


@pytest.mark.usefixtures("small_limit")
def test_a_large_text_does_not_spoil_one_that_has_only_begun() -> None:
    large = json.dumps({"b": "x" * 50}).encode()
    data = large + b'{"c":' + b" " * 20 + b"3}"
    frames = list(frame_stream(iter([data[:40], data[40:70], data[70:]]), 0, 16))
    assert [d for _, d in placed(frames)] == [large, data[len(large) :]]
