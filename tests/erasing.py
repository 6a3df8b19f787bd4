"""What tests of erasures share: a small lake of all kinds of files, and how it is erased in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from runners.direct import DirectRunner
from runners.erase import ErasureDone, ErasureOrder, ErasureSite, run_erasure
from runners.forked_files import ForkedFiles
from schemas.delivery import Counts, Partition, summary
from schemas.dsr import Identity, IdentityType
from schemas.registry import build_record_type, load_registry
from stores.audit_keys import audit_keys
from stores.log import Commit, DataFile, DeliveryLog
from stores.objects.port import ObjectStore
from stores.parameters import ParameterStore
from stores.subjects import Subjects
from transforms.erasure.work import Findings
from transforms.scrub import ScrubKey

EMAIL = "ana@acme.example"
OTHER = "bo@acme.example"

SECRETS = {
    "scrub-key": "only-for-tests-only-for-tests-32",
    "audit-keys": "1f" * 32,
    "dsr-subject-key": "s" * 32,
    "dsr-seal-keys": "t" * 32,
}

VISIT = build_record_type(
    {
        "type": "record",
        "name": "visit",
        "fields": [
            {"name": "id", "type": "string"},
            {"name": "type", "type": "string"},
            {"name": "version", "type": "long"},
            {
                "name": "at",
                "type": {"type": "long", "logicalType": "timestamp-micros"},
                "partition": True,
            },
            {"name": "email", "type": ["null", "string"], "subject": "email", "pii": "email"},
        ],
    }
)


class Secrets(ParameterStore):
    """Parameters that tests know."""

    def _fetch(self, name: str) -> str:
        return SECRETS[name]


def site(store: ObjectStore, clock: Callable[[], datetime] | None = None) -> ErasureSite:
    parameters = Secrets()
    registry = load_registry()
    types = {**registry.types, "visit": VISIT}
    return ErasureSite(
        store=store,
        scrub_key=ScrubKey.of(parameters),
        registry=type(registry)(types),
        keys=audit_keys(parameters),
        seals=Subjects(parameters),
        clock=clock or (lambda: datetime.now(UTC)),
    )


def order(*emails: str, **more: Any) -> ErasureOrder:
    """An order that no guard is in the way of."""
    subjects = tuple((Identity(IdentityType.EMAIL, email),) for email in emails or (EMAIL,))
    given = {"max_match_share": 1.0, "wait": timedelta(0), **more}
    return ErasureOrder(subjects, **given)


class OneProcess:
    """Runs all there is to run in this process: pipelines, and work with files."""

    def __init__(self) -> None:
        self._pipelines, self._files = DirectRunner(1), ForkedFiles(1)

    def run(self, build: Any, parts: int) -> dict[str, int]:
        return self._pipelines.run(build, parts)

    def each(self, *given: Any) -> Findings:
        return self._files.each(*given)


@cache
def runner() -> OneProcess:
    return OneProcess()


class Meanwhile:
    """A runner that lets something happen after its first work, before what that did counts.

    With ``max_match_share`` 1 the first work of an erasure is the first pass of the lake.
    """

    def __init__(self, *happenings: Callable[[], object]) -> None:
        self._happenings = list(happenings)

    def run(self, build: Any, parts: int) -> dict[str, int]:
        counters = runner().run(build, parts)
        self._go_on()
        return counters

    def each(self, *given: Any) -> Findings:
        found = runner().each(*given)
        self._go_on()
        return found

    def _go_on(self) -> None:
        if self._happenings:
            self._happenings.pop(0)()


def erase(store: ObjectStore, *emails: str, by: Any = None, **more: Any) -> ErasureDone:
    return run_erasure(order(*emails, **more), site(store), by or runner())


def parquet_of(emails: Iterable[str | None], **options: Any) -> bytes:
    """A file of visits, as another tool may have put it into the lake."""
    rows = list(emails)
    table = pa.table({"id": [f"v-{n}" for n in range(len(rows))], "email": rows})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **options)
    return sink.getvalue().to_pybytes()


def put_visits(store: ObjectStore, name: str, *emails: str | None) -> str:
    key = f"type=visit/date=2026-01-02/{name}.parquet"
    store.put(key, parquet_of(emails))
    return key


def emails_in(store: ObjectStore, key: str) -> list[str | None]:
    table = pq.read_table(pa.BufferReader(store.read(key)))
    return table.column("email").to_pylist()


def paths(store: ObjectStore) -> list[str]:
    """The files that a reader of the lake sees."""
    return [info.key for info in store.list() if not info.key.startswith("_")]


def deliver(store: ObjectStore, name: str, *emails: str, knows: int = 0) -> Commit:
    """A delivery of one file of visits."""
    log = DeliveryLog(store)
    run = log.begin(f"run-{name}", log.last_number())
    writer = store.stage(f"type=visit/date=2026-01-03/{name}.parquet", run.run_id)
    writer.write(parquet_of(emails))
    staged = writer.close()
    partition = Partition("visit", "2026-01-03")
    file = DataFile(partition, "parquet", "snappy", len(emails), None, None, None, staged)
    now, nothing = datetime.now(UTC), summary(Counts())
    made = log.commit(run, Commit(0, run.run_id, "deliver", now, (file,), (), nothing, knows=knows))
    log.finish(run)
    return made
