"""Faults that strike once, at a time: they freeze the process, or cut a share of the connections.

Their clock starts with the first connection. What they did, and when, stands in the ledger.
"""

import asyncio
import time
from collections.abc import Mapping

from wpsload.standin.faults import Fault, Faults, share
from wpsload.standin.ledger import Ledger, bump
from wpsload.standin.wire import Wire

__all__ = ["Strikes"]


class Strikes:
    """Those of one process; `wires` are the open connections by their ids, oldest first."""

    def __init__(self, faults: Faults, ledger: Ledger, wires: Mapping[str, Wire]) -> None:
        acts = {"stall": self._stall, "cut-connections": self._cut}
        self._planned = [(faults[name], act) for name, act in acts.items() if name in faults]
        self._timers: list[asyncio.TimerHandle] = []
        self._ledger = ledger
        self._wires = wires

    def begin(self) -> None:
        """Let them strike when their time has come; not again if called again."""
        loop = asyncio.get_running_loop()
        for fault, act in self._planned:
            self._timers.append(loop.call_later(fault.after_s, act, fault))
        self._planned = []

    def cancel(self) -> None:
        """Strike no more."""
        for timer in self._timers:
            timer.cancel()

    def _stall(self, fault: Fault) -> None:
        start_ns = time.monotonic_ns()
        time.sleep(fault.length_s)  # noqa: TID251  # not one coroutine may go on
        self._note(fault, start_ns, length_ns=time.monotonic_ns() - start_ns)

    def _cut(self, fault: Fault) -> None:
        start_ns = time.monotonic_ns()
        open_ids = list(self._wires)
        cut_ids = share(open_ids, fault.share_percent)
        for connection_id in cut_ids:
            self._wires[connection_id].abort()
        self._note(fault, start_ns, times=len(cut_ids), open=len(open_ids), cut=len(cut_ids))

    def _note(self, fault: Fault, start_ns: int, *, times: int = 1, **done: int) -> None:
        if times:
            bump(self._ledger.faults, fault.name, times)
        self._ledger.fault_times.append({"name": fault.name, "start_ns": start_ns, **done})
