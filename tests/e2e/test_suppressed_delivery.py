"""A delivery into a lake from which subjects were erased: their late rows stay out, and count."""

from __future__ import annotations

from pathlib import Path

from stores.log import DeliveryLog
from stores.objects import LocalObjectStore
from tests.e2e.harness import SCRUB_KEY, balanced, deliver
from tests.suppressing import suppress
from tests.unit.transforms.batches import sale

COUNTED = ("read", "delivered", "suppressed", "dead_letters", "by_type", "by_date")


def test_late_rows_and_letters_of_an_erased_subject_are_counted_and_not_written(
    tmp_path: Path,
) -> None:
    lake, changes = tmp_path / "lake", tmp_path / "in.ndjson"
    broken = b'{"eventName":"INSERT","dynamodb":{"NewImage":{"email":{"S":"ana@acme.example"}'
    rows = [sale(n, "Ana@acme.example" if n < 3 else "bob@acme.example") for n in range(5)]
    changes.write_bytes(b"\n".join([*rows, broken]) + b"\n")
    number = suppress(LocalObjectStore(lake), SCRUB_KEY, "ana@acme.example")
    dry, done = deliver(lake, changes, "--dry-run"), deliver(lake, changes)
    assert done.status == 0, done.err
    assert balanced(done.report)
    assert [dry.report[one] for one in COUNTED] == [done.report[one] for one in COUNTED]
    assert (done.report["delivered"], done.report["suppressed"]) == (2, 4)
    (commit,) = DeliveryLog(LocalObjectStore(lake)).commits(after=number)
    assert (commit.knows, [file.rows for file in commit.files]) == (number, [2])
