"""What stands between a connection and its socket, whatever moves the bytes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from wpsload import frames
from wpsload.dialing import Dialed
from wpsload.meter import Meter
from wpsload.publication import Publication
from wpsload.receipts import Receipts
from wpsload.session import PubSubSession

__all__ = [
    "ABNORMAL_CLOSURE",
    "NORMAL_CLOSURE",
    "UNSENT_LIMIT_BYTES",
    "Lane",
    "Limits",
    "Link",
    "Listener",
    "Owner",
    "Pace",
    "closed",
]

NORMAL_CLOSURE = 1000
ABNORMAL_CLOSURE = 1006
"""A connection that ended without a close frame. Source: RFC 6455, 7.1.5."""

UNSENT_LIMIT_BYTES = 1024 * 1024
"""Beyond this no more is written until the peer has read: as much as one message may have."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long to wait, in seconds: to connect, for an ack, and for answers due at the end.

    A message that could not be written until `most_late_s` after it was due is dropped.
    """

    connect_timeout_s: float = 10.0
    ack_timeout_s: float = 30.0
    drain_s: float = 5.0
    most_late_s: float = 10.0


def closed(code: int) -> str:
    """How a connection ended that the service closed with `code`."""
    return f"closed {code}"


class Owner(Protocol):
    """Told what happens on a link, from the event loop or a greenlet of the link's own."""

    def upgraded(self, dialed: Dialed) -> None:
        """The handshake is done."""

    def received(self, messages: list[frames.Message], now_ns: int) -> None:
        """Messages and control frames arrived, read at `now_ns`; the latter go to `control`."""

    def writable(self) -> None:
        """What was unsent is sent."""

    def ended(self, failure: str) -> None:
        """The link is of no use any more; told once, maybe from within a call of the link."""

    def broken(self, error: BaseException) -> None:
        """A mistake in this program ended the link."""


class Listener(Protocol):
    """Whoever messages are for."""

    is_listening: bool
    """False if nobody looks at messages: then they are counted and timed, and not always parsed."""


class Pace(Protocol):
    """A short way for the messages of an open loop, see `_express.pyx`."""

    def end(self) -> int:
        """Write no more; when the next message is due, in ns."""


class Lane(Protocol):
    """A short way for messages, see `_express.pyx`. None is ever needed."""

    def pace(
        self,
        loop: Any,
        publication: Publication,
        *,
        due_times_ns: Iterator[int],
        due_ns: int,
        free_ns: int,
        most_late_ns: int,
    ) -> Pace | None:
        """Write the messages of `loop` from `due_ns` on; None if they have to go the long way.

        What it cannot write, or would write more than `most_late_ns` late, it leaves to
        `loop.take_back`. What was due before `free_ns` is late since then.
        """

    def publish(self, publication: Publication, due_ns: int, now_ns: int, owner: Any) -> int:
        """Write the next message of `publication`; its ackId, 0 if it has to go the long way.

        It leaves as with `Link.publish`. Its ack is for `owner`.
        """

    def end(self) -> None:
        """Everything goes the long way from now on."""


class Link(Protocol):
    """One WebSocket connection, from dialing to its end. Nothing here waits.

    `is_writable` is False while the peer does not read what was written.
    """

    is_writable: bool

    @property
    def is_drained(self) -> bool:
        """True if the system has taken all that was flushed."""

    def lane(
        self, session: PubSubSession, meter: Meter, receipts: Receipts, listener: Listener
    ) -> Lane | None:
        """The short way for what `session` publishes and receives; None without one.

        To be called once the link is open. Deliveries count in `receipts`, and go the long way
        while somebody listens.
        """

    def write(self, payload: bytes, *, is_text: bool) -> None:
        """Put one message into the next `flush`."""

    def publish(self, publication: Publication, due_ns: int, ack_id: int) -> int:
        """Write the next message of `publication`; the size of its payload in bytes.

        It leaves at the end of this turn or, if none is under way, with the next `flush`.
        """

    def flush(self) -> None:
        """Send what was written. What `received` makes its owner write is sent without it."""

    def flush_soon(self) -> None:
        """Send it when the event loop turns, with whatever else is written until then."""

    def control(self, opcode: int, payload: bytes) -> None:
        """Answer a control frame."""

    def close(self, code: int) -> None:
        """Send a close frame; the link ends when the peer answers."""

    def give_up(self) -> None:
        """End because connecting takes too long, with a failure that names the phase."""

    def abort(self, failure: str) -> None:
        """End at once, with `failure`."""
