"""The session: answers find their requests, and every request has exactly one answer."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from wpsload import payload
from wpsload.errors import LocalProtocolError, RemoteProtocolError
from wpsload.ledger import Stream
from wpsload.metrics import DELIVERY, ECHO, JOIN_GROUP, SEND_TO_GROUP, Sample
from wpsload.session import (
    TRANSITIONS,
    Answered,
    Arrived,
    Happened,
    PubSubSession,
    Ready,
    SimpleSession,
    State,
)
from wpsload.subprotocol import Ack, GroupMessage, encode_response, encode_success

CLOCK = payload.clock_id("a boot")
CONNECTED = b'{"type":"system","event":"connected","userId":"u","connectionId":"c"}'


def open_session() -> PubSubSession:
    """A session that has its `connected` message."""
    session = PubSubSession(clock=CLOCK)
    session.opening()
    assert receive(session, CONNECTED) == (Ready("c"),)
    return session


def receive(session: PubSubSession, frame: bytes, now_ns: int = 0) -> tuple[Happened, ...]:
    """What a text frame means."""
    return session.receive(frame, is_text=True, now_ns=now_ns)


def ack(ack_id: int, error: str | None = None) -> bytes:
    """The frame of an ack."""
    message: dict[str, Any] = {"type": "ack", "ackId": ack_id, "success": error is None}
    if error is not None:
        message["error"] = {"name": error, "message": f"message {ack_id}"}
    return orjson.dumps(message)


def test_answers_are_matched_by_ack_id() -> None:
    """Acks that come in another order belong to the request with their id."""
    session = open_session()
    first, _ = session.join("g", sent_ns=10)
    second, _ = session.send_to_group("g", "x", "text", no_echo=False, sent_ns=20)
    (answered,) = receive(session, ack(second), now_ns=120)
    assert isinstance(answered, Answered)
    assert (answered.sample.metric, answered.sample.latency_ns) == (SEND_TO_GROUP, 100)
    (answered,) = receive(session, ack(first), now_ns=210)
    assert isinstance(answered, Answered)
    assert (answered.sample.metric, answered.sample.latency_ns) == (JOIN_GROUP, 200)


def test_a_refusal_is_a_failure_by_its_name() -> None:
    """The service's error name is the text of the failure; its message, with ids, is not."""
    session = open_session()
    key, _ = session.join("g", sent_ns=0)
    (answered,) = receive(session, ack(key, "Forbidden"))
    assert isinstance(answered, Answered)
    assert answered.sample.failure == "Forbidden"
    assert answered.sample.is_answered
    assert session.groups == frozenset()


def test_a_duplicate_is_a_success() -> None:
    """`Duplicate` means that the request was carried out before: protocol reference, 4.3."""
    session = open_session()
    key, _ = session.join("g", sent_ns=0)
    (answered,) = receive(session, ack(key, "Duplicate"))
    assert isinstance(answered, Answered)
    assert answered.sample.failure is None
    assert answered.ack.is_success
    assert session.groups == {"g"}


def test_an_expired_answer_is_counted_once() -> None:
    """A request that timed out is a failure, and its late ack changes nothing."""
    session = open_session()
    key, _ = session.join("g", sent_ns=0)
    assert session.expire(key).sample.failure == "Timeout"
    assert receive(session, ack(key)) == ()


def test_lost_requests_fail_with_the_connection() -> None:
    """Whatever was unanswered when the connection ended fails with that reason."""
    session = open_session()
    keys = [session.send_to_group("g", "x", "text", no_echo=False, sent_ns=0)[0] for _ in "abc"]
    lost = session.lost("closed 1006")
    assert [answered.key for answered in lost] == keys
    assert {answered.sample.failure for answered in lost} == {"closed 1006"}
    assert not any(answered.sample.is_answered for answered in lost)
    assert session.state is State.CLOSED


def test_groups_and_ack_ids_survive_a_reconnect() -> None:
    """Groups are known for joining again, and ack ids go on: protocol reference, 8.5."""
    session = open_session()
    key, _ = session.join("g", sent_ns=0)
    receive(session, ack(key))
    session.lost("closed 1006")
    session.opening()
    receive(session, CONNECTED)
    assert session.groups == {"g"}
    again, _ = session.join("g", sent_ns=0)
    assert again > key


def test_a_group_that_was_asked_for_is_joined_again() -> None:
    """A join whose ack was lost with the connection, or that failed for a while, is repeated."""
    session = open_session()
    session.join("lost", sent_ns=0)
    key, _ = session.join("busy", sent_ns=0)
    receive(session, ack(key, "InternalServerError"))
    session.lost("closed 1006")
    assert session.groups == {"lost", "busy"}


def test_leaving_forgets_the_group() -> None:
    """A group that was left is not joined again."""
    session = open_session()
    for make in (session.join, session.leave):
        key, _ = make("g", sent_ns=0)
        receive(session, ack(key))
    assert session.groups == frozenset()


def test_delivery_latency_comes_from_the_stamp() -> None:
    """A group message with our stamp has a latency; anybody else's only counts."""
    session = open_session()
    stamped = payload.stamp(payload.Stamp(CLOCK, 1_000), size_bytes=50)
    for data, expected in ((stamped, 400), ("hello", None)):
        frame = orjson.dumps(
            {"type": "message", "from": "group", "group": "g", "dataType": "text", "data": data}
        )
        (arrived,) = receive(session, frame, now_ns=1_400)
        assert isinstance(arrived, Arrived)
        assert arrived.message.data == data
        assert arrived.sample is not None
        assert (arrived.sample.metric, arrived.sample.latency_ns) == (DELIVERY, expected)
        assert arrived.sample.size_bytes == len(frame)


def test_nothing_is_sent_unless_open() -> None:
    """Before `connected` and after our close a request is our own mistake."""
    session = PubSubSession(clock=CLOCK)
    session.opening()
    with pytest.raises(LocalProtocolError, match="connecting"):
        session.join("g", sent_ns=0)
    receive(session, CONNECTED)
    session.closing()
    with pytest.raises(LocalProtocolError, match="closing"):
        session.join("g", sent_ns=0)
    assert session.pending_count == 0


def test_data_that_does_not_fit_expects_no_answer() -> None:
    """A refused request leaves nothing behind that would wait for ever."""
    session = open_session()
    with pytest.raises(LocalProtocolError):
        session.send_to_group("g", b"bytes", "text", no_echo=False, sent_ns=0)
    with pytest.raises(LocalProtocolError):
        session.join("  ", sent_ns=0)
    assert session.pending_count == 0


def test_a_binary_frame_breaks_the_protocol() -> None:
    """The JSON subprotocol has text frames only; the close code that answers it is 1003."""
    with pytest.raises(RemoteProtocolError) as caught:
        open_session().receive(b"{}", is_text=False, now_ns=0)
    assert caught.value.close_code == 1003


def test_echoes_are_matched_by_content() -> None:
    """Echoes in any order, between other messages, find their own frame."""
    session = SimpleSession(clock=CLOCK)
    session.opening()
    session.upgraded()
    one, frame_one = session.echo(100, "text", sent_ns=10)
    two, frame_two = session.echo(100, "text", sent_ns=10)
    assert one != two
    assert len(frame_one) == len(frame_two) == 100
    (arrived,) = session.receive(b"news", is_text=True, now_ns=20)
    assert isinstance(arrived, Arrived)
    answered, arrived = session.receive(frame_two, is_text=True, now_ns=110)
    assert isinstance(answered, Answered)
    assert (answered.key, answered.sample.metric, answered.sample.latency_ns) == (two, ECHO, 100)
    assert isinstance(arrived, Arrived)
    assert session.pending_count == 1
    (arrived,) = session.receive(frame_two, is_text=True, now_ns=120)
    assert isinstance(arrived, Arrived)


FIELDS = {
    "type": st.sampled_from(["ack", "message", "Ack", None]),
    "ackId": st.sampled_from([1, 2, 3, 9, True, "1", 1.0, -1, 2**64 - 1, 2**64, None]),
    "success": st.sampled_from([True, True, False, 1, "true", None]),
    "error": st.sampled_from([None, {"name": "Duplicate"}, {"name": "Forbidden"}, {}, 5]),
    "x": st.sampled_from([1, [], {"type": "ack"}]),
}
PLAIN_ACKS = st.integers(0, 5).map(encode_success)
ACK_LIKE = st.builds(
    lambda rest: b'{"type":"ack"' + rest,
    st.lists(
        st.one_of(
            *(
                st.tuples(st.just(name), values).map(
                    lambda one: b',"%b":%b' % (one[0].encode(), json.dumps(one[1]).encode())
                )
                for name, values in FIELDS.items()
            )
        )
    ).map(lambda parts: b"".join(parts) + b"}"),
)
STAMPED = st.integers(0, 2**62).map(
    lambda sent_ns: encode_response(
        GroupMessage("g", payload.stamp(payload.Stamp(CLOCK, sent_ns), size_bytes=40), "text", "u")
    )
)


@st.composite
def changed(draw: st.DrawFn, frames: st.SearchStrategy[bytes]) -> bytes:
    """A frame with one byte that is another, one too many, or one missing."""
    frame = draw(frames)
    at = draw(st.integers(0, len(frame) - 1))
    byte = draw(st.binary(max_size=1) | st.sampled_from([b" ", b'"', b"0", b",", b"}"]))
    return frame[:at] + byte + frame[at + draw(st.integers(0, 1)) :]


FRAMES = st.one_of(
    PLAIN_ACKS,
    changed(PLAIN_ACKS),
    ACK_LIKE,
    changed(ACK_LIKE),
    st.builds(ack, st.integers(0, 5), st.sampled_from(["Forbidden", "Duplicate"])),
    STAMPED,
    changed(STAMPED),
    st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps).map(str.encode),
    st.binary(max_size=50),
)


def in_short(session: PubSubSession, frame: bytes, now_ns: int) -> object:
    """What the engine makes of a frame, that looks for the usual by short ways first."""
    if (done := session.acknowledged(frame)) is not None:
        key, pending = done
        sample = Sample(pending.metric, now_ns - pending.due_ns, None, len(frame))
        is_open_loop = pending.metric is SEND_TO_GROUP and pending.owner is None
        service_ns = now_ns - pending.sent_ns if is_open_loop else None
        ack = Ack(key, success=True)
        return (Answered(key, ack, sample, service_ns=service_ns, request=pending),)
    if (stamped := session.delivered(frame)) is not None:
        return (Sample(DELIVERY, max(0, now_ns - stamped[1]), size_bytes=len(frame)),)
    return at_length(session, frame, now_ns)


def at_length(session: PubSubSession, frame: bytes, now_ns: int) -> object:
    """What `receive` makes of it; of a message that is measured, nothing but the sample."""
    try:
        events = session.receive(frame, is_text=True, now_ns=now_ns)
    except RemoteProtocolError as error:
        return error.close_code
    return tuple(
        event.sample if isinstance(event, Arrived) and event.sample else event for event in events
    )


@settings(max_examples=500)
@given(frames=st.lists(FRAMES, max_size=8), now_ns=st.integers(0, 2**63))
def test_the_short_ways_say_what_the_long_one_says(frames: list[bytes], now_ns: int) -> None:
    """Whatever arrives, in whatever order: the same events, and the same answers still due."""
    short, long = open_session(), open_session()
    stream = Stream(1)
    for session in (short, long):
        session.join("g", sent_ns=1)
        session.publish(2, 3, stream)
        session.leave("h", sent_ns=4)
        session.publish(0, 5, stream)
    for frame in frames:
        assert in_short(short, frame, now_ns) == at_length(long, frame, now_ns)
        assert short.pending == long.pending
        assert short.oldest == long.oldest
        assert short.groups == long.groups


class Conversation(RuleBasedStateMachine):
    """Any order of requests, answers, timeouts, drops and reconnects, against a simple account."""

    keys = Bundle("keys")

    def __init__(self) -> None:
        super().__init__()
        self.session = open_session()
        self.stream = Stream(1)
        self.now_ns = 0
        self.last_key = 0
        self.due: dict[int, int] = {}  # when each request that has no answer yet was written
        self.joins: dict[int, str] = {}
        self.groups: set[str] = set()

    def made(self, key: int) -> int:
        """A request has been written, with a key that no other had."""
        assert key > self.last_key
        self.last_key = key
        self.due[key] = self.now_ns
        self.now_ns += 1
        return key

    def ended(self, answered: Answered) -> None:
        """A request has its answer, for the first time."""
        del self.due[answered.key]

    @rule(target=keys, group=st.sampled_from("abc"))
    def send(self, group: str) -> int:
        """A message is published with a request of its own."""
        return self.made(
            self.session.send_to_group(group, "x", "text", no_echo=False, sent_ns=self.now_ns)[0]
        )

    @rule(target=keys, late_ns=st.integers(0, 10))
    def publish(self, late_ns: int) -> int:
        """A schedule's message, that may be late."""
        return self.made(self.session.publish(self.now_ns - late_ns, self.now_ns, self.stream))

    @rule()
    def retract(self) -> None:
        """It could not be written after all."""
        key = self.made(self.session.publish(self.now_ns, self.now_ns, self.stream))
        self.session.retract(key)
        del self.due[key]

    @rule(target=keys, group=st.sampled_from("abc"))
    def join(self, group: str) -> int:
        """A group is joined."""
        key = self.made(self.session.join(group, sent_ns=self.now_ns)[0])
        self.joins[key] = group
        self.groups.add(group)
        return key

    @rule(target=keys, group=st.sampled_from("abc"))
    def leave(self, group: str) -> int:
        """A group is left."""
        self.groups.discard(group)
        return self.made(self.session.leave(group, sent_ns=self.now_ns)[0])

    @rule(
        key=keys,
        error=st.sampled_from([None, None, "Forbidden", "Duplicate", "InternalServerError"]),
        is_short=st.booleans(),
    )
    def answer(self, key: int, error: str | None, is_short: bool) -> None:
        """An ack arrives, perhaps for a request that is gone, perhaps for the second time."""
        is_due = key in self.due
        if is_short and (done := self.session.acknowledged(ack(key, error))) is not None:
            assert (error, done[0]) == (None, key)
            del self.due[key]
            return
        events = receive(self.session, ack(key, error), self.now_ns)
        assert len(events) == is_due
        for answered in events:
            assert isinstance(answered, Answered)
            assert answered.key == key
            self.ended(answered)
        if is_due and error == "Forbidden":
            self.groups.discard(self.joins.get(key, ""))

    @rule()
    def expire(self) -> None:
        """The one that has waited longest is given up."""
        if (oldest := self.session.oldest) is not None:
            answered = self.session.expire(oldest[0])
            assert answered.sample.failure == "Timeout"
            self.ended(answered)

    @rule()
    def drop(self) -> None:
        """The connection ends and a new one opens."""
        for answered in self.session.lost("closed 1006"):
            self.ended(answered)
        assert self.due == {}
        self.session.opening()
        receive(self.session, CONNECTED)

    @invariant()
    def balances(self) -> None:
        """Every request is answered, failed, or still due: never two of these, never none."""
        assert self.session.pending_count == len(self.due)
        assert self.session.oldest == next(iter(self.due.items()), None)
        assert self.session.groups == self.groups


Conversation.TestCase.settings = settings(max_examples=100, stateful_step_count=30)
TestConversation = Conversation.TestCase


def test_every_state_can_end() -> None:
    """From each state but `closed` there is a way back to `closed`: a drop can come any time."""
    for state in set(State) - {State.CLOSED}:
        assert TRANSITIONS[state, "lost"] is State.CLOSED
