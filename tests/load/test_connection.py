"""A connection under every kind of service: it comes back, says why it went, and ends in time."""

import contextlib
import gc
import itertools
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import gevent
import pytest
import scripted
from gevent import socket
from gevent.event import Event
from gevent.queue import Queue
from hypothesis import given
from hypothesis import strategies as st
from scripted import CONNECTED, LIMITS, Peer, Watcher, join, service
from serving import DEADLINE_S, StandIn

from wpsload import payload
from wpsload.clock import CLOCK, clock_ns
from wpsload.connection import Connection, back_off_s
from wpsload.dialing import Address
from wpsload.engine import ENGINE_NAMES, Engine, EngineName
from wpsload.errors import LocalProtocolError
from wpsload.familiar import Familiar
from wpsload.ledger import Ledger
from wpsload.link import Limits
from wpsload.meter import Meter
from wpsload.metrics import (
    CONNECT,
    CONNECTION_LOST,
    DELIVERY,
    JOIN_GROUP,
    NEGOTIATE,
    SEND_TO_GROUP,
    SEND_TO_GROUP_SERVICE,
)
from wpsload.payload import Stamp, first_stream, stamp
from wpsload.publication import Stamped
from wpsload.session import Message, PubSubSession
from wpsload.subprotocol import GroupMessage, encode_response

_engines: dict[str, Engine] = {}


@pytest.fixture(scope="module", params=ENGINE_NAMES, autouse=True)
def engine_name(request: pytest.FixtureRequest) -> EngineName:
    """All tests of this module hold for each engine."""
    name: EngineName = request.param
    _engines["present"] = Engine(gevent.get_hub(), name)
    return name


@contextmanager
def connected(
    url: str, watcher: Watcher, limits: Limits = LIMITS
) -> Iterator[tuple[Connection, PubSubSession]]:
    """A started connection to `url` on the present engine, closed on leaving."""
    with scripted.connected(url, watcher, limits, engine=_engines["present"]) as both:
        yield both
    assert watcher.mistakes == []


def test_a_request_has_its_answer(stand_in: StandIn) -> None:
    """Connect, ask, be answered, close: all counted, nothing failed."""
    watcher = Watcher()
    with connected(stand_in.client_url(), watcher) as (connection, session):
        assert join(connection, session).is_success
    assert watcher.acked(CONNECT) == 1
    assert watcher.acked(JOIN_GROUP) == 1
    assert watcher.failures() == []
    assert (watcher.counts["opened"], watcher.counts["closed"]) == (1, 1)
    assert stand_in.stats()["closed"] == {"1000": 1}


@pytest.mark.parametrize("code", [1008, 1009, 1011, 4321])
def test_a_close_by_the_service_is_a_loss_with_its_code(code: int) -> None:
    """Whatever was unanswered fails with the close code, and the connection opens anew."""
    rounds = iter(range(9))

    def script(peer: Peer) -> None:
        peer.say(CONNECTED)
        if next(rounds) == 0:
            peer.hear()
            peer.close(code)
        else:
            peer.ack_everything()

    watcher = Watcher()
    with service(script) as url, connected(url, watcher) as (connection, session):
        assert join(connection, session).error == f"closed {code}"
        assert join(connection, session).is_success
    assert (watcher.counts["opened"], watcher.counts["reopened"]) == (2, 1)
    assert watcher.failures() == [
        (JOIN_GROUP.name, f"closed {code}"),
        (CONNECTION_LOST.name, f"closed {code}"),
    ]


@pytest.mark.parametrize("garbage", [b"{", b'{"type":"ack"}', b"[]", b"\xff\xfe"])
def test_garbage_ends_the_connection(garbage: bytes) -> None:
    """What is no message of the protocol is a failure, answered by a close frame."""
    heard: Queue[int | None] = Queue()

    def script(peer: Peer) -> None:
        peer.say(CONNECTED)
        peer.hear()
        peer.protocol.send_text(garbage)
        peer.flush()
        peer.hear()
        heard.put(peer.protocol.close_rcvd.code if peer.protocol.close_rcvd else None)
        peer.sock.close()

    watcher = Watcher()
    with service(script) as url, connected(url, watcher) as (connection, session):
        assert join(connection, session).error == "protocol error"
        assert heard.get(timeout=DEADLINE_S) == 1007
    assert (CONNECTION_LOST.name, "protocol error") in watcher.failures()


def test_no_connected_message_is_a_failed_connect() -> None:
    """A service that upgrades and then says nothing is a timeout of the phase `connected`."""

    def hears_only(peer: Peer) -> None:
        peer.hear()

    watcher = Watcher()
    limits = Limits(connect_timeout_s=0.2, ack_timeout_s=1, drain_s=1)
    with service(hears_only) as url:
        with connected(url, watcher, limits):
            watcher.wait_for(lambda: bool(watcher.samples))
        assert watcher.failures()[0] == (CONNECT.name, "timeout (connected)")
    assert watcher.counts["opened"] == 0


def test_an_answer_that_comes_too_late_is_a_timeout() -> None:
    """The request fails once, and its late ack is not taken for another's."""
    is_late = Event()

    def script(peer: Peer) -> None:
        peer.say(CONNECTED)
        peer.hear()
        is_late.wait()
        peer.say(b'{"type":"ack","ackId":1,"success":true}')
        peer.hear()
        peer.say(b'{"type":"ack","ackId":2,"success":true}')
        peer.hear()

    watcher = Watcher()
    limits = Limits(connect_timeout_s=DEADLINE_S, ack_timeout_s=0.2, drain_s=DEADLINE_S)
    with service(script) as url, connected(url, watcher, limits) as (connection, session):
        assert join(connection, session).error == "Timeout"
        is_late.set()
        assert join(connection, session).is_success
    assert watcher.failures() == [(JOIN_GROUP.name, "Timeout")]


def test_closing_waits_for_what_is_due() -> None:
    """An ack that is on its way when we stop is received and counted, and messages before it."""
    stopping = Event()

    def script(peer: Peer) -> None:
        peer.say(CONNECTED)
        peer.hear()
        stopping.wait()
        peer.say(b'{"type":"message","from":"server","dataType":"text","data":"late"}')
        peer.say(b'{"type":"ack","ackId":1,"success":true}')
        peer.hear()

    watcher = Watcher()
    with service(script) as url, connected(url, watcher) as (connection, session):
        user = gevent.spawn(join, connection, session)
        watcher.wait_for(lambda: session.pending_count == 1)
        user.kill()
        gevent.spawn_later(0.05, stopping.set)
    assert watcher.acked(JOIN_GROUP) == 1
    assert watcher.failures() == []
    assert [message.data for message in watcher.messages] == ["late"]


def test_no_goodbye_before_the_answers() -> None:
    """A service that answers a close at once would leave out what is due: we ask for it first."""

    def script(peer: Peer) -> None:
        peer.say(CONNECTED)
        peer.hear()
        gevent.spawn_later(0.3, peer.say, b'{"type":"ack","ackId":1,"success":true}')
        peer.hear()

    watcher = Watcher()
    with service(script) as url, connected(url, watcher) as (connection, session):
        user = gevent.spawn(join, connection, session)
        watcher.wait_for(lambda: session.pending_count == 1)
        user.kill()
    assert watcher.failures() == []
    assert watcher.acked(JOIN_GROUP) == 1


def test_an_idle_connection_stays() -> None:
    """The time to connect is no limit once it is open."""
    watcher = Watcher()
    limits = Limits(connect_timeout_s=0.2, ack_timeout_s=DEADLINE_S, drain_s=DEADLINE_S)

    def script(peer: Peer) -> None:
        peer.say(CONNECTED)
        peer.ack_everything()

    with service(script) as url, connected(url, watcher, limits) as (connection, session):
        connection.wait_open()
        gevent.Greenlet.spawn_later(0.5, int).join()
        assert join(connection, session).is_success
    assert watcher.counts["opened"] == 1


def test_a_verb_before_the_start_is_a_mistake_that_is_named() -> None:
    """A scenario that forgets to connect is told so, instead of waiting for ever."""
    session = PubSubSession(clock=CLOCK)
    connection = Connection(
        session,
        address=lambda: Address("ws://127.0.0.1:1/", {}),
        observer=Watcher(),
        ledger=Ledger(itertools.count().__next__),
        meter=Meter(),
        limits=LIMITS,
        engine=_engines["present"],
    )
    with pytest.raises(LocalProtocolError, match="on_start"):
        join(connection, session)


def test_who_never_got_in_is_counted() -> None:
    """Connecting that is still under way when the run stops is a failure after a second of it."""

    def script(peer: Peer) -> None:
        peer.hear()

    watcher = Watcher()
    with service(script) as url, connected(url, watcher):
        gevent.Greenlet.spawn_later(1.1, int).join()
    assert watcher.failures() == [(CONNECT.name, "unfinished at stop")]


def test_closing_is_bounded() -> None:
    """A service that never answers does not keep a user from stopping, and the request fails."""

    def script(peer: Peer) -> None:
        peer.say(CONNECTED)
        peer.hear()
        never.wait()

    never = Event()
    watcher = Watcher()
    limits = Limits(connect_timeout_s=DEADLINE_S, ack_timeout_s=DEADLINE_S, drain_s=0.2)
    with service(script) as url, gevent.Timeout(DEADLINE_S):
        with connected(url, watcher, limits) as (connection, session):
            user = gevent.spawn(join, connection, session)
            watcher.wait_for(lambda: session.pending_count == 1)
            user.kill()
        never.set()
    assert watcher.failures() == [(JOIN_GROUP.name, "unanswered at stop")]


def test_a_connection_that_closes_at_once_is_no_open_one() -> None:
    """Opened and closed in one breath: whoever waits goes on waiting, for a better one."""
    rounds = iter(range(99))

    def script(peer: Peer) -> None:
        if next(rounds) < 2:
            peer.protocol.send_text(CONNECTED)
            peer.protocol.send_close(1008)
            peer.flush()
            peer.hear()
        else:
            peer.say(CONNECTED)
            peer.ack_everything()

    watcher = Watcher()
    with service(script) as url, connected(url, watcher) as (connection, session):
        assert join(connection, session).is_success
    assert watcher.failures() == [(CONNECTION_LOST.name, "closed 1008")] * 2


def test_pings_do_not_extend_the_time_to_connect() -> None:
    """The limit is on connecting as a whole, not on each thing that arrives meanwhile."""

    def script(peer: Peer) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer.protocol.send_ping(b"")
                peer.flush()
                gevent.sleep(0.01)

    watcher = Watcher()
    limits = Limits(connect_timeout_s=0.2, ack_timeout_s=1, drain_s=1)
    with service(script) as url, connected(url, watcher, limits):
        watcher.wait_for(lambda: bool(watcher.samples))
    assert watcher.failures()[0] == (CONNECT.name, "timeout (connected)")


def test_a_peer_that_takes_nothing_is_given_up() -> None:
    """A write has its limit as well: the request fails, and it says that we could not write."""

    def script(peer: Peer) -> None:
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.say(CONNECTED)
        never.wait()

    never = Event()
    watcher = Watcher()
    limits = Limits(connect_timeout_s=DEADLINE_S, ack_timeout_s=0.3, drain_s=0.3)
    with service(script) as url:
        with connected(url, watcher, limits) as (connection, session):
            data = "x" * 50_000_000
            ack = connection.request(
                lambda sent_ns: session.send_to_group(
                    "g", data, "text", no_echo=False, sent_ns=sent_ns
                )
            )
            assert ack.error == "write timeout"
        never.set()
    assert (CONNECTION_LOST.name, "write timeout") in watcher.failures()


def test_who_gives_up_leaves_a_frame_whole() -> None:
    """A scenario that gives up within a frame does not cut it: the next one follows it."""
    heard: Queue[int] = Queue()

    def script(peer: Peer) -> None:
        peer.say(CONNECTED)
        has_given_up.wait()
        heard.put(len(peer.hear()))
        peer.ack_everything()

    has_given_up = Event()
    watcher = Watcher()
    with service(script) as url, connected(url, watcher) as (connection, session):
        data = "x" * 900_000
        with gevent.Timeout(0.2, False):  # type: ignore[arg-type]  # as gevent documents
            connection.request(
                lambda sent_ns: session.send_to_group(
                    "g", data, "text", no_echo=False, sent_ns=sent_ns
                )
            )
        has_given_up.set()
        assert join(connection, session).is_success
        session.expire(1)  # the script does not answer it
    assert heard.get(timeout=DEADLINE_S) > 900_000


def test_messages_up_to_the_limit_go_through(stand_in: StandIn) -> None:
    """A message of nearly 1 MiB is sent, acked and received in one piece."""
    watcher = Watcher()
    with connected(stand_in.client_url(), watcher) as (connection, session):
        assert join(connection, session).is_success
        data = payload.stamp(payload.Stamp(CLOCK, clock_ns()), size_bytes=1_000_000)
        ack = connection.request(
            lambda sent_ns: session.send_to_group("g", data, "text", no_echo=False, sent_ns=sent_ns)
        )
        assert ack.is_success
    assert [message.data for message in watcher.messages] == [data]
    assert watcher.acked(SEND_TO_GROUP) == 1


def test_waiting_in_the_readers_place_is_refused(stand_in: StandIn) -> None:
    """A message handler that asks and waits would wait for itself: an error says so."""
    watcher = Watcher()
    refused: list[LocalProtocolError] = []

    with connected(stand_in.client_url(groups=["g"]), watcher) as (connection, session):

        def ask(_: Message) -> None:
            with pytest.raises(LocalProtocolError) as caught:
                join(connection, session, "h")
            refused.append(caught.value)

        watcher.message = ask  # type: ignore[assignment]  # this observer answers
        connection.request(
            lambda sent_ns: session.send_to_group("g", "x", "text", no_echo=False, sent_ns=sent_ns)
        )
    assert len(refused) == 1


def open_files() -> int:
    """How many files and sockets this process has open."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def ack_all(peer: Peer) -> None:
    """A service without any oddity."""
    peer.say(CONNECTED)
    peer.ack_everything()


def new_connection(url: str, watcher: Watcher) -> Connection:
    """One that is not started."""
    return Connection(
        PubSubSession(clock=CLOCK),
        address=lambda: Address(url, {}),
        observer=watcher,
        ledger=Ledger(itertools.count().__next__),
        meter=watcher.meter,
        limits=LIMITS,
        engine=_engines["present"],
    )


def test_closing_what_was_never_started_is_nothing() -> None:
    """A user that was stopped before it could start."""
    watcher = Watcher()
    connection = new_connection("ws://127.0.0.1:1/", watcher)
    with gevent.Timeout(DEADLINE_S):
        connection.close()
        connection.close()
    assert watcher.samples == []
    assert watcher.counts == Counter()


def test_closing_twice_at_once_is_closing_once() -> None:
    """The second one does not cut off what the first one waits for."""

    def script(peer: Peer) -> None:
        peer.say(CONNECTED)
        peer.hear()
        is_closing.wait()
        peer.say(b'{"type":"ack","ackId":1,"success":true}')
        peer.hear()
        code = peer.protocol.close_rcvd
        heard.put(code.code if code else None)

    is_closing = Event()
    heard: Queue[int | None] = Queue()
    watcher = Watcher()
    with service(script) as url, connected(url, watcher) as (connection, session):
        user = gevent.spawn(join, connection, session)
        watcher.wait_for(lambda: session.pending_count == 1)
        both = [gevent.spawn(connection.close) for _ in range(2)]
        gevent.Greenlet.spawn_later(0.05, is_closing.set)
        is_closing.set()
        with gevent.Timeout(DEADLINE_S):
            gevent.joinall(both, raise_error=True)
        assert user.get().is_success
    assert heard.get(timeout=DEADLINE_S) == 1000
    assert watcher.failures() == []
    assert watcher.counts["closed"] == 1


def test_a_killed_close_ends_the_connection() -> None:
    """A user that does not leave in time is cut off, and nothing of it is left."""
    watcher = Watcher()
    never = Event()

    def script(peer: Peer) -> None:
        peer.say(CONNECTED)
        peer.hear()
        never.wait()

    with service(script) as url, connected(url, watcher) as (connection, session):
        user = gevent.spawn(join, connection, session)
        watcher.wait_for(lambda: session.pending_count == 1)
        leaving = gevent.spawn(connection.close)
        gevent.idle()
        user.kill()
        leaving.kill()
        assert session.pending_count == 0
        assert watcher.counts["closed"] == 1
        never.set()


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts files as Linux shows them")
@pytest.mark.parametrize("turns", range(12))
def test_who_is_stopped_while_connecting_leaves_nothing(turns: int) -> None:
    """Whatever the handshake has come to: no socket stays open, and nobody comes back later."""
    with service(ack_all) as url:
        before = open_files()
        watcher = Watcher()
        for _ in range(3):
            connection = new_connection(url, watcher)
            connection.start()
            for _ in range(turns):
                gevent.idle()
            with gevent.Timeout(DEADLINE_S):
                connection.close()
        with gevent.Timeout(DEADLINE_S):
            while open_files() > before:
                gevent.idle()
    assert watcher.failures() == []
    assert watcher.counts["opened"] == watcher.counts["closed"]


def test_a_connection_leaves_no_socket_behind() -> None:
    """Not when it is closed, and not when it breaks off or is refused."""
    rounds = iter(range(99))

    def script(peer: Peer) -> None:
        if next(rounds) % 2:
            ack_all(peer)
        else:
            peer.say(CONNECTED)
            peer.hear()
            peer.sock.close()

    with service(script) as url:
        before = open_files()
        for _ in range(3):
            watcher = Watcher()
            with connected(url, watcher) as (connection, session):
                assert not join(connection, session).is_success
                assert join(connection, session).is_success
        with gevent.Timeout(DEADLINE_S):
            while open_files() > before:
                gevent.idle()


def test_who_is_killed_while_waiting_gets_no_answer(stand_in: StandIn) -> None:
    """The answer to a request of somebody who is gone is counted, and wakes nobody else."""
    watcher = Watcher()
    with connected(stand_in.client_url(), watcher) as (connection, session):
        connection.wait_open()
        for number in range(20):
            user = gevent.spawn(join, connection, session, f"a{number}")
            for _ in range(number % 4):
                gevent.idle()
            user.kill(block=number % 2 == 0)
            assert join(connection, session, f"b{number}").is_success
        assert connection._waking == {}
    assert watcher.failures() == []


def test_an_ack_for_somebody_who_is_gone_is_no_service_time(stand_in: StandIn) -> None:
    """A closed loop has none, whether anybody still waits or not."""
    watcher = Watcher()
    with connected(stand_in.client_url(), watcher) as (connection, session):
        join(connection, session)
        publication = Stamped("g", "text", no_echo=True, size_bytes=40, clock=CLOCK)
        for number in range(20):
            user = gevent.spawn(connection.ask, publication)
            for _ in range(number % 4):
                gevent.idle()
            user.kill(block=False)
        watcher.wait_for(lambda: session.pending_count == 0)
    assert watcher.acked(SEND_TO_GROUP) > 0
    assert watcher.acked(SEND_TO_GROUP_SERVICE) == 0
    assert watcher.failures() == []


@pytest.mark.parametrize("is_listening", [True, False])
def test_messages_of_another_run_are_told_apart(is_listening: bool) -> None:
    """They are counted and handed on, and are in no latency and no books, whoever listens."""
    ours, theirs = (first_stream(run, Random(1)) for run in (5, 6))

    def script(peer: Peer) -> None:
        peer.say(CONNECTED)
        for number in range(3):
            for stream in (ours, theirs):
                data = stamp(Stamp(CLOCK, clock_ns(), stream, number), size_bytes=60)
                peer.say(encode_response(GroupMessage("g", data, "text")))
        peer.hear()

    watcher = Watcher()
    watcher.is_listening = is_listening
    session = PubSubSession(clock=CLOCK, familiar=Familiar({CLOCK: 0}, run=5))
    ledger = Ledger(itertools.count(ours).__next__)
    with service(script) as url:
        connection = Connection(
            session,
            address=lambda: Address(url, {}),
            observer=watcher,
            ledger=ledger,
            meter=watcher.meter,
            limits=LIMITS,
            engine=Engine(gevent.get_hub()),
        )
        connection.start()
        timed = watcher.meter.series(DELIVERY).latencies_ns
        watcher.wait_for(lambda: len(watcher.samples) + len(timed) == 6)
        connection.close()
    assert watcher.counts["foreign"] == 3
    untimed = [one for one in watcher.samples if one.latency_ns is None]
    assert len(untimed) == 3
    assert ledger.counts.received + len(timed) == 3


def test_a_woken_scenario_may_close(stand_in: StandIn) -> None:
    """It runs amid what has just arrived: what is left of that is for nobody."""
    watcher = Watcher()
    with connected(stand_in.client_url(), watcher) as (connection, session):

        def scenario() -> None:
            assert join(connection, session).is_success
            connection.close()

        users = [gevent.spawn(scenario) for _ in range(3)]
        with gevent.Timeout(DEADLINE_S):
            gevent.joinall(users, raise_error=True)
    assert watcher.counts["closed"] == 1


def test_closing_from_on_message_is_refused(stand_in: StandIn) -> None:
    """Nothing may wait there; the mistake is named, and the connection stays as it is."""
    watcher = Watcher()
    refused: list[LocalProtocolError] = []
    with connected(stand_in.client_url(groups=["g"]), watcher) as (connection, session):

        def leave(_: Message) -> None:
            with pytest.raises(LocalProtocolError) as caught:
                connection.close()
            refused.append(caught.value)

        watcher.message = leave  # type: ignore[method-assign,assignment]  # this observer answers
        for _ in range(2):
            assert connection.request(
                lambda sent_ns: session.send_to_group(
                    "g", "x", "text", no_echo=False, sent_ns=sent_ns
                )
            ).is_success
    assert len(refused) == 2
    assert watcher.failures() == []


def test_a_mistake_in_this_program_ends_the_connection_and_no_other(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is reported, what was under way fails, and the client comes back; others do not notice."""
    reported: list[type] = []
    monkeypatch.setattr(gevent.get_hub(), "handle_error", lambda *told: reported.append(told[1]))
    good, bad = Watcher(), Watcher()
    url = stand_in.client_url(groups=["g"])
    with (
        connected(url, good) as (well, well_session),
        connected(url, bad) as (ill, ill_session),
    ):
        ill.wait_open()

        def fail(_: Message) -> None:
            bad.message = Watcher.message.__get__(bad)  # type: ignore[method-assign]  # once
            raise ZeroDivisionError

        bad.message = fail  # type: ignore[method-assign,assignment]  # as no observer of ours does
        assert well.request(
            lambda sent_ns: well_session.send_to_group(
                "g", "x", "text", no_echo=False, sent_ns=sent_ns
            )
        ).is_success
        bad.wait_for(lambda: bool(bad.failures()))
        assert join(ill, ill_session).is_success
        assert join(well, well_session).is_success
    assert reported == [ZeroDivisionError]
    assert bad.failures() == [(CONNECTION_LOST.name, "internal error")]
    assert good.failures() == []


@pytest.mark.parametrize("host", ["a" * 70 + ".invalid", "a..invalid"])
def test_a_host_that_cannot_be_a_name_is_not_found(host: str) -> None:
    """A negotiate endpoint may say anything: it is a failed attempt, not a mistake of ours."""
    watcher = Watcher()
    with connected(f"ws://{host}/client", watcher):
        watcher.wait_for(lambda: bool(watcher.failures()))
    assert watcher.failures()[0] == (CONNECT.name, "host not found")


def test_a_slow_app_server_is_a_timeout_of_negotiating() -> None:
    """Whoever does not answer in time failed to negotiate; connecting had not begun."""
    watcher = Watcher()
    connection = Connection(
        PubSubSession(clock=CLOCK),
        address=lambda: Event().wait(DEADLINE_S),  # type: ignore[arg-type,return-value]  # no answer
        observer=watcher,
        ledger=Ledger(itertools.count().__next__),
        meter=watcher.meter,
        limits=Limits(connect_timeout_s=0.1),
        engine=_engines["present"],
    )
    connection.start()
    watcher.wait_for(lambda: bool(watcher.failures()))
    connection.close()
    assert watcher.failures()[0] == (NEGOTIATE.name, "timeout (negotiate)")


@given(attempt=st.integers(1, 10_000), random_ratio=st.floats(0, 1))
def test_back_off_grows_and_is_bounded(attempt: int, random_ratio: float) -> None:
    """Between a quarter of a second and 15 s, growing from turn to turn, and spread."""
    delay_s = back_off_s(attempt, random_ratio)
    assert 0.25 <= delay_s <= 15
    assert back_off_s(attempt + 1, random_ratio) >= delay_s
    assert back_off_s(attempt, 1) == 2 * back_off_s(attempt, 0)
    assert back_off_s(2, random_ratio) == 2 * back_off_s(1, random_ratio)
