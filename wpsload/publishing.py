"""Schedules: messages that leave on time, from the event loop, without a greenlet to wake.

An open loop has a message due at fixed times, whatever becomes of those before it. What falls due
while the connection is not open, or its peer does not read, is sent as soon as it can be; its
latency counts from when it was due. In a closed loop a message is due when the one before it is
answered, be it well or badly.
"""

from abc import ABC, abstractmethod
from typing import Any, Protocol

from wpsload.agenda import Entry
from wpsload.engine import Engine
from wpsload.publication import Publication

__all__ = ["ClosedLoop", "OpenLoop", "Publisher", "Publishing"]

_MOST_AT_ONCE = 256  # after an outage: then the event loop turns, as others have their due


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

    def flush(self) -> None:
        """Send what was written."""

    def failed(self, error: Exception) -> None:
        """The scenario's data could not be sent, and the schedule has ended."""


class Publishing(ABC):
    """A schedule on one connection, until `stop`; `is_stopped` from then on."""

    __slots__ = ("_engine", "_publication", "_publisher", "is_stopped")

    def __init__(self, publisher: Publisher, publication: Publication, engine: Engine) -> None:
        self._publisher = publisher
        self._publication = publication
        self._engine = engine
        self.is_stopped = False

    def stop(self) -> None:
        """Send no more. What was sent may still be answered."""
        self.is_stopped = True

    @abstractmethod
    def resume(self) -> None:
        """Send what is due; to be called when the connection can be written to, again."""

    def _fail(self, error: Exception) -> None:
        """The scenario's own code must not take the event loop down."""
        self.stop()
        self._publisher.failed(error)


class OpenLoop(Publishing):
    """A message each `every_ns` nanoseconds, the first one at once."""

    __slots__ = ("_due_ns", "_entry", "_every_ns", "_free_ns", "_is_held")

    def __init__(
        self, publisher: Publisher, publication: Publication, engine: Engine, *, every_ns: int
    ) -> None:
        super().__init__(publisher, publication, engine)
        self._every_ns = every_ns
        self._due_ns = engine.clock_ns()
        self._entry: Entry | None = None
        self._is_held = True  # by the connection; what that makes late is not our own doing
        self._free_ns = 0  # since when it is not

    def stop(self) -> None:
        """Send no more. What was sent may still be answered."""
        super().stop()
        if self._entry is not None:
            self._entry.cancel()

    def resume(self) -> None:
        """Send what is due, and come back for the next."""
        if self._entry is not None:
            self._entry.cancel()
            self._entry = None
        if self.is_stopped:
            return
        now_ns = self._engine.clock_ns()
        if self._is_held:
            self._is_held, self._free_ns = False, now_ns
        try:
            if self._send_due(now_ns):
                self._entry = self._engine.at(self._due_ns, self.resume)
        except Exception as error:
            self._fail(error)
        self._publisher.flush()
        turn = self._engine.turn
        if not turn.is_under_way and turn.due_ns:
            turn.written()

    def _send_due(self, now_ns: int) -> bool:
        """Send what is due by `now_ns`; False if there is nothing to come back for."""
        publish_next = self._publisher.publish_next
        about_to_write = self._engine.turn.due_ns.append
        for _ in range(_MOST_AT_ONCE):
            if self._due_ns > now_ns:
                break
            if not publish_next(self._publication, self._due_ns, now_ns):
                self._is_held = True
                return False
            about_to_write(self._due_ns if self._due_ns > self._free_ns else self._free_ns)
            self._due_ns += self._every_ns
            if self.is_stopped:  # by the data's own function
                return False
        return True


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
            if self._publisher.publish_next(self._publication, now_ns, now_ns, self):
                self._is_under_way = True
        except Exception as error:
            self._fail(error)
