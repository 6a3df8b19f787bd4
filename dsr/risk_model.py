"""The model of past requests that the settings name, opened once a process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from schemas.errors import ObjectMissing, UsageError
from stores.objects import S3Settings, split_uri

if TYPE_CHECKING:
    from schemas.risk_model import RiskModel

_log = structlog.get_logger()


def open_model(address: str | None, s3: S3Settings) -> RiskModel | None:
    """The model at this address; None if there is none, which is logged: then rules alone judge.

    Raises ``UsageError`` for what is no model, or one of other features than this version has, and
    ``StoreError``.
    """
    if address is None:
        return None
    # Loads numpy, which whoever has learned nothing need not wait for.
    from schemas.risk_model import LARGEST, decode_model

    try:
        return decode_model(_read(address, s3, LARGEST), address)
    except ObjectMissing:
        _log.warning("there is no risk model yet: requests are judged by rules alone", at=address)
        return None


def _read(address: str, s3: S3Settings, most: int) -> bytes:
    store, key = split_uri(address, s3)
    info = store.head(key)
    if info is None:
        raise ObjectMissing(f"{address}: there is no such file")
    if info.size > most:
        raise UsageError(f"{address}: no risk model: it has more than {most} bytes")
    return store.read(key)
