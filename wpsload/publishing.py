"""Schedules: messages that leave on time, from the event loop, without a greenlet to wake.

An open loop has a message due at times that are known before, whatever becomes of those before it.
What falls due while the connection is not open, or its peer does not read, or the engine is behind,
is sent as soon as it can be; its latency counts from when it was due. What could not be sent for
too long is dropped, and counted. In a closed loop a message is due when the one before it is
answered, be it well or badly.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from typing import Any, Protocol

from wpsload.agenda import Entry
from wpsload.engine import Engine
from wpsload.link import Pace
from wpsload.meter import Meter
from wpsload.publication import Publication
from wpsload.units import NS_PER_MS

__all__ = [
    "LATE_NS",
    "MOST_AT_ONCE",
    "NEVER_NS",
    "ClosedLoop",
    "OpenLoop",
    "Publisher",
    "Publishing",
]

LATE_NS = NS_PER_MS
"""A message counts as late that is written more than this after it was due."""

NEVER_NS = 2**63 - 1
"""When the message is due that follows the last one of a plan."""

MOST_AT_ONCE = 256
"""So many leave at once after an outage: then the event loop turns, as others have their due."""

_MOST_HELD = 16384  # of what falls due beyond them the count is late, and memory stays small


class Publisher(Protocol):
    """The connection that a schedule is for."""

    def publish_next(
        self,
        publication: Publication,
        due_ns: int,
        now_ns: int,
        owner: Any = None,
    ) -> int:
        """Write a message that was due at `due_ns`; its ackId, 0 if nothing can be written now.

        `owner`, a closed loop, is to go on once it is answered.
        """

    def pace(
        self,
        loop: "OpenLoop",
        *,
        due_times_ns: Iterator[int],
        due_ns: int,
        free_ns: int,
        most_late_ns: int,
    ) -> Pace | None:
        """The short way of `loop`, see `wpsload.link.Lane`; None without one."""

    def flush(self) -> None:
        """Send what was written, unless that happens at the end of the turn."""

    def failed(self, error: Exception) -> None:
        """The scenario's data could not be sent, and the schedule has ended."""


class Publishing(ABC):
    """A schedule of `publication` on one connection, until `stop`; `is_stopped` from then on."""

    __slots__ = ("_engine", "_publisher", "is_stopped", "publication")

    def __init__(self, publisher: Publisher, publication: Publication, engine: Engine) -> None:
        self._publisher = publisher
        self.publication = publication
        self._engine = engine
        self.is_stopped = False

    def stop(self) -> None:
        """Send no more. What was sent may still be answered."""
        self.is_stopped = True

    def finish(self) -> None:
        """Send what is due by now, if that is possible, and then no more."""
        self.stop()

    @abstractmethod
    def resume(self) -> None:
        """Send what is due; to be called when the connection can be written to, again."""

    def _fail(self, error: Exception) -> None:
        """The scenario's own code must not take the event loop down."""
        self.stop()
        self._publisher.failed(error)


class OpenLoop(Publishing):
    """A message at each of `due_times_ns`, which never go back.

    One that is more than `most_late_ns` late when it could be written is dropped. `meter` is told
    of each that falls due, of each that was written, and of each that was dropped; once the
    schedule has stopped, none is left over.
    """

    __slots__ = (
        "_due_ns",
        "_due_times_ns",
        "_entry",
        "_free_ns",
        "_held",
        "_is_held",
        "_meter",
        "_most_late_ns",
        "_pace",
        "_turn",
    )

    def __init__(
        self,
        publisher: Publisher,
        publication: Publication,
        engine: Engine,
        *,
        due_times_ns: Iterator[int],
        most_late_ns: int,
        meter: Meter,
    ) -> None:
        super().__init__(publisher, publication, engine)
        self._due_times_ns = due_times_ns
        self._due_ns = next(due_times_ns, NEVER_NS)  # of the first that is not counted yet
        self._held: deque[int] | None = None  # due times that are counted, and neither sent
        self._most_late_ns = most_late_ns
        self._meter = meter
        self._turn = engine.turn
        self._entry: Entry | None = None
        self._pace: Pace | None = None  # writes instead of us, while there is nothing else to do
        self._is_held = True  # by the connection; what that makes late is not our own doing
        self._free_ns = 0  # since when it is not

    def stop(self) -> None:
        """Send no more. What was sent may still be answered.

        What is late by now counts as dropped. What fell due a moment ago was never offered.
        """
        self._end(self._engine.clock_ns() - LATE_NS)

    def finish(self) -> None:
        """Send what is due by now, if that is possible, and then no more."""
        now_ns = self._engine.clock_ns()
        self.resume()
        self._end(now_ns)

    def _end(self, until_ns: int) -> None:
        """Stop; what was due by `until_ns` and is not sent is dropped."""
        if self.is_stopped:
            return
        super().stop()
        self._interrupt()
        meter = self._meter
        while self._due_ns <= until_ns:
            meter.due += 1
            meter.dropped += 1
            meter.dropped_waiting += self._is_held
            self._due_ns = next(self._due_times_ns, NEVER_NS)
        if self._held:
            meter.dropped += len(self._held)
            meter.dropped_waiting += len(self._held) if self._is_held else 0
            self._held = None

    def resume(self) -> None:
        """Send what is due, and come back for the next."""
        self._interrupt()
        if (again_ns := self._send()) is not None:
            self._entry = self._engine.at(again_ns, self._send)

    def take_back(self, due_ns: int) -> None:
        """Go on with the message due at `due_ns`, which our pace could not write."""
        self._pace = None
        self._due_ns = due_ns
        self.resume()

    def _interrupt(self) -> None:
        """Nothing happens by itself from now on."""
        if self._entry is not None:
            self._entry.cancel()
            self._entry = None
        if self._pace is not None:
            self._due_ns = self._pace.end()
            self._pace = None

    def _send(self) -> int | None:
        """Send what is due; when to come back, None for never."""
        if self.is_stopped:
            return None
        now_ns = self._engine.clock_ns()
        if self._is_held:
            self._is_held, self._free_ns = False, now_ns
        try:
            again_ns = self._send_due(now_ns)
        except Exception as error:
            again_ns = NEVER_NS
            self._meter.dropped += 1
            self._fail(error)
        turn = self._turn
        if not turn.is_under_way:
            self._publisher.flush()
            turn.written()
        if again_ns != NEVER_NS:
            if again_ns == self._due_ns and not self._held and self._engine.express is not None:
                self._pace = self._publisher.pace(
                    self,
                    due_times_ns=self._due_times_ns,
                    due_ns=again_ns,
                    free_ns=self._free_ns,
                    most_late_ns=self._most_late_ns,
                )
            return again_ns if self._pace is None else None
        if not self._held:
            self.is_stopped = True  # the plan is over
        return None

    def _send_due(self, now_ns: int) -> int:
        """Send what is due by `now_ns`; when to come back."""
        meter = self._meter
        about_to_write = self._turn.due_ns.append
        for _ in range(MOST_AT_ONCE):
            if self._held:
                due_ns = self._held.popleft()
            elif (due_ns := self._due_ns) <= now_ns:
                self._due_ns = next(self._due_times_ns, NEVER_NS)
                meter.due += 1
            else:
                return due_ns
            late_ns = now_ns - due_ns
            if late_ns > self._most_late_ns:
                meter.dropped += 1
                meter.dropped_waiting += due_ns < self._free_ns
                continue
            if not self._publisher.publish_next(self.publication, due_ns, now_ns):
                self._is_held = True
                if self._held is None:
                    self._held = deque()
                self._held.appendleft(due_ns)
                self._hold_due(now_ns)
                # It is sent once it can be; until then, what falls due is to be counted.
                return self._due_ns if self._due_ns > now_ns else due_ns + self._most_late_ns + 1
            about_to_write(due_ns if due_ns > self._free_ns else self._free_ns)
            meter.achieved += 1
            if late_ns > LATE_NS:
                meter.late += 1
            if self.is_stopped:  # by the data's own function
                return NEVER_NS
        self._hold_due(now_ns)
        return now_ns if self._held else self._due_ns

    def _hold_due(self, now_ns: int) -> None:
        """Count what is due by `now_ns` and cannot be sent at once, in the second it is due in."""
        if self._due_ns > now_ns:
            return
        held = self._held
        if held is None:
            held = self._held = deque()
        while self._due_ns <= now_ns and len(held) < _MOST_HELD:
            held.append(self._due_ns)
            self._meter.due += 1
            self._due_ns = next(self._due_times_ns, NEVER_NS)


class ClosedLoop(Publishing):
    """One message after another."""

    __slots__ = ("_is_under_way",)

    def __init__(self, publisher: Publisher, publication: Publication, engine: Engine) -> None:
        super().__init__(publisher, publication, engine)
        self._is_under_way = False

    def resume(self) -> None:
        """Send the next message, unless one is under way."""
        if not self._is_under_way:
            self.go_on(self._engine.clock_ns())
            self._publisher.flush()

    def go_on(self, now_ns: int) -> None:
        """The message that was under way is answered: the next one is due."""
        self._is_under_way = False
        if self.is_stopped:
            return
        try:
            if self._publisher.publish_next(self.publication, now_ns, now_ns, self):
                self._is_under_way = True
        except Exception as error:
            self._fail(error)
