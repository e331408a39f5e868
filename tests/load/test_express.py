"""The compiled short way: what it writes and takes is what the long way would, whatever comes."""

import itertools
import shutil
import sysconfig
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import gevent
import pytest
from gevent import monkey
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scripted import CONNECTED, Peer, Watcher, connected, service
from serving import DEADLINE_S

from wpsload import engine, frames
from wpsload.clock import CLOCK, clock_ns
from wpsload.engine import Engine
from wpsload.familiar import Familiar
from wpsload.frames import FrameReader
from wpsload.ledger import Stream
from wpsload.link import Lane, Pace
from wpsload.meter import Meter
from wpsload.metrics import DELIVERY as DELIVERY_METRIC
from wpsload.metrics import SEND_TO_GROUP, SEND_TO_GROUP_SERVICE
from wpsload.payload import Stamp, first_stream, stamp
from wpsload.poller import has_epoll
from wpsload.publication import Computed, Stamped
from wpsload.publishing import NEVER_NS
from wpsload.receipts import Deliveries, Receipts
from wpsload.session import PubSubSession
from wpsload.subprotocol import (
    MAX_MESSAGE_BYTES,
    DataType,
    GroupMessage,
    encode_response,
    encode_success,
)
from wpsload.turn import Turn
from wpsload.units import NS_PER_S

_headers = Path(sysconfig.get_path("include"), "Python.h")
_is_buildable = has_epoll() and shutil.which("cc") is not None and _headers.exists()
pytestmark = pytest.mark.skipif(not _is_buildable, reason="needs a compiler and epoll")

_system = monkey.get_original("socket", "socketpair")


def test_it_is_built_where_it_can_be() -> None:
    """Or all that follows would say nothing, and each message cost twice as much."""
    assert engine.compiled() is not None


def publication(
    group: str, *, size_bytes: int = 200, data_type: DataType = "text", number: int | None = None
) -> Stamped:
    """Stamped messages; numbered, from `number` on, if there is one."""
    stream = None
    if number is not None:
        stream = Stream(7, group)
        stream.sequence = number
    return Stamped(
        *(group, data_type), no_echo=True, size_bytes=size_bytes, clock=CLOCK, stream=stream
    )


@given(
    group=st.text(min_size=1, max_size=20).filter(lambda name: name.isprintable()),
    size_bytes=st.integers(60, 400) | st.sampled_from([2048, 16_300, 16_400]),
    number=st.none() | st.integers(0, 2**32 - 1),
    sent_ns=st.integers(0, 2**63 - 1),
    ack_id=st.integers(0, 10**18 - 1),
    key=st.integers(0, 2**32 - 1),
)
@example(group="g", size_bytes=60, number=None, sent_ns=0, ack_id=0, key=0)
@settings(deadline=None)
def test_a_message_is_the_same_byte_for_byte(
    *, group: str, size_bytes: int, number: int | None, sent_ns: int, ack_id: int, key: int
) -> None:
    """As the publication writes it, whose own tests have other judges."""
    from wpsload._express import Template

    stamped = publication(group, size_bytes=size_bytes, number=number)
    parts = stamped.around_stamp()
    assert parts is not None
    written = Template(*parts).frame(sent_ns, number or 0, ack_id, key)
    assert written == stamped.frame(sent_ns, ack_id, key)


def test_base64_goes_the_long_way() -> None:
    """The stamp is not in it as digits."""
    assert publication("g", data_type="binary").around_stamp() is None


def test_what_is_large_goes_the_long_way() -> None:
    """Nothing is gained there, and each client would have a copy of it."""
    assert publication("g", size_bytes=20_000).around_stamp() is None


class Ends:
    """The source of a lane, over a pair of sockets: what comes the long way is kept.

    Unless `is_bare`, it reads the socket itself, as with TLS.
    """

    def __init__(self, *, is_bare: bool = True) -> None:
        hub = gevent.get_hub()
        express = engine.compiled()
        assert express is not None
        self.turn = Turn(hub, clock_ns)
        self.poller = express(hub, self.turn)
        self.ours, self.theirs = _system()
        self.ours.setblocking(False)
        self.session = PubSubSession(clock=CLOCK)
        self.session.opening()
        self.session.receive(CONNECTED, is_text=True, now_ns=0)
        self.meter = Meter()
        self.counts = Deliveries()
        self.receipts = Receipts(self.counts)
        self.is_listening = False
        self.reader = FrameReader(is_peer_client=False, max_message_bytes=MAX_MESSAGE_BYTES)
        self.outgoing: list[bytes] = []
        self.unsent = bytearray()
        self.lags_ns: list[int] | None = None
        self.messages: list[frames.Message] = []
        self.at_end = False
        self.aborted: list[str] = []
        self.poller.add(self.ours.fileno(), self)
        self.lane: Lane = self.poller.lane(
            self.ours.fileno(),
            source=self,
            is_bare=is_bare,
            write=self.write,
            outgoing=self.outgoing,
            unsent=self.unsent,
            lags_ns=self.lags_ns,
            reader=self.reader,
            session=self.session,
            meter=self.meter,
            receipts=self.receipts,
            observer=self,
        )

    def read(self, is_writable: bool) -> bytes | None:
        """For the poller: what the lane leaves to us, such as the end."""
        try:
            data: bytes = self.ours.recv(65536)
        except BlockingIOError:
            return None
        return data

    def handle(self, data: bytes, read_ns: int) -> None:
        """What the lane did not take."""
        assert 0 <= clock_ns() - read_ns < DEADLINE_S * NS_PER_S
        self.at_end = self.at_end or not data
        self.messages += self.reader.feed(data)

    def write(self) -> None:
        """Keep what the system did not take."""
        self.unsent += b"".join(self.outgoing)
        self.outgoing.clear()

    def abort(self, failure: str) -> None:
        """A mistake in the lane."""
        self.aborted.append(failure)

    def acked(self) -> int:
        """How many acks took the short way."""
        return len(self.meter.series(SEND_TO_GROUP).latencies_ns)

    def hear(self, pieces: list[bytes]) -> None:
        """Have these bytes arrive, each by itself."""
        for piece in pieces:
            self.theirs.sendall(piece)
            self._turn()
        self.theirs.shutdown(1)
        with gevent.Timeout(DEADLINE_S):
            while not self.at_end:
                self._turn()

    def _turn(self) -> None:
        """Let the loop turn."""
        gevent.sleep(0)

    def close(self) -> None:
        """Give the sockets back."""
        self.poller.remove(self.ours.fileno())
        self.ours.close()
        self.theirs.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    """One pair for each test."""
    made = Ends()
    yield made
    made.close()


def text(payload: bytes) -> bytes:
    """A text frame of the service."""
    return frames.encode(frames.TEXT, payload)


ACKS = st.integers(0, 40).map(encode_success)
ODD_ACKS = st.sampled_from(
    [
        b'{"type":"ack","ackId":01,"success":true}',
        b'{"type":"ack","ackId":-1,"success":true}',
        b'{"type":"ack","ackId":1.0,"success":true}',
        b'{"type":"ack","ackId":,"success":true}',
        b'{"type":"ack","ackId":1,"success":true} ',
        b'{"type":"ack","ackId":2,"success":false}',
        b'{"type":"ack","ackId":3,"success":true,"x":1}',
        b'{"type":"ack","ackId":' + b"9" * 19 + b',"success":true}',
        b'{"type":"ack","ackId":' + b"9" * 80 + b',"success":true}',
        b'{"type":"ack","ackId":4,"success":true',
        b'{"type":"ack","ackId":' + "\u0661".encode() + b',"success":true}',
        CONNECTED,
    ]
)
PIECE = st.one_of(
    ACKS.map(text),
    ACKS.map(text),
    ODD_ACKS.map(text),
    st.sampled_from(
        [
            frames.encode(frames.PING, b"x"),
            b"\x01\x03{  ",
            b"\x80\x01}",
            text(b"x" * 126),
            text(b"x" * 70_000),
        ]
    ),
)


@settings(max_examples=200, deadline=None)
@given(
    is_bare=st.booleans(),
    whole=st.lists(PIECE, max_size=30).map(b"".join),
    cuts=st.lists(st.integers(0, 1500), max_size=6),
)
def test_every_message_takes_one_way(is_bare: bool, whole: bytes, cuts: list[int]) -> None:
    """However the bytes come in: what is not taken as an ack is read, all of it, and as it was."""
    ends = Ends(is_bare=is_bare)
    try:
        with_number = publication("g", number=0)
        for _ in range(30):
            assert ends.lane.publish(with_number, 1, 2, None)
        known = Counter((frames.TEXT, encode_success(ack_id)) for ack_id in ends.session.pending)
        judge = FrameReader(is_peer_client=False, max_message_bytes=MAX_MESSAGE_BYTES)
        expected = Counter(judge.feed(whole))
        bounds = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
        ends.hear([whole[a:b] for a, b in itertools.pairwise(bounds) if a < b])
        taken = known - Counter(
            (frames.TEXT, encode_success(ack_id)) for ack_id in ends.session.pending
        )
        assert Counter(ends.messages) + taken == expected
        assert ends.acked() == taken.total() == len(ends.meter.series(SEND_TO_GROUP).sizes_bytes)
        assert len(ends.meter.series(SEND_TO_GROUP_SERVICE).latencies_ns) == taken.total()
        assert ends.meter.received_bytes == sum(len(payload) for _, payload in taken.elements())
        assert (ends.reader.error is None) is (judge.error is None)
        assert not ends.aborted
    finally:
        ends.close()


RUN = 3
STREAM = first_stream(RUN, Random(1))


def delivery(
    number: int, *, group: str = "g", stream: int = STREAM, size_bytes: int = 200
) -> bytes:
    """A message to a group, as its members get it."""
    data = stamp(Stamp(CLOCK, 1000 + number, stream, number), size_bytes=size_bytes)
    return encode_response(GroupMessage(group, data, "text", None))


KNOWN = delivery(0)
DELIVERY = st.one_of(
    st.integers(0, 60).map(delivery),
    st.builds(
        delivery,
        st.integers(0, 2**32 - 1),
        group=st.sampled_from(["g", "h"]),
        stream=st.sampled_from([STREAM, STREAM + 1, 7]),
        size_bytes=st.sampled_from([60, 200, 201, 70_000]),
    ),
    st.tuples(st.integers(0, len(KNOWN) - 1), st.integers(32, 126)).map(
        lambda change: KNOWN[: change[0]] + bytes([change[1]]) + KNOWN[change[0] + 1 :]
    ),
)


@settings(max_examples=200, deadline=None)
@given(
    is_listening=st.booleans(),
    pieces=st.lists(DELIVERY.map(text) | PIECE, max_size=20),
    cuts=st.lists(st.integers(0, 3000), max_size=4),
)
def test_a_delivery_is_told_as_the_long_way_tells_it(
    is_listening: bool, pieces: list[bytes], cuts: list[int]
) -> None:
    """The same stamps, latencies, sizes and receipts; what is another message is read by others."""
    ends = Ends()
    try:
        ends.is_listening = is_listening
        ends.session.familiar = familiar = Familiar({CLOCK: 0}, run=RUN)
        ends.session.receive(KNOWN, is_text=True, now_ns=0)
        ends.receipts.expect(STREAM, 0)
        whole = b"".join(pieces)
        judge = FrameReader(is_peer_client=False, max_message_bytes=MAX_MESSAGE_BYTES)
        messages = judge.feed(whole)
        bounds = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
        before_ns = clock_ns()
        ends.hear([whole[a:b] for a, b in itertools.pairwise(bounds) if a < b])
        series = ends.meter.series(DELIVERY_METRIC)
        taken = Counter(messages)
        taken.subtract(ends.messages)
        assert min(taken.values(), default=0) >= 0
        counts = Deliveries()
        receipts = Receipts(counts)
        receipts.expect(STREAM, 0)
        left = list(ends.messages)
        sizes, told = [], []
        for message in messages:  # those of one text are the same to all
            if taken[message] and message not in left[:1]:
                taken[message] -= 1
                stamped = familiar.stamp(message[1], ends.session.stamp_at)
                assert stamped is not None
                stream, sent_ns, number = stamped
                assert stream is not None
                receipts.irregular(stream, number)
                sizes.append(len(message[1]))
                told.append(sent_ns)
            elif left[:1] == [message]:
                left.pop(0)
        assert not +taken
        assert not (is_listening and sizes)
        assert series.sizes_bytes.tolist() == sizes
        assert ends.counts == counts
        assert ends.receipts.next == receipts.next
        assert ends.meter.received_bytes == sum(sizes)
        for latency_ns, sent_ns in zip(series.latencies_ns, told, strict=True):
            assert before_ns - sent_ns <= latency_ns <= clock_ns() - sent_ns
        assert not ends.aborted
    finally:
        ends.close()


def test_deliveries_do_take_it(ends: Ends) -> None:
    """All that are like the first one, and the followed ones are followed."""
    ends.session.familiar = Familiar({CLOCK: 0}, run=RUN)
    ends.session.receive(KNOWN, is_text=True, now_ns=0)
    ends.receipts.expect(STREAM, 0)
    ends.hear([text(delivery(number)) for number in range(40)])
    assert ends.messages == []
    assert ends.receipts.next == {STREAM: 40}
    assert [number for _, number, _ in ends.meter.followed] == [0, 16, 32]


class Loop:
    """An open loop whose pace gives it back."""

    def __init__(self) -> None:
        self.taken_back_ns: list[int] = []

    def take_back(self, due_ns: int) -> None:
        """It could not be written."""
        self.taken_back_ns.append(due_ns)


def start(
    ends: Ends, loop: Loop, due_times_ns: list[int], *, most_late_ns: int = NS_PER_S
) -> Pace | None:
    """A pace with these due times."""
    first_ns, *others_ns = due_times_ns
    return ends.lane.pace(
        loop,
        publication("g", number=0),
        due_times_ns=iter(others_ns),
        due_ns=first_ns,
        free_ns=0,
        most_late_ns=most_late_ns,
    )


def turn_until(is_so: Callable[[], bool]) -> None:
    """Let the loop turn until it is so."""
    with gevent.Timeout(DEADLINE_S):
        while not is_so():
            gevent.sleep(0.001)


@settings(max_examples=30, deadline=None)
@given(
    offsets_us=st.lists(
        st.lists(st.integers(0, 3000), min_size=1, max_size=5).map(sorted), max_size=150
    )
)
def test_paces_write_what_is_due_when_it_is_due(offsets_us: list[list[int]]) -> None:
    """Never before, none twice, each in its order; and then the plan is over."""
    ends = Ends()
    try:
        loops = [Loop() for _ in offsets_us]
        ends.turn.is_watched = True
        now_ns = clock_ns()
        due = [[now_ns + 1000 * offset for offset in one] for one in offsets_us]
        for loop, times_ns in zip(loops, due, strict=True):
            assert start(ends, loop, times_ns) is not None
        turn_until(lambda: all(loop.taken_back_ns == [NEVER_NS] for loop in loops))
        count = sum(map(len, due))
        turn_until(lambda: len(ends.turn.slips_ns) == count)
        assert all(slip_ns >= 0 for slip_ns in ends.turn.slips_ns)
        assert ends.meter.due == ends.meter.achieved == ends.meter.sent == count
        written = [one.due_ns for one in ends.session.pending.values()]
        assert sorted(written) == sorted(itertools.chain.from_iterable(due))
    finally:
        ends.close()


def test_what_goes_the_long_way_slips_until_it_is_written(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although what goes the short way in the same turn is written first."""
    slow_ns = 20_000_000

    def write_slowly() -> None:
        until_ns = clock_ns() + slow_ns
        while clock_ns() < until_ns:
            pass

    def handle(data: bytes, read_ns: int) -> None:
        start(ends, Loop(), [clock_ns()])
        ends.turn.due_ns.append(clock_ns())
        ends.turn.hold(write_slowly)

    monkeypatch.setattr(ends, "handle", handle)
    ends.turn.is_watched = True
    ends.theirs.sendall(b"no ack")
    turn_until(lambda: len(ends.turn.slips_ns) == 2)
    assert max(ends.turn.slips_ns) >= slow_ns


def test_a_pace_gives_back_what_it_cannot_write(ends: Ends) -> None:
    """What is too late, and what has to go the long way, with all that follows."""
    late, ended = Loop(), Loop()
    now_ns = clock_ns()
    assert start(ends, late, [now_ns - 2000, now_ns + NS_PER_S], most_late_ns=1000) is not None
    turn_until(lambda: late.taken_back_ns == [now_ns - 2000])
    pace = start(ends, Loop(), [now_ns + NS_PER_S])
    assert pace is not None
    assert pace.end() == now_ns + NS_PER_S
    soon_ns = clock_ns() + 5_000_000
    assert start(ends, ended, [soon_ns]) is not None
    ends.lane.end()
    turn_until(lambda: ended.taken_back_ns == [soon_ns])
    assert start(ends, ended, [soon_ns]) is None
    assert ends.meter.due == ends.meter.sent == 0


def test_what_is_written_is_kept_if_the_system_is_full(ends: Ends) -> None:
    """To the byte: a message is sent in parts, and none of it twice."""
    large = publication("g", size_bytes=15_000, number=0)
    count = 0
    while not ends.unsent:
        count += 1
        assert ends.lane.publish(large, 1, 2, None) == count
    assert ends.lane.publish(large, 1, 2, None) == 0  # the long way, behind what is unsent
    reader = FrameReader(is_peer_client=True, max_message_bytes=MAX_MESSAGE_BYTES)
    heard: list[frames.Message] = []
    ends.theirs.setblocking(False)
    while True:
        try:
            heard += reader.feed(ends.theirs.recv(1 << 20))
        except BlockingIOError:
            break
    heard += reader.feed(bytes(ends.unsent))
    again = publication("g", size_bytes=15_000, number=0)
    for number, (_, payload) in enumerate(heard):
        again.stream.sequence = number
        assert payload == again.payload(1, number + 1)
    assert len(heard) == count == ends.meter.sent == large.stream.sequence
    assert ends.meter.sent_bytes == sum(len(payload) for _, payload in heard)


def test_after_its_end_all_goes_the_long_way(ends: Ends) -> None:
    """Nothing more is published or taken; what comes is read."""
    numbered = publication("g", number=0)
    assert ends.lane.publish(numbered, 1, 2, None) == 1
    ends.lane.end()
    assert ends.lane.publish(numbered, 1, 2, None) == 0
    ends.hear([text(encode_success(1))])
    assert ends.messages == [(frames.TEXT, encode_success(1))]
    assert list(ends.session.pending) == [1]


def test_data_of_a_scenario_goes_the_long_way(ends: Ends) -> None:
    """It is asked for by the connection, which knows what to do if it is wrong."""
    assert ends.lane.publish(Computed("g", lambda: "", "text", no_echo=True), 1, 2, None) == 0
    assert ends.lane.publish(publication("g", data_type="binary"), 1, 2, None) == 0
    assert ends.session.pending == {}


@pytest.mark.parametrize("is_watched", [False, True])
def test_messages_do_take_it(monkeypatch: pytest.MonkeyPatch, is_watched: bool) -> None:
    """Of a closed loop and of a task, over a real connection: only what else there is does not.

    If the engine watches itself, what it reads of this one tells how long it was in the kernel.
    """
    own = Engine(gevent.get_hub())
    if is_watched:
        own.begin_self_check()
    counts: Counter[str] = Counter()

    def counting(name: str) -> Callable[..., Any]:
        whole = getattr(PubSubSession, name)

        def count(*arguments: Any, **named: Any) -> Any:
            counts[name] += 1
            return whole(*arguments, **named)

        return count

    for name in ("publish", "acknowledged"):
        monkeypatch.setattr(PubSubSession, name, counting(name))
    watcher = Watcher()

    def script(peer: Peer) -> None:
        peer.say(CONNECTED)
        peer.ack_everything()

    with (
        service(script) as url,
        connected(url, watcher, engine=own) as (connection, _),
    ):
        connection.wait_open()
        connection.open_stream("g", is_echoed=False)
        assert connection.ask(publication("g")).is_success
        assert counts == {"acknowledged": 2}  # `connected`, and the answer that a task waits for
        connection.publish(publication("g"), 0)
        connection.publish(publication("g"), 0.001)
        watcher.wait_for(lambda: watcher.acked(SEND_TO_GROUP_SERVICE) > 50)
        assert watcher.acked(SEND_TO_GROUP) > 51
        assert counts == {"acknowledged": 2}
    _, lags_ns, _ = own.take_self_check()
    assert (len(lags_ns) > 50) is is_watched
    assert all(0 <= lag_ns < DEADLINE_S * NS_PER_S for lag_ns in lags_ns)
    assert watcher.failures() == []
