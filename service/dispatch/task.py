"""The dispatcher as a thread of a worker process."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import timedelta

import structlog

from dsr.alerts import Alerts
from dsr.desk import open_desk
from dsr.minimise import minimise
from runners.launcher import ProcessLauncher
from runners.runs import holder_here, state_folder, state_of
from service.bootstrap import Wiring
from service.dispatch.dispatcher import Dispatcher, Post
from service.dispatch.lake import LakeJobs
from service.dispatch.sweep import SWEEP_EVERY, Kept, Recurring, Sweep, sweep_exports
from service.enrichment.uploads import Uploads
from stores.audit_keys import audit_keys
from stores.checkpoints import AuditBroken, checkpoint_if_due
from stores.notify.opening import open_notifiers
from stores.objects import S3Settings
from stores.state.service_port import Stores

SIGN_EVERY = timedelta(minutes=1)
"""How often it is looked whether the audit log is to be signed."""

_log = structlog.get_logger()


def run(wiring: Wiring) -> None:
    """Dispatch until the process is asked to end; with a store of its own, which it waits on."""
    with closing(state_of(wiring.settings)) as state:
        dispatcher = Dispatcher(post_of(wiring, state), holder_here())
        dispatcher.run(wiring.closing)


def post_of(wiring: Wiring, state: Stores) -> Post:
    """What a dispatcher of these settings works with."""
    section = wiring.settings.service.enrichment
    return Post(
        state=state,
        launcher=ProcessLauncher(),
        clock=wiring.clock,
        logs=state_folder(wiring.settings) / "logs",
        max_running=section.max_running,
        max_attempts=section.max_attempts,
        sweep=_clearing(wiring, state),
        enlist=_enlisting(wiring, state),
    )


def _enlisting(wiring: Wiring, state: Stores) -> Callable[[], None]:
    """Has the lake's part in requests done, if there is a lake."""
    section = wiring.settings.dsr
    if section.lake.uri is None:
        return lambda: None
    desk = open_desk(section, state, wiring.parameters, wiring.clock)
    settings = wiring.settings
    notifier = open_notifiers(settings.alerts, settings.outbound)
    alerts = Alerts(state.alerts, notifier, wiring.clock)
    return LakeJobs(desk, state.jobs, section.lake.most_at_once, alerts.tell)


def _clearing(wiring: Wiring, state: Stores) -> Callable[[], None]:
    """What is done now and then, each on its own: one that fails keeps no other from its work."""
    desk = open_desk(wiring.settings.dsr, state, wiring.parameters, wiring.clock)
    due = [
        Recurring(_sweep(wiring, state), SWEEP_EVERY, wiring.clock),
        Recurring(lambda: minimise(desk), SWEEP_EVERY, wiring.clock),
        Recurring(lambda: _sweep_exports(wiring), SWEEP_EVERY, wiring.clock),
        Recurring(_signing(wiring, state), SIGN_EVERY, wiring.clock),
    ]

    def clear() -> None:
        for recurring in due:
            recurring()

    return clear


def _signing(wiring: Wiring, state: Stores) -> Callable[[], None]:
    """Signs how far the audit log is, if that is due, unless it is not whole."""

    def sign() -> None:
        try:
            checkpoint_if_due(state.audit, lambda: audit_keys(wiring.parameters), wiring.clock())
        except AuditBroken as error:
            _log.error("the audit log is not signed any more", reason=error.message)

    return sign


def _sweep(wiring: Wiring, state: Stores) -> Sweep:
    settings = wiring.settings
    kept = Kept(
        jobs=timedelta(days=settings.service.enrichment.keep_days),
        runs=timedelta(days=settings.state.keep_days),
    )
    uploads = Uploads(wiring.files, settings.service.enrichment, wiring.clock)
    return Sweep(state, state, wiring.files, uploads, kept, wiring.clock)


def _sweep_exports(wiring: Wiring) -> None:
    settings = wiring.settings
    sweep_exports(settings.dsr.lake, S3Settings.of(settings.s3), wiring.clock())
