"""Master and workers of a distributed run: slices of users, reports, and a drain at the end.

Locust's own quit gives workers half a second before it stops listening to them. A worker that has
to wait for answers needs longer, so the master first has all of them drain, and waits.
"""

from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from typing import Any

import gevent
from gevent.event import Event

from wpsload.run import LoadRun
from wpsload.target import Slice

__all__ = ["Master", "Worker", "longest_drain_s"]

_REPORT = "wpsload"
_SLICE = "wpsload.slice"
_DRAIN = "wpsload.drain"
_DRAINED = "wpsload.drained"

_MARGIN_S = 5.0  # beyond what a user may take: messages on their way, and a busy worker
_LOOK_AGAIN_S = 0.1


def longest_drain_s(run: LoadRun) -> float:
    """Seconds within which every worker has drained: answers, then the closing handshake."""
    return 2 * run.settings.limits.drain_s + _MARGIN_S


class Worker:
    """The worker's side."""

    def __init__(self, environment: Environment, runner: WorkerRunner, run: LoadRun) -> None:
        self._runner = runner
        self._run = run
        self._drained: Event | None = None
        runner.register_message(_SLICE, self._take_slice)
        runner.register_message(_DRAIN, self._drain_for_master, concurrent=True)
        environment.events.report_to_master.add_listener(self._report)
        # Registered now, it precedes Locust's own, after which the master listens no more.
        environment.events.quitting.add_listener(self._quit)

    def _take_slice(self, msg: Any, **_: Any) -> None:
        self._run.slice = Slice(msg.data["index"], msg.data["count"])
        self._drained = None

    def _report(self, data: dict[str, Any], **_: Any) -> None:
        data[_REPORT] = self._run.recorder.drain()

    def _drain_for_master(self, **_: Any) -> None:
        self._report_drained()
        self._runner.send_message(_DRAINED)

    def _quit(self, **_: Any) -> None:
        """Ctrl-C reaches all processes at once: report what the master would never ask for."""
        self._report_drained()

    def _report_drained(self) -> None:
        self._drain()
        self._runner._send_stats()  # Locust reports by itself only every 3 s, and on its own quit

    def _drain(self) -> None:
        if self._drained is not None:
            self._drained.wait()
            return
        self._drained = Event()
        self._runner.stop()
        self._drained.set()


class Master:
    """The master's side."""

    def __init__(self, environment: Environment, runner: MasterRunner, run: LoadRun) -> None:
        self._runner = runner
        self._run = run
        self._draining: set[str] = set()
        runner.register_message(_DRAINED, self._worker_drained)
        environment.events.worker_report.add_listener(self._merge)
        environment.events.test_start.add_listener(self._hand_out_slices)
        environment.events.test_stopping.add_listener(self._drain_workers)

    def _hand_out_slices(self, **_: Any) -> None:
        """Tell each worker which users of the whole run are its own.

        Locust gives the first workers, ordered by id, the users that do not divide evenly; the
        strided slices follow the same order.
        """
        workers = sorted(client.id for client in self._runner.clients.ready)
        for index, worker in enumerate(workers):
            self._runner.send_message(_SLICE, {"index": index, "count": len(workers)}, worker)

    def _merge(self, data: dict[str, Any], **_: Any) -> None:
        if (delta := data.pop(_REPORT, None)) is not None:
            self._run.recorder.merge(delta)

    def _worker_drained(self, msg: Any, **_: Any) -> None:
        self._draining.discard(msg.node_id)

    def _drain_workers(self, **_: Any) -> None:
        self._draining = {client.id for client in self._runner.clients.all}
        for worker in sorted(self._draining):
            self._runner.send_message(_DRAIN, None, worker)
        gevent.with_timeout(longest_drain_s(self._run), self._wait_for_workers, timeout_value=None)

    def _wait_for_workers(self) -> None:
        while self._draining & {client.id for client in self._runner.clients.all}:
            gevent.sleep(_LOOK_AGAIN_S)
