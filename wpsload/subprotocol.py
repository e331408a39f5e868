"""The `json.webpubsub.azure.v1` messages and their encoding, both directions.

Requests go from the client to the service, responses come back. A message cannot be changed;
`encode_*` gives the UTF-8 bytes of one text frame, `decode_*` reads them. Nothing here does I/O.

Metadata is a flat mapping of texts beside the data; None stands for none at all. Reliable clients,
streams and invocations are not spoken yet.

Numbers in JSON data are read as 64-bit integers or doubles and written anew. So an integer beyond
64 bit, or more digits than a double holds, reaches a member rounded, where the service passes on
the digits as they were written. A number too large for a double, such as 1E400, is kept as it was
written, as an `orjson.Fragment`.

Source: protocol reference, section 4; the Web PubSub JSON subprotocol reference of the service.
"""

import base64
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple, Never

import orjson

from wpsload.errors import LocalProtocolError, RemoteProtocolError
from wpsload.names import is_event, is_group

__all__ = [
    "JSON_V1",
    "MAX_MESSAGE_BYTES",
    "Ack",
    "Connected",
    "DataType",
    "Disconnected",
    "Event",
    "GroupMessage",
    "JoinGroup",
    "LeaveGroup",
    "Ping",
    "Pong",
    "Request",
    "Response",
    "SendToGroup",
    "SequenceAck",
    "ServerMessage",
    "check_group",
    "check_metadata",
    "decode_request",
    "decode_response",
    "encode_request",
    "encode_response",
    "encode_success",
]

JSON_V1 = "json.webpubsub.azure.v1"
"""WebSocket subprotocol name of a PubSub client."""

MAX_MESSAGE_BYTES = 1024 * 1024
"""Largest message the service accepts, envelope included. Source: protocol reference, 8.1."""

MAX_TTL_S = 300
"""Longest time a message may wait for a client; 0 is without end. Source: protocol reference, 8.1.
"""

MAX_METADATA_KEY_BYTES = 256
MAX_METADATA_VALUE_BYTES = 1024
MAX_METADATA_BYTES = 8 * 1024
"""Keys and values together. Source, also of the two above: protocol reference, 4.1."""

KNOWN_GROUPS = 256
"""Group names that need not be checked again."""

MAX_ACK_ID = 2**64 - 1
_DIGITS = re.compile(r"[0-9]{1,20}")  # as long as MAX_ACK_ID
_HTTP_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

DataType = Literal["text", "json", "binary", "protobuf"]
_DATA_TYPES: frozenset[str] = frozenset(("text", "json", "binary", "protobuf"))
_BYTES_TYPES: frozenset[str] = frozenset(("binary", "protobuf"))


@dataclass(frozen=True, slots=True)
class JoinGroup:
    """Ask to join `group`; answered by an ack if `ack_id` is given."""

    group: str
    ack_id: int | None = None


@dataclass(frozen=True, slots=True)
class LeaveGroup:
    """Ask to leave `group`; answered by an ack if `ack_id` is given."""

    group: str
    ack_id: int | None = None


class SendToGroup(NamedTuple):
    """Publish `data` to `group`.

    `data` is a str for `text`, bytes for `binary` and `protobuf`, any JSON value for `json`.
    `no_echo` keeps the message from the sending connection.
    """

    group: str
    data: Any
    data_type: DataType = "json"
    no_echo: bool = False
    ack_id: int | None = None
    metadata: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """Send user event `event` upstream; `data` as in `SendToGroup`."""

    event: str
    data: Any
    data_type: DataType = "json"
    ack_id: int | None = None
    metadata: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Ping:
    """Ask for a `Pong`."""


@dataclass(frozen=True, slots=True)
class SequenceAck:
    """Confirm all messages up to `sequence_id`; only reliable clients need it."""

    sequence_id: int


_new = tuple.__new__  # of a named tuple, for half of the price

Request = JoinGroup | LeaveGroup | SendToGroup | Event | Ping | SequenceAck


class Ack(NamedTuple):
    """The answer to a request with an `ack_id`; `error` is the service's error name."""

    ack_id: int
    success: bool
    error: str | None = None
    error_message: str = ""

    @property
    def is_success(self) -> bool:
        """True if the request is done: acknowledged, or known to be done already (`Duplicate`).

        Source: protocol reference, 4.3; both official SDKs count `Duplicate` as a success.
        """
        return self.success or self.error == "Duplicate"


@dataclass(frozen=True, slots=True)
class GroupMessage:
    """A message published to a group this client is in; `data` as in `SendToGroup`."""

    group: str
    data: Any
    data_type: DataType
    from_user_id: str | None = None
    metadata: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class ServerMessage:
    """A message from the application server: REST, or the answer of an event handler."""

    data: Any
    data_type: DataType
    metadata: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Connected:
    """The first frame after the upgrade."""

    connection_id: str
    user_id: str | None = None


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The service is about to close the connection; `message` says why."""

    message: str = ""


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a `Ping`."""


Response = Ack | GroupMessage | ServerMessage | Connected | Disconnected | Pong


def check_group(group: str) -> str:
    """`group` itself, if the service accepts it as a group name.

    Raises:
        LocalProtocolError: if it is blank, longer than 1,024 characters or no valid text.

    Source: protocol reference, 1.3.
    """
    if not is_group(group):
        raise LocalProtocolError(
            f"{group[:40]!r} is not a group name",
            hint="use 1 to 1,024 characters, not all of them spaces",
        )
    return group


def check_metadata(metadata: Mapping[Any, Any]) -> Mapping[str, str]:
    """`metadata` itself, if the service accepts it.

    Raises:
        LocalProtocolError: if a key is not an HTTP token of at most 256 bytes, a value is not
            ASCII text of at most 1 KiB, or all of them are longer than 8 KiB.

    Source: protocol reference, 4.1.
    """
    total_bytes = 0
    for key, value in metadata.items():
        if not (
            isinstance(key, str)
            and len(key) <= MAX_METADATA_KEY_BYTES
            and _HTTP_TOKEN.fullmatch(key)
        ):
            raise LocalProtocolError(
                "a key of the metadata cannot be used",
                hint="use 1 to 256 letters, digits and the signs of an HTTP header name",
            )
        if not (
            isinstance(value, str) and len(value) <= MAX_METADATA_VALUE_BYTES and value.isascii()
        ):
            raise LocalProtocolError(
                f"the value of metadata {key[:40]} cannot be used",
                hint="use up to 1,024 ASCII characters",
            )
        total_bytes += len(key) + len(value)
    if total_bytes > MAX_METADATA_BYTES:
        raise LocalProtocolError(
            f"the metadata has {total_bytes} bytes, expected at most {MAX_METADATA_BYTES}"
        )
    return metadata


def _encode_data(data: Any, data_type: str) -> Any:
    """`data` as it stands in the JSON envelope."""
    if data_type in _BYTES_TYPES:
        if not isinstance(data, bytes | bytearray | memoryview):
            raise LocalProtocolError(f"{data_type} data is {type(data).__name__}, expected bytes")
        return base64.b64encode(data).decode("ascii")
    if data_type == "text" and not isinstance(data, str):
        raise LocalProtocolError(f"text data is {type(data).__name__}, expected str")
    if data_type not in _DATA_TYPES:
        raise LocalProtocolError(
            f"unknown data type {data_type!r}", hint="use text, json, binary or protobuf"
        )
    return data


def _add_metadata(message: dict[str, Any], metadata: Mapping[str, str] | None) -> None:
    if metadata is not None:
        message["metadata"] = dict(check_metadata(metadata))


def _dump(message: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(message)
    except orjson.JSONEncodeError as error:
        raise LocalProtocolError(f"data cannot be written as JSON: {error}") from error


def encode_request(request: Request) -> bytes:
    """The text frame of a request; `ackId` comes last.

    Raises:
        LocalProtocolError: if the data does not fit its type or cannot be written as JSON, or the
            metadata cannot be used.
    """
    message: dict[str, Any]
    match request:
        case SendToGroup():
            message = {
                "type": "sendToGroup",
                "group": request.group,
                "dataType": request.data_type,
                "data": _encode_data(request.data, request.data_type),
            }
            if request.no_echo:
                message["noEcho"] = True
            _add_metadata(message, request.metadata)
        case Event():
            message = {
                "type": "event",
                "event": request.event,
                "dataType": request.data_type,
                "data": _encode_data(request.data, request.data_type),
            }
            _add_metadata(message, request.metadata)
        case JoinGroup():
            message = {"type": "joinGroup", "group": request.group}
        case LeaveGroup():
            message = {"type": "leaveGroup", "group": request.group}
        case Ping():
            return b'{"type":"ping"}'
        case SequenceAck():
            return _dump({"type": "sequenceAck", "sequenceId": request.sequence_id})
    if request.ack_id is not None:
        message["ackId"] = request.ack_id
    return _dump(message)


def encode_success(ack_id: int) -> bytes:
    """What `encode_response` gives for `Ack(ack_id, True)`, the answer to nearly every request."""
    return f'{{"type":"ack","ackId":{ack_id},"success":true}}'.encode()


def encode_response(response: Response) -> bytes:
    """The text frame of a response.

    Raises:
        LocalProtocolError: as `encode_request`.
    """
    message: dict[str, Any]
    match response:
        case Ack():
            message = {"type": "ack", "ackId": response.ack_id, "success": response.success}
            if not response.success:
                message["error"] = {"name": response.error, "message": response.error_message}
        case GroupMessage():
            message = {
                "type": "message",
                "from": "group",
                "group": response.group,
                "dataType": response.data_type,
                "data": _encode_data(response.data, response.data_type),
            }
            if response.from_user_id is not None:
                message["fromUserId"] = response.from_user_id
            _add_metadata(message, response.metadata)
        case ServerMessage():
            message = {
                "type": "message",
                "from": "server",
                "dataType": response.data_type,
                "data": _encode_data(response.data, response.data_type),
            }
            _add_metadata(message, response.metadata)
        case Connected():
            message = {
                "type": "system",
                "event": "connected",
                "userId": response.user_id,
                "connectionId": response.connection_id,
            }
        case Disconnected():
            message = {"type": "system", "event": "disconnected", "message": response.message}
        case Pong():
            return b'{"type":"pong"}'
    return _dump(message)


def _large_integer(text: str) -> Any:
    value = int(text) if len(text) <= len(str(MAX_ACK_ID)) else None
    is_known = value is not None and -(2**63) <= value < 2**64
    return value if is_known else orjson.Fragment(text)


def _large_float(text: str) -> Any:
    return value if math.isfinite(value := float(text)) else orjson.Fragment(text)


def _no_constant(text: str) -> Never:
    raise ValueError(f"{text} is not JSON")


def _load_large_numbers(frame: bytes) -> Any:
    """JSON that orjson refuses because a number in it is too large for a double.

    Raises:
        RemoteProtocolError: if there is another reason to refuse it.
    """
    try:
        message = json.loads(
            frame.decode(),
            parse_int=_large_integer,
            parse_float=_large_float,
            parse_constant=_no_constant,
        )
        orjson.dumps(message)  # finds half surrogate pairs, which the standard library lets pass
    except (ValueError, TypeError, RecursionError) as error:
        raise RemoteProtocolError("frame is not JSON") from error
    return message


def _load(frame: bytes) -> dict[str, Any]:
    try:
        message = orjson.loads(frame)
    except orjson.JSONDecodeError:
        message = _load_large_numbers(frame)
    if not isinstance(message, dict):
        raise RemoteProtocolError("frame is not a JSON object")
    return message


def _text_field(message: dict[str, Any], name: str) -> str:
    value = message.get(name)
    if not isinstance(value, str):
        raise RemoteProtocolError(f"`{name}` is not a string")
    return value


def _integer_field(message: dict[str, Any], name: str) -> int:
    value = message.get(name)
    if type(value) is not int or not 0 <= value <= MAX_ACK_ID:  # a bool is an int as well
        raise RemoteProtocolError(f"`{name}` is not an unsigned 64-bit integer")
    return value


def _decode_data(message: dict[str, Any]) -> tuple[Any, DataType]:
    """The data and its type; an absent type, or null, means `json`.

    Beside metadata the data may be absent, which means empty text. Source: protocol reference, 4.1.
    """
    if "data" not in message and message.get("metadata"):
        return "", "text"
    data_type = message.get("dataType")
    data = message.get("data")
    if data_type is None or data_type == "json":
        if data is None:
            raise RemoteProtocolError("`data` is missing or null")
        return data, "json"
    if data_type == "text":
        return _text_field(message, "data"), "text"
    if data_type in ("binary", "protobuf"):
        try:
            decoded = base64.b64decode(_text_field(message, "data"), validate=True)
        except ValueError as error:  # not ASCII, or binascii.Error
            raise RemoteProtocolError("`data` is not base64") from error
        return decoded, data_type
    raise RemoteProtocolError("`dataType` is not text, json, binary or protobuf")


@lru_cache(KNOWN_GROUPS)
def _known_group(group: str) -> str:
    try:
        return check_group(group)
    except LocalProtocolError as error:
        raise RemoteProtocolError(error.message) from error


def _decode_group(message: dict[str, Any]) -> str:
    return _known_group(_text_field(message, "group"))


def _decode_metadata(message: dict[str, Any]) -> Mapping[str, str] | None:
    metadata = message.get("metadata")
    if metadata is None or metadata == {}:
        return None
    if not isinstance(metadata, dict):
        raise RemoteProtocolError("`metadata` is not an object")
    try:
        return check_metadata(metadata)
    except LocalProtocolError as error:
        raise RemoteProtocolError(error.message) from error


def _check_ttl(message: dict[str, Any]) -> None:
    """The stand-in lets no message wait, so that the value itself does not matter."""
    ttl_s = message.get("ttlSeconds")
    if ttl_s is not None and (
        isinstance(ttl_s, bool) or not isinstance(ttl_s, int) or not 0 <= ttl_s <= MAX_TTL_S
    ):
        raise RemoteProtocolError(f"`ttlSeconds` is not a whole number from 0 to {MAX_TTL_S}")


def _decode_event_name(message: dict[str, Any]) -> str:
    event = _text_field(message, "event")
    if not is_event(event):
        raise RemoteProtocolError("`event` is not an event name")
    return event


def _decode_send(message: dict[str, Any], ack_id: int | None) -> SendToGroup:
    group = message.get("group")
    group = _known_group(group) if type(group) is str else _decode_group(message)
    metadata = _decode_metadata(message) if "metadata" in message else None
    data_type: DataType
    if message.get("dataType") == "text" and isinstance(data := message.get("data"), str):
        data_type = "text"
    else:
        data, data_type = _decode_data(message)
    if "ttlSeconds" in message:
        _check_ttl(message)
    no_echo = message.get("noEcho", False)
    if no_echo is None:
        no_echo = False
    elif no_echo is not True and no_echo is not False:
        raise RemoteProtocolError("`noEcho` is not a boolean")
    return _new(SendToGroup, (group, data, data_type, no_echo, ack_id, metadata))


def decode_request(frame: bytes) -> Request:
    """Read one text frame of a client.

    `type` is matched ignoring case; unknown properties are ignored.

    Raises:
        RemoteProtocolError: if the frame is not a valid request; `close_code` is 1007.

    Source: protocol reference, 4.1 and 8.3.
    """
    message = _load(frame)
    ack_id = message.get("ackId")
    if ack_id is not None and not (type(ack_id) is int and 0 <= ack_id <= MAX_ACK_ID):
        ack_id = _integer_field(message, "ackId")
    if message.get("type") == "sendToGroup":  # nearly every request is one, and spelled like this
        return _decode_send(message, ack_id)
    match _text_field(message, "type").lower():
        case "sendtogroup":
            return _decode_send(message, ack_id)
        case "event":
            event = _decode_event_name(message)
            metadata = _decode_metadata(message)
            data, data_type = _decode_data(message)
            return Event(event, data, data_type, ack_id, metadata)
        case "joingroup":
            return JoinGroup(_decode_group(message), ack_id)
        case "leavegroup":
            return LeaveGroup(_decode_group(message), ack_id)
        case "ping":
            return Ping()
        case "sequenceack":
            sequence_id = message.get("sequenceId")
            if isinstance(sequence_id, str) and _DIGITS.fullmatch(sequence_id):
                message["sequenceId"] = int(sequence_id)  # the docs show text, the SDKs a number
            return SequenceAck(_integer_field(message, "sequenceId"))
        case _:
            raise RemoteProtocolError("unknown request type")


def _decode_ack(message: dict[str, Any]) -> Ack:
    ack_id = _integer_field(message, "ackId")
    success = message.get("success")
    if not isinstance(success, bool):
        raise RemoteProtocolError("`success` is not a boolean")
    error = message.get("error")
    if success or error is None:
        return Ack(ack_id, success, None if success else "Unknown")
    if not isinstance(error, dict):
        raise RemoteProtocolError("`error` is not an object")
    return Ack(ack_id, success, _text_field(error, "name"), str(error.get("message", "")))


def _decode_message(message: dict[str, Any]) -> GroupMessage | ServerMessage:
    data, data_type = _decode_data(message)
    # The limits are for what is sent; whatever the service passes on is taken.
    metadata = message.get("metadata")
    metadata = metadata if isinstance(metadata, dict) and metadata else None
    match message.get("from"):
        case "group":
            user_id = message.get("fromUserId")
            return GroupMessage(
                _text_field(message, "group"),
                data,
                data_type,
                user_id if isinstance(user_id, str) else None,
                metadata,
            )
        case "server":
            return ServerMessage(data, data_type, metadata)
        case _:
            raise RemoteProtocolError("`from` is not group or server")


def _decode_system(message: dict[str, Any]) -> Connected | Disconnected | None:
    match message.get("event"):
        case "connected":
            user_id = message.get("userId")
            return Connected(
                _text_field(message, "connectionId"), user_id if isinstance(user_id, str) else None
            )
        case "disconnected":
            return Disconnected(str(message.get("message", "")))
        case _:
            return None


def decode_response(frame: bytes) -> Response | None:
    """Read one text frame of the service; None for a type that this release does not know.

    Clients ignore unknown types, as the official SDKs do. Source: protocol reference, 8.5.

    Raises:
        RemoteProtocolError: if the frame is not a valid response.
    """
    message = _load(frame)
    match _text_field(message, "type"):
        case "ack":
            return _decode_ack(message)
        case "message":
            return _decode_message(message)
        case "system":
            return _decode_system(message)
        case "pong":
            return Pong()
        case _:
            return None
