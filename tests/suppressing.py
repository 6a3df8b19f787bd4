"""Lists of suppressed subjects, entered in a lake's log as an erasure enters them."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

from schemas.delivery import Counts, summary
from schemas.dsr import Identity, IdentityType
from stores.log import SUPPRESS, Commit, DeliveryLog
from stores.objects.port import ObjectStore
from stores.suppression import save_suppressions
from transforms.subject_hashes import SubjectHasher


def suppress(store: ObjectStore, key: str, email: str, until: datetime | None = None) -> int:
    """Suppress an email, for ever or ``until`` then; the number of the entry."""
    identity = Identity(IdentityType.EMAIL, email)
    log = DeliveryLog(store)
    run = log.begin(f"suppress-{uuid4().hex[:8]}", log.last_number())
    suppressed = SubjectHasher(key.encode()).suppressed(identity, until)
    ref = save_suppressions(store, run.run_id, [suppressed])
    now, nothing = datetime.now(UTC), summary(Counts())
    entry = Commit(0, run.run_id, SUPPRESS, now, (), (), nothing, suppressed=ref)
    number = log.commit(run, entry).number
    log.finish(run)
    return number
