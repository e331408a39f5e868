"""Back-pressure over each engine: a peer that reads slowly, or not at all, and what it costs us."""

import itertools
import json
from collections.abc import Iterator

import gevent
import pytest
from gevent import socket
from gevent.event import Event
from scripted import CONNECTED, Peer, Watcher, connected, service
from serving import DEADLINE_S

from wpsload.clock import clock_ns
from wpsload.connection import Connection
from wpsload.engine import ENGINE_NAMES, Engine, EngineName
from wpsload.link import UNSENT_LIMIT_BYTES, Limits
from wpsload.metrics import CONNECTION_LOST, SEND_TO_GROUP
from wpsload.publication import Computed
from wpsload.session import PubSubSession
from wpsload.subprotocol import encode_success
from wpsload.units import seconds
from wpsload.wire import Wire

_MESSAGE_BYTES = 100_000


@pytest.fixture(scope="module", params=ENGINE_NAMES)
def engine(request: pytest.FixtureRequest) -> Engine:
    """All tests of this module hold for each engine."""
    name: EngineName = request.param
    return Engine(gevent.get_hub(), name)


def held_bytes(connection: Connection) -> int:
    """What the connection holds that the system has not taken."""
    link = connection._link
    if link is None:
        return 0
    if isinstance(link, Wire):
        unsent = 0 if link._stream is None else link._stream.unsent_bytes
        return unsent + sum(map(len, link._outgoing))
    return link._outgoing_bytes  # type: ignore[attr-defined,no-any-return]  # the other kind has it


def wait_until_held(session: PubSubSession) -> int:
    """Return once nothing is written any more; how many messages were."""
    count = 0
    with gevent.Timeout(DEADLINE_S):
        while not count or count != session.pending_count:
            count = session.pending_count
            gevent.Greenlet.spawn_later(0.2, int).join()
    return count


class Reluctant:
    """A service that reads nothing until it is told to."""

    def __init__(self) -> None:
        self.may_read = Event()
        self.numbers: list[int] = []
        self.is_over = Event()

    def script(self, peer: Peer) -> None:
        """One connection."""
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 262_144)
        peer.say(CONNECTED)
        self.may_read.wait()
        while frame := peer.hear():
            request = json.loads(frame)
            self.numbers.append(int(request["data"][:10]))
            peer.say(encode_success(request["ackId"]))
        self.is_over.set()


class Data:
    """Large numbered data, that looks at what is held each time it is asked for."""

    def __init__(self, size_bytes: int) -> None:
        self.numbers = itertools.count()
        self.given = 0
        self.most_held_bytes = 0
        self.filler = "x" * size_bytes
        self.connection: Connection | None = None

    def __call__(self) -> str:
        """The next."""
        assert self.connection is not None
        self.most_held_bytes = max(self.most_held_bytes, held_bytes(self.connection))
        self.given = next(self.numbers)
        return f"{self.given:010}{self.filler}"


@pytest.fixture
def reluctant() -> Iterator[Reluctant]:
    """One for each test."""
    made = Reluctant()
    yield made
    made.may_read.set()


@pytest.mark.parametrize("size_bytes", [1000, _MESSAGE_BYTES])
def test_a_schedule_is_held_and_goes_on(
    engine: Engine, reluctant: Reluctant, size_bytes: int
) -> None:
    """Beyond the limit nothing is written; once the peer reads, all of it comes, in order."""
    watcher = Watcher()
    data = Data(size_bytes)
    with (
        service(reluctant.script) as url,
        connected(url, watcher, engine=engine) as (connection, session),
    ):
        connection.wait_open()
        data.connection = connection
        publishing = connection.publish(Computed("g", data, "text", no_echo=False), 2e-5)
        held = wait_until_held(session)
        assert held_bytes(connection) > 0
        reluctant.may_read.set()
        watcher.wait_for(lambda: watcher.acked(SEND_TO_GROUP) > held + 100)
        publishing.stop()
    assert watcher.failures() == []
    assert reluctant.numbers == list(range(data.given + 1))
    assert data.most_held_bytes <= UNSENT_LIMIT_BYTES + size_bytes + 70_000
    # The time that it was held is in the latencies.
    assert max(watcher.meter.series(SEND_TO_GROUP).latencies_ns) > 90_000_000


def test_a_closed_loop_is_held_by_itself(engine: Engine, reluctant: Reluctant) -> None:
    """One message is all that it ever has under way."""
    watcher = Watcher()
    data = Data(_MESSAGE_BYTES)
    with (
        service(reluctant.script) as url,
        connected(url, watcher, engine=engine) as (connection, session),
    ):
        connection.wait_open()
        data.connection = connection
        connection.publish(Computed("g", data, "text", no_echo=False), 0)
        watcher.wait_for(lambda: session.pending_count == 1)
        reluctant.may_read.set()
        watcher.wait_for(lambda: watcher.acked(SEND_TO_GROUP) > 20)
    assert data.most_held_bytes <= _MESSAGE_BYTES + 100
    assert watcher.failures() == []


def test_many_sends_without_waiting_are_bounded(engine: Engine, reluctant: Reluctant) -> None:
    """A scenario that sends and sends waits for the peer in the end, and holds no more than it."""
    watcher = Watcher()
    most = 0
    frame = b'{"type":"sendToGroup","group":"g","dataType":"text","ackId":1,"data":"0000000000%b"}'
    with (
        service(reluctant.script) as url,
        connected(url, watcher, engine=engine) as (connection, _),
    ):
        connection.wait_open()
        with gevent.Timeout(1, False):  # type: ignore[arg-type]  # as gevent documents
            for _ in range(1000):
                connection.send(frame % (b"x" * _MESSAGE_BYTES), is_text=True)
                most = max(most, held_bytes(connection))
        assert UNSENT_LIMIT_BYTES <= most <= UNSENT_LIMIT_BYTES + 2 * _MESSAGE_BYTES
        reluctant.may_read.set()


def test_who_reads_nothing_is_given_up(engine: Engine, reluctant: Reluctant) -> None:
    """After the time for an ack, and what was under way fails with it: `write timeout`."""
    watcher = Watcher()
    data = Data(_MESSAGE_BYTES)
    limits = Limits(connect_timeout_s=DEADLINE_S, ack_timeout_s=0.5, drain_s=0.2)
    with (
        service(reluctant.script) as url,
        connected(url, watcher, limits, engine=engine) as (connection, _),
    ):
        connection.wait_open()
        data.connection = connection
        started_ns = clock_ns()
        connection.publish(Computed("g", data, "text", no_echo=False), 0.001)
        watcher.wait_for(lambda: (CONNECTION_LOST.name, "write timeout") in watcher.failures())
        assert seconds(clock_ns() - started_ns) >= 0.5
    assert (SEND_TO_GROUP.name, "write timeout") in watcher.failures()
    assert {text for _, text in watcher.failures()} <= {"write timeout", "unanswered at stop"}


def test_who_reads_slowly_is_not_given_up(engine: Engine) -> None:
    """A peer that takes a little all the time is slow, and that is its own business."""

    def script(peer: Peer) -> None:
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 262_144)
        peer.say(CONNECTED)
        read_bytes = 0
        while read_bytes < total_bytes:
            read_bytes += len(peer.sock.recv(200_000))
            gevent.sleep(0.02)
        peer.say(encode_success(1))
        is_read.set()
        is_over.wait()

    total_bytes = 12_000_000
    is_read, is_over = Event(), Event()
    watcher = Watcher()
    limits = Limits(connect_timeout_s=DEADLINE_S, ack_timeout_s=0.4, drain_s=0.2)
    with (
        service(script) as url,
        connected(url, watcher, limits, engine=engine) as (connection, session),
    ):
        connection.wait_open()
        started_ns = clock_ns()
        text = "x" * total_bytes
        connection.request(
            lambda sent_ns: session.send_to_group("g", text, "text", no_echo=False, sent_ns=sent_ns)
        )
        assert is_read.wait(3 * DEADLINE_S)
        assert seconds(clock_ns() - started_ns) > 0.8
        assert connection._link is not None
        is_over.set()
    assert CONNECTION_LOST.name not in [name for name, _ in watcher.failures()]
