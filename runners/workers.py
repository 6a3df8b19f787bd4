"""Worker processes for the in-process runner, forked instead of started.

Beam's own way to use several processes here starts a new interpreter for each, which imports
everything again and costs about a second. Instead one process is forked while this one is still
single-threaded, with all modules loaded; it forks a worker whenever the runner asks for one, in a
few milliseconds. The runner asks through Beam's external worker pool service, the same protocol
that a cluster uses.

A worker dies with its parent, whatever kills that. If one of these processes dies on its own,
``on_death`` is called, because the runner itself would wait for it for ever. Signals that ask the
whole group to end are left to the parent, which decides when its round is over.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import grpc
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc
from apache_beam.runners.worker.sdk_worker import SdkHarness

from runners.forked import die_with, leave_signals_to_parent


class WorkerForks:
    """The forking process, and the service by which a runner asks it for workers."""

    def __init__(self, on_death: Callable[[int], None]) -> None:
        """Fork. Call before any thread is started and before gRPC is used."""
        self._ours, theirs = socket.socketpair()
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            self._ours.close()
            _serve_forks(theirs, parent)
        theirs.close()
        self._on_death = on_death
        self._closing = False
        self._server: Any = None
        self.address = ""

    def __enter__(self) -> WorkerForks:
        self._server = grpc.server(ThreadPoolExecutor(max_workers=4))
        beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(
            _Servicer(self._ours), self._server
        )
        port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        self.address = f"127.0.0.1:{port}"
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        self._server.stop(0)
        self._ours.close()
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)

    def _watch(self) -> None:
        """Read the forking process's reports of workers that ended badly, and its own end."""
        with self._ours.makefile("r") as reports, suppress(OSError):
            for line in reports:
                self._died(int(line))
        self._died(-signal.SIGKILL)

    def _died(self, status: int) -> None:
        if not self._closing:
            self._on_death(status)


class _Servicer(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):
    """Passes the runner's wishes on to the forking process."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def StartWorker(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        wish = {"id": request.worker_id, "control": request.control_endpoint.url}
        self._connection.sendall(json.dumps(wish).encode() + b"\n")
        return beam_fn_api_pb2.StartWorkerResponse()

    def StopWorker(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        """A worker ends by itself when its control stream closes."""
        return beam_fn_api_pb2.StopWorkerResponse()


def _serve_forks(connection: socket.socket, parent: int) -> None:
    """The forking process: fork a worker for each line that comes in. Never returns."""
    die_with(parent)
    leave_signals_to_parent()
    signal.signal(signal.SIGCHLD, lambda *_: _reap(connection))
    this = os.getpid()
    with connection.makefile("r") as wishes:
        for line in wishes:
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _run_worker(json.loads(line), this)
    os._exit(0)


def _reap(connection: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if status != 0:
            connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _run_worker(wish: dict[str, str], parent: int) -> None:
    die_with(parent)
    # Beam prints what a stage raises, values and all; whoever runs the pipeline is told it anyway.
    sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115
    status = 1
    try:
        SdkHarness(wish["control"], worker_id=wish["id"]).run()
        status = 0
    finally:
        os._exit(status)
