"""Compares the clocks of several machines through the master: deliveries between them have a time.

Each worker asks the master for the time again and again, and tells what it found. The master's
answers carry what all others found, so that a worker can translate their time stamps into its own.
"""

from locust.exception import RPCError
from locust.runners import MasterRunner, WorkerRunner

import contextlib
from collections.abc import Mapping
from typing import Any

import gevent

from wpsload.clock import CLOCK, clock_ns
from wpsload.clock_offset import ClockOffset, Exchange, Offsets, between

__all__ = ["MasterClocks", "WorkerClocks"]

_ASK = "wpsload.clock"
_ANSWER = "wpsload.clock_answer"
_QUICK, _QUICK_EVERY_S, _EVERY_S = 10, 0.05, 1.0
"""Some quick questions at first: users send soon, and of several one finds nobody in its way."""

_SAME = ClockOffset(0, 0)


class MasterClocks:
    """The master's side. `offsets` maps each worker's clock to how far the master's is ahead."""

    def __init__(self, runner: MasterRunner) -> None:
        self._runner = runner
        self.offsets: dict[str, ClockOffset] = {CLOCK: _SAME}
        self._worst_ns: dict[str, int] = {}  # uncertainty, by clock, since the run began
        runner.register_message(_ASK, self._answer)

    def _answer(self, msg: Any, **_: Any) -> None:
        now_ns = clock_ns()
        if (found := msg.data["found"]) is not None:
            self.offsets[msg.data["clock"]] = offset = ClockOffset(*found)
            worst_ns = self._worst_ns.get(msg.data["clock"], 0)
            self._worst_ns[msg.data["clock"]] = max(worst_ns, offset.uncertainty_ns)
        answer = {
            "asked_ns": msg.data["asked_ns"],
            "now_ns": now_ns,
            "clock": CLOCK,
            "offsets": {name: _pair(one) for name, one in self.offsets.items()},
        }
        self._runner.send_message(_ANSWER, answer, msg.node_id)

    def to_dict(self) -> dict[str, Any] | None:
        """What is known, as values of JSON; None if there is only one clock.

        An uncertainty is the greatest since the run began: deliveries of any moment have it.
        """
        if len(self.offsets) == 1:
            return None
        worst_ns = {
            name: max(one.uncertainty_ns, self._worst_ns.get(name, 0))
            for name, one in self.offsets.items()
        }
        return {
            "offsets": {
                name: {"offset_ns": one.offset_ns, "uncertainty_ns": worst_ns[name]}
                for name, one in self.offsets.items()
            },
            # Of a delivery between the two that are known worst.
            "uncertainty_ns": sum(sorted(worst_ns.values())[-2:]),
        }

    def begin(self) -> None:
        """A run begins."""
        self._worst_ns.clear()


class WorkerClocks:
    """The worker's side: keeps `lead_ns`, how far our clock is ahead of each other one, current."""

    def __init__(self, runner: WorkerRunner, lead_ns: dict[str, int]) -> None:
        self._runner = runner
        self._lead_ns = lead_ns
        self._offsets = Offsets()
        self._own: ClockOffset | None = None
        runner.register_message(_ANSWER, self._learn)
        gevent.spawn(self._ask_on_and_on)

    def _ask_on_and_on(self) -> None:
        asked = 0
        while True:
            question = {
                "clock": CLOCK,
                "found": None if self._own is None else _pair(self._own),
                "asked_ns": clock_ns(),
            }
            with contextlib.suppress(RPCError):  # Locust sees to a master that is gone
                self._runner.send_message(_ASK, question)
            asked += 1
            gevent.sleep(_QUICK_EVERY_S if asked <= _QUICK else _EVERY_S)

    def _learn(self, msg: Any, **_: Any) -> None:
        now_ns, answer = clock_ns(), msg.data
        if answer["clock"] == CLOCK:
            self._own = _SAME
        else:
            self._offsets.add(Exchange(answer["asked_ns"], answer["now_ns"], now_ns))
            self._own = self._offsets.at(now_ns)
        if self._own is not None:
            self._translate(self._own, answer["offsets"])

    def _translate(self, own: ClockOffset, offsets: Mapping[str, Any]) -> None:
        for name, found in offsets.items():
            if name != CLOCK:
                self._lead_ns[name] = between(ClockOffset(*found), own).offset_ns


def _pair(offset: ClockOffset) -> list[int]:
    return [offset.offset_ns, offset.uncertainty_ns]
