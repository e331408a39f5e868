"""Master and workers of a distributed run: users' numbers, reports, and a drain at the end.

Locust's own quit gives workers half a second before it stops listening to them. A worker that has
to wait for answers needs longer, so the master first has all of them drain, and waits.
"""

from locust.env import Environment
from locust.runners import STATE_MISSING, STATE_STOPPING, MasterRunner, WorkerRunner

import logging
from collections import defaultdict
from typing import Any

import gevent
from gevent.event import Event
from gevent.queue import Queue

from wpsload.clock import unix_s
from wpsload.run import LoadRun, Numbers

__all__ = ["LeasedNumbers", "Master", "Worker", "longest_drain_s"]

_log = logging.getLogger(__name__)

_REPORT = "wpsload"
_LEDGER = "wpsload.ledger"
_FAN_OUT = "wpsload.fan_out"
_TARGET = "wpsload.target"
_TIME = "wpsload.time"
_TAKE = "wpsload.take"
_GIVEN = "wpsload.given"
_RELEASE = "wpsload.release"
_DRAIN = "wpsload.drain"
_DRAINED = "wpsload.drained"

_MARGIN_S = 5.0  # beyond what a user may take: messages on their way, and a busy worker
_LOOK_AGAIN_S = 0.1
_MOST_APART_S = 5.0  # clocks of people's time; a report may have been on its way for a while


def longest_drain_s(environment: Environment, run: LoadRun) -> float:
    """Seconds within which a worker has drained: its tasks, then answers, then closing."""
    return (environment.stop_timeout or 0) + 3 * run.settings.limits.drain_s + _MARGIN_S


class LeasedNumbers:
    """Numbers that the master hands out, so that no two workers have the same."""

    def __init__(self, runner: WorkerRunner) -> None:
        self._runner = runner
        self._given: Queue[int] = Queue()
        runner.register_message(_GIVEN, lambda msg, **_: self._given.put(msg.data["number"]))

    def take(self) -> int:
        """A number of the whole run; waits for the master."""
        self._runner.send_message(_TAKE)
        number: int = self._given.get()
        return number

    def release(self, number: int) -> None:
        """`number` is free again, for whichever worker asks next."""
        self._runner.send_message(_RELEASE, {"number": number})


class Worker:
    """The worker's side. `target` describes its target, without secrets."""

    def __init__(
        self, environment: Environment, runner: WorkerRunner, run: LoadRun, target: str
    ) -> None:
        self._runner = runner
        self._run = run
        self._target = target
        self._drained: Event | None = None
        run.numbers = LeasedNumbers(runner)
        runner.register_message(_DRAIN, self._drain_for_master, concurrent=True)
        environment.events.test_start.add_listener(self._start)
        environment.events.report_to_master.add_listener(self._report)
        # Registered now, it precedes Locust's own, after which the master listens no more.
        environment.events.quitting.add_listener(self._quit)

    def _start(self, **_: Any) -> None:
        self._drained = None

    def _report(self, data: dict[str, Any], **_: Any) -> None:
        data[_REPORT] = self._run.recorder.drain()
        data[_LEDGER] = self._run.books.ledger.drain()
        data[_FAN_OUT] = self._run.fan_out.drain()
        data[_TARGET] = self._target
        data[_TIME] = unix_s()

    def _drain_for_master(self, **_: Any) -> None:
        self._report_drained()

    def _quit(self, **_: Any) -> None:
        """This process alone is told to end: report what the master would never ask for."""
        self._report_drained()

    def _report_drained(self) -> None:
        self._drain()
        self._runner._send_stats()  # Locust reports by itself only every 3 s, and on its own quit
        self._runner.send_message(_DRAINED)

    def _drain(self) -> None:
        if self._drained is not None:
            self._drained.wait()
            return
        self._drained = Event()
        self._runner.stop()
        self._drained.set()


class Master:
    """The master's side.

    `doubts` are what makes the figures of the run incomplete or mixed, one line each.
    """

    def __init__(self, environment: Environment, runner: MasterRunner, run: LoadRun) -> None:
        self._environment = environment
        self._runner = runner
        self._run = run
        self.doubts: list[str] = []
        self._draining: set[str] = set()
        self._reset()
        runner.register_message(_TAKE, self._give_number)
        runner.register_message(_RELEASE, self._release_number)
        runner.register_message(_DRAINED, self._worker_drained)
        environment.events.test_start.add_listener(self._reset)
        environment.events.worker_report.add_listener(self._merge)
        environment.events.test_stopping.add_listener(self._drain_workers)

    def _reset(self, **_: Any) -> None:
        self.doubts.clear()
        self._numbers = Numbers()
        self._held: defaultdict[str, set[int]] = defaultdict(set)
        self._open: defaultdict[str, int] = defaultdict(int)
        self._targets: set[str] = set()
        self._told_s: dict[str, float] = {}  # when each worker reported last, by its own clock
        self._had_users: set[str] = set()
        self._done: set[str] = set()

    @property
    def told_until_s(self) -> float:
        """Until when, in Unix time, all workers have told what they measured."""
        return min((self._told_s.get(one, 0.0) for one in self._alive()), default=0.0)

    def _alive(self) -> set[str]:
        return {one.id for one in self._runner.clients.all if one.state != STATE_MISSING}

    def _doubt(self, text: str) -> None:
        if text not in self.doubts:
            self.doubts.append(text)
            _log.error(text)

    def _give_number(self, msg: Any, **_: Any) -> None:
        for worker in self._held.keys() - self._alive() - {msg.node_id}:
            for number in self._held.pop(worker):
                self._numbers.release(number)  # the users of a lost worker start anew elsewhere
        number = self._numbers.take()
        self._held[msg.node_id].add(number)
        self._had_users.add(msg.node_id)
        self._runner.send_message(_GIVEN, {"number": number}, msg.node_id)

    def _release_number(self, msg: Any, **_: Any) -> None:
        number = msg.data["number"]
        if number in self._held[msg.node_id]:
            self._held[msg.node_id].remove(number)
            self._numbers.release(number)

    def _merge(self, client_id: str, data: dict[str, Any], **_: Any) -> None:
        if (delta := data.pop(_REPORT, None)) is not None:
            self._open[client_id] += self._run.recorder.merge(delta)
        if (ledger := data.pop(_LEDGER, None)) is not None:
            self._run.books.ledger.merge(ledger)
        self._run.fan_out.merge(data.pop(_FAN_OUT, ()))
        if (time_s := data.pop(_TIME, None)) is not None:
            self._told_s[client_id] = time_s
            apart_s = abs(unix_s() - time_s)
            if apart_s > _MOST_APART_S:
                self._doubt(
                    f"the clock of worker {client_id} is {apart_s:.0f} s off: its samples are in"
                    " other seconds, and may be in another phase"
                )
        if (target := data.pop(_TARGET, None)) is not None:
            self._targets.add(target)
            if len(self._targets) > 1:
                self._doubt(f"workers have different targets: {'; '.join(sorted(self._targets))}")

    def _worker_drained(self, msg: Any, **_: Any) -> None:
        self._draining.discard(msg.node_id)
        self._done.add(msg.node_id)

    def _drain_workers(self, **_: Any) -> None:
        # Locust says so only afterwards, and until then starts the users of a worker that quits
        # anew on those that are left.
        self._runner.update_state(STATE_STOPPING)
        self._draining = self._alive()
        lost = sorted(self._had_users - self._draining - self._done)
        for worker in sorted(self._draining):
            self._runner.send_message(_DRAIN, None, worker)
        longest_s = longest_drain_s(self._environment, self._run)
        gevent.with_timeout(longest_s, self._wait_for_workers, timeout_value=None)
        for worker in [*lost, *sorted(self._draining)]:
            self._doubt(f"worker {worker} was lost: its last figures are missing")
            self._run.recorder.count("closed", self._open.pop(worker, 0), int(unix_s()))

    def _wait_for_workers(self) -> None:
        while self._draining & self._alive():
            gevent.sleep(_LOOK_AGAIN_S)
