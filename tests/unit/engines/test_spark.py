"""A job that Spark gives up does not keep anybody waiting."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from runners.engines.errors import EngineError
from runners.engines.processes import free_ports
from runners.engines.spark import Driver, told_if_given_up

HOURS = 10_000.0


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def page() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def test_driver_whose_page_is_gone_for_long_has_given_the_job_up(page: socket.socket) -> None:
    clock = Clock()
    driver = Driver(page.getsockname()[1], clock)
    driver.check()
    page.close()
    clock.now = HOURS
    with pytest.raises(EngineError, match="gave the job up"):
        driver.check()


def test_driver_whose_page_is_gone_for_a_moment_may_be_about_to_end_well(
    page: socket.socket,
) -> None:
    clock = Clock()
    driver = Driver(page.getsockname()[1], clock)
    driver.check()
    page.close()
    clock.now = 1.0
    driver.check()


def test_driver_that_has_no_page_yet_is_waited_for() -> None:
    clock = Clock()
    driver = Driver(free_ports(1)[0], clock)
    driver.check()
    clock.now = HOURS
    driver.check()


@pytest.mark.parametrize(
    "said",
    [
        "IllegalStateException: Cannot call methods on a stopped SparkContext.",
        "IllegalStateException: SparkContext has been shutdown",
        "SparkException: Job 0 cancelled because SparkContext was shut down",
        "SparkException: Job aborted due to stage failure: Master removed our application: KILLED",
    ],
)
def test_end_of_spark_is_told_from_a_failing_stage(said: str) -> None:
    with pytest.raises(EngineError, match="gave the job up"), told_if_given_up():
        raise RuntimeError(f"Pipeline failed in state FAILED: {said}")


def test_failure_of_a_stage_is_left_as_it_is() -> None:
    with pytest.raises(RuntimeError, match=r"^ValueError$"), told_if_given_up():
        raise RuntimeError("ValueError")
