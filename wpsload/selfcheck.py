"""Measures this process once a second while a load runs: is it late, and what does it run short of?

What is not to be had on a system (without `/proc` in particular) is None, never zero.
"""

import contextlib
import gc
import os
import sys
import time
from array import array
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from wpsload.agenda import Entry
from wpsload.engine import Engine
from wpsload.histogram import Histogram
from wpsload.units import NS_PER_MS, NS_PER_S
from wpsload.verdict import Fill, SelfMeasurement

__all__ = ["BEAT_NS", "SelfCheck"]

BEAT_NS = 10 * NS_PER_MS
"""So often the event loop is asked whether it is on time."""

_TAKE_EVERY = 5  # beats
_MOST_SLIPS = 100  # of so many beats: a p99 needs no more
_KEPT_BITS = 5  # of each: 3 % do for a verdict, and so its histograms are small and soon merged
_MOST_BEATS = 6_000  # a minute's: after more than that the machine was asleep
_MIN_CPU_NS = NS_PER_S // 2  # a share of less time is chance
_COARSE_NS = NS_PER_MS  # gevent's own timer is up to this late by itself
_STEAL_EVERY = 10  # seconds: `/proc/stat` takes long to read on a machine with many cores


class SelfCheck:
    """Measures from `start` to `stop`, and tells each second's measurement.

    Args:
        engine: that of the load; its event loop is the one that is watched.
        tell: called in the event loop, where it must not wait.
    """

    def __init__(self, engine: Engine, tell: Callable[[SelfMeasurement], None]) -> None:
        self._engine = engine
        self._tell = tell
        self._clock_ns = engine.clock_ns
        self._entry: Entry | None = None
        self._next_ns = 0
        self._since_ns = 0
        self._beats = 0
        self._paused_ns = 0
        self._before = _Counters()
        self._seconds = 0
        self._stolen_ns: int | None = None
        self._untold: SelfMeasurement | None = None
        self._begin_second()

    def _begin_second(self) -> None:
        self._slip, self._lag, self._loop_lag = Histogram(), Histogram(), Histogram()
        self._gc_pause = Histogram()
        self._buffers_full = 0

    def start(self) -> None:
        """Begin. What happened before does not count."""
        self._engine.begin_self_check()
        self._since_ns = self._next_ns = self._clock_ns()
        self._before = _Counters.now()
        self._stolen_ns = _stolen_ns()
        gc.callbacks.append(self._collecting)
        self._beat()

    def stop(self) -> None:
        """Measure the rest of the last second, and end. Doing it again changes nothing."""
        if self._entry is None:
            return
        self._entry.cancel()
        self._entry = None
        with contextlib.suppress(ValueError):
            gc.callbacks.remove(self._collecting)
        self._take()
        self._engine.end_self_check()
        self._tell_second()
        self._finish_second(self._clock_ns(), is_last=True)
        self._tell_second()

    def _beat(self) -> None:
        """On time or late; beats that were missed are as late as they are, one by one."""
        now_ns = self._clock_ns()
        allowed_ns = _COARSE_NS if self._engine.is_alarm_coarse else 0
        missed = min(_MOST_BEATS, (now_ns - self._next_ns) // BEAT_NS + 1)
        late_ns = now_ns - self._next_ns - allowed_ns
        self._loop_lag.record_all(
            [_rounded(max(0, late_ns - number * BEAT_NS)) for number in range(missed)]
        )
        self._next_ns += ((now_ns - self._next_ns) // BEAT_NS + 1) * BEAT_NS
        self._beats += 1
        # One thing a beat, so that none holds up the load for long.
        if self._beats % _TAKE_EVERY == 0:
            self._take()
        elif self._untold is not None:
            self._tell_second()
        elif now_ns - self._since_ns >= NS_PER_S:
            self._finish_second(now_ns)
        self._entry = self._engine.at(self._next_ns, self._beat)

    def _take(self) -> None:
        """Count what the engine noted since the last time: a little, and often."""
        slips_ns, lags_ns, buffers_full = self._engine.take_self_check()
        _record_some(slips_ns, self._slip)
        self._lag.record_all(array("q", [_rounded(lag_ns) for lag_ns in lags_ns]))
        self._buffers_full += buffers_full

    def _collecting(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._paused_ns = self._clock_ns()
        else:
            self._gc_pause.record(self._clock_ns() - self._paused_ns)

    def _finish_second(self, now_ns: int, *, is_last: bool = False) -> None:
        wall_ns = now_ns - self._since_ns
        self._since_ns = now_ns
        counters = _Counters.now()
        before, self._before = self._before, counters
        cpu = Histogram()
        if wall_ns >= _MIN_CPU_NS:
            cpu.record((counters.cpu_ns - before.cpu_ns) * NS_PER_S // wall_ns)
        self._seconds += 1
        self._untold = SelfMeasurement(
            wall_ns=wall_ns,
            slip=self._slip,
            lag=self._lag,
            loop_lag=self._loop_lag,
            cpu=cpu,
            gc_pause=self._gc_pause,
            core_wait_ns=_difference(before.core_wait_ns, counters.core_wait_ns),
            stolen_ns=self._newly_stolen_ns(is_last=is_last),
            major_faults=_difference(before.major_faults, counters.major_faults),
            fds=_fds(),
            ports=_ports(len(self._engine.poller)),
            buffers_full=self._buffers_full,
        )
        self._begin_second()

    def _tell_second(self) -> None:
        if (measured := self._untold) is not None:
            self._untold = None
            self._tell(measured)

    def _newly_stolen_ns(self, *, is_last: bool) -> int | None:
        if self._stolen_ns is None:
            return None
        if self._seconds % _STEAL_EVERY and not is_last:
            return 0
        before_ns, self._stolen_ns = self._stolen_ns, _stolen_ns()
        return _difference(before_ns, self._stolen_ns)


class _Counters:
    """What only ever grows, as it stood at one moment."""

    __slots__ = ("core_wait_ns", "cpu_ns", "major_faults")

    def __init__(self) -> None:
        self.cpu_ns = 0
        self.core_wait_ns: int | None = None
        self.major_faults: int | None = None

    @classmethod
    def now(cls) -> "_Counters":
        counters = cls()
        counters.cpu_ns = time.process_time_ns()
        counters.core_wait_ns = _core_wait_ns()
        counters.major_faults = _major_faults()
        return counters


def _record_some(values_ns: Sequence[int], histogram: Histogram) -> None:
    """Every nth if there are many, counted n times, and the greatest in any case."""
    each = len(values_ns) // _MOST_SLIPS + 1
    histogram.record_all(array("q", [_rounded(value_ns) for value_ns in values_ns[::each]]), each)
    if each > 1 and (greatest_ns := max(values_ns)) > (histogram.max_ns or 0):
        histogram.record(greatest_ns)


def _rounded(value_ns: int) -> int:
    if (shift := value_ns.bit_length() - _KEPT_BITS) <= 0:
        return value_ns
    return (value_ns + (1 << shift - 1)) >> shift << shift


def _difference(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else max(0, after - before)


def _core_wait_ns() -> int | None:
    # Source: Linux, Documentation/scheduler/sched-stats.rst, /proc/<pid>/schedstat.
    try:
        with open("/proc/self/schedstat", "rb") as file:
            return int(file.read().split()[1])
    except OSError:
        return None


def _stolen_ns() -> int | None:
    """Time that the hypervisor gave to others, per core of this machine."""
    try:
        with open("/proc/stat", encoding="ascii") as file:  # one line of it
            fields = file.readline().split()
    except OSError:
        return None
    ticks = int(fields[8]) if len(fields) > 8 else 0  # source: proc_stat(5), field `steal`
    return ticks * NS_PER_S // os.sysconf("SC_CLK_TCK") // (os.cpu_count() or 1)


def _major_faults() -> int | None:
    if sys.platform == "win32":
        return None
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_majflt


def _fds() -> Fill | None:
    if sys.platform == "win32":
        return None  # has no such limit
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit in (0, resource.RLIM_INFINITY):
        return None
    used = _open_fds()
    return None if used is None else Fill.of(used, limit)


def _open_fds() -> int | None:
    try:
        # Linux 6.2 and later tell their number as the size of the folder. Listing it takes 3 ms
        # for 10,000, in which nothing else would happen.
        if size := os.stat("/proc/self/fd").st_size:  # of the link itself
            return size
    except OSError:
        pass
    try:
        free = os.dup(0)  # the lowest number that is free: there are about as many below it
    except OSError:
        return None
    os.close(free)
    return free


def _ports(connections: int) -> Fill | None:
    """Of those that the system gives out for one peer address, as if there were only one."""
    span = _port_span()
    return None if not span or not connections else Fill.of(connections, span)


@cache
def _port_span() -> int:
    try:
        text = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii")
    except OSError:
        return 0
    low, high = map(int, text.split())
    return high - low + 1
