"""Every request is an operation: it is measured, counted, and told of in one line.

The line has the method, the template of the path, the status, seconds, sizes and who asked; never
the path itself or its query, in which anything may be. A body that is sent bit by bit is counted to
its end. A WebSocket is told of when it closes, and its life is no duration of a request.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass

import structlog
from flask import Flask, Response, g, request

from service.bootstrap import Wiring
from service.observe.metrics import METHODS, Metrics
from stores.tracing import Span, SpanKind, Tracer

_log = structlog.get_logger()

UNMATCHED = "unmatched"
"""The route and the operation of a request to where nothing is."""


@dataclass
class _Exchange:
    """A request, and by and by its answer. Times are of ``time.perf_counter``."""

    method: str
    route: str
    is_socket: bool
    correlation_id: str
    began: float
    request_bytes: int
    status: int = 0
    response_bytes: int = 0
    subject: str | None = None


def install(app: Flask, wiring: Wiring) -> None:
    """Watch every request. To be installed right after the correlation id."""
    metrics, operations = wiring.observer.metrics, wiring.observer.operations
    tracer = wiring.observer.tracer

    @app.before_request
    def begin() -> None:
        g.exchange = _begun()
        g.observed = ExitStack()
        under_way = metrics.sockets if g.exchange.is_socket else metrics.in_progress
        under_way.inc()
        g.observed.callback(under_way.dec)
        if not g.exchange.is_socket:
            g.span = g.observed.enter_context(_span(tracer, g.exchange))
            g.traceparent = tracer.traceparent() or g.traceparent
            name = request.endpoint or UNMATCHED
            g.operation = g.observed.enter_context(operations.measure(name))

    @app.after_request
    def answered(response: Response) -> Response:
        exchange: _Exchange = g.exchange
        _note_answer(exchange, response)
        _end_operation(exchange)
        _at_end(response, exchange, lambda: _tell(exchange, metrics))
        return response

    @app.teardown_request
    def end(_: BaseException | None) -> None:
        if "observed" in g:
            g.observed.close()


def _begun() -> _Exchange:
    return _Exchange(
        method=request.method if request.method in METHODS else "OTHER",
        route=request.url_rule.rule if request.url_rule is not None else UNMATCHED,
        is_socket=request.environ.get("HTTP_UPGRADE", "").lower() == "websocket",
        correlation_id=g.correlation_id,
        began=time.perf_counter(),
        request_bytes=request.content_length or 0,
    )


def _span(tracer: Tracer, exchange: _Exchange) -> AbstractContextManager[Span]:
    return tracer.span(
        f"{exchange.method} {exchange.route}",
        SpanKind.SERVER,
        g.traceparent,
        http__request__method=exchange.method,
        http__route=exchange.route,
    )


def _note_answer(exchange: _Exchange, response: Response) -> None:
    principal = g.get("principal")
    exchange.subject = None if principal is None else principal.subject
    exchange.status = response.status_code
    exchange.response_bytes = response.calculate_content_length() or 0


def _end_operation(exchange: _Exchange) -> None:
    """The operation ends where its answer begins: how fast a client reads is its own affair."""
    if "operation" in g:
        g.operation.request_bytes = exchange.request_bytes
        g.operation.response_bytes = exchange.response_bytes
        g.operation.error = g.get("error_code")
        g.span.note(http__response__status_code=exchange.status)
        if exchange.status >= 500:
            g.span.fail(g.operation.error or str(exchange.status))
        g.observed.close()


def _at_end(response: Response, exchange: _Exchange, tell: Callable[[], None]) -> None:
    """Have ``tell`` called when the answer was sent; now, if all of it is here."""
    if not response.is_streamed:
        tell()
        return
    if response.content_length is None and not response.direct_passthrough:
        response.response = _counted(response.iter_encoded(), exchange)
    response.call_on_close(tell)


def _counted(chunks: Iterable[bytes], exchange: _Exchange) -> Iterator[bytes]:
    for chunk in chunks:
        exchange.response_bytes += len(chunk)
        yield chunk


def _tell(exchange: _Exchange, metrics: Metrics) -> None:
    seconds = time.perf_counter() - exchange.began
    metrics.requests.labels(exchange.method, exchange.route, str(exchange.status)).inc()
    if not exchange.is_socket:
        metrics.request_seconds.labels(exchange.method, exchange.route).observe(seconds)
        metrics.request_bytes.labels(exchange.method).observe(exchange.request_bytes)
        metrics.response_bytes.labels(exchange.method).observe(exchange.response_bytes)
    _log.info(
        "request",
        method=exchange.method,
        route=exchange.route,
        status=exchange.status,
        seconds=round(seconds, 6),
        request_bytes=exchange.request_bytes,
        response_bytes=exchange.response_bytes,
        subject=exchange.subject,
        # Told here: the context is gone when the end of a long body is sent.
        correlation_id=exchange.correlation_id,
    )
