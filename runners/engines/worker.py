"""One worker of an engine: a process that runs stages for a task manager or executor.

Started by the worker pool as ``python -m runners.engines.worker CONTROL_ADDRESS WORKER_ID``.
"""

from __future__ import annotations

import logging
import os
import queue
import re
import sys
from collections.abc import Container
from contextlib import suppress
from typing import Any

from apache_beam.runners.worker.sdk_worker import SdkHarness

from runners.memory import keep_freed_memory
from runners.results import own_errors

_STATE_CACHE_BYTES = 100 << 20
_PLACE = re.compile(r'^ *File "[^"]*", line \d+, in \S+$')
_KIND = re.compile(r"^([\w.]+)(?::.*)?$")


class SafeResponses(queue.Queue[Any]):
    """Answers to the engine; an exception's text goes without what may be a record's values."""

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """As a queue's."""
        if getattr(item, "error", ""):
            item.error = without_values(item.error)
        super().put(item, block, timeout)


def without_values(trace: str) -> str:
    """A traceback's places, and the kinds of its exceptions.

    Only the messages of Lethe's own errors are kept: they are safe, and other people's may quote
    what they failed on. Lines of source code are left out with the rest.
    """
    own = own_errors().keys()
    return "\n".join(filter(None, (_kept(line, own) for line in trace.splitlines())))


def _kept(line: str, own: Container[str]) -> str:
    if _PLACE.match(line):
        return line
    kind = _KIND.match(line)
    if kind is None:
        return ""
    return line if kind[1] in own else kind[1]


def main() -> None:
    """Run until the engine hangs up. Never returns."""
    control, worker_id = sys.argv[1:]
    # Beam prints what a stage raises, values and all; the engine is told it anyway, safely.
    logging.disable()
    keep_freed_memory()
    sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115
    with suppress(BaseException):
        harness = SdkHarness(control, worker_id=worker_id, state_cache_size=_STATE_CACHE_BYTES)
        harness._responses = SafeResponses()
        harness.run()
    os._exit(0)


if __name__ == "__main__":
    main()
