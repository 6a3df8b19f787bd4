"""The service signs how far the audit log is, by what the dispatcher has done now and then."""

from __future__ import annotations

import threading

from service.bootstrap import Wiring
from service.dispatch.task import post_of
from stores.audit_keys import audit_keys
from tests.audit_logs import draft


def test_new_entries_are_signed_for(wiring: Wiring) -> None:
    entry = wiring.state.audit.append(draft(1))
    post_of(wiring, wiring.state).sweep()
    for thread in threading.enumerate():
        if thread.name == "sweep":
            thread.join()
    newest = wiring.state.audit.newest_checkpoint()
    assert newest is not None
    assert newest.hash == entry.hash
    assert audit_keys(wiring.parameters).public.is_signed(newest)
