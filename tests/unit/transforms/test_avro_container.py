"""Avro containers as header and blocks, against fastavro's files."""

from __future__ import annotations

import io

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.avro_container import (
    AvroBlock,
    NotAvro,
    encoded_block,
    encoded_number,
    read_blocks,
    read_header,
)

SCHEMA = {"type": "record", "name": "row", "fields": [{"name": "n", "type": "long"}]}


def container(rows: int, codec: str = "deflate") -> bytes:
    sink = io.BytesIO()
    numbers = ({"n": n} for n in range(rows))
    fastavro.writer(sink, SCHEMA, numbers, codec, sync_interval=200, metadata={"by": "tests"})
    return sink.getvalue()


def test_header_has_the_metadata_and_its_own_bytes() -> None:
    content = container(10)
    header = read_header(io.BytesIO(content))
    assert header.metadata["by"] == b"tests"
    assert header.codec == "deflate"
    assert content.startswith(header.encoded)


@given(st.integers(0, 500))
def test_blocks_put_together_again_are_the_same_bytes(rows: int) -> None:
    content = container(rows)
    stream = io.BytesIO(content)
    header = read_header(stream)
    blocks = list(read_blocks(stream, header))
    assert sum(block.rows for block in blocks) == rows
    again = header.encoded + b"".join(encoded_block(block, header) for block in blocks)
    assert again == content


def test_blocks_of_one_file_can_follow_those_of_another() -> None:
    first, second = io.BytesIO(container(300)), io.BytesIO(container(7))
    header, other = read_header(first), read_header(second)
    blocks = [*read_blocks(first, header), *read_blocks(second, other)]
    joined = header.encoded + b"".join(encoded_block(block, header) for block in blocks)
    read = [row["n"] for row in fastavro.reader(io.BytesIO(joined))]
    assert read == [*range(300), *range(7)]


@given(st.integers(0, 2**62))
def test_numbers_are_as_fastavro_reads_them(number: int) -> None:
    found = fastavro.schemaless_reader(io.BytesIO(encoded_number(number)), "long", None)
    assert found == number


@pytest.mark.parametrize("size", [0, 3, 4, 30, 200])
def test_container_cut_short_is_refused(size: int) -> None:
    stream = io.BytesIO(container(1000)[:size])
    with pytest.raises(NotAvro):
        list(read_blocks(stream, read_header(stream)))


def test_block_without_its_marker_is_refused() -> None:
    content = bytearray(container(5))
    content[-1] ^= 0xFF
    stream = io.BytesIO(content)
    with pytest.raises(NotAvro, match="marker"):
        list(read_blocks(stream, read_header(stream)))


def test_block_that_claims_too_much_is_refused_before_it_is_read() -> None:
    header = read_header(io.BytesIO(container(0)))
    claimed = encoded_number(1) + encoded_number(2**60)
    with pytest.raises(NotAvro, match="size"):
        list(read_blocks(io.BytesIO(claimed), header))


def test_empty_block_is_a_block() -> None:
    header = read_header(io.BytesIO(container(0)))
    stream = io.BytesIO(encoded_block(AvroBlock(0, b""), header))
    assert list(read_blocks(stream, header)) == [AvroBlock(0, b"")]
