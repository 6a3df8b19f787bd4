"""How slowly requests may come."""

from __future__ import annotations

import errno

import pytest

from service.request_pace import SLOWEST, PacedUnreader

PAUSE = 20.0


class Line:
    """A connection on which each read takes so long, and gives so much."""

    def __init__(self) -> None:
        self.now, self.seconds, self.size = 0.0, 0.0, 1

    def recv(self, size: int) -> bytes:
        self.now += self.seconds
        return b"x" * min(size, self.size)


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
def unreader(line: Line) -> PacedUnreader:
    return PacedUnreader(line, PAUSE, lambda: line.now)


def reads_until_given_up(unreader: PacedUnreader, most: int) -> int:
    for count in range(most):
        try:
            unreader.chunk()
        except ConnectionResetError:
            return count
    return most


def test_request_that_comes_byte_by_byte_is_given_up_after_its_pause(
    line: Line, unreader: PacedUnreader
) -> None:
    line.seconds = 1.0
    assert reads_until_given_up(unreader, 1000) == int(PAUSE)


def test_request_that_keeps_the_pace_comes_through(line: Line, unreader: PacedUnreader) -> None:
    line.seconds, line.size = 1.0, SLOWEST
    assert reads_until_given_up(unreader, 1000) == 1000


def test_time_spent_on_what_has_come_does_not_count(line: Line, unreader: PacedUnreader) -> None:
    unreader.chunk()
    line.now += 1000 * PAUSE
    assert unreader.chunk() == b"x"


def test_each_request_has_a_pause_of_its_own(line: Line, unreader: PacedUnreader) -> None:
    line.seconds = 0.9 * PAUSE
    for _ in range(5):
        unreader.begin()
        assert unreader.chunk() == b"x"


def test_read_that_the_system_ended_ends_the_connection(line: Line) -> None:
    class Silent(Line):
        def recv(self, size: int) -> bytes:
            raise BlockingIOError(errno.EAGAIN, "")

    with pytest.raises(ConnectionResetError):
        PacedUnreader(Silent(), PAUSE).chunk()
