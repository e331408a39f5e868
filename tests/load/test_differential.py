"""The same conversation over each engine has the same outcome, whatever the service sends.

The two parsers of frames have nothing in common: ours, and that of websocket-client. A conversation
is a list of requests; with each, the service sends some bytes and then the ack. What happened, as
the run counts it, and what the service heard, byte for byte where it matters, must be equal.

Left out, because the order in which things happen is not defined:

- what breaks the protocol right behind an ack, in one packet: whether the scenario has sent its
  next request by then depends on who is woken first;
- the opening handshake, where websocket-client is more lenient (it compares the accept key without
  case): see `test_opening.py` and `test_dialing.py`.
"""

import contextlib
import itertools
import json
from dataclasses import dataclass, field
from typing import Any

import gevent
import pytest
from gevent import socket
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import CONNECTED, Peer, Watcher, connected, join, service
from serving import DEADLINE_S

from wpsload import connection as connection_module
from wpsload import frames, payload
from wpsload.clock import CLOCK
from wpsload.engine import ENGINE_NAMES, Engine, EngineName
from wpsload.link import Limits
from wpsload.publication import Computed, Stamped
from wpsload.publishing import Publishing
from wpsload.subprotocol import (
    MAX_MESSAGE_BYTES,
    Ack,
    Disconnected,
    GroupMessage,
    Pong,
    ServerMessage,
    encode_response,
    encode_success,
)

LIMITS = Limits(connect_timeout_s=DEADLINE_S, ack_timeout_s=DEADLINE_S / 20, drain_s=DEADLINE_S)
_MESSAGES = 5  # of the closed loop

_engines = {name: Engine(gevent.get_hub(), name) for name in ENGINE_NAMES}


@pytest.fixture(scope="module", autouse=True)
def quick_back_off() -> Any:
    """Most conversations break off once; nobody is to wait a quarter of a second for the next."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection_module, "_BACK_OFF_START_S", 0.01)
        yield


@dataclass(frozen=True)
class Reply:
    """What the service does with one request: send `before`, then the ack and `after`.

    With `end` it stops sending instead of the ack, and reads until the client hangs up. `error` is
    that of the ack; `is_forgotten` leaves the ack out.
    """

    before: bytes = b""
    after: bytes = b""
    end: bool = False
    error: str | None = None
    is_forgotten: bool = False


@dataclass
class Outcome:
    """All that can be seen of a conversation."""

    answers: list[tuple[bool, str | None]] = field(default_factory=list)
    samples: list[tuple[str, bool, str | None, bool]] = field(default_factory=list)
    acked: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    messages: list[object] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)
    sent: tuple[int, int, int] = (0, 0, 0)
    heard: list[tuple[str, Any, Any]] = field(default_factory=list)
    pongs: list[bytes] = field(default_factory=list)
    goodbyes: list[tuple[int, str] | None] = field(default_factory=list)


class Hearing(Peer):
    """A peer that keeps what it hears, and writes whatever it is told to."""

    def send(self, data: bytes) -> None:
        """Bytes as they are; a client that has hung up does not matter here."""
        with contextlib.suppress(OSError):
            self.sock.sendall(data)

    def flush(self) -> None:
        """What the referee wants to say, such as the answer to a close frame."""
        for data in self.protocol.data_to_send():
            self.send(data)

    def _fill(self) -> bool:
        try:
            return super()._fill()
        except OSError:
            self.protocol.receive_eof()
            return False


def converse(name: EngineName, replies: list[Reply]) -> Outcome:
    """Have the conversation over one engine."""
    outcome = Outcome()
    left = iter(replies)
    watcher = Watcher()
    loops: list[Publishing] = []

    def script(peer: Peer) -> None:
        assert isinstance(peer, Hearing)
        peer.say(CONNECTED)
        while frame := peer.hear():
            request = json.loads(frame)
            data = request.get("data")
            if (stamp := payload.read(data)) is not None:
                data = stamp.number
                if data >= _MESSAGES - 1:
                    loops[0].stop()
            outcome.heard.append((request["type"], data, request["ackId"]))
            reply = next(left, Reply())
            if reply.end:
                peer.send(reply.before)
                peer.sock.shutdown(socket.SHUT_WR)
                continue
            ack = encode_response(
                Ack(request["ackId"], success=reply.error is None, error=reply.error)
            )
            peer.send(
                reply.before
                + (b"" if reply.is_forgotten else frames.encode(frames.TEXT, ack))
                + reply.after
            )
        code = peer.protocol.close_rcvd
        outcome.goodbyes.append((code.code, code.reason) if code else None)
        peer.sock.close()

    with service(script, Hearing) as url:
        with connected(url, watcher, LIMITS, engine=_engines[name]) as (connection, session):
            outcome.answers.append(shown(join(connection, session, "a")))
            stamped = Stamped(
                *("a", "text"),
                no_echo=False,
                size_bytes=200,
                clock=CLOCK,
                stream=connection.open_stream("a", is_echoed=False),
            )
            loops.append(connection.publish(stamped, 0))
            watcher.wait_for(lambda: loops[0].is_stopped and not session.pending_count)
            outcome.answers.append(shown(join(connection, session, "b")))
            numbers = itertools.count(1)

            def data() -> int:
                number = next(numbers)
                if number == _MESSAGES:
                    publishing.stop()
                return number

            publishing = connection.publish(Computed("a", data, "json", no_echo=False), 0)
            watcher.wait_for(lambda: publishing.is_stopped and not session.pending_count)
            outcome.answers.append(
                shown(
                    connection.request(
                        lambda sent_ns: session.send_to_group(
                            "a", "last", "text", no_echo=True, sent_ns=sent_ns
                        )
                    )
                )
            )
            outcome.answers.append(
                shown(connection.request(lambda sent_ns: session.leave("b", sent_ns=sent_ns)))
            )
        watcher.wait_for(lambda: len(outcome.goodbyes) >= watcher.counts["opened"])
    outcome.samples = [
        (one.metric.name, one.latency_ns is None, one.failure, one.is_answered)
        for one in watcher.samples
    ]
    taken = watcher.meter.take()
    outcome.acked = {batch.metric.name: len(batch.latencies_ns) for batch in taken.batches}
    outcome.sent = (taken.sent, taken.sent_bytes, taken.received_bytes)
    outcome.counts = dict(watcher.counts)
    outcome.messages = list(watcher.messages)
    outcome.mistakes = [repr(error) for error in watcher.mistakes]
    return outcome


def shown(ack: Ack) -> tuple[bool, str | None]:
    """What a scenario sees of an ack."""
    return ack.is_success, ack.error


def compare(replies: list[Reply]) -> Outcome:
    """The outcome, which is the same over each engine."""
    greenlets = [gevent.spawn(converse, name, replies) for name in ENGINE_NAMES]
    with gevent.Timeout(6 * DEADLINE_S):
        gevent.joinall(greenlets, raise_error=True)
    first, *others = (greenlet.get() for greenlet in greenlets)
    for name, other in zip(ENGINE_NAMES[1:], others, strict=True):
        assert first == other, name
    return first


def text(frame: bytes) -> bytes:
    """A text frame."""
    return frames.encode(frames.TEXT, frame)


def frame(first: int, data: bytes, *, mask: bytes | None = None) -> bytes:
    """A frame with any first byte."""
    whole = frames.encode(frames.TEXT, data, mask_key=mask)
    return bytes([first]) + whole[1:]


STAMPED = payload.stamp(payload.Stamp(CLOCK, 1), size_bytes=60)
GROUP_MESSAGE = text(encode_response(GroupMessage("a", STAMPED, "text", "someone")))
SERVER_MESSAGE = text(encode_response(ServerMessage({"a": [1, None]}, "json")))
LARGE_MESSAGE = text(encode_response(ServerMessage("ä" * 40_000, "text")))
PING = frames.encode(frames.PING, b"are you there")
FRAGMENTED = b"".join(
    (
        frame(0x01, b'{"type":"message","from":"ser'),
        PING,
        frame(0x00, b'ver","dataType":"text","data":"\xc3'),
        frames.encode(frames.PONG, b""),
        frame(0x00, b""),
        frame(0x80, b'\xa4"}'),
    )
)
CONVERSATIONS = {
    "nothing odd": [],
    "messages of both kinds": [Reply(GROUP_MESSAGE + SERVER_MESSAGE, GROUP_MESSAGE)],
    "a large message": [Reply(LARGE_MESSAGE)],
    "fragments, and control frames amid them": [Reply(FRAGMENTED), Reply(PING), Reply(FRAGMENTED)],
    "an unknown type": [Reply(text(b'{"type":"news","x":1}'))],
    "a pong and a disconnect": [
        Reply(text(encode_response(Pong())) + text(encode_response(Disconnected("bye"))))
    ],
    "acks of nobody": [Reply(text(encode_success(99)), text(encode_success(1)) * 2)],
    "a bad ack": [Reply(text(b'{"type":"ack","ackId":"1","success":true}'), end=True)],
    "an ack without success": [Reply(), Reply(text(b'{"type":"ack","ackId":2}'), end=True)],
    "refusals": [Reply(error="Forbidden"), Reply(error="Duplicate"), Reply(error="Other")],
    "acks that do not come": [Reply(is_forgotten=True), Reply(), Reply(is_forgotten=True)],
    "a late ack": [
        Reply(is_forgotten=True),
        Reply(text(encode_success(1))),
        Reply(is_forgotten=True),
        Reply(text(encode_success(3))),
    ],
    "no JSON": [Reply(text(b"{"), end=True)],
    "no UTF-8": [Reply(), Reply(), Reply(text(b'{"type":"\xff"}'), end=True)],
    "no UTF-8 in fragments": [Reply(frame(0x01, b"\xc3") + frame(0x80, b'"'), end=True)],
    "a binary frame": [Reply(frames.encode(frames.BINARY, b"{}"), end=True)],
    "the end": [Reply(end=True)],
    "the end within a head": [Reply(b"\x81", end=True)],
    "the end within a frame": [Reply(), Reply(GROUP_MESSAGE[:-1], end=True)],
    "the end within a message": [Reply(frame(0x01, b"{"), end=True)],
    "a goodbye without a code": [Reply(frames.encode(frames.CLOSE, b""), end=True)],
    "a goodbye with half a code": [Reply(frames.encode(frames.CLOSE, b"\x03"), end=True)],
    "a goodbye that is not UTF-8": [Reply(frames.encode(frames.CLOSE, b"\x03\xe8\xff"), end=True)],
    "a message and a goodbye, and more": [
        Reply(SERVER_MESSAGE + frames.encode(frames.CLOSE, b"\x03\xe8") + SERVER_MESSAGE, end=True)
    ],
    "a masked frame": [Reply(frame(0x81, b"{}", mask=b"abcd"), end=True)],
    "an unknown opcode": [Reply(frame(0x83, b"{}"), end=True)],
    "an extension's bit": [Reply(frame(0xC1, b"{}"), end=True)],
    "a fragmented ping": [Reply(frame(0x09, b"") + frame(0x80, b""), end=True)],
    "a fragmented pong": [Reply(frame(0x0A, b"") + frame(0x80, b""), end=True)],
    "a long ping": [Reply(frame(0x89, b"x" * 126), end=True)],
    "a long pong": [Reply(frame(0x8A, b"x" * 126), end=True)],
    "a fragment of nothing": [Reply(frame(0x80, b"{}"), end=True)],
    "a message within a message": [Reply(frame(0x01, b"{") + frame(0x81, b"{}"), end=True)],
    "a head of too much": [Reply(b"\x81\x7f" + (MAX_MESSAGE_BYTES + 1).to_bytes(8), end=True)],
    "fragments of too much": [Reply(frame(0x01, b"x" * MAX_MESSAGE_BYTES) + b"\x80\x01", end=True)],
} | {
    f"a goodbye with {code}": [Reply(frames.encode(frames.CLOSE, code.to_bytes(2)), end=True)]
    for code in (0, 999, 1000, 1001, 1004, 1005, 1006, 1011, 1014, 1015, 2999, 3000, 4999, 5000)
}


@pytest.mark.parametrize("replies", CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_a_conversation_is_the_same(replies: list[Reply]) -> None:
    """Samples, counts, messages, requests and the way it ended: over each engine the same."""
    outcome = compare(replies)
    assert outcome.mistakes == []
    breaks = sum(reply.end for reply in replies)
    opened, reopened, closed = (
        outcome.counts.get(name, 0) for name in ("opened", "reopened", "closed")
    )
    assert (opened, reopened, closed) == (breaks + 1, breaks, breaks + 1)
    assert outcome.goodbyes[-1] == (1000, "")


PIECES = st.one_of(
    st.sampled_from(
        [GROUP_MESSAGE, SERVER_MESSAGE, FRAGMENTED, PING, text(b'{"type":"x"}'), text(b'{"a":1}')]
    ),
    st.builds(lambda ack_id: text(encode_success(ack_id)), st.integers(50, 2**64)),
    st.builds(
        frame,
        st.sampled_from([0x01, 0x02, 0x00, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8A])
        | st.integers(0, 255),
        st.binary(max_size=8) | st.sampled_from([CONNECTED, b"\x03\xe8", b"x" * 130]),
        mask=st.sampled_from([None, None, None, b"abcd"]),
    ),
    st.binary(max_size=12),
)
HARMLESS = st.sampled_from([b"", GROUP_MESSAGE, SERVER_MESSAGE, FRAGMENTED, PING])
REPLIES = st.one_of(
    st.builds(Reply, before=HARMLESS, after=HARMLESS, error=st.sampled_from([None, "Forbidden"])),
    st.builds(Reply, before=st.lists(PIECES, max_size=4).map(b"".join), end=st.just(True)),
)


@settings(max_examples=100, deadline=None)
@given(replies=st.lists(REPLIES, max_size=4))
def test_any_bytes_are_understood_the_same(replies: list[Reply]) -> None:
    """Frames of all kinds, well-formed and not, and bytes that are none."""
    compare(replies)
