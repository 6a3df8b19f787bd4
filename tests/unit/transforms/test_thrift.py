"""Thrift's compact protocol, kept as it stands."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.erasure.thrift import (
    BINARY,
    BYTE,
    DOUBLE,
    FALSE,
    I16,
    I32,
    I64,
    LIST,
    MAP,
    SET,
    STRUCT,
    TRUE,
    NotThrift,
    Struct,
    Value,
    Values,
    decode,
    encode,
)

NUMBERS = st.integers(-(2**63), 2**63 - 1)
PLAIN = {
    BYTE: st.integers(0, 255),
    I16: NUMBERS,
    I32: NUMBERS,
    I64: NUMBERS,
    DOUBLE: st.binary(min_size=8, max_size=8),
    BINARY: st.binary(max_size=200),
}


def structs_of(fields: st.SearchStrategy[Value]) -> st.SearchStrategy[Struct]:
    """Fields in the order of their numbers, some far apart."""
    found = st.dictionaries(st.integers(1, 300), fields, max_size=5)
    return found.map(lambda struct: dict(sorted(struct.items())))


def of_type(kind: int, values: st.SearchStrategy[Any]) -> st.SearchStrategy[Value]:
    return st.builds(Value, st.just(kind), values)


def deeper(fields: st.SearchStrategy[Value]) -> st.SearchStrategy[Value]:
    structs = structs_of(fields)
    some = st.one_of(*(_many(kind, values) for kind, values in {**PLAIN, STRUCT: structs}.items()))
    pairs = st.lists(st.tuples(PLAIN[BINARY], structs), min_size=1, max_size=3)
    maps: st.SearchStrategy[Any] = pairs.map(lambda found: (BINARY << 4 | STRUCT, found))
    kinds = {LIST: some, SET: some, STRUCT: structs, MAP: maps | st.just((0, []))}
    return st.one_of(*(of_type(kind, values) for kind, values in kinds.items()))


def _many(kind: int, values: st.SearchStrategy[Any]) -> st.SearchStrategy[Values]:
    return st.builds(Values, st.just(kind), st.lists(values, max_size=20))


FLAGS = st.sampled_from([Value(TRUE, True), Value(FALSE, False)])
FIELDS = st.recursive(
    st.one_of(FLAGS, *(of_type(kind, values) for kind, values in PLAIN.items())),
    deeper,
    max_leaves=10,
)


@settings(max_examples=50)
@given(structs_of(FIELDS))
def test_any_structure_is_read_as_it_was_written(struct: Struct) -> None:
    encoded = encode(struct)
    assert decode(b"x" + encoded + b"more", 1) == (struct, 1 + len(encoded))


@settings(max_examples=50)
@given(structs_of(FIELDS), st.data())
def test_a_structure_that_ends_early_is_an_error(struct: Struct, data: st.DataObject) -> None:
    encoded = encode(struct)
    with pytest.raises(NotThrift):
        decode(encoded[: data.draw(st.integers(0, len(encoded) - 1))])


@settings(max_examples=50)
@given(st.binary(max_size=100))
def test_any_bytes_are_a_structure_or_an_error(content: bytes) -> None:
    try:
        _, end = decode(content)
    except NotThrift:
        return
    assert 0 < end <= len(content)


def test_structure_without_end_is_an_error() -> None:
    with pytest.raises(NotThrift, match="without end"):
        decode(bytes([1 << 4 | STRUCT]) * 1000)
