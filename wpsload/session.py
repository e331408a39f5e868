"""One logical client, without I/O: what to send, what arrived, which answer belongs to what.

A session outlives its connections. Each time the transport is up it goes once around the circle::

    CLOSED ──opening()──► CONNECTING ──ready──► OPEN ──closing()──► CLOSING ──lost()──► CLOSED

`ready` is the `connected` message for a PubSub client and the 101 response for a simple one, which
is told nothing else. `lost()` leads to CLOSED from everywhere. Requests are only made while OPEN.

Bytes to write come out of the request methods, frames that were read go into `receive`, and time
comes in as an argument: the same session serves any transport. What happened comes back as events,
each with the `Sample` it amounts to. Answers are matched by ackId (PubSub) or by the stamp in the
payload (simple), never by order.
"""

import enum
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from wpsload import payload
from wpsload.errors import LocalProtocolError, RemoteProtocolError
from wpsload.familiar import Familiar
from wpsload.ledger import Stream
from wpsload.metrics import (
    DELIVERY,
    ECHO,
    EVENT,
    JOIN_GROUP,
    LEAVE_GROUP,
    SEND_TO_GROUP,
    TIMEOUT,
    Metric,
    Sample,
)
from wpsload.subprotocol import (
    JSON_V1,
    Ack,
    Connected,
    DataType,
    Event,
    GroupMessage,
    JoinGroup,
    LeaveGroup,
    SendToGroup,
    ServerMessage,
    check_group,
    decode_response,
    encode_request,
)

__all__ = [
    "ACK_END",
    "ACK_START",
    "TRANSITIONS",
    "Answered",
    "Arrived",
    "Happened",
    "Message",
    "Pending",
    "PubSubSession",
    "Ready",
    "SimpleSession",
    "State",
]


ACK_START, ACK_END = b'{"type":"ack","ackId":', b',"success":true}'
"""What stands around the id in a plain ack that says yes."""
_ZERO = ord("0")
_new_pending = tuple.__new__  # the class's own takes twice as long


class State(enum.Enum):
    """Where a session stands; see the circle above."""

    CLOSED = "closed"
    CONNECTING = "connecting"
    OPEN = "open"
    CLOSING = "closing"


_OPEN = State.OPEN  # looked up for each message

TRANSITIONS: dict[tuple[State, str], State] = {
    (State.CLOSED, "opening"): State.CONNECTING,
    (State.CONNECTING, "ready"): State.OPEN,
    (State.CONNECTING, "lost"): State.CLOSED,
    (State.OPEN, "closing"): State.CLOSING,
    (State.OPEN, "lost"): State.CLOSED,
    (State.CLOSING, "lost"): State.CLOSED,
}


@dataclass(frozen=True, slots=True)
class Message:
    """A message for the scenario.

    `group` is None unless it came through a group. `data` is a str for `text`, bytes for `binary`
    and `protobuf`, any JSON value for `json`.
    """

    data: Any
    data_type: DataType
    group: str | None = None
    from_user_id: str | None = None


@dataclass(frozen=True, slots=True)
class Ready:
    """The session is open."""

    connection_id: str


@dataclass(frozen=True, slots=True)
class Answered:
    """The request or frame known as `key` has its answer; `sample` is its round trip, and `owner`
    whoever it was said to be for. `service_ns` is the time from written, for an open loop.
    `request` is what it answers."""

    key: int
    ack: Ack
    sample: Sample
    owner: Any = None
    service_ns: int | None = None
    request: "Pending | None" = None


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message arrived; `sample` is its delivery, None for what is not measured, and `stamp` what
    it carries, if that is the stamp of another client of ours. It is foreign if it has the stamp of
    another run."""

    message: Message
    sample: Sample | None
    stamp: payload.Stamp | None = None
    is_foreign: bool = False


Happened = Ready | Answered | Arrived


class Pending(NamedTuple):
    """A request that was written, or is being written, and has no answer yet.

    `due_ns` is when it should have been written, which its latency counts from; `sent_ns` is when
    it was, which the wait for its answer is limited from. `group` is the one it asked to join or to
    leave, `owner` whoever the answer is for: the session only gives it back. A message that is
    published is number `number` of `stream`.
    """

    metric: Metric
    due_ns: int
    sent_ns: int
    group: str | None = None
    owner: Any = None
    stream: Stream | None = None
    number: int = 0


class _Session:
    """What both kinds of client share: the state, and the answers still due.

    `pending` holds the latter by their key, in the order in which they were asked for.
    """

    __slots__ = ("_clock", "pending", "state")

    subprotocol: ClassVar[str | None] = None

    def __init__(self, *, clock: str) -> None:
        self.state = State.CLOSED
        self._clock = clock
        self.pending: dict[int, Pending] = {}

    @property
    def pending_count(self) -> int:
        """Answers that are still due."""
        return len(self.pending)

    @property
    def oldest(self) -> tuple[int, int] | None:
        """Key and send time of the request that has waited longest; None if none waits."""
        for key, pending in self.pending.items():
            return key, pending.sent_ns
        return None

    def opening(self) -> None:
        """The transport starts to connect."""
        self._move("opening")

    def closing(self) -> None:
        """We are about to send our close frame; nothing may be sent after it."""
        self._move("closing")

    def lost(self, failure: str) -> list[Answered]:
        """The transport is gone: every answer still due is a failure of that text."""
        self._move("lost")
        return [self._failed(key, failure) for key in list(self.pending)]

    def expire(self, key: int) -> Answered:
        """Give up waiting for the answer known by `key`; one that comes later is ignored."""
        return self._failed(key, TIMEOUT)

    def retract(self, key: int) -> None:
        """The request known by `key` could not be written: nobody answers it, or counts it."""
        del self.pending[key]

    def assign(self, key: int, owner: Any) -> None:
        """The answer to the request known by `key`, if it is still due, is for `owner`."""
        if (pending := self.pending.get(key)) is not None:
            self.pending[key] = pending._replace(owner=owner)

    def acknowledged(self, frame: bytes) -> tuple[int, Pending] | None:
        """The key of a request and the request, if a text `frame` is told to be its plain ack."""
        return None

    def settled(self, stream: Stream) -> int:
        """The number before which all messages of `stream` have their outcome."""
        return stream.sequence

    def delivered(self, frame: bytes) -> tuple[int | None, int, int] | None:
        """What a group message is stamped with, if a text `frame` is told to be one."""
        return None

    def publish(self, due_ns: int, sent_ns: int, stream: Stream, owner: Any = None) -> int:
        """The ackId of the next message of `stream`, due at `due_ns` and written now."""
        raise LocalProtocolError("a simple client cannot publish to a group")

    def _failed(self, key: int, failure: str) -> Answered:
        pending = self.pending.pop(key)
        sample = Sample(pending.metric, None, failure, is_answered=False)
        ack = Ack(key, success=False, error=failure)
        return Answered(key, ack, sample, pending.owner, request=pending)

    def _move(self, trigger: str) -> None:
        try:
            self.state = TRANSITIONS[self.state, trigger]
        except KeyError:
            raise LocalProtocolError(f"session is {self.state.value}, cannot {trigger}") from None

    def _require_open(self) -> None:
        if self.state is not State.OPEN:
            raise LocalProtocolError(f"session is {self.state.value}, cannot send")


class PubSubSession(_Session):
    """A client that speaks `json.webpubsub.azure.v1`; `next_ack_id` is that of its next request.

    `stamp_at` is where in a message `familiar` is to look for the stamp; 0 before one has come.

    Args:
        clock: name of the clock that all times are read from, see `payload`.
        familiar: what the clients of this process have seen, to share it.
    """

    __slots__ = ("_groups", "familiar", "next_ack_id", "stamp_at")

    subprotocol: ClassVar[str | None] = JSON_V1

    def __init__(self, *, clock: str, familiar: Familiar | None = None) -> None:
        super().__init__(clock=clock)
        self.familiar = familiar or Familiar({clock: 0})
        self.stamp_at = 0
        self.next_ack_id = 1  # never reset, as in the official clients: protocol reference, 8.5
        self._groups: tuple[str, ...] = ()  # few, and a set takes 200 bytes

    @property
    def groups(self) -> frozenset[str]:
        """Groups that were asked for, to be joined again on a new connection.

        A group counts from the request on, as its ack may be lost with the connection, until it is
        left or the service says `Forbidden`.
        """
        return frozenset(self._groups)

    def join(self, group: str, *, sent_ns: int) -> tuple[int, bytes]:
        """The frame that asks to join `group`, and the ackId it is known by."""
        ack_id = self._expect(Pending(JOIN_GROUP, sent_ns, sent_ns, check_group(group)))
        if group not in self._groups:
            self._groups += (group,)
        return ack_id, encode_request(JoinGroup(group, ack_id))

    def leave(self, group: str, *, sent_ns: int) -> tuple[int, bytes]:
        """The frame that asks to leave `group`, and the ackId it is known by."""
        ack_id = self._expect(Pending(LEAVE_GROUP, sent_ns, sent_ns, check_group(group)))
        self._forget(group)
        return ack_id, encode_request(LeaveGroup(group, ack_id))

    def send_to_group(
        self, group: str, data: Any, data_type: DataType, *, no_echo: bool, sent_ns: int
    ) -> tuple[int, bytes]:
        """The frame that publishes `data`, and the ackId it is known by.

        Raises:
            LocalProtocolError: if the data does not fit its type, or the group is no group name.
        """
        request = SendToGroup(check_group(group), data, data_type, no_echo, self.next_ack_id)
        frame = encode_request(request)  # before anything is expected: it may refuse
        return self._expect(Pending(SEND_TO_GROUP, sent_ns, sent_ns)), frame

    def send_event(
        self, event: str, data: Any, data_type: DataType, *, sent_ns: int
    ) -> tuple[int, bytes]:
        """The frame that sends a user event upstream, and the ackId it is known by.

        Raises:
            LocalProtocolError: if the data does not fit its type.
        """
        frame = encode_request(Event(event, data, data_type, self.next_ack_id))
        return self._expect(Pending(EVENT, sent_ns, sent_ns)), frame

    def settled(self, stream: Stream) -> int:
        """The number before which all messages of `stream` have their outcome."""
        waiting = (one.number for one in self.pending.values() if one.stream is stream)
        return next(waiting, stream.sequence)

    def publish(self, due_ns: int, sent_ns: int, stream: Stream, owner: Any = None) -> int:
        """The ackId of the next message of `stream`, due at `due_ns` and written now, for `owner`.

        The caller counts it in `stream` once it is written.
        """
        if self.state is not _OPEN:
            self._require_open()
        ack_id = self.next_ack_id
        self.next_ack_id = ack_id + 1
        self.pending[ack_id] = _new_pending(
            Pending, (SEND_TO_GROUP, due_ns, sent_ns, None, owner, stream, stream.sequence)
        )
        return ack_id

    def acknowledged(self, frame: bytes) -> tuple[int, Pending] | None:
        """The ackId and the request, if a text `frame` is its ack, of the kind that says yes.

        None for whatever else, which is for `receive`; the two say the same. This one tells by the
        looks: an ack has but one number in it.
        """
        if frame[-16:] != ACK_END or frame[:22] != ACK_START:
            return None
        digits = frame[22:-16]
        if not digits.isdigit() or digits[0] == _ZERO:
            return None
        ack_id = int(digits)
        pending = self.pending.pop(ack_id, None)
        return None if pending is None else (ack_id, pending)

    def delivered(self, frame: bytes) -> tuple[int | None, int, int] | None:
        """Stream, send time in ns and number of a group message that is told by its looks.

        None for whatever else, which is for `receive`; the two say the same. Without numbers the
        stream is None.
        """
        return self.familiar.stamp(frame, self.stamp_at) if self.stamp_at else None

    def receive(self, frame: bytes, *, is_text: bool, now_ns: int) -> tuple[Happened, ...]:
        """What one WebSocket message means; empty if it means nothing to us.

        Raises:
            RemoteProtocolError: if it is not a valid response of the service.
        """
        if not is_text:
            raise RemoteProtocolError("binary frame on a text subprotocol", close_code=1003)
        match decode_response(frame):
            case Ack() as ack:
                return self._acknowledge(ack, len(frame), now_ns)
            case GroupMessage() as message:
                self.stamp_at = self.familiar.learn(frame, message.data) or self.stamp_at
                stamp = payload.read(message.data)
                is_foreign = stamp is not None and not self.familiar.is_ours(stamp.stream)
                if is_foreign:
                    stamp = None
                lead_ns = self.familiar.lead_ns
                latency_ns = payload.latency_ns(stamp, lead_ns=lead_ns, now_ns=now_ns)
                arrived = Message(
                    message.data, message.data_type, message.group, message.from_user_id
                )
                sample = Sample(DELIVERY, latency_ns, size_bytes=len(frame))
                return (Arrived(arrived, sample, stamp, is_foreign),)
            case ServerMessage() as message:
                return (Arrived(Message(message.data, message.data_type), None),)
            case Connected(connection_id) if self.state is State.CONNECTING:
                self._move("ready")
                return (Ready(connection_id),)
            case _:
                return ()  # the close frame that follows `disconnected` says the same with a code

    def _expect(self, pending: Pending) -> int:
        self._require_open()
        ack_id = self.next_ack_id
        self.next_ack_id += 1
        self.pending[ack_id] = pending
        return ack_id

    def _forget(self, group: str) -> None:
        self._groups = tuple(one for one in self._groups if one != group)

    def _acknowledge(self, ack: Ack, size_bytes: int, now_ns: int) -> tuple[Answered, ...]:
        pending = self.pending.pop(ack.ack_id, None)
        if pending is None:
            return ()  # its time was up, and it is counted as such
        if ack.error == "Forbidden" and pending.metric is JOIN_GROUP and pending.group is not None:
            self._forget(pending.group)
        failure = None if ack.is_success else ack.error
        sample = Sample(pending.metric, now_ns - pending.due_ns, failure, size_bytes)
        is_open_loop = pending.metric is SEND_TO_GROUP and pending.owner is None
        service_ns = now_ns - pending.sent_ns if is_open_loop and failure is None else None
        return (Answered(ack.ack_id, ack, sample, pending.owner, service_ns, pending),)


class SimpleSession(_Session):
    """A plain WebSocket client: each frame is a `message` event for the application server.

    An echo is known by the send time in its payload, which is made unique within the session.
    """

    __slots__ = ("_last_sent_ns",)

    def __init__(self, *, clock: str) -> None:
        super().__init__(clock=clock)
        self._last_sent_ns = 0

    def upgraded(self) -> None:
        """The 101 response is in, and nothing else will be said."""
        self._move("ready")

    def echo(self, size_bytes: int, data_type: DataType, *, sent_ns: int) -> tuple[int, bytes]:
        """A stamped frame whose echo is expected, and the key it is known by."""
        self._require_open()
        key = max(sent_ns, self._last_sent_ns + 1)
        self._last_sent_ns = key
        data = payload.stamp(
            payload.Stamp(self._clock, key), size_bytes=size_bytes, data_type=data_type
        )
        self.pending[key] = Pending(ECHO, sent_ns, sent_ns)
        return key, data.encode("ascii") if isinstance(data, str) else data

    def receive(self, frame: bytes, *, is_text: bool, now_ns: int) -> tuple[Happened, ...]:
        """What one WebSocket message means: a message, and the echo of a frame of ours if it is.

        Raises:
            RemoteProtocolError: if a text frame is not UTF-8.
        """
        try:
            data: str | bytes = frame.decode("utf-8") if is_text else frame
        except UnicodeDecodeError as error:
            raise RemoteProtocolError("text frame is not UTF-8") from error
        arrived = Arrived(Message(data, "text" if is_text else "binary"), None)
        stamp = payload.read(data)
        pending = self.pending.pop(stamp.sent_ns, None) if stamp is not None else None
        if stamp is None or pending is None:
            return (arrived,)
        sample = Sample(ECHO, now_ns - pending.due_ns, size_bytes=len(frame))
        ack = Ack(stamp.sent_ns, success=True)
        return (Answered(stamp.sent_ns, ack, sample, pending.owner), arrived)
