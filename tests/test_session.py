"""The session: answers find their requests, and every request has exactly one answer."""

from typing import Any

import orjson
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from wpsload import payload
from wpsload.errors import LocalProtocolError, RemoteProtocolError
from wpsload.metrics import DELIVERY, ECHO, JOIN_GROUP, SEND_TO_GROUP
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


class Conversation(RuleBasedStateMachine):
    """Any order of requests, answers, timeouts, drops and reconnects."""

    keys = Bundle("keys")

    def __init__(self) -> None:
        super().__init__()
        self.session = open_session()
        self.made = 0
        self.answered = 0

    @rule(target=keys, group=st.sampled_from("abc"))
    def send(self, group: str) -> int:
        """A request is made."""
        if self.session.state is not State.OPEN:
            return 0
        self.made += 1
        return self.session.send_to_group(group, "x", "text", no_echo=False, sent_ns=0)[0]

    @rule(key=consumes(keys), error=st.sampled_from([None, "Forbidden", "Duplicate"]))
    def answer(self, key: int, error: str | None) -> None:
        """An ack arrives, perhaps for a request that is gone."""
        self.answered += len(receive(self.session, ack(key, error)))

    @rule()
    def drop(self) -> None:
        """The connection ends and a new one opens."""
        self.answered += len(self.session.lost("closed 1006"))
        self.session.opening()
        receive(self.session, CONNECTED)

    @invariant()
    def balances(self) -> None:
        """Every request is answered, failed, or still due: never two of these, never none."""
        assert self.made == self.answered + self.session.pending_count


Conversation.TestCase.settings = settings(max_examples=50, stateful_step_count=30)
TestConversation = Conversation.TestCase


def test_every_state_can_end() -> None:
    """From each state but `closed` there is a way back to `closed`: a drop can come any time."""
    for state in set(State) - {State.CLOSED}:
        assert TRANSITIONS[state, "lost"] is State.CLOSED
