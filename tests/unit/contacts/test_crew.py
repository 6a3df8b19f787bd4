"""The crew of threads: bounded, and of one mind about failure."""

from __future__ import annotations

import threading
import time

import pytest

from tests.waiting import PATIENCE
from transforms.contacts.crew import Crew


def test_all_work_is_done_by_the_end() -> None:
    done: list[int] = []
    crew = Crew(3)
    for number in range(50):
        crew.do(lambda number=number: done.append(number))  # type: ignore[misc]
    crew.finish()
    assert sorted(done) == [*range(50)]


def test_work_is_done_side_by_side() -> None:
    together = threading.Barrier(3, timeout=PATIENCE)
    crew = Crew(3)
    for _ in range(3):
        crew.do(lambda: together.wait() and None)
    crew.finish()


def test_whoever_brings_work_waits_while_all_are_busy() -> None:
    free, begun = threading.Event(), [0]
    crew = Crew(2)

    def bring() -> None:
        for _ in range(10):
            crew.do(free.wait)  # type: ignore[arg-type]
            begun[0] += 1

    bringer = threading.Thread(target=bring)
    bringer.start()
    bringer.join(0.3)
    held_back = begun[0]
    free.set()
    bringer.join()
    crew.finish()
    assert held_back <= 3


def fail() -> None:
    raise ValueError("broken")


def test_what_work_raises_is_raised_at_the_end() -> None:
    crew = Crew(2)
    crew.do(fail)
    with pytest.raises(ValueError, match="broken"):
        crew.finish()


def test_a_failure_ends_the_waiting_of_the_others() -> None:
    crew = Crew(2)
    began = time.monotonic()
    crew.do(lambda: crew.clock.sleep(10 * PATIENCE))
    crew.do(fail)
    with pytest.raises(ValueError, match="broken"):
        crew.finish()
    assert time.monotonic() - began < PATIENCE


def test_after_a_failure_no_more_work_is_taken() -> None:
    crew = Crew(1)
    crew.do(fail)

    def bring_more() -> None:
        for _ in range(3):
            crew.do(lambda: time.sleep(0.05))

    with pytest.raises(ValueError, match="broken"):
        bring_more()
