"""Nobody waits for a client: what it does not read is kept, up to a limit, and sent on later."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from service.live.sending import MOST_UNSENT, SLOW_SECONDS, Flusher, Outgoing

FRAME = b"x" * 1000


class Watched(Flusher):
    """Says who is looked after, and looks after nobody."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Outgoing] = []

    def look_after(self, outgoing: Outgoing) -> None:
        self.asked.append(outgoing)


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    theirs.settimeout(10)
    with ours, theirs:
        yield ours, theirs


def fill(outgoing: Outgoing) -> int:
    """Send until something is left over; how many frames that took."""
    count = 0
    while not outgoing.has_unsent:
        outgoing.put(FRAME)
        count += 1
    return count


def read(theirs: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += theirs.recv(65536)
    return data


def test_frame_is_sent_at_once_to_a_client_that_reads(ends: tuple[socket.socket, ...]) -> None:
    ours, theirs = ends
    flusher = Watched()
    Outgoing(ours, flusher).put(FRAME)
    assert read(theirs, 1000) == FRAME
    assert flusher.asked == []


def test_frames_arrive_whole_and_in_order_when_the_client_reads_late(
    ends: tuple[socket.socket, ...],
) -> None:
    ours, theirs = ends
    outgoing = Outgoing(ours, Flusher())
    frames = [bytes([n]) * 1500 for n in range(100)]
    for frame in frames:
        outgoing.put(frame)
    assert outgoing.has_unsent
    assert read(theirs, 150_000) == b"".join(frames)


def test_what_is_left_over_is_looked_after(ends: tuple[socket.socket, ...]) -> None:
    flusher = Watched()
    outgoing = Outgoing(ends[0], flusher)
    fill(outgoing)
    assert flusher.asked == [outgoing]


def test_client_that_leaves_too_much_unread_is_cut_off(ends: tuple[socket.socket, ...]) -> None:
    outgoing = Outgoing(ends[0], Watched())
    for _ in range(fill(outgoing) + MOST_UNSENT // len(FRAME)):
        outgoing.put(FRAME)
    assert outgoing.was_too_slow
    assert ends[0].recv(1) == b""


def test_client_that_leaves_something_unread_for_too_long_is_cut_off(
    ends: tuple[socket.socket, ...],
) -> None:
    outgoing = Outgoing(ends[0], Watched())
    fill(outgoing)
    assert outgoing.flush(time.monotonic())
    assert not outgoing.flush(time.monotonic() + SLOW_SECONDS + 1)
    assert outgoing.was_too_slow


def test_client_that_has_read_all_is_not_looked_after_any_more(
    ends: tuple[socket.socket, ...],
) -> None:
    ours, theirs = ends
    outgoing = Outgoing(ours, Watched())
    read_until = fill(outgoing) * len(FRAME)
    while outgoing.flush(time.monotonic()):
        read_until -= len(theirs.recv(65536))
    assert not outgoing.was_too_slow


def test_nothing_follows_the_last_frame(ends: tuple[socket.socket, ...]) -> None:
    ours, theirs = ends
    outgoing = Outgoing(ours, Watched())
    outgoing.put(b"last", last=True)
    outgoing.put(b"more")
    outgoing.stop()
    assert read(theirs, 4) == b"last"
    assert theirs.recv(10) == b""


def test_client_that_does_not_answer_a_close_is_cut_off(ends: tuple[socket.socket, ...]) -> None:
    ours, theirs = ends
    Outgoing(ours, Flusher()).put(b"last", last=True)
    assert read(theirs, 4) == b"last"
    assert theirs.recv(10) == b""


def test_client_that_is_gone_harms_nobody(ends: tuple[socket.socket, ...]) -> None:
    ours, theirs = ends
    theirs.close()
    outgoing = Outgoing(ours, Watched())
    outgoing.put(FRAME)
    outgoing.put(FRAME)
    assert not outgoing.has_unsent
