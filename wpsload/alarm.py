"""Waking the event loop at a time: to the microsecond by a timerfd, or by gevent's own timer.

gevent's loop sleeps in whole milliseconds and rounds up, so that what is due comes up to one late.
A Linux timerfd is a file descriptor that becomes readable at a time, which the loop has no part in.
"""

import ctypes
from collections.abc import Callable
from typing import Any, Protocol

from wpsload.poller import Poller
from wpsload.units import NS_PER_S, seconds

__all__ = ["SOON_NS", "Alarm", "LoopAlarm", "TimerfdAlarm", "has_timerfd"]

_CLOCK_MONOTONIC = 1
_TFD_NONBLOCK = 0o4000
_TFD_CLOEXEC = 0o2000000
_TFD_TIMER_ABSTIME = 1

SOON_NS = 20_000
"""No turn of the loop takes less. What is due before the next one needs no clock to be set."""


class Alarm(Protocol):
    """Calls back once, at the time that was set last."""

    def set(self, due_ns: int, now_ns: int) -> None:
        """Call back at `due_ns`; both on the clock of `wpsload.clock`.

        Set from within the call, for a time that is as good as come, it may call a little early.
        """


class _TimeSpec(ctypes.Structure):
    _fields_ = (("whole_s", ctypes.c_long), ("rest_ns", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _TimeSpec), ("value", _TimeSpec))


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def has_timerfd() -> bool:
    """True on Linux."""
    try:
        return hasattr(_libc(), "timerfd_settime")
    except (OSError, TypeError):  # Windows has no library without a name
        return False


class TimerfdAlarm:
    """A timerfd among the sockets of a poller.

    `clock_ns` of `wpsload.clock` is the monotonic clock on Linux, so that times need no
    translation. Source: timerfd_create(2). Python has it from 3.13 on.
    """

    def __init__(self, poller: Poller, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._is_set = self._is_ringing = False
        libc = _libc()
        self._settime = libc.timerfd_settime
        self._fd = libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_NONBLOCK | _TFD_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._spec = _TimerSpec()
        self._at = ctypes.byref(self._spec)
        self._value = self._spec.value
        poller.add(self._fd, self)

    def set(self, due_ns: int, now_ns: int) -> None:
        """Call back at `due_ns`."""
        self._is_set = True
        if self._is_ringing and due_ns - now_ns <= SOON_NS:
            return  # it goes on ringing, being readable until it is set anew
        # A time of 0 would switch it off.
        self._value.whole_s, self._value.rest_ns = divmod(max(1, due_ns), NS_PER_S)
        self._settime(self._fd, _TFD_TIMER_ABSTIME, self._at, None)

    def read(self, is_writable: bool) -> bytes:
        """It rings: there is something to handle. Reading would be one more call of the system."""
        return b""

    def handle(self, data: bytes, read_ns: int) -> None:
        """Ring, and switch it off if it is not set again, which makes it unreadable."""
        self._is_set, self._is_ringing = False, True
        try:
            self._ring()
        finally:
            self._is_ringing = False
        if not self._is_set:
            self._value.whole_s = self._value.rest_ns = 0
            self._settime(self._fd, _TFD_TIMER_ABSTIME, self._at, None)


class LoopAlarm:
    """A timer of gevent's `loop`."""

    def __init__(self, loop: Any, ring: Callable[[], None]) -> None:
        self._loop = loop
        self._ring = ring
        self._timer: Any = None

    def set(self, due_ns: int, now_ns: int) -> None:
        """Call back at `due_ns`."""
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
        self._timer = self._loop.timer(max(0.0, seconds(due_ns - now_ns)))
        self._timer.start(self._ring, update=True)
