"""Schedules over each engine: due times are exact, nothing is sent twice, and stop stops."""

import dataclasses
import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gevent
import pytest
from gevent.event import Event
from scripted import CONNECTED, LIMITS, Peer, Watcher, connected, join, service
from serving import DEADLINE_S

from wpsload import payload
from wpsload.clock import CLOCK, clock_ns
from wpsload.connection import Connection
from wpsload.engine import ENGINE_NAMES, Engine, EngineName
from wpsload.errors import LocalProtocolError
from wpsload.link import Limits
from wpsload.metrics import CONNECTION_LOST, SEND_TO_GROUP, SEND_TO_GROUP_SERVICE
from wpsload.publication import Computed, Stamped
from wpsload.session import PubSubSession
from wpsload.subprotocol import Ack, encode_response, encode_success
from wpsload.units import NS_PER_MS, NS_PER_S

Publish = Callable[[PubSubSession, int], tuple[int, bytes]]


@pytest.fixture(scope="module", params=ENGINE_NAMES)
def engine(request: pytest.FixtureRequest) -> Engine:
    """All tests of this module hold for each engine."""
    name: EngineName = request.param
    return Engine(gevent.get_hub(), name)


class Service:
    """Connects, then does with each request what `answer` says; keeps all it heard."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.connections = 0
        self.answer: Callable[[Peer, int], object] = acknowledge
        self._changed = Event()

    def script(self, peer: Peer) -> None:
        """One connection."""
        self.connections += 1
        peer.say(CONNECTED)
        while frame := peer.hear():
            request = json.loads(frame)
            self.heard.append(request)
            self._changed.set()
            if self.answer(peer, request["ackId"]) == "bye":
                return

    def wait_for(self, count: int) -> None:
        """Return once so many requests were heard."""
        with gevent.Timeout(DEADLINE_S):
            while len(self.heard) < count:
                self._changed.clear()
                self._changed.wait()

    def due_ns(self) -> list[int]:
        """The stamps of the messages that were heard."""
        stamps = [payload.read(request.get("data")) for request in self.heard]
        return [stamp.sent_ns for stamp in stamps if stamp is not None]


def acknowledge(peer: Peer, ack_id: int) -> None:
    """Say yes."""
    peer.say(encode_success(ack_id))


def restart(peer: Peer, _: int) -> str:
    """Say goodbye."""
    peer.close(1012)
    return "bye"


@contextmanager
def open_connection(
    engine: Engine, watcher: Watcher, limits: Limits = LIMITS
) -> Iterator[tuple[Service, Connection, PubSubSession]]:
    """An open connection and the service at its other end."""
    served = Service()
    with (
        service(served.script) as url,
        connected(url, watcher, limits, engine=engine) as (connection, session),
    ):
        connection.wait_open()
        yield served, connection, session


def stamped(size_bytes: int = 40) -> Stamped:
    """Messages that tell when they were due."""
    return Stamped("g", "text", no_echo=False, size_bytes=size_bytes, clock=CLOCK)


def settle() -> None:
    """Let pass what would have happened by now if it were to happen."""
    gevent.Greenlet.spawn_later(0.1, int).join()


def test_messages_are_due_at_exact_times(engine: Engine) -> None:
    """The n-th is due n intervals after the first, to the nanosecond, and never sent before."""
    watcher = Watcher()
    before_ns = clock_ns()
    with open_connection(engine, watcher) as (served, connection, _):
        connection.publish(stamped(), 0.003_000_001)
        served.wait_for(20)
        heard_ns = clock_ns()
    due_ns = served.due_ns()
    assert before_ns <= due_ns[0]
    assert {later - due for due, later in itertools.pairwise(due_ns)} == {3_000_001}
    assert due_ns[19] <= heard_ns
    assert watcher.acked(SEND_TO_GROUP) == len(due_ns)
    assert watcher.failures() == []
    assert watcher.meter.sent == len(due_ns)


def test_latency_counts_from_when_a_message_was_due(engine: Engine) -> None:
    """What was held back by a drop is sent after it, all of it, and its wait is in its latency."""
    watcher = Watcher()
    every_ns = 50 * NS_PER_MS
    with open_connection(engine, watcher) as (served, connection, _):

        def hang_up_on_the_first(peer: Peer, ack_id: int) -> str | None:
            served.answer = acknowledge
            peer.sock.close()
            return "bye"

        served.answer = hang_up_on_the_first
        connection.publish(stamped(), every_ns / NS_PER_S)
        watcher.wait_for(lambda: watcher.acked(SEND_TO_GROUP) >= 10)
    due_ns = served.due_ns()
    assert {later - due for due, later in itertools.pairwise(due_ns)} == {every_ns}
    assert served.connections == 2
    assert watcher.failures() == [
        (SEND_TO_GROUP.name, "closed 1006"),
        (CONNECTION_LOST.name, "closed 1006"),
    ]
    # Reconnecting took a quarter of a second at least, and the second message waited for it.
    assert watcher.meter.series(SEND_TO_GROUP).latencies_ns[0] >= 150 * NS_PER_MS


def test_a_closed_loop_has_one_under_way(engine: Engine) -> None:
    """The next message leaves when the one before it is answered, and not earlier."""
    watcher = Watcher()
    with open_connection(engine, watcher) as (served, connection, session):
        answers: list[Callable[[], None]] = []
        served.answer = lambda peer, ack_id: answers.append(lambda: acknowledge(peer, ack_id))
        connection.publish(stamped(), 0)
        for count in range(1, 6):
            served.wait_for(count)
            settle()
            assert len(served.heard) == count
            assert session.pending_count == 1
            if count == 5:
                served.answer = acknowledge
            answers.pop()()
        served.wait_for(200)
    assert watcher.acked(SEND_TO_GROUP) == len(served.heard)
    assert watcher.failures() == []


@pytest.mark.parametrize("error", ["Forbidden", "Duplicate", "InternalServerError"])
def test_a_closed_loop_goes_on_after_a_refusal(engine: Engine, error: str) -> None:
    """It is counted as a failure, and the next message is due."""
    watcher = Watcher()
    with open_connection(engine, watcher) as (served, connection, _):

        def refuse(peer: Peer, ack_id: int) -> None:
            if len(served.heard) > 1:
                served.answer = acknowledge
            peer.say(encode_response(Ack(ack_id, success=False, error=error)))

        served.answer = refuse
        connection.publish(stamped(), 0)
        served.wait_for(5)
    assert watcher.failures() == [] if error == "Duplicate" else [(SEND_TO_GROUP.name, error)] * 2


def test_a_closed_loop_goes_on_after_a_timeout(engine: Engine) -> None:
    """An answer that never comes is waited for as long as for any other."""
    watcher = Watcher()
    limits = Limits(connect_timeout_s=DEADLINE_S, ack_timeout_s=0.2, drain_s=DEADLINE_S)
    with open_connection(engine, watcher, limits) as (served, connection, _):

        def forget(peer: Peer, ack_id: int) -> None:
            served.answer = acknowledge

        served.answer = forget
        connection.publish(stamped(), 0)
        served.wait_for(3)
    assert watcher.failures() == [(SEND_TO_GROUP.name, "Timeout")]


@pytest.mark.parametrize("every_s", [0, 0.01])
def test_a_schedule_goes_on_after_a_reconnect(engine: Engine, every_s: float) -> None:
    """What was under way fails with the connection; the rest follows over the next one."""
    watcher = Watcher()
    with open_connection(engine, watcher) as (served, connection, _):

        def hang_up_on_the_third(peer: Peer, ack_id: int) -> str | None:
            if len(served.heard) < 3:
                acknowledge(peer, ack_id)
                return None
            served.answer = acknowledge
            peer.close(1012)
            return "bye"

        served.answer = hang_up_on_the_third
        connection.publish(stamped(), every_s)
        served.wait_for(10)
    assert (CONNECTION_LOST.name, "closed 1012") in watcher.failures()
    assert {text for _, text in watcher.failures()} == {"closed 1012"}
    assert watcher.counts["opened"] == 2
    assert len({request["ackId"] for request in served.heard}) == len(served.heard)


@pytest.mark.parametrize("every_s", [0, 0.002])
def test_stop_stops(engine: Engine, every_s: float) -> None:
    """Nothing is sent any more, not after an answer, a reconnect, or in a later second."""
    watcher = Watcher()
    with open_connection(engine, watcher) as (served, connection, session):
        publishing = connection.publish(stamped(), every_s)
        served.wait_for(3)
        publishing.stop()
        publishing.stop()
        assert join(connection, session).is_success
        count = len(served.due_ns())
        connection.writable()  # as after a reconnect
        settle()
        assert len(served.due_ns()) == count
        assert session.pending_count == 0
        served.answer = restart
        assert join(connection, session).error == "closed 1012"
        served.answer = acknowledge
        assert join(connection, session).is_success
        settle()
    assert len(served.due_ns()) == count


def test_a_schedule_that_stops_itself(engine: Engine) -> None:
    """A payload function may say that this was the last, even of those that are overdue."""
    watcher = Watcher()
    numbers = itertools.count()
    with open_connection(engine, watcher) as (served, connection, session):

        def data() -> int:
            number = next(numbers)
            if number == 4:
                publishing.stop()
            return number

        publishing = connection.publish(Computed("g", data, "json", no_echo=False), 1e-6)
        served.wait_for(5)
        settle()
        assert session.pending_count == 0
    assert [request["data"] for request in served.heard] == [0, 1, 2, 3, 4]


def test_stopped_schedules_are_forgotten(engine: Engine) -> None:
    """A scenario that starts and stops them for hours keeps none of them."""
    watcher = Watcher()
    with open_connection(engine, watcher) as (_, connection, _):
        for _ in range(100):
            connection.publish(stamped(), 3600).stop()
        assert len(connection._publishings) <= 2


@pytest.mark.parametrize("every_s", [0, 0.001])
@pytest.mark.parametrize("good", [0, 3])
def test_a_payload_that_fails_ends_its_schedule(engine: Engine, every_s: float, good: int) -> None:
    """It is reported once, nothing waits for its answer, and other schedules go on."""
    watcher = Watcher()
    numbers = itertools.count()

    def data() -> str:
        if next(numbers) == good:
            raise ZeroDivisionError
        return "data"

    with open_connection(engine, watcher) as (served, connection, session):
        connection.publish(Computed("g", data, "text", no_echo=False), every_s)
        watcher.wait_for(lambda: bool(watcher.mistakes))
        served.wait_for(good)
        settle()
        assert session.pending_count == 0
        connection.publish(stamped(), every_s)
        served.wait_for(good + 3)
    assert [type(error) for error in watcher.mistakes] == [ZeroDivisionError]
    assert [request["data"] for request in served.heard[:good]] == ["data"] * good


@pytest.mark.parametrize("every_s", [0, 0.001])
@pytest.mark.parametrize(("data", "data_type"), [(b"bytes", "text"), ({1, 2}, "json")])
def test_data_of_the_wrong_type_is_reported(
    engine: Engine, every_s: float, data: Any, data_type: Any
) -> None:
    """As it is to a scenario that sends it itself."""
    watcher = Watcher()
    with open_connection(engine, watcher) as (served, connection, session):
        connection.publish(Computed("g", lambda: data, data_type, no_echo=False), every_s)
        watcher.wait_for(lambda: bool(watcher.mistakes))
        assert session.pending_count == 0
    assert [type(error) for error in watcher.mistakes] == [LocalProtocolError]
    assert served.heard == []


@pytest.mark.parametrize("every_s", [0, 0.001])
@pytest.mark.parametrize("good", [0, 3])
def test_a_payload_that_waits_is_refused(engine: Engine, every_s: float, good: int) -> None:
    """It would wait for itself: the mistake is named, at the first message or a later one."""
    watcher = Watcher()
    numbers = itertools.count()
    with open_connection(engine, watcher) as (served, connection, session):

        def data() -> str:
            if next(numbers) >= good:
                join(connection, session, "h")
            return "data"

        connection.publish(Computed("g", data, "text", no_echo=False), every_s)
        watcher.wait_for(lambda: bool(watcher.mistakes))
        served.wait_for(good)
        settle()
        assert session.pending_count == 0
    assert [type(error) for error in watcher.mistakes] == [LocalProtocolError]
    assert len(served.heard) == good


def test_schedules_and_tasks_share_a_connection(engine: Engine) -> None:
    """Two schedules and a task that waits for its answers: each has its own."""
    watcher = Watcher()
    with open_connection(engine, watcher) as (served, connection, session):
        connection.publish(stamped(), 0)
        connection.publish(stamped(), 0.005)
        for number in range(20):
            assert join(connection, session, f"g{number}").is_success
        served.wait_for(100)
    joins = [request["group"] for request in served.heard if request["type"] == "joinGroup"]
    assert joins == [f"g{number}" for number in range(20)]
    assert watcher.failures() == []
    assert watcher.acked(SEND_TO_GROUP) == len(served.heard) - 20


def test_closing_ends_schedules_first(engine: Engine) -> None:
    """A closed loop would never be through; what is under way is still answered."""
    watcher = Watcher()
    with open_connection(engine, watcher) as (served, connection, session):
        connection.publish(stamped(), 0)
        connection.publish(stamped(), 0.001)
        served.wait_for(20)
        started_ns = clock_ns()
    assert clock_ns() - started_ns < DEADLINE_S * NS_PER_S / 2
    assert session.pending_count == 0
    assert watcher.failures() == []
    assert watcher.acked(SEND_TO_GROUP) == len(served.heard) == watcher.meter.sent


def counts(watcher: Watcher) -> tuple[int, int, int, int]:
    """Arrivals that were due, written, written late, and dropped."""
    meter = watcher.meter
    return meter.due, meter.achieved, meter.late, meter.dropped


def hang_up(served: Service, *, times: int) -> None:
    """Break the connection at the next request; then, `times` in all, each one that comes after."""
    left = [times]

    def answer(peer: Peer, ack_id: int) -> str | None:
        left[0] -= 1
        if not left[0]:
            served.answer = acknowledge
        peer.sock.close()
        return "bye"

    served.answer = answer


def test_due_times_are_those_of_the_plan(engine: Engine) -> None:
    """Each is sent once, stamped with its own time, and the schedule ends with them."""
    watcher = Watcher()
    with open_connection(engine, watcher) as (served, connection, _):
        start_ns = clock_ns()
        times_ns = [start_ns + after_ns for after_ns in (0, 0, 5, 3_000_000, 20_000_000)]
        publishing = connection.publish(stamped(), due_times_ns=iter(times_ns))
        served.wait_for(5)
        watcher.wait_for(lambda: watcher.acked(SEND_TO_GROUP) == 5)
        assert publishing.is_stopped
    assert served.due_ns() == times_ns
    assert watcher.meter.due == watcher.meter.achieved == 5
    assert watcher.meter.dropped == 0


def test_what_waited_is_late_and_its_service_is_quick(engine: Engine) -> None:
    """Response time has the wait, service time has not; both have every message."""
    watcher = Watcher()
    with open_connection(engine, watcher) as (served, connection, _):
        hang_up(served, times=1)
        connection.publish(stamped(), 0.02)
        watcher.wait_for(lambda: watcher.acked(SEND_TO_GROUP) >= 10)
    due, achieved, late, dropped = counts(watcher)
    assert (due, dropped) == (achieved, 0)
    assert late >= 5  # reconnecting took a quarter of a second at least
    responses = watcher.meter.series(SEND_TO_GROUP).latencies_ns
    services = watcher.meter.series(SEND_TO_GROUP_SERVICE).latencies_ns
    failed = [name for name, _ in watcher.failures() if name == SEND_TO_GROUP.name]
    assert len(responses) == len(services) == achieved - len(failed)
    assert max(responses) >= 150 * NS_PER_MS
    assert services[0] < responses[0] - 100 * NS_PER_MS
    assert all(service <= response for service, response in zip(services, responses, strict=True))


def test_what_waited_too_long_is_dropped(engine: Engine) -> None:
    """Of a drop of a quarter of a second, only the last 50 ms are sent after it."""
    watcher = Watcher()
    limits = dataclasses.replace(LIMITS, most_late_s=0.05)
    with open_connection(engine, watcher, limits) as (served, connection, _):
        hang_up(served, times=1)
        connection.publish(stamped(), 0.01)
        watcher.wait_for(lambda: watcher.acked(SEND_TO_GROUP) >= 10)
    due, achieved, late, dropped = counts(watcher)
    assert due == achieved + dropped
    assert achieved >= len(served.heard)
    assert dropped >= 10
    assert late >= 1
    assert watcher.failures()[0] == (SEND_TO_GROUP.name, "closed 1006")


def test_what_falls_due_while_nothing_can_be_sent_counts_at_once(engine: Engine) -> None:
    """Nobody has to wait for the end of an outage to see the load that it missed."""
    watcher = Watcher()
    with open_connection(engine, watcher) as (served, connection, _):
        served.answer = restart
        connection.publish(stamped(), 0.005)
        watcher.wait_for(lambda: watcher.counts["closed"] == 1)
        before = watcher.meter.due
        watcher.wait_for(lambda: watcher.meter.due >= before + 10)
        assert served.connections > 1 or watcher.meter.due > watcher.meter.achieved
        served.answer = acknowledge
        watcher.wait_for(lambda: watcher.meter.achieved == watcher.meter.due > 20)
    assert watcher.meter.dropped == 0


def test_what_is_left_at_the_stop_is_dropped(engine: Engine) -> None:
    """Nothing that was due is forgotten, whoever stops, and however much it is."""
    watcher = Watcher()
    with open_connection(engine, watcher) as (served, connection, _):
        served.answer = restart
        start_ns = clock_ns() - 2 * NS_PER_MS
        publishing = connection.publish(
            stamped(), due_times_ns=itertools.chain([start_ns], itertools.repeat(start_ns, 40_000))
        )
        watcher.wait_for(lambda: watcher.counts["closed"] == 1)
        publishing.stop()
        first = counts(watcher)
        publishing.stop()
        connection.writable()
        assert counts(watcher) == first
    due, achieved, _, dropped = counts(watcher)
    assert due == 40_001 == achieved + dropped


def test_what_is_due_is_still_sent_when_the_user_stops(engine: Engine) -> None:
    """An arrival of a moment ago is no loss of the service, nor of the generator."""
    watcher = Watcher()
    with open_connection(engine, watcher) as (served, connection, _):
        due_ns = clock_ns()
        connection.publish(stamped(), due_times_ns=iter([due_ns]))
        connection.close()  # before the event loop turns
    assert counts(watcher)[:2] == (1, 1)
    assert served.due_ns() == [due_ns]
    assert watcher.acked(SEND_TO_GROUP) == 1


def test_data_that_fails_is_a_dropped_arrival(engine: Engine) -> None:
    """It was due, and it was not sent."""
    watcher = Watcher()

    def data() -> str:
        raise ZeroDivisionError

    with open_connection(engine, watcher) as (_, connection, _):
        connection.publish(Computed("g", data, "text", no_echo=False), 3600)
        watcher.wait_for(lambda: bool(watcher.mistakes))
    assert counts(watcher) == (1, 0, 0, 1)


def test_a_closed_loop_offers_nothing(engine: Engine) -> None:
    """Its messages are sent, and neither due nor late; their service time is their response."""
    watcher = Watcher()
    with open_connection(engine, watcher) as (served, connection, _):
        connection.publish(stamped(), 0)
        served.wait_for(20)
    assert counts(watcher) == (0, 0, 0, 0)
    assert watcher.acked(SEND_TO_GROUP_SERVICE) == 0


def test_an_unusual_ack_has_a_service_time_too(engine: Engine) -> None:
    """Acks that have to be parsed are told of in both ways as well."""
    watcher = Watcher()
    with open_connection(engine, watcher) as (served, connection, _):
        served.answer = lambda peer, ack_id: peer.say(
            json.dumps({"ackId": ack_id, "type": "ack", "success": True}).encode()
        )
        connection.publish(stamped(), 0.005)
        watcher.wait_for(lambda: len(watcher.samples) >= 5)
    assert watcher.acked(SEND_TO_GROUP_SERVICE) == len(watcher.samples) == watcher.meter.achieved
