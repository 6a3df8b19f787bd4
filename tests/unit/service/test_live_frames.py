"""Frames become messages, and what is no message ends the connection with the right code."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol, Opcode

from service.live.frames import (
    Broken,
    Closed,
    Frames,
    Part,
    Pinged,
    Received,
    Text,
    close_frame,
    text_frame,
)

MOST = 1000


def client() -> FrameProtocol:
    return FrameProtocol(client=True, extensions=[])


def received(*data: bytes) -> list[Received]:
    frames = Frames(MOST)
    return [value for part in data for value in frames.receive(part)]


def code(*data: bytes) -> int:
    (broken,) = received(*data)
    assert isinstance(broken, Broken)
    return int(broken.code)


@given(st.text(max_size=300), st.integers(1, 50))
def test_text_comes_whole_however_the_line_cuts_it(text: str, size: int) -> None:
    data = bytes(client().send_data(text, True))
    cut = [data[at : at + size] for at in range(0, len(data), size)]
    assert received(*cut) == [Text(text)]


def test_fragments_become_one_message() -> None:
    sender = client()
    first, last = bytes(sender.send_data("on", False)), bytes(sender.send_data("e", True))
    assert received(first, last) == [Part(), Text("one")]


def test_large_message_is_refused_before_it_is_whole() -> None:
    data = bytes(client().send_data("x" * 100_000, True))
    assert code(data[: MOST + 20]) == 1009


def test_many_fragments_are_one_message_and_as_large_as_one() -> None:
    sender = client()
    parts = [bytes(sender.send_data("x" * 100, False)) for _ in range(11)]
    assert isinstance(received(*parts)[-1], Broken)


def test_binary_is_refused() -> None:
    assert code(bytes(client().send_data(b"x", True))) == 1003


def test_text_that_is_not_utf8_is_refused() -> None:
    assert code(b"\x81\x82\x00\x00\x00\x00\xff\xff") == 1007


def test_frame_without_a_mask_is_refused() -> None:
    assert code(b"\x81\x01x") == 1002


def test_compressed_frame_is_refused() -> None:
    assert code(b"\xc1\x81\x00\x00\x00\x00x") == 1002


def test_close_is_told() -> None:
    assert received(bytes(client().close(1000, "bye"))) == [Closed()]


def test_ping_between_fragments_is_told() -> None:
    sender = client()
    data = bytes(sender.send_data("a", False)) + bytes(sender.ping(b"p"))
    assert received(data) == [Part(), Pinged(b"p")]


@given(st.lists(st.binary(max_size=200), max_size=10))
def test_no_bytes_raise(chunks: list[bytes]) -> None:
    received(*chunks)


@given(st.text(max_size=300))
def test_frames_of_ours_are_read_by_a_client(text: str) -> None:
    reader = client()
    reader.receive_bytes(text_frame(text.encode()) + close_frame(4401, "because"))
    message, close = reader.received_frames()
    assert (message.payload, close.opcode, close.payload) == (text, Opcode.CLOSE, (4401, "because"))
