"""The worker pool: stands beside each task manager or executor and starts workers for it.

Engines ask for workers by Beam's external worker pool service. Each worker is a process of its
own that dies with the pool; it sees the pool's modules and environment.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import structlog
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc

from runners.engines.errors import EngineError
from runners.engines.processes import start_tied, stop

_log = structlog.get_logger()


class WorkerPool(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):
    """Starts and stops worker processes as an engine wishes.

    Call ``reap`` and ``close`` from the thread that made the pool.
    """

    def __init__(self) -> None:
        self._workers: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()

    def StartWorker(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        """Beam's service: start a worker that calls back to the engine."""
        command = [sys.executable, "-m", "runners.engines.worker"]
        arguments = [request.control_endpoint.url, request.worker_id]
        with self._lock:
            self._workers[request.worker_id] = start_tied(command + arguments, env=modules())
        _log.info("worker started", worker=request.worker_id)
        return beam_fn_api_pb2.StartWorkerResponse()

    def StopWorker(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        """Beam's service: the engine needs the worker no more."""
        with self._lock:
            worker = self._workers.pop(request.worker_id, None)
        if worker is not None:
            stop(worker)
            _log.info("worker stopped", worker=request.worker_id)
        return beam_fn_api_pb2.StopWorkerResponse()

    def reap(self) -> None:
        """Forget workers that ended by themselves, as they do when their engine dies."""
        with self._lock:
            ended = [name for name, worker in self._workers.items() if worker.poll() is not None]
            for name in ended:
                del self._workers[name]

    def close(self) -> None:
        """End all workers."""
        with self._lock:
            for worker in self._workers.values():
                stop(worker)
            self._workers.clear()


def own_command(port: int) -> list[str]:
    """The command line of a pool that serves this machine only."""
    return [sys.executable, "-m", "runners.engines.worker_pool", str(port)]


def modules() -> dict[str, str]:
    """The environment in which a process can import what this one can."""
    return {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}  # noqa: PTH109


def serve(host: str, port: int) -> None:
    """Serve engines until SIGTERM or SIGINT; then end all workers.

    Raises ``EngineError`` if the port is taken.
    """
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    pool = WorkerPool()
    server = _listening(pool, host, port)
    _log.info("worker pool is ready", host=host, port=port)
    while not ended.wait(1.0):
        pool.reap()
    server.stop(0)
    pool.close()


def _listening(pool: WorkerPool, host: str, port: int) -> Any:
    # Without this option a second pool would share the port silently.
    options = [("grpc.so_reuseport", 0)]
    server = grpc.server(ThreadPoolExecutor(max_workers=8), options=options)
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    try:
        server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise EngineError(f"{host}:{port} cannot be listened at: is it in use?") from error
    server.start()
    return server


if __name__ == "__main__":
    serve("127.0.0.1", int(sys.argv[1]))
