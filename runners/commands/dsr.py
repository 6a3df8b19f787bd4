"""``lethe dsr``: data subject requests on this state store, without the service."""

from __future__ import annotations

import getpass
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runners.commands.options import configured, no_dash, reading
from runners.commands.runs import AsJson, opened_state, print_table

if TYPE_CHECKING:
    from datetime import datetime

    from dsr.changing import Decide, Step
    from dsr.desk import Desk
    from schemas.access import Reach
    from schemas.dsr import Dsr, DsrStatus, Identity

app = typer.Typer(
    name="dsr",
    help="Data subject requests: submit, show, list, cancel, drain, retry, at risk, learn.",
    no_args_is_help=True,
)

STANDARD_INPUT = "-"
"""Given in the place of an email: it is read from standard input, and shows in no process list."""

RequestId = Annotated[str, typer.Argument(metavar="ID", help="As `lethe dsr list` has it.")]
Organization = Annotated[
    str, typer.Option("--organisation", "--organization", help="Whose request it is.")
]
OneOrganization = Annotated[
    str | None,
    typer.Option("--organisation", "--organization", help="Only this one's (default: all)."),
]
Email = Annotated[
    str | None, typer.Option("--email", help="The subject's; - reads it from standard input.")
]
Limit = Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many at most.")]

_COLUMNS = ("request", "type", "status", "received (UTC)", "due (UTC)", "days left", "parked")


@app.command("submit")
def submit_request(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="TYPE", help="gdpr_delete, ccpa_delete, export, access, portability, erasure."
        ),
    ],
    organization: Organization,
    email: Email = None,
    identity: Annotated[
        list[str] | None,
        typer.Option("--identity", metavar="TYPE=VALUE", help="Another identity; repeatable."),
    ] = None,
    regulation: Annotated[
        str | None, typer.Option("--regulation", help="gdpr or ccpa, unless TYPE says it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Submit a request, and print its id. The service, or `lethe dsr drain`, forwards it."""
    from dsr.submit import Order, Submitter, submit
    from schemas.access import Reach, check_names

    order = Order(kind, _identities(email, identity or []), _regulation(regulation))
    with _opened_counter(judging=True) as counter:
        check_names(counter.actor, organization)
        submitter = Submitter(counter.actor, organization, Reach(organization))
        dsr = submit(counter.desk, order, submitter, str(uuid.uuid4()))
        _print_one(counter.desk, dsr, as_json, dsr.id)


@app.command("show")
def show_request(request_id: RequestId, as_json: AsJson = False) -> None:
    """Show a request: its status, deadlines, risk, and what is known of it at the processor."""
    from dsr.changing import found
    from schemas.access import Reach

    with _opened_counter() as counter:
        dsr = found(counter.desk, request_id, Reach(None))
        _print_one(counter.desk, dsr, as_json, _facts(_shown(counter.desk, dsr)))


@app.command("list")
def list_requests(
    email: Email = None,
    status: Annotated[
        str | None, typer.Option("--status", help="held, queued, submitted, in_progress ...")
    ] = None,
    organization: OneOrganization = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """List requests, newest first; with an email those of one subject."""
    from dsr.requests import Search, search

    identity = None if email is None else _of_email(email)
    asked = Search(identity, _status(status), limit=limit)
    with _opened_counter() as counter:
        _print_all(counter.desk, search(counter.desk, asked, _reach(organization)), as_json)


@app.command("cancel")
def cancel_request(request_id: RequestId) -> None:
    """Cancel a request: at once, or by its processor as long as that has not begun."""
    from dsr.cancel import cancel
    from schemas.access import Reach

    with _opened_counter() as counter:
        dsr = cancel(counter.desk, request_id, Reach(None), counter.actor)
    is_done = dsr.cancel_requested_at is None
    typer.echo(f"request {dsr.id} is {'cancelled' if is_done else 'asked to end'}")


@app.command("drain")
def drain_requests(
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on until interrupted, as the service does.")
    ] = False,
) -> None:
    """Forward what is queued to the processors, oldest first, unless another process does."""
    from config.settings import load_settings
    from dsr.draining import drain_all, drain_on
    from runners.runs import holder_here
    from schemas.errors import UsageError
    from stores.parameters import open_parameters
    from stores.state.sql import utc_now

    settings = load_settings()
    if not settings.processors:
        raise UsageError("no processor is configured: set processors, as docs/processors.md says")
    with opened_state() as state:
        parameters = open_parameters(settings.parameters)
        work = drain_on if follow else drain_all
        done = work(settings, state, parameters, utc_now, holder_here())
    if done is None:
        typer.echo("another process drains, such as the service: nothing was done")
        return
    counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(done.items()))
    typer.echo(counts or "nothing was due")


@app.command("retry")
def retry_request(request_id: RequestId) -> None:
    """Have a parked request tried again, from the first attempt on."""
    from dsr.changing import change
    from dsr.forwarding import retried
    from schemas.access import Reach

    with _opened_counter() as counter:
        retry = _or_refuse(retried, "is not parked: there is nothing to try again")
        dsr = change(counter.desk, request_id, Reach(None), counter.actor, retry)
    typer.echo(f"request {dsr.id} is {dsr.status}, and no longer parked")


@app.command("accept")
def accept_request(request_id: RequestId) -> None:
    """Let a request that the lake could not reach all of be done by the certificate that it has."""
    from dsr.changing import change
    from dsr.lake import accepted
    from schemas.access import Reach

    with _opened_counter() as counter:
        accept = _or_refuse(accepted, "was not parked with a certificate: nothing to accept")
        dsr = change(counter.desk, request_id, Reach(None), counter.actor, accept)
    typer.echo(f"request {dsr.id} is {dsr.status}")


@app.command("at-risk")
def list_at_risk(
    days: Annotated[
        int | None,
        typer.Option("--days", min=0, max=90, help="Days left, at most (default: by setting)."),
    ] = None,
    organization: OneOrganization = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List open requests that are due soon, or overdue, the soonest first."""
    from dsr.requests import at_risk

    with _opened_counter() as counter:
        found = at_risk(counter.desk, _reach(organization), limit, days)
        _print_all(counter.desk, found, as_json)


@app.command("learn-risk")
def learn_risk_command(
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            metavar="FILE",
            callback=no_dash,
            help="A path or s3:// (default: dsr.risk.model).",
        ),
    ] = None,
    days: Annotated[
        int, typer.Option("--days", min=1, max=3660, help="How far to look back.")
    ] = 365,
    share: Annotated[
        float,
        typer.Option("--share", min=0, max=0.5, help="How many of the requests are to be unusual."),
    ] = 0.005,
) -> None:
    """Learn from past requests what is usual, for new ones to be judged by."""
    from datetime import timedelta

    from runners.choose import open_runner
    from runners.learn_risk import learn_from
    from runners.options import RunnerOptions
    from schemas.errors import UsageError
    from stores.objects import S3Settings
    from stores.state.sql import utc_now

    settings = configured()
    to = out or settings.dsr.risk.model
    if to is None:
        raise UsageError("where to? set dsr.risk.model, or give --out FILE")
    since, s3 = timedelta(days=days), S3Settings.of(settings.s3)
    with open_runner(RunnerOptions()) as runner:
        done = learn_from(since, share, to, utc_now(), s3, runner)
    typer.echo(f"learned from {done.model.requests} of {done.read} requests: {to}")
    typer.echo(f"sha256 {done.sha256}")


@dataclass(frozen=True)
class _Counter:
    """Where a person stands: the desk behind it, and a name for them that is not their own."""

    desk: Desk
    actor: str


@contextmanager
def _opened_counter(judging: bool = False) -> Iterator[_Counter]:
    """With ``judging``, what comes in is judged by what was learned, too."""
    from config.settings import load_settings
    from dsr.desk import open_desk
    from dsr.lake import offer_of
    from dsr.risk_model import open_model
    from stores.objects import S3Settings
    from stores.parameters import open_parameters
    from stores.state.sql import utc_now

    settings = load_settings()
    model = settings.dsr.risk.model if judging else None
    with opened_state() as state:
        known = (open_parameters(settings.parameters), utc_now)
        learned = open_model(model, S3Settings.of(settings.s3))
        desk = open_desk(settings.dsr, state, *known, learned, offer_of(settings))
        yield _Counter(desk, f"cli:{desk.subjects.pseudonym('actor', getpass.getuser())[:16]}")


def _identities(email: str | None, others: Iterable[str]) -> list[Identity]:
    from schemas.errors import UsageError

    found = [_identity(text) for text in others]
    if email is not None:
        found.insert(0, _of_email(email))
    if not found:
        raise UsageError("who is it about? give --email, or --identity TYPE=VALUE")
    return found


def _of_email(given: str) -> Identity:
    """Raises ``Invalid``, which does not repeat what was given."""
    from schemas.dsr import Identity, IdentityType
    from schemas.identities import checked

    with reading("standard input"):
        text = sys.stdin.readline() if given == STANDARD_INPUT else given
    return checked(Identity(IdentityType.EMAIL, text), "--email")


def _identity(text: str) -> Identity:
    from schemas.dsr import Identity, IdentityType
    from schemas.errors import UsageError

    kind, _, value = text.partition("=")
    if kind not in {*IdentityType} or not value:
        raise UsageError(f"--identity: write TYPE=VALUE, of a type of {', '.join(IdentityType)}")
    return Identity(IdentityType(kind), value)


def _regulation(name: str | None) -> Any:
    from schemas.dsr import Regulation
    from schemas.errors import UsageError

    if name not in {None, *Regulation}:
        raise UsageError(f"--regulation {name!r}: choose gdpr or ccpa")
    return None if name is None else Regulation(name)


def _status(name: str | None) -> DsrStatus | None:
    from schemas.dsr import DsrStatus
    from schemas.errors import UsageError

    if name not in {None, *DsrStatus}:
        raise UsageError(f"--status {name!r}: choose one of {', '.join(DsrStatus)}")
    return None if name is None else DsrStatus(name)


def _reach(organization: str | None) -> Reach:
    from schemas.access import Reach

    return Reach(organization)


def _shown(desk: Desk, dsr: Dsr) -> Mapping[str, Any]:
    from schemas.deadlines import days_left
    from schemas.dsr import shown_dsr

    return {**shown_dsr(dsr), "daysLeft": days_left(dsr.due_at, desk.clock())}


def _print_one(desk: Desk, dsr: Dsr, as_json: bool, otherwise: str) -> None:
    typer.echo(_json(_shown(desk, dsr)) if as_json else otherwise)


def _print_all(desk: Desk, found: Iterable[Dsr], as_json: bool) -> None:
    if not as_json:
        print_table(_COLUMNS, (_row(desk, dsr) for dsr in found))
        return
    for dsr in found:
        typer.echo(_json(_shown(desk, dsr)))


def _json(shown: Mapping[str, Any]) -> str:
    import msgspec

    return msgspec.json.encode(shown).decode()


def _row(desk: Desk, dsr: Dsr) -> list[str]:
    from runners.commands.runs import when
    from schemas.deadlines import days_left

    left = str(days_left(dsr.due_at, desk.clock()))
    times = [when(dsr.received_at), when(dsr.due_at)]
    return [dsr.id, dsr.kind, dsr.status.value, *times, left, _why_parked(dsr)]


def _or_refuse(decide: Decide, why: str) -> Decide:
    """The decision, and an error in place of none."""
    from schemas.errors import UsageError

    def refusing(dsr: Dsr, now: datetime) -> Step | None:
        step = decide(dsr, now)
        if step is None:
            raise UsageError(f"request {dsr.id} {why}")
        return step

    return refusing


def _why_parked(dsr: Dsr) -> str:
    from schemas.dsr_lake import LakeState

    at_lake = dsr.lake.reason if dsr.lake and dsr.lake.state is LakeState.PARKED else None
    return "; ".join(filter(None, (dsr.parked_reason, at_lake)))


def _facts_of_lake(lake: Mapping[str, Any]) -> dict[str, Any]:
    preview, certificate, export = (
        lake.get(name) or {} for name in ("preview", "certificate", "export")
    )
    return {
        "lake": lake.get("state"),
        "lakeReason": lake.get("reason"),
        "preview": preview.get("id"),
        "certificate": certificate.get("id"),
        "notReached": certificate.get("unreachable"),
        "openRuns": certificate.get("openRuns"),
        "archive": export.get("archive"),
    }


def _facts(shown: Mapping[str, Any]) -> str:
    """What is known, a line each, by the names that clients know."""
    risk, review, error = shown["risk"], shown["review"], shown.get("error")
    facts = {
        **{name: value for name, value in shown.items() if not isinstance(value, dict)},
        "risk": f"{risk['score']}" if risk["score"] else None,
        "reasons": "; ".join(risk["reasons"]),
        "review": None if review is None else f"{review['by']} at {review['at']}",
        "error": None if error is None else f"{error['code']}: {error['message']}",
        **_facts_of_lake(shown.get("lake") or {}),
    }
    known = {name: value for name, value in facts.items() if value not in (None, "", False)}
    return "\n".join(f"{name:<22}{value}" for name, value in known.items())
