"""Contact files without a subject's rows: all other bytes stay."""

from __future__ import annotations

import bz2
import gzip
import io
import json

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from schemas.dsr import Identity, IdentityType
from schemas.errors import InputError
from transforms.erasure.contacts import count_contacts, rewrite_contacts
from transforms.erasure.rewritten import Rewritten
from transforms.erasure.text import IdentityText
from transforms.scrub import Scrubber

EMAIL = "ana@acme.example"
SEARCH = IdentityText((Identity(IdentityType.EMAIL, EMAIL),), Scrubber(b"0123456789abcdef"))

FILES = {
    "a.csv": (
        f'id,email\r\n1,bo@x.example\r\n2,"{EMAIL}"\r\n3,"two\r\nlines"\r\n'.encode(),
        b'id,email\r\n1,bo@x.example\r\n3,"two\r\nlines"\r\n',
    ),
    "b.csv": (f"id;email\n1;{EMAIL.upper()}\n2;bo\n\n3;".encode(), b"id;email\n2;bo\n\n3;"),
    "quote.csv": (
        f'id,email\n1,"broken\n2,{EMAIL}\n3,bo\n'.encode(),
        b'id,email\n1,"broken\n3,bo\n',
    ),
    "headless.csv": (f"1,{EMAIL}\n2,bo@x.example\n".encode(), b"2,bo@x.example\n"),
    "others-first.csv": (f"1,bo@x.example\n2,{EMAIL}\n".encode(), b"1,bo@x.example\n"),
    "comma-in-header.csv": (
        f'"a, b";remark\n1;of {EMAIL}\n2;"x, y"\n'.encode(),
        b'"a, b";remark\n2;"x, y"\n',
    ),
    "long.csv": (
        f"email,note\n{EMAIL},{'x' * 200_000}\nbo,{'x' * 200_000}\n".encode(),
        f"email,note\nbo,{'x' * 200_000}\n".encode(),
    ),
    "formula.csv": (b"id,email\n1,'@ana\n2,x\n", b"id,email\n1,'@ana\n2,x\n"),
    "a.ndjson": (
        f'{{"id":1}}\n{{"id":2, "contact": {{"mail": "{EMAIL}"}}}}\nbroken {EMAIL}\n\n[1]'.encode(),
        b'{"id":1}\n\n[1]',
    ),
    "a.json": (
        f'\ufeff[\n {{"id": 1}},\n {{"id": "{EMAIL}"}},\n {{"id": "],"}}\n]\n'.encode(),
        '\ufeff[\n {"id": 1},\n {"id": "],"}\n]\n'.encode(),
    ),
    "first.json": (f'[{{"id": "{EMAIL}"}}, {{"id": 2}}]'.encode(), b'[ {"id": 2}]'),
    "all.json": (f'[{{"id": "{EMAIL}"}}]'.encode(), b"[]"),
    "none.json": (b"[ ]", b"[ ]"),
    "empty.csv": (b"", b""),
}


def rewritten(name: str, content: bytes) -> tuple[Rewritten, bytes]:
    sink = io.BytesIO()
    return rewrite_contacts(name, io.BytesIO(content), sink, SEARCH), sink.getvalue()


@pytest.mark.parametrize("name", FILES)
def test_rows_of_the_subject_leave(name: str) -> None:
    before, after = FILES[name]
    assert rewritten(name, before)[1] == after


@pytest.mark.parametrize("name", FILES)
def test_count_is_what_rewriting_takes_out(name: str) -> None:
    before = FILES[name][0]
    assert count_contacts(name, io.BytesIO(before), SEARCH) == rewritten(name, before)[0]


def test_row_of_somebody_else_is_no_header_to_be_removed_with_the_last() -> None:
    assert rewritten("a.csv", f"1,bo@x.example\n2,{EMAIL}\n".encode())[0] == Rewritten(2, 1, 1)
    assert rewritten("a.csv", f"id,email\n2,{EMAIL}\n".encode())[0] == Rewritten(1, 1, 0)


def test_customer_id_is_found_in_a_short_remark_and_behind_any_delimiter() -> None:
    search = IdentityText(
        (Identity(IdentityType.CONTROLLER_CUSTOMER_ID, "u-17"),), Scrubber(b"0123456789abcdef")
    )
    content = b"id,remark\n1,call u-17 back\n2,bo;u-17\n3,u-170\n4,u-18\n"
    assert count_contacts("a.csv", io.BytesIO(content), search) == Rewritten(4, 2, 2)


@pytest.mark.parametrize("module", [gzip, bz2, zstd], ids=lambda module: module.__name__)
def test_packed_file_is_packed_again(module: object) -> None:
    before, after = FILES["a.csv"]
    done = rewritten("a.csv.packed", module.compress(before))  # type: ignore[attr-defined]
    assert module.decompress(done[1]) == after  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "content", [b'[{"id": 1}', b'[{"id": 1}] [', b'[{"id": 1]}', "[1]".encode("utf-16")]
)
def test_file_that_cannot_be_told_into_rows_is_refused(content: bytes) -> None:
    with pytest.raises(InputError):
        rewritten("a.json", content)


def test_file_that_begins_with_a_lot_of_white_space_is_refused_before_it_is_read_whole() -> None:
    stream = io.BytesIO(b"\n" * (8 << 20) + f'[{{"id": "{EMAIL}"}}, {{"id": 2}}]'.encode())
    with pytest.raises(InputError, match="white space"):
        count_contacts("a.json", stream, SEARCH)
    assert stream.tell() < 4 << 20


def test_white_space_alone_is_no_row() -> None:
    assert rewritten("a.json", b" \n" * 1000)[0] == Rewritten(0, 0, 0)


def test_cut_off_packed_file_is_refused() -> None:
    with pytest.raises(InputError, match="cut off"):
        rewritten("a.csv.gz", gzip.compress(FILES["a.csv"][0])[:-9])


values = st.one_of(st.just(EMAIL), st.text(max_size=5), st.integers())
contacts = st.lists(st.dictionaries(st.sampled_from("abc"), values, max_size=3))


@given(contacts, st.sampled_from([None, 1]))
def test_survivors_of_any_array_are_equal(found: list[dict[str, object]], indent: int) -> None:
    done, after = rewritten("a.json", json.dumps(found, indent=indent).encode())
    survivors = [each for each in found if EMAIL not in each.values()]
    assert json.loads(after) == survivors
    assert done == Rewritten(len(found), len(found) - len(survivors), len(survivors))
