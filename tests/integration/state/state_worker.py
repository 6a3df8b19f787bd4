"""What a process of a test does to a state store: ``python -m ... TASK URL``; says what came of it.

It begins when its standard input says so, so that several begin together.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count

from schemas.audit import AuditDraft
from schemas.dsr import Dsr
from schemas.jobs import JobQuery, PartProgress
from schemas.requests import Counted
from tests.dsr_requests import a_request
from tests.integration.state.records import ALL, AnyState, job, opened, there

THREADS = 16
COUNTS = 500
JOBS = 30
REQUESTS = 15


def add_once(state: AnyState) -> None:
    """Ask for some things, each of which the other process asks for as well."""
    for number in range(JOBS):
        added = state.jobs.add_once(job(f"{sys.argv[3]}-{number}", fingerprint=f"{number:064}"))
        print(added.id)


def count_requests(state: AnyState) -> None:
    """Count requests and look at jobs, by many threads."""

    def work(_: int) -> None:
        state.counters.count([Counted("global", 3600), Counted("other", 3600)])
        state.jobs.find(JobQuery("enrichment"), ALL)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(COUNTS)))


def change(state: AnyState) -> None:
    """Change a job for ever."""
    state.jobs.begin("j1", "r1")
    for number in count(1):
        state.jobs.report("j1", PartProgress(0, number, 0))
        state.jobs.advance("j1", "r1")
        if number % 10 == 0:
            print(number, flush=True)


def ask(state: AnyState) -> None:
    """Add requests."""
    for _ in range(REQUESTS):
        _added(state)


def change_requests(state: AnyState) -> None:
    """Add and change requests for ever."""
    for number in count(1):
        dsr = _added(state)
        for attempt in range(3):
            tried = replace(dsr.forwarding, attempts=attempt)
            dsr = there(
                state.dsr.change(replace(dsr, forwarding=tried), _draft(dsr, dsr.version + 1))
            )
        print(number, flush=True)


def _added(state: AnyState) -> Dsr:
    dsr = a_request()
    dsr = replace(dsr, subjects=(dsr.id.replace("-", "") * 2,))
    state.dsr.add([dsr], [_draft(dsr, 1)])
    return dsr


def _draft(dsr: Dsr, version: int) -> AuditDraft:
    return AuditDraft(sys.argv[3], "org-1", "dsr.changed", f"dsr:{dsr.id}", {"version": version})


TASKS: dict[str, Callable[[AnyState], None]] = {
    "add_once": add_once,
    "count_requests": count_requests,
    "change": change,
    "ask": ask,
    "change_requests": change_requests,
}


def main() -> None:
    state = opened(sys.argv[2])
    print("ready", flush=True)
    sys.stdin.readline()
    TASKS[sys.argv[1]](state)
    state.close()


if __name__ == "__main__":
    main()
