"""Walking in lockstep: places move where what is expected stands, and nowhere else."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.framing import Lines, frame_lines
from transforms.lockstep import (
    LONGEST_LITERAL,
    Finds,
    Hole,
    Literal,
    Spans,
    Template,
    Text,
    Walk,
    template,
)

EVERYWHERE = np.ones(2, np.bool_)


def spans(*bounds: tuple[int, int]) -> Spans:
    begins, ends = zip(*bounds, strict=True)
    return Spans(np.array(begins), np.array(ends))


def test_a_literal_is_passed_over_where_it_stands() -> None:
    walk = Walk.begin(Text([b"abc", b"abd"]))
    walk.expect(Literal(b"abc"))
    assert walk.at.tolist() == [3, walk.text.nowhere]


def test_a_template_that_stands_nowhere_moves_nothing() -> None:
    walk = Walk.begin(Text([b"abc", b"abd"]))
    assert not walk.fill(template(b"x"), EVERYWHERE).any()
    assert walk.at.tolist() == [0, 4]


def test_a_string_ends_at_the_next_quote() -> None:
    walk = Walk.begin(Text([b'"a":"x"', b'"a":"yy"']))
    walk.fill(template(b'"a":"', b'"', key="a"), EVERYWHERE)
    assert walk.at.tolist() == walk.text.ends.tolist()
    assert walk.text.cut(walk.finds.spans("a")).to_pylist() == ["x", "yy"]


def test_a_string_that_does_not_end_in_its_document_does_not_end_there() -> None:
    walk = Walk.begin(Text([b'"a', b'b"']))
    walk.fill(template(b'"', b'"'), EVERYWHERE)
    assert walk.at[0] != walk.text.ends[0]


def test_a_literal_may_have_two_texts() -> None:
    walk = Walk.begin(Text([b"S:", b"N:"]))
    walk.expect(Literal(b"S:", b"N:"))
    assert walk.at.tolist() == [2, 5]


def test_a_literal_that_is_too_long_is_never_found() -> None:
    long = b"a" * (LONGEST_LITERAL + 1)
    assert Text([long]).stands(Literal(long), np.array([0])).tolist() == [False]


def test_templates_can_be_joined() -> None:
    walk = Walk.begin(Text([b'{"a":"x","b":"y"', b'{"a":"x"']))
    both = template(b'{"a":"', b'"').then(template(b',"b":"', b'"', key="b"))
    assert walk.fill(both, EVERYWHERE).tolist() == [True, False]
    assert walk.text.cut(walk.finds.spans("b")).to_pylist() == ["y"]


@given(st.text("0123456789.-+eE x", max_size=18))
def test_a_plain_number_is_a_json_number_of_digits(text: str) -> None:
    ends = Text([text.encode() + b","]).number_ends(np.array([0]))
    is_plain = text.isdigit() and str(int(text)) == text and len(text) < 16
    assert (ends[0] == len(text)) == is_plain
    assert not is_plain or json.loads(text) == int(text)


def test_a_number_is_a_hole_between_literals() -> None:
    form = Template((Literal(b"["), Literal(b"]")), ((Hole.NUMBER, "n"),))
    walk = Walk.begin(Text([b"[12]", b"[1.]"]))
    assert walk.fill(form, EVERYWHERE).tolist() == [True, False]


@given(st.lists(st.binary(max_size=6).map(lambda text: text.replace(b"\n", b"")), min_size=1))
def test_a_document_is_plain_if_it_is_text_without_escapes(documents: list[bytes]) -> None:
    assert Text(documents).is_plain().tolist() == [plain(document) for document in documents]


def plain(document: bytes) -> bool:
    try:
        text = document.decode()
    except UnicodeDecodeError:
        return False
    return "\\" not in text and all(character >= " " for character in text)


@given(st.lists(st.text('ab"\\é\x01', max_size=4).map(str.encode), min_size=1))
def test_lines_are_the_same_text_as_a_list_of_them(documents: list[bytes]) -> None:
    (frames,) = frame_lines([b"\n".join([*documents, b""])], 0, None, 1)
    assert isinstance(frames.documents, Lines)
    lines, alone = Text(frames.documents), Text(documents)
    assert lines.quotes.tolist()[:-1] == alone.quotes.tolist()[:-1]
    assert lines.is_plain().tolist() == alone.is_plain().tolist()


def test_finds_are_in_the_order_of_the_text() -> None:
    finds = Finds(Text([b"abcdef"]))
    finds.add("late", spans((4, 5)))
    finds.add("early", spans((0, 1), (2, 3)))
    assert finds.spans("late", "early", "none").begins.tolist() == [0, 2, 4]


def test_finds_of_other_documents_are_left_out() -> None:
    finds = Finds(Text([b"ab", b"cd"]))
    finds.add("x", spans((0, 2), (3, 5)))
    kept = finds.within(np.array([False, True]))
    assert finds.text.cut(kept.spans("x")).to_pylist() == ["cd"]


def test_a_part_of_a_walk_leaves_the_rest_in_place() -> None:
    walk = Walk.begin(Text([b"ab", b"ab"]))
    part = walk.part(np.array([1]))
    part.expect(Literal(b"ab"))
    walk.rejoin(np.array([1]), part)
    assert walk.at.tolist() == [0, 5]


@pytest.mark.parametrize("place", [0, 1, -1])
def test_lines_are_cut_out_when_asked_for(place: int) -> None:
    documents = [b"one", b"", b"three"]
    (frames,) = frame_lines([b"one\n\nthree\n"], 0, None, 1)
    assert frames.documents[place] == documents[place]
    assert frames.documents[place:] == documents[place:]
