"""One hub without any I/O: connections, groups, permissions, acks and who gets which message.

Each method takes what happened and returns what the server has to do, in order. A message to many
is encoded once for each kind of receiver. The caller counts what it really wrote; see
`wpsload.standin.ledger`.

Source: protocol reference, sections 2.3, 3, 4 and 7.
"""

from collections import deque
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import orjson

from wpsload.compiled import load
from wpsload.errors import LocalProtocolError, RemoteProtocolError
from wpsload.standin.faults import DELIVERY_FAULTS, Faults
from wpsload.standin.ledger import Kind, Ledger
from wpsload.standin.roles import Permissions
from wpsload.subprotocol import (
    MAX_MESSAGE_BYTES,
    Ack,
    Connected,
    DataType,
    Disconnected,
    Event,
    GroupMessage,
    JoinGroup,
    LeaveGroup,
    Ping,
    Pong,
    Request,
    SendToGroup,
    SequenceAck,
    ServerMessage,
    decode_request,
    encode_response,
    encode_success,
)

__all__ = [
    "Abort",
    "Admission",
    "Close",
    "Deliver",
    "Hub",
    "Output",
    "Publish",
    "Send",
    "SendAck",
    "SendLateAck",
    "Upstream",
    "farewell",
]

Upstream = Literal["echo", "none"]
"""What stands behind the hub: a handler that answers with the payload and the metadata it got, or a
listener that takes everything and answers nothing."""

REMEMBERED_ACK_IDS = 1000
"""Ack ids of one connection that are known as done. Source: protocol reference, 4.3."""

_repeated = load("wpsload.standin._repeated")
_PONG = encode_response(Pong())

_REQUEST_TYPES: dict[type[Request], str] = {
    JoinGroup: "joinGroup",
    LeaveGroup: "leaveGroup",
    SendToGroup: "sendToGroup",
    Event: "event",
    Ping: "ping",
    SequenceAck: "sequenceAck",
}


class Send(NamedTuple):
    """Write one frame to each connection of `to`; a text frame if `is_text`, else a binary one."""

    to: list[str]
    payload: bytes
    is_text: bool
    kind: Kind


class SendAck(NamedTuple):
    """Write an ack, after the ack delay; `name` is `success` or the error name."""

    connection_id: str
    payload: bytes
    name: str


class SendLateAck(NamedTuple):
    """Write an ack `by_s` seconds after the ack delay; whatever comes until then overtakes it."""

    connection_id: str
    payload: bytes
    name: str
    by_s: float


class Deliver(NamedTuple):
    """Write one group message to each connection of `to`, each with the faults of a delivery.

    `sender` is the connection that sent it, empty for the REST API.
    """

    to: list[str]
    payload: bytes
    is_text: bool
    sender: str


class Close(NamedTuple):
    """Write `farewell`, if any, as a text frame, then a close frame with `code` and `reason`."""

    connection_id: str
    code: int
    reason: str
    farewell: bytes | None = None


class Abort(NamedTuple):
    """Drop the TCP connection without a close frame."""

    connection_id: str


_new = tuple.__new__  # of a named tuple, for half of the price

Output = Send | SendAck | SendLateAck | Deliver | Close | Abort


@dataclass(frozen=True, slots=True)
class Publish:
    """A simple client in `sendToGroup` mode: each frame goes to `group`.

    Source: protocol reference, section 3.
    """

    group: str
    no_echo: bool = False


@dataclass(frozen=True, slots=True)
class Admission:
    """What token and URL of an accepted client say about it.

    Attributes:
        is_simple: True without a subprotocol, False for a PubSub client.
        user_id: None if the client is anonymous.
        permissions: what its requests may do.
        groups: groups it is in from the start.
        publish: the group it publishes to, for a simple client in `sendToGroup` mode.
    """

    is_simple: bool
    user_id: str | None = None
    permissions: Permissions = field(default_factory=Permissions)
    groups: tuple[str, ...] = ()
    publish: Publish | None = None


class _Client:
    """State of one connection."""

    __slots__ = (
        "_done",
        "_done_in_order",
        "_first_done",
        "_last_send",
        "admission",
        "groups",
        "id",
        "is_simple",
        "may_send",
        "may_send_anywhere",
        "next_ack_id",
    )

    def __init__(self, connection_id: str, admission: Admission) -> None:
        self.id = connection_id
        self.admission = admission
        self.is_simple = admission.is_simple
        self.may_send = admission.permissions.send.allows
        self.may_send_anywhere = admission.permissions.send.is_any
        self.groups: set[str] = set()
        self._last_send = None if _repeated is None else _repeated.LastSend()
        # Nearly every client counts its ack ids up. As long as it does, two numbers know them all;
        # thousands of sets would not stay in the processor's cache.
        self._first_done = -1  # of those that are remembered
        self.next_ack_id = -1  # the one after the last, -1 if it is not counting up
        self._done: set[int] | None = None  # else all of them
        self._done_in_order: deque[int] = deque()

    def decode(self, payload: bytes) -> Request:
        """`decode_request`, or the same told by the last one."""
        last_send = self._last_send
        if last_send is None:
            return decode_request(payload)
        like_the_last: Request | None = last_send.read(payload)
        if like_the_last is not None:
            return like_the_last
        request = decode_request(payload)
        if type(request) is SendToGroup:
            last_send.learn(payload, request)
        return request

    def has_done(self, ack_id: int) -> bool:
        """True if `ack_id` is known as done."""
        if self._done is not None:
            return ack_id in self._done
        return self._first_done <= ack_id < self.next_ack_id

    def remember_next(self) -> None:
        """Know the ack id after the last one as done; for a client that counts up."""
        self.next_ack_id = following = self.next_ack_id + 1
        if self._first_done + REMEMBERED_ACK_IDS < following:
            self._first_done += 1

    def remember(self, ack_id: int) -> None:
        """Know `ack_id`, which was not, as done, and forget the oldest one past the limit."""
        if ack_id == self.next_ack_id:
            self.remember_next()
            return
        if self._done is None:
            if self._first_done < 0:
                self._first_done, self.next_ack_id = ack_id, ack_id + 1
                return
            self._done_in_order.extend(range(self._first_done, self.next_ack_id))
            self._done = set(self._done_in_order)
            self.next_ack_id = -1
        self._done.add(ack_id)
        self._done_in_order.append(ack_id)
        if len(self._done_in_order) > REMEMBERED_ACK_IDS:
            self._done.discard(self._done_in_order.popleft())


def farewell(reason: str, *, is_simple: bool) -> bytes | None:
    """The `disconnected` frame that comes before a close; None for a simple client."""
    return None if is_simple else encode_response(Disconnected(reason))


def _drop(client: _Client, code: int, message: str) -> Close:
    """Close a PubSub client that broke the protocol; `message` says how."""
    return Close(client.id, code, "invalid message", farewell(message, is_simple=False))


def _plain(data: Any, data_type: DataType) -> tuple[bytes, bool]:
    """`data` as a frame of a simple client, and whether it is a text frame.

    Source: protocol reference, section 7.
    """
    match data_type:
        case "text":
            return data.encode(), True
        case "json":
            return orjson.dumps(data), True
        case _:
            return bytes(data), False


class Hub:
    """One hub. Group names are case-sensitive, connection ids are the caller's."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        faults: Faults,
        upstream: Upstream = "echo",
        max_message_bytes: int = MAX_MESSAGE_BYTES,
    ) -> None:
        self._ledger = ledger
        self._faults = faults
        self._has_faults = bool(faults)  # asked several times for each message
        self._has_delivery_faults = any(name in faults for name in DELIVERY_FAULTS)
        self._upstream = upstream
        self._max_message_bytes = max_message_bytes
        self._clients: dict[str, _Client] = {}
        self._groups: dict[str, dict[str, _Client]] = {}
        self._users: dict[str, dict[str, _Client]] = {}

    def connect(self, connection_id: str, admission: Admission) -> list[Output]:
        """Take in an accepted connection; a PubSub client gets its `connected` frame."""
        client = _Client(connection_id, admission)
        self._clients[connection_id] = client
        user_id = admission.user_id
        if user_id is not None:
            self._users.setdefault(user_id, {})[connection_id] = client
        for group in admission.groups:
            self._join(client, group)
        if client.is_simple:
            return []
        connected = encode_response(Connected(connection_id, user_id))
        return [Send([connection_id], connected, True, Kind.SYSTEM)]

    def disconnect(self, connection_id: str) -> None:
        """Forget a connection that ends; nothing is sent to it any more. Idempotent."""
        client = self._clients.pop(connection_id, None)
        if client is None:
            return
        for group in tuple(client.groups):
            self._leave(client, group)
        user_id = client.admission.user_id
        if user_id is not None:
            connections = self._users[user_id]
            del connections[connection_id]
            if not connections:
                del self._users[user_id]

    def receive(self, connection_id: str, payload: bytes, *, is_text: bool) -> list[Output]:
        """Handle one text or binary frame of a client.

        A frame that breaks the protocol closes the connection. Source: protocol reference, 8.3.
        """
        client = self._clients[connection_id]
        ledger = self._ledger
        ledger.bytes_in += len(payload)
        if self._has_faults:
            if self._faults.strike("cut"):
                return [Abort(connection_id)]
            if fault := self._faults.strike("close"):
                return [Close(connection_id, fault.code, "injected")]
        if len(payload) > self._max_message_bytes:
            return [Close(connection_id, 1009, "message too big")]
        if client.is_simple:
            return self._receive_simple(client, payload, is_text=is_text)
        if not is_text:
            return [_drop(client, 1003, "frame is binary, expected text")]
        try:
            request = client.decode(payload)
        except RemoteProtocolError as error:
            return [_drop(client, error.close_code, error.message)]
        counts, request_type = ledger.requests, _REQUEST_TYPES[type(request)]
        counts[request_type] = counts.get(request_type, 0) + 1
        try:
            if type(request) is SendToGroup and not self._has_faults:
                return self._handle_send(client, request)
            return self._handle(client, request)
        except LocalProtocolError as error:
            # orjson reads deeper nesting than it writes; such data cannot be passed on.
            return [_drop(client, 1007, error.message)]

    def send_to_all(
        self,
        data: Any,
        data_type: DataType,
        *,
        excluded: Container[str] = (),
        metadata: Mapping[str, str] | None = None,
    ) -> list[Output]:
        """Send from the server to each connection that is not `excluded` by its id."""
        to = [client for client in self._clients.values() if client.id not in excluded]
        return self._fan_out(to, ServerMessage(data, data_type, metadata))

    def send_to_group(
        self,
        group: str,
        data: Any,
        data_type: DataType,
        *,
        excluded: Container[str] = (),
        metadata: Mapping[str, str] | None = None,
    ) -> list[Output]:
        """Publish to `group` without a sender; connections in `excluded` are left out."""
        to = self._members(group, excluded=excluded)
        return self._fan_out(to, GroupMessage(group, data, data_type, metadata=metadata))

    def send_to_user(
        self,
        user_id: str,
        data: Any,
        data_type: DataType,
        *,
        metadata: Mapping[str, str] | None = None,
    ) -> list[Output]:
        """Send from the server to each connection of a user, if there are any."""
        to = list(self._users.get(user_id, {}).values())
        return self._fan_out(to, ServerMessage(data, data_type, metadata))

    def send_to_connection(
        self,
        connection_id: str,
        data: Any,
        data_type: DataType,
        *,
        metadata: Mapping[str, str] | None = None,
    ) -> list[Output]:
        """Send from the server to one connection, if it is there."""
        client = self._clients.get(connection_id)
        to = [client] if client else []
        return self._fan_out(to, ServerMessage(data, data_type, metadata))

    def _receive_simple(self, client: _Client, payload: bytes, *, is_text: bool) -> list[Output]:
        self._ledger.simple_messages_in += 1
        publish = client.admission.publish
        if publish is None:
            # An empty answer of the upstream becomes no frame. Source: protocol reference, 3.
            if self._upstream == "none" or not payload:
                return []
            return [Send([client.id], payload, is_text, Kind.ECHO)]
        if not client.may_send(publish.group):
            return [Close(client.id, 1008, "no permission to send")]
        try:
            data = payload.decode() if is_text else payload
        except UnicodeDecodeError:
            return [Close(client.id, 1007, "text is not UTF-8")]
        to = self._members(publish.group, excluded=(client.id,) if publish.no_echo else ())
        data_type: DataType = "text" if is_text else "binary"
        message = GroupMessage(publish.group, data, data_type, client.admission.user_id)
        return self._fan_out(to, message, client.id)

    def _handle_send(self, client: _Client, request: SendToGroup) -> list[Output]:
        """`_handle` with less to ask, for nearly all requests: no fault, ack ids count up."""
        ack_id = request.ack_id
        if ack_id != client.next_ack_id or (outputs := self._send(client, request)) is None:
            return self._handle(client, request)
        client.remember_next()
        outputs.append(_new(SendAck, (client.id, encode_success(ack_id), "success")))
        return outputs

    def _handle(self, client: _Client, request: Request) -> list[Output]:
        if isinstance(request, Ping):
            return [Send([client.id], _PONG, True, Kind.SYSTEM)]
        if isinstance(request, SequenceAck):
            return []  # only reliable clients are asked for it
        ack_id = request.ack_id
        if ack_id is None:
            return self._carry_out(client, request) or []
        if ack_id != client.next_ack_id and client.has_done(ack_id):
            message = f"Message with ack-id: {ack_id} has been processed"
            return self._refuse(client, Ack(ack_id, False, "Duplicate", message))
        if self._has_faults and (fault := self._faults.strike("fail-ack")):
            return self._refuse(client, Ack(ack_id, False, fault.error, "injected"))
        outputs = self._carry_out(client, request)
        if outputs is None:
            message = "no permission for the group"
            return self._refuse(client, Ack(ack_id, False, "Forbidden", message))
        client.remember(ack_id)
        return outputs + self._ack(client, encode_success(ack_id), "success")

    def _send(self, client: _Client, request: SendToGroup) -> list[Output] | None:
        """The message to its group; None if the client has no permission."""
        group, data, data_type, no_echo, _, metadata = request
        if not (client.may_send_anywhere or client.may_send(group)):
            return None
        members = self._groups.get(group)
        if not members or (no_echo and len(members) == 1 and client.id in members):
            return []  # nobody else is there
        to = self._members(group, excluded=(client.id,) if no_echo else ())
        message = GroupMessage(group, data, data_type, client.admission.user_id, metadata)
        return self._fan_out(to, message, client.id)

    def _carry_out(
        self, client: _Client, request: JoinGroup | LeaveGroup | SendToGroup | Event
    ) -> list[Output] | None:
        """What the request causes apart from its ack; None if the client has no permission."""
        if isinstance(request, SendToGroup):
            return self._send(client, request)
        if isinstance(request, Event):
            return self._answer_event(client, request)
        if not client.admission.permissions.join.allows(request.group):
            return None
        if isinstance(request, JoinGroup):
            self._join(client, request.group)
        else:
            self._leave(client, request.group)
        return []

    def _answer_event(self, client: _Client, event: Event) -> list[Output]:
        is_empty = event.data_type != "json" and not event.data and event.metadata is None
        if self._upstream == "none" or is_empty:
            return []
        return self._fan_out([client], ServerMessage(event.data, event.data_type, event.metadata))

    def _refuse(self, client: _Client, ack: Ack) -> list[Output]:
        """Answer with an ack that is no success."""
        return self._ack(client, encode_response(ack), ack.error or "")

    def _ack(self, client: _Client, payload: bytes, name: str) -> list[Output]:
        """An ack, unless a fault drops it, and late if one delays it."""
        if self._has_faults:
            if self._faults.strike("drop-ack"):
                return []
            if fault := self._faults.due("delay-ack"):
                return [SendLateAck(client.id, payload, name, fault.delay_s)]
        return [SendAck(client.id, payload, name)]

    def _members(self, group: str, *, excluded: Container[str]) -> list[_Client]:
        """Who gets a message to `group`: its members, without the `excluded` connection ids."""
        members = self._groups.get(group)
        if members is None:
            return []
        to = [member for member in members.values() if member.id not in excluded]
        if self._has_faults and "drop-delivery" in self._faults:
            to = [member for member in to if not self._faults.strike("drop-delivery")]
        return to

    def _fan_out(
        self, to: Iterable[_Client], message: GroupMessage | ServerMessage, sender: str = ""
    ) -> list[Output]:
        """The message for all of `to`, encoded at most once for PubSub and once for simple."""
        pubsub: list[str] = []
        simple: list[str] = []
        for client in to:
            (simple if client.is_simple else pubsub).append(client.id)
        kind = Kind.DELIVERY if isinstance(message, GroupMessage) else Kind.SERVER_MESSAGE
        outputs: list[Output] = []
        if pubsub:
            outputs.append(Send(pubsub, encode_response(message), True, kind))
        if simple:
            payload, is_text = _plain(message.data, message.data_type)
            outputs.append(Send(simple, payload, is_text, kind))
        if self._has_delivery_faults and kind is Kind.DELIVERY:
            return [
                Deliver(each.to, each.payload, each.is_text, sender)
                for each in outputs
                if isinstance(each, Send)
            ]
        return outputs

    def _join(self, client: _Client, group: str) -> None:
        client.groups.add(group)
        self._groups.setdefault(group, {})[client.id] = client

    def _leave(self, client: _Client, group: str) -> None:
        if group not in client.groups:
            return
        client.groups.discard(group)
        members = self._groups[group]
        del members[client.id]
        if not members:
            del self._groups[group]
