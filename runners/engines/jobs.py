"""Jobs that run on while nobody waits for them."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol


class JobState(StrEnum):
    """What a job is doing; a restart after a failure is not an end."""

    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether it will never run again."""
        return self in {JobState.DONE, JobState.FAILED, JobState.CANCELLED}

    @classmethod
    def of_beam(cls, name: str) -> JobState:
        """Beam's name of a state."""
        return _BEAM.get(name, cls.STARTING)

    @classmethod
    def of_flink(cls, name: str) -> JobState:
        """Flink's name of a state."""
        return _FLINK.get(name, cls.STARTING)


_BEAM = {
    "RUNNING": JobState.RUNNING,
    "DRAINING": JobState.STOPPING,
    "CANCELLING": JobState.STOPPING,
    "DONE": JobState.DONE,
    "DRAINED": JobState.DONE,
    "UPDATED": JobState.DONE,
    "FAILED": JobState.FAILED,
    "CANCELLED": JobState.CANCELLED,
}
_FLINK = {
    "RUNNING": JobState.RUNNING,
    "RESTARTING": JobState.RESTARTING,
    "FAILING": JobState.RESTARTING,
    "CANCELLING": JobState.STOPPING,
    "FINISHED": JobState.DONE,
    "SUSPENDED": JobState.RESTARTING,
    "FAILED": JobState.FAILED,
    "CANCELED": JobState.CANCELLED,
}


class Job(Protocol):
    """A job of any engine."""

    @property
    def id(self) -> str:
        """The engine's name of the job."""
        ...

    def state(self) -> JobState:
        """What the job is doing now."""
        ...

    def counters(self) -> dict[str, int]:
        """The pipeline's counters by name, as far as the engine knows them."""
        ...

    def cancel(self) -> None:
        """End the job."""
        ...
