"""The engine: what all connections of a process share to be driven from one event loop.

Sockets that are ready, and times that have come, call back from gevent's loop; no greenlet is
switched to unless a scenario waits for an answer. Nothing that is called back may wait.
"""

import os
import sys
from array import array
from collections.abc import Callable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, get_args

from wpsload.agenda import Act, Agenda, Entry
from wpsload.alarm import Alarm, LoopAlarm, TimerfdAlarm, has_timerfd
from wpsload.clock import clock_ns
from wpsload.compiled import load
from wpsload.poller import EpollPoller, Poller, WatcherPoller, has_epoll
from wpsload.stream import Stream
from wpsload.turn import Turn

if TYPE_CHECKING:
    from wpsload._express import Express

__all__ = ["ENGINE_NAMES", "Engine", "EngineName", "compiled"]

EngineName = Literal["fast", "python", "portable", "websocket-client"]
"""`fast` is epoll and timerfd where the system has them, and the compiled short way where it was
built; `python` the same without that, `portable` on gevent's own watchers, `websocket-client` a
greenlet and an object of that library for each connection."""

ENGINE_NAMES: tuple[EngineName, ...] = get_args(EngineName)

_KEYS_AT_ONCE = 1024
_STAMPED_EVERY = 64  # the kernel's time of arrival costs 1 µs a read, so few connections ask for it


def compiled() -> "type[Express] | None":
    """The poller of `_express.pyx`, if it was compiled, see `wpsload.compiled`."""
    express = load("wpsload._express")
    return None if express is None else express.Express


class Engine:
    """Calls back from the loop of one gevent `hub`.

    Attributes:
        turn: holds back what is written until it can all be written together.
        poller: tells when sockets are ready.
        express: the same, if it has a short way for messages that are published.
        mask_keys: a new random key of 32 bits for each frame.
        soon: call a function with its arguments when the loop turns.
        is_alarm_coarse: what is due may be called up to a millisecond late.
        buffers_full: how often a connection reached its limit of unsent bytes.
    """

    def __init__(self, hub: Any, name: EngineName = "fast") -> None:
        loop = hub.loop
        self.name = name
        self.hub = hub
        self.clock_ns = clock_ns
        self.mask_keys = _mask_keys()
        self.soon: Callable[..., Any] = loop.run_callback
        is_linux = name in ("fast", "python")
        self.turn = Turn(hub, clock_ns)
        express = compiled() if name == "fast" else None
        self.express: Express | None = None if express is None else express(hub, self.turn)
        self.poller: Poller
        if self.express is not None:
            self.poller = self.express
        elif is_linux and has_epoll():
            self.poller = EpollPoller(hub, self.turn)
        else:
            self.poller = WatcherPoller(hub, self.turn)
        self._alarm: Alarm = (
            TimerfdAlarm(self.poller, self._ring)
            if is_linux and has_timerfd()
            else LoopAlarm(loop, self._ring_in_a_turn)
        )
        self.is_alarm_coarse = isinstance(self._alarm, LoopAlarm)
        self.buffers_full = 0
        self._arrival_lags_ns: list[int] = []
        self._opened = 0
        self._agenda = Agenda()
        self._alarm_ns: int | None = None  # None if it is not set
        self._is_ringing = False

    def at(self, due_ns: int, act: Act) -> Entry:
        """Call `act` at `due_ns`, or as soon as the loop gets to it; and again when it says so."""
        entry = self._agenda.add(due_ns, act)
        if not self._is_ringing:
            self._set_alarm()
        return entry

    def begin_self_check(self) -> None:
        """From now on note how late messages are written and read."""
        self.turn.is_watched = True
        self._opened = 0
        self.take_self_check()

    def end_self_check(self) -> None:
        """Note it no longer."""
        self.turn.is_watched = False

    def take_self_check(self) -> tuple["array[int]", list[int], int]:
        """Send slips and receive lags in ns, and `buffers_full`, since the last call."""
        turn, lags_ns = self.turn, self._arrival_lags_ns.copy()
        slips_ns, turn.slips_ns = turn.slips_ns, array("q")
        self._arrival_lags_ns.clear()  # streams add to this very list
        buffers_full, self.buffers_full = self.buffers_full, 0
        return slips_ns, lags_ns, buffers_full

    def sample(self, stream: Stream) -> None:
        """A stream has opened: one of so many tells how long what it reads has waited."""
        if self.turn.is_watched:
            if self._opened % _STAMPED_EVERY == 0:
                stream.note_arrivals(self._arrival_lags_ns)
            self._opened += 1

    def _set_alarm(self) -> None:
        due_ns = self._agenda.next_due_ns
        if due_ns is not None and (self._alarm_ns is None or due_ns < self._alarm_ns):
            self._alarm_ns = due_ns
            self._alarm.set(due_ns, self.clock_ns())

    def _ring_in_a_turn(self) -> None:
        self.turn.begin()
        try:
            self._ring()
        finally:
            self.turn.end()

    def _ring(self) -> None:
        self._alarm_ns = None
        self._is_ringing = True
        try:
            self._agenda.act(self.clock_ns(), self._failed)
        finally:
            self._is_ringing = False
            self._set_alarm()

    def _failed(self, act: Act) -> None:
        self.hub.handle_error(act, *sys.exc_info())


def _mask_keys() -> Iterator[int]:
    # From a strong source, as RFC 6455, 10.3 demands; a thousand at once cost as much as one.
    batches = iter(lambda: array("I", os.urandom(4 * _KEYS_AT_ONCE)), None)
    return chain.from_iterable(batches)
