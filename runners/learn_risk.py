"""Learning risk: one run over the requests of some time, to a model that the service judges by."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import PurePosixPath

from beam_pipelines.learn_risk import learn_risk
from config.settings import load_settings
from runners.choose import PipelineRunner
from runners.runs import state_of
from schemas.risk_model import RiskModel, decode_model, digest_of
from stores.objects import ObjectStore, S3Settings, open_store, split_uri
from stores.state.service_port import Stores
from transforms.risk import Lesson, check_tools, spans
from transforms.risk_stages import READ, ModelFile


@dataclass(frozen=True)
class Learned:
    """What came of it: how many requests were read, the model, and the digest of its file."""

    read: int
    model: RiskModel
    sha256: str


def learn_from(
    since: timedelta, share: float, out: str, now: datetime, s3: S3Settings, runner: PipelineRunner
) -> Learned:
    """Learn from the requests of the time before ``now``, and keep the model at ``out``.

    Raises ``UsageError`` if there are too few, or scikit-learn is missing, and ``StoreError``.
    """
    check_tools()
    store, key = _place_of(out, s3)
    weeks = spans(now - since, now)
    lesson, file = Lesson(share, now), ModelFile(store, key)
    counts = runner.run(lambda p: learn_risk(p, weeks, own_state, lesson, file), len(weeks))
    kept = store.read(key)
    return Learned(counts.get(READ, 0), decode_model(kept, out), digest_of(kept))


def _place_of(out: str, s3: S3Settings) -> tuple[ObjectStore, str]:
    """The store that the model is written to, and its key there.

    That of a file is its folder: what is being written lies there, too, and not in the root of the
    file system, which may be another one, and nobody's to write to.
    """
    store, key = split_uri(out, s3)
    if store.uri != "/":
        return store, key
    path = PurePosixPath("/", key)
    return open_store(str(path.parent)), path.name


def own_state() -> Stores:
    """A worker's own, by the settings of the environment: no password travels with a pipeline."""
    return state_of(load_settings())
