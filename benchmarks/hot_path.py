"""Where the time of one message goes, step by step: `python -m benchmarks.hot_path`.

Each step is timed by itself, as the least of many rounds, which is what it costs when nothing else
wants the core and its caches. In a run it is up to twice that.
"""

import gc
import itertools
import socket
import timeit
from array import array
from collections.abc import Callable
from typing import Any, cast

import click
import gevent
import greenlet

from wpsload import frames
from wpsload.agenda import Agenda
from wpsload.clock import CLOCK, clock_ns
from wpsload.familiar import Familiar
from wpsload.histogram import Histogram
from wpsload.ledger import Stream
from wpsload.meter import Meter
from wpsload.payload import Stamp, stamp
from wpsload.poller import EpollPoller
from wpsload.publication import Stamped
from wpsload.publishing import OpenLoop
from wpsload.session import PubSubSession
from wpsload.subprotocol import GroupMessage, encode_response
from wpsload.turn import MOST_HELD, Turn

__all__ = ["main"]

_ROUNDS = 15
_CALLS = 5_000
_BYTES = 200


def _best_us(step: Callable[[], object]) -> float:
    timer = timeit.Timer(step)
    empty = timeit.Timer(lambda: None)
    best_s, empty_s = (min(one.repeat(_ROUNDS, _CALLS)) for one in (timer, empty))
    return (best_s - empty_s) / _CALLS * 1e6


def _ack(ack_id: int) -> bytes:
    return b'{"type":"ack","ackId":%d,"success":true}' % ack_id


def _open_session() -> PubSubSession:
    session = PubSubSession(clock=CLOCK)
    session.opening()
    hello = b'{"type":"system","event":"connected","userId":"u","connectionId":"c"}'
    session.receive(hello, is_text=True, now_ns=0)
    return session


def _publish_and_acknowledge() -> Callable[[], object]:
    session = _open_session()
    stream = Stream(1)
    acks = iter([_ack(number) for number in range(1, 2 * _ROUNDS * _CALLS)])

    def step() -> None:
        session.publish(0, 0, stream)
        session.acknowledged(next(acks))

    return step


def _deliver() -> Callable[[], object]:
    data = stamp(Stamp(CLOCK, clock_ns(), 1, 1), size_bytes=_BYTES)
    payload = encode_response(GroupMessage("room-17", data, "text", "load-170"))
    familiar = Familiar({CLOCK: 0})
    stamp_at = familiar.learn(payload, data)
    return lambda: familiar.stamp(payload, stamp_at)


def _read_frames(count: int) -> Callable[[], object]:
    reader = frames.FrameReader(is_peer_client=False, max_message_bytes=1 << 20)
    chunk = frames.encode(frames.TEXT, _ack(123_456)) * count
    return lambda: reader.feed(chunk)


def _exchange() -> tuple[Callable[[], object], Callable[[], object]]:
    """Sending a frame over loopback and reading an ack; the other side's part included in both."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        other, _ = listener.accept()
    for each in (one, other):
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    frame, ack = bytes(280), bytes(47)

    def there() -> None:
        one.send(frame)
        other.recv(65536)

    def back() -> None:
        other.send(ack)
        one.recv(65536)

    return there, back


class Unread:
    """A socket that stays readable."""

    def read(self, is_writable: bool) -> bytes | None:
        """Nothing is read."""
        return None

    def handle(self, data: bytes, read_ns: int) -> None:
        """Nothing was read."""


def _poll() -> Callable[[], object]:
    """One look at 200 sockets of which half are ready, for as many of them as are taken at once."""
    hub = gevent.get_hub()
    poller = EpollPoller(hub, Turn(hub, clock_ns))
    pairs = [socket.socketpair() for _ in range(200)]
    for number, (near, far) in enumerate(pairs):
        poller.add(near.fileno(), Unread())
        if number % 2:
            far.send(b"x")

    def step(_kept_open: object = pairs) -> None:
        poller._handle()

    return step


def _switch() -> Callable[[], object]:
    def wait(main: greenlet.greenlet) -> None:
        while True:
            main.switch()

    other = greenlet.greenlet(wait)
    other.switch(greenlet.getcurrent())
    return other.switch


def _record() -> Callable[[], object]:
    latencies_ns: list[int] = []

    def step() -> None:
        latencies_ns.append(clock_ns())

    return step


def _due() -> Callable[[], object]:
    """What the verdict costs a turn in which eight messages were due."""
    turn = Turn(gevent.get_hub(), clock_ns)
    turn.is_watched = True
    about_to_write = turn.due_ns.append

    def step() -> None:
        for due_ns in range(8):
            about_to_write(due_ns)
        turn.written()
        turn.slips_ns.clear()

    return step


def _open_loop() -> float:
    """Microseconds for a message to fall due and be handed on, of 200 open loops; a turn each."""
    now_ns = 0
    turn = Turn(None, lambda: now_ns)
    turn.is_watched = turn.is_under_way = True
    agenda, meter = Agenda(), Meter()

    class Engine:
        """What a schedule asks of it."""

        at = staticmethod(agenda.add)

        def __init__(self) -> None:
            self.turn = turn

        def clock_ns(self) -> int:
            """A turn of 0.2 ms after the other."""
            return now_ns

    class Publisher:
        """Takes everything."""

        def publish_next(self, *_: object) -> int:
            """It is written."""
            return 1

    for number in range(200):
        due_times_ns = itertools.count(1 + number * 25_000, 5_000_000)
        schedule: Any = OpenLoop(
            *(cast(Any, Publisher()), cast(Any, None), cast(Any, Engine())),
            due_times_ns=due_times_ns,
            most_late_ns=1,
            meter=meter,
        )
        schedule.resume()

    def turns() -> None:
        nonlocal now_ns
        for _ in range(100):
            now_ns += 200_000
            agenda.act(now_ns, lambda act: None)
            turn.written()
            turn.slips_ns.clear()

    turns()
    best_s = min(timeit.Timer(turns).repeat(10 * _ROUNDS, 1))
    return best_s / (100 * 200_000 / 25_000) * 1e6


def _roll() -> float:
    """Microseconds a sample to make a histogram of ten thousand."""
    values = array("q", (900_000 + number * 37 for number in range(10_000))).tolist()
    timer = timeit.Timer(lambda: Histogram().record_all(values))
    return min(timer.repeat(_ROUNDS, 1)) / len(values) * 1e6


@click.command()
def main() -> None:
    """Print the table of docs/engine.md."""
    gc.disable()
    publication = Stamped("room-17", "text", no_echo=True, size_bytes=_BYTES, clock=CLOCK)
    large = Stamped("room-17", "text", no_echo=True, size_bytes=2048, clock=CLOCK)
    there, back = _exchange()
    rows = {
        "send a frame, and the peer reads it": _best_us(there),
        "the peer sends an ack, and we read it": _best_us(back),
        "epoll, and finding the socket, of many at once": _best_us(_poll()) / MOST_HELD,
        "read one frame": _best_us(_read_frames(1)),
        "session: a message goes, its ack comes": _best_us(_publish_and_acknowledge()),
        f"serialise and mask {_BYTES} bytes": _best_us(
            lambda: publication.frame(123_456_789_012_345, 123_456, 0x12345678)
        ),
        "serialise and mask 2,048 bytes": _best_us(
            lambda: large.frame(123_456_789_012_345, 123_456, 0x12345678)
        ),
        "keep a sample": _best_us(_record()),
        "open loop: a message falls due, eight a turn": _open_loop(),
        "of it, noting how late it was": _best_us(_due()) / 8,
        "statistics of a sample, four times a second": _roll(),
        "switch to a waiting greenlet and back": _best_us(_switch()),
        "read one frame of sixteen": _best_us(_read_frames(16)) / 16,
        "delivery: find the send time in a group message": _best_us(_deliver()),
    }
    click.echo("| step | µs |\n| --- | ---: |")
    for name, spent_us in rows.items():
        click.echo(f"| {name} | {spent_us:.2f} |")


if __name__ == "__main__":
    main()
