"""Counts SQL for the operation that it is done for, without touching any query."""

from __future__ import annotations

import time
from typing import Any

import sqlalchemy as sa

from service.observe.operations import current

_BEGAN = "lethe_began"


def count_statements() -> None:
    """Have all statements of this process count, those that fail too. To repeat it does nothing."""
    for name, listener in _LISTENERS:
        if not sa.event.contains(sa.Engine, name, listener):
            sa.event.listen(sa.Engine, name, listener)


def _before(connection: sa.Connection, *_: Any) -> None:
    if current() is not None:
        connection.info[_BEGAN] = time.perf_counter()


def _after(connection: sa.Connection, *_: Any) -> None:
    began, operation = connection.info.pop(_BEGAN, None), current()
    if began is not None and operation is not None:
        operation.add_statement(connection.dialect.name, time.perf_counter() - began)


def _failed(context: sa.ExceptionContext) -> None:
    if context.connection is not None:
        _after(context.connection)


_LISTENERS: tuple[tuple[str, Any], ...] = (
    ("before_cursor_execute", _before),
    ("after_cursor_execute", _after),
    ("handle_error", _failed),
)
