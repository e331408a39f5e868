"""One client of the service: kept open, driven, and drained at the end.

A connection owns a session and moves frames for it over a link. There are two ways to drive it. A
scenario makes a request and waits for the answer; its greenlet is woken once. Or it hands over a
schedule, and the messages leave on time and are answered without any greenlet: see `publish`.

Everything but the methods that say so runs where nothing may wait.
"""

import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from gevent import getcurrent
from gevent.event import Event

from wpsload import frames
from wpsload.agenda import Entry
from wpsload.dialing import Address, Dialed
from wpsload.engine import Engine
from wpsload.errors import ConnectError, LocalProtocolError, RemoteProtocolError
from wpsload.fan_out import FOLLOWED_MASK
from wpsload.ledger import Ledger, Stream
from wpsload.link import NORMAL_CLOSURE, Lane, Limits, Link, Listener, Pace
from wpsload.meter import Meter
from wpsload.metrics import (
    CONNECT,
    CONNECT_PHASES,
    CONNECTION_LOST,
    DELIVERY,
    JOIN_GROUP,
    LEAVE_GROUP,
    NEGOTIATE,
    SEND_TO_GROUP,
    SEND_TO_GROUP_SERVICE,
    UNANSWERED,
    Metric,
    Sample,
)
from wpsload.publication import Publication
from wpsload.publishing import ClosedLoop, OpenLoop, Publishing
from wpsload.session import (
    Answered,
    Arrived,
    Message,
    PubSubSession,
    Ready,
    SimpleSession,
    State,
)
from wpsload.subprotocol import Ack
from wpsload.units import nanoseconds, seconds
from wpsload.websocket_client import WebSocketClient
from wpsload.wire import Wire

__all__ = ["Connection", "Observer", "back_off_s"]

_BACK_OFF_START_S = 0.5
_BACK_OFF_LIMIT_S = 15.0
_STOPPED = "stopped"
_NOBODY = object()  # waits any longer for an answer that somebody waited for
_new_ack = tuple.__new__  # the class's own takes twice as long
_UNFINISHED_S = 1.0  # who is still connecting after this long when the run stops is a finding


class Observer(Listener, Protocol):
    """Where a connection tells what happened, but for what it counts in its `Meter`."""

    def record(self, sample: Sample) -> None:
        """One measured operation is over."""

    def count(self, name: str, amount: int) -> None:
        """`amount` more of `name`: `opened`, `reopened`, `closed`, `joins` or `foreign`."""

    def message(self, message: Message) -> None:
        """A message for the scenario; must not wait for anything."""

    def mistake(self, error: Exception) -> None:
        """The scenario's own code failed: the data of a schedule."""


def back_off_s(attempt: int, random_ratio: float) -> float:
    """Seconds to wait before connection attempt number `attempt` (1 is the first repeated one).

    Doubles up to 15 s. `random_ratio`, from 0 to 1, spreads clients that failed together over the
    second half of that time, so that they do not come back together.
    """
    doublings = min(attempt - 1, 10)
    longest_s = min(_BACK_OFF_LIMIT_S, _BACK_OFF_START_S * float(2**doublings))
    return longest_s * (0.5 + random_ratio / 2)


class Connection:
    """A client that connects, reconnects after a drop, and closes with code 1000.

    Args:
        session: the protocol; simple or PubSub.
        address: gives the address for each attempt to connect; may raise `ConnectError`.
        may_wait: True if `address` asks somebody, which is timed; False spares a greenlet.
        observer: told of every sample, count and message that the meter does not hold.
        meter: where answers and deliveries are timed and traffic is counted.
        ledger: where every message and every delivery is accounted for.
        engine: what drives it; `engine.name` chooses the kind of link.
    """

    __slots__ = (
        "_address",
        "_attempt",
        "_clock_ns",
        "_connect_limit",
        "_deadline",
        "_deliveries",
        "_dialed",
        "_engine",
        "_error",
        "_has_opened",
        "_hub",
        "_is_negotiating",
        "_is_open",
        "_is_started",
        "_is_stopping",
        "_lane",
        "_ledger",
        "_limits",
        "_link",
        "_may_address_wait",
        "_meter",
        "_news",
        "_observer",
        "_publishings",
        "_receipts",
        "_receiving",
        "_retry",
        "_sends",
        "_services",
        "_session",
        "_settled",
        "_started_ns",
        "_streams",
        "_waking",
        "_was_open",
    )

    def __init__(
        self,
        session: PubSubSession | SimpleSession,
        *,
        address: Callable[[], Address],
        may_wait: bool = True,
        observer: Observer,
        meter: Meter,
        ledger: Ledger,
        limits: Limits,
        engine: Engine,
    ) -> None:
        self._session = session
        self._ledger = ledger
        self._receipts = ledger.receipts()
        self._settled: dict[int, int] = {}  # what must have come when we began to close
        self._streams: list[Stream] = []
        self._address = address
        self._may_address_wait = may_wait
        self._observer = observer
        self._meter = meter
        self._sends = meter.series(SEND_TO_GROUP)
        self._services = meter.series(SEND_TO_GROUP_SERVICE)
        self._deliveries = meter.series(DELIVERY)
        self._limits = limits
        self._engine = engine
        self._hub = engine.hub
        self._clock_ns = engine.clock_ns
        self._link: Link | None = None
        self._lane: Lane | None = None  # of a client that is not idle
        self._dialed: Dialed | None = None
        self._waking: dict[int, Any] = {}  # greenlets about to go on, by the key of their answer
        self._publishings: list[Publishing] = []
        self._news: Event | None = None  # set when something changes that somebody waits for
        self._receiving: Any = None  # the greenlet that receives, in which nothing may wait
        self._is_started = self._is_stopping = False
        self._has_opened = False  # the present link, or the last one
        self._was_open = False  # ever
        self._is_open = False
        self._is_negotiating = False
        self._error: BaseException | None = None
        self._attempt = 0
        self._started_ns = 0
        self._connect_limit: Entry | None = None
        self._retry: Entry | None = None
        self._deadline: Entry | None = None  # of the oldest request, as it was when it was set

    def start(self) -> None:
        """Connect, and stay connected until `close`."""
        self._is_started = True
        self._open_link()

    def open_stream(self, group: str | None, *, is_echoed: bool = True) -> Stream:
        """What counts the messages of this client to `group`, or without numbers if it is None.

        `is_echoed` is False if the client does not receive its own.
        """
        receiver = None if is_echoed else self._receipts
        stream = self._ledger.open_stream(group, self._session.settled, receiver=receiver)
        self._streams.append(stream)
        self._open_lane()
        return stream

    # What a scenario calls; these may wait.

    def wait_open(self) -> None:
        """Return when the connection is open, however many attempts it takes.

        Raises:
            LocalProtocolError: if it was never started.
            BaseException: what ended the connection for good, a mistake in this program.
        """
        self._wait_until(lambda: self._is_open)

    def request(self, make: Callable[[int], tuple[int, bytes]], *, is_text: bool = True) -> Ack:
        """Write a request and wait for its answer.

        `make` is a request method of the session: it takes the time of writing in ns and gives
        the key of the answer and the frame. An answer that does not come is an `Ack` whose error
        is `Timeout` or says how the connection closed.

        Raises:
            LocalProtocolError: if called from `on_message`, which the answer would wait behind.
        """
        asker = self._may_wait()
        link = self._wait_writable()
        key, frame = make(self._clock_ns())
        self._session.assign(key, asker)
        self._write(link, frame, is_text=is_text)
        return self._wait_for_answer(key)

    def ask(self, publication: Publication) -> Ack:
        """Write the next message of `publication` and wait for its answer, as `request` does."""
        asker = getcurrent()
        if asker is self._receiving or asker is self._hub:
            self._may_wait()
        now_ns = self._clock_ns()
        while not (ack_id := self.publish_next(publication, now_ns, now_ns, asker)):
            self._wait_writable()
            now_ns = self._clock_ns()
        return self._wait_for_answer(ack_id)

    def send(self, frame: bytes, *, is_text: bool) -> None:
        """Write a frame that has no answer; waits until the connection is open.

        While the connection closes there is no one to send to, and nothing is sent.
        """
        if self._session.state is not State.CLOSING:
            self._may_wait()
            link = self._wait_writable()
            self._write(link, frame, is_text=is_text)
            link.flush_soon()

    def publish(
        self,
        publication: Publication,
        every_s: float = 0,
        *,
        due_times_ns: Iterator[int] | None = None,
    ) -> Publishing:
        """Send a message each `every_s` seconds, from now on; with 0, whenever one is answered.

        `due_times_ns` says instead when each is due, in order.
        """
        publishing: Publishing
        if due_times_ns is None and (every_ns := nanoseconds(every_s)):
            due_times_ns = itertools.count(self._clock_ns(), every_ns)
        if due_times_ns is not None:
            publishing = OpenLoop(
                self,
                publication,
                self._engine,
                due_times_ns=due_times_ns,
                most_late_ns=nanoseconds(self._limits.most_late_s),
                meter=self._meter,
            )
        else:
            publishing = ClosedLoop(self, publication, self._engine)
        self._publishings = [one for one in self._publishings if not one.is_stopped]
        self._publishings.append(publishing)
        self._open_lane()
        self._engine.soon(publishing.resume)  # its data is asked for where it will always be
        return publishing

    def close(self) -> None:
        """Wait for the answers that are due, then close with code 1000.

        Schedules end first. `drain_s` bounds the wait for the answers, for deliveries that are on
        their way, and once more for the closing handshake. What the service sends until it answers
        the close is still received and counted.
        Closing again waits until that is done.

        Raises:
            LocalProtocolError: if called from `on_message`, which may not wait.
        """
        self._may_wait()
        if self._is_stopping:
            self._wait_until(lambda: self._link is None, 3 * self._limits.drain_s)
            return
        self._is_stopping = True
        if self._lane is not None:
            self._lane.end()  # whoever waits here is told of each answer
        for publishing in tuple(self._publishings):
            publishing.finish()
        if self._retry is not None:
            self._retry.cancel()
        try:
            if self._session.state is State.OPEN:
                self._wait_until(self._is_drained, self._limits.drain_s)
            if self._session.state is State.OPEN and self._link is not None:
                self._settled = settled = self._ledger.settled(self._receipts)
                self._wait_until(
                    lambda: (
                        self._session.state is not State.OPEN
                        or self._ledger.has_received(self._receipts, settled)
                    ),
                    self._limits.drain_s,
                )
            if self._session.state is State.OPEN and self._link is not None:
                self._session.closing()
                self._is_open = False
                self._link.close(NORMAL_CLOSURE)
                self._wait_until(lambda: self._link is None, self._limits.drain_s)
        finally:
            if self._link is not None:
                self._link.abort(_STOPPED)
            for stream in self._streams:
                self._ledger.close_stream(stream)

    # Waiting, in the greenlet of the scenario.

    def _is_drained(self) -> bool:
        return self._session.state is not State.OPEN or not self._session.pending_count

    def _wait_until(self, is_so: Callable[[], bool], timeout_s: float | None = None) -> None:
        """Look again whenever there is news, `timeout_s` at most."""
        until: Entry | None = None
        until_ns = 0
        try:
            while not is_so():
                if not self._is_started:
                    raise LocalProtocolError(
                        "the user is not connected",
                        hint="call super().on_start() first in on_start",
                    )
                if self._error is not None:
                    raise self._error
                if timeout_s is not None:
                    now_ns = self._clock_ns()
                    if until is None:
                        until_ns = now_ns + nanoseconds(timeout_s)
                        until = self._engine.at(until_ns, self._tell_news)
                    elif now_ns >= until_ns:
                        return
                if self._news is None:
                    self._news = Event()
                self._news.wait()
        finally:
            if until is not None:
                until.cancel()

    def _tell_news(self) -> None:
        if self._news is not None:
            self._news.set()
            self._news = None

    @property
    def is_receiving(self) -> bool:
        """True in what the connection calls: nothing may wait there."""
        current = getcurrent()
        return current is self._receiving or current is self._hub

    def _may_wait(self) -> Any:
        """The present greenlet, if it is one that may wait."""
        current = getcurrent()
        if current is self._receiving or current is self._hub:
            raise LocalProtocolError(
                "on_message or a payload waits for an answer that can only arrive after it",
                hint="keep the message and answer it from a task, or use a verb that does not wait",
            )
        return current

    def _wait_writable(self) -> Link:
        while (link := self._writable_link()) is None:
            self._wait_until(lambda: self._writable_link() is not None)
        return link

    def _writable_link(self) -> Link | None:
        link = self._link
        return link if link is not None and self._is_open and link.is_writable else None

    def _wait_for_answer(self, key: int) -> Ack:
        if self._link is not None:
            self._link.flush()
        try:
            ack: Ack = self._hub.switch()
        except BaseException:  # the user was stopped, or ran out of a time of its own
            self._session.assign(key, _NOBODY)
            self._waking.pop(key, None)
            raise
        return ack

    def _wake_soon(self, asker: Any, key: int, ack: Ack) -> None:
        if asker is not _NOBODY:
            self._waking[key] = asker
            self._engine.soon(self._wake, key, ack)

    def _wake(self, key: int, ack: Ack) -> None:
        if (asker := self._waking.pop(key, None)) is not None:
            asker.switch(ack)

    # Writing.

    def _write(self, link: Link, frame: bytes, *, is_text: bool) -> None:
        link.write(frame, is_text=is_text)
        self._meter.sent += 1
        self._meter.sent_bytes += len(frame)
        self._watch_answers()

    def publish_next(
        self,
        publication: Publication,
        due_ns: int,
        now_ns: int,
        owner: Any = None,
    ) -> int:
        """Write a message that was due at `due_ns`; its ackId, 0 if nothing can be written now."""
        link, meter, stream = self._link, self._meter, publication.stream
        if link is None or not self._is_open or not link.is_writable:
            return 0
        ack_id = self._lane.publish(publication, due_ns, now_ns, owner) if self._lane else 0
        if not ack_id:
            ack_id = self._session.publish(due_ns, now_ns, stream, owner)
            try:
                meter.sent_bytes += link.publish(publication, due_ns, ack_id)
            except BaseException:  # its data is the scenario's, and may be wrong
                self._session.retract(ack_id)
                raise
            stream.sequence += 1
            meter.sent += 1
        if self._deadline is None:
            self._watch_answers()
        return ack_id

    def pace(self, loop: OpenLoop, **when: Any) -> Pace | None:
        """The short way of `loop`, if there is one."""
        if self._lane is None:
            return None
        pace = self._lane.pace(loop, loop.publication, **when)
        self._watch_answers()
        return pace

    def flush(self) -> None:
        """Send what was written."""
        if self._link is not None:
            self._link.flush()

    def failed(self, error: Exception) -> None:
        """A schedule has ended because of the scenario's data."""
        self._observer.mistake(error)

    def _watch_answers(self) -> None:
        """See to it that what is not answered in time is given up; one look for all of them.

        What takes a short way does not ask for it, so there always is one.
        """
        if self._deadline is not None:
            return
        if (oldest := self._session.oldest) is not None:
            since_ns = oldest[1]
        elif self._lane is not None and any(not one.is_stopped for one in self._publishings):
            since_ns = self._clock_ns()
        else:
            return
        due_ns = since_ns + nanoseconds(self._limits.ack_timeout_s)
        self._deadline = self._engine.at(due_ns, self._expire)

    def _expire(self) -> None:
        self._deadline = None
        if self._link is not None and not self._link.is_drained:
            return  # a peer that does not read is the link's to give up, and `writable` looks again
        limit_ns = self._clock_ns() - nanoseconds(self._limits.ack_timeout_s)
        while (oldest := self._session.oldest) is not None and oldest[1] <= limit_ns:
            self._answered(self._session.expire(oldest[0]))
        self._watch_answers()

    # What the link tells.

    def _open_link(self) -> None:
        self._session.opening()
        self._has_opened = False
        self._started_ns = self._clock_ns()
        due_ns = self._started_ns + nanoseconds(self._limits.connect_timeout_s)
        self._connect_limit = self._engine.at(due_ns, self._not_connected)
        kind = WebSocketClient if self._engine.name == "websocket-client" else Wire
        self._link = kind(
            self._engine,
            self,
            address=self._negotiate if self._may_address_wait else self._address,
            may_wait=self._may_address_wait,
            subprotocol=self._session.subprotocol,
            limits=self._limits,
        )

    def _open_lane(self) -> None:
        """For a client that publishes, or knows what it receives, where its link has one."""
        session = self._session
        if (
            self._is_open
            and self._lane is None
            and not self._is_stopping
            and self._link is not None
            and isinstance(session, PubSubSession)
            and (self._streams or self._publishings or session.stamp_at)
        ):
            self._lane = self._link.lane(session, self._meter, self._receipts, self._observer)

    def _negotiate(self) -> Address:
        """The address, from somebody who has to be asked; may wait."""
        started_ns = self._clock_ns()
        self._is_negotiating = True
        try:
            found = self._address()
        except ConnectError as error:
            self._is_negotiating = error.phase == "negotiate"  # or nobody was asked
            raise
        self._is_negotiating = False
        self._time(NEGOTIATE, self._clock_ns() - started_ns)
        return found

    def _not_connected(self) -> None:
        if self._link is not None:
            self._link.give_up()

    def upgraded(self, dialed: Dialed) -> None:
        """The handshake is done; a PubSub client still waits for its `connected` message."""
        self._dialed = dialed
        self._receiving = getcurrent()
        if isinstance(self._session, SimpleSession):
            self._session.upgraded()
            self._opened(dialed, dialed.upgraded_ns)

    def received(  # noqa: C901, PLR0912  # calls would cost more than what they did
        self, messages: list[frames.Message], now_ns: int
    ) -> None:
        """Messages and control frames arrived, read at `now_ns`."""
        link, session, meter = self._link, self._session, self._meter
        sends, services, deliveries = self._sends, self._services, self._deliveries
        following = self._receipts.next
        is_deaf = not self._observer.is_listening
        for opcode, payload in messages:
            if link is None or self._link is not link:
                return  # one before it ended the link
            if opcode == frames.TEXT:
                meter.received_bytes += len(payload)
                if (done := session.acknowledged(payload)) is not None:
                    key, (metric, due_ns, written_ns, group, owner, _, _) = done
                    series = sends if metric is SEND_TO_GROUP else meter.series(metric)
                    series.latencies_ns.append(now_ns - due_ns)
                    series.sizes_bytes.append(len(payload))
                    if type(owner) is ClosedLoop:
                        owner.go_on(now_ns)
                    elif owner is not None:
                        self._go_on(owner, key)
                    elif metric is SEND_TO_GROUP:  # of an open loop
                        services.latencies_ns.append(now_ns - written_ns)
                        services.sizes_bytes.append(0)
                    if group is not None:
                        self._account_for_group(metric, group)
                elif is_deaf and (stamped := session.delivered(payload)) is not None:
                    stream, sent_ns, number = stamped
                    latency_ns = max(0, now_ns - sent_ns)
                    deliveries.latencies_ns.append(latency_ns)
                    deliveries.sizes_bytes.append(len(payload))
                    if stream is not None:
                        if following.get(stream) == number:
                            following[stream] = number + 1
                        else:
                            self._receipts.irregular(stream, number)
                        if not number & FOLLOWED_MASK:
                            meter.followed.append((stream, number, latency_ns))
                else:
                    self._receive(link, payload, is_text=True, now_ns=now_ns)
            elif opcode == frames.BINARY:
                meter.received_bytes += len(payload)
                self._receive(link, payload, is_text=False, now_ns=now_ns)
            else:
                link.control(opcode, payload)
        if self._is_stopping:
            self._tell_news()

    def _go_on(self, asker: Any, key: int) -> None:
        """Switch to the greenlet that waits for the answer."""
        ack = _new_ack(Ack, (key, True, None, ""))
        if getcurrent() is self._hub and asker is not _NOBODY:
            asker.switch(ack)
        else:  # another greenlet that switched to it would never be switched back to
            self._wake_soon(asker, key, ack)

    def _receive(self, link: Link, payload: bytes, *, is_text: bool, now_ns: int) -> None:
        try:
            events = self._session.receive(payload, is_text=is_text, now_ns=now_ns)
        except RemoteProtocolError as error:
            link.close(error.close_code)
            link.abort("protocol error")
            return
        for event in events:
            match event:
                case Answered():
                    self._answered(event)
                case Arrived():
                    self._arrived(event)
                case Ready():
                    if self._dialed is not None:
                        self._opened(self._dialed, now_ns)

    def _arrived(self, arrived: Arrived) -> None:
        message, sample, stamp = arrived.message, arrived.sample, arrived.stamp
        if arrived.is_foreign:
            self._observer.count("foreign", 1)
        if self._lane is None and not self._observer.is_listening:
            self._open_lane()
        if stamp is not None and stamp.stream is not None:
            self._ledger.received(self._receipts, stamp.stream, stamp.number)
            latency_ns = None if sample is None else sample.latency_ns
            if not stamp.number & FOLLOWED_MASK and latency_ns is not None:
                self._meter.followed.append((stamp.stream, stamp.number, latency_ns))
        if sample is not None:
            self._observer.record(sample)
        self._observer.message(message)

    def _opened(self, dialed: Dialed, now_ns: int) -> None:
        phases_ns = {**dialed.phases_ns, "connected": now_ns - dialed.upgraded_ns}
        self._time(CONNECT, now_ns - dialed.started_ns)
        for phase, duration_ns in phases_ns.items():
            self._time(CONNECT_PHASES[phase], duration_ns)
        self._observer.count("opened", 1)
        if self._was_open:
            self._observer.count("reopened", 1)
        self._dialed = None
        self._has_opened = self._is_open = self._was_open = True
        if self._connect_limit is not None:
            self._connect_limit.cancel()
        self._open_lane()
        link = self._link
        if link is not None and isinstance(self._session, PubSubSession):
            for group in sorted(self._session.groups):
                self._observer.count("joins", 1)
                _, frame = self._session.join(group, sent_ns=self._clock_ns())
                self._write(link, frame, is_text=True)
            link.flush_soon()
        self.writable()

    def _account_for_group(self, metric: Metric, group: str) -> None:
        """The ack of joining or leaving is in."""
        if metric is JOIN_GROUP:
            self._ledger.joined(self._receipts, group)
        elif metric is LEAVE_GROUP:
            self._ledger.left(self._receipts, group)

    def _time(self, metric: Metric, latency_ns: int) -> None:
        series = self._meter.series(metric)
        series.latencies_ns.append(latency_ns)
        series.sizes_bytes.append(0)

    def writable(self) -> None:
        """What was held back can be written now."""
        self._tell_news()
        self._watch_answers()
        for publishing in tuple(self._publishings):
            publishing.resume()

    def _answered(self, answered: Answered) -> None:
        self._observer.record(answered.sample)
        if (request := answered.request) is not None:
            if request.stream is not None and not answered.ack.is_success:
                self._ledger.failed(request.stream, request.number)
            elif request.group is not None and answered.ack.is_success:
                self._account_for_group(request.metric, request.group)
        if answered.service_ns is not None:
            self._time(SEND_TO_GROUP_SERVICE, answered.service_ns)
        if isinstance(answered.owner, ClosedLoop):
            answered.owner.go_on(self._clock_ns())
            self.flush()
        elif answered.owner is not None:
            self._wake_soon(answered.owner, answered.key, answered.ack)
        if self._is_stopping:
            self._tell_news()

    def ended(self, failure: str) -> None:
        """The link is gone: tell everyone who waits, and count what was not asked for.

        It was asked for if we had said goodbye, or ended it to stop.
        """
        self._link = self._lane = self._dialed = None
        self._is_open = False
        now_ns = self._clock_ns()
        lasted_s = seconds(now_ns - self._started_ns)
        if self._connect_limit is not None:
            self._connect_limit.cancel()
        has_opened = self._has_opened
        is_ours = self._session.state is State.CLOSING or failure == _STOPPED
        for answered in self._session.lost(UNANSWERED if is_ours else failure):
            self._answered(answered)
        self._ledger.ended(self._receipts, self._settled)
        self._settled = {}
        if has_opened:
            self._observer.count("closed", 1)
        opening = NEGOTIATE if self._is_negotiating else CONNECT
        self._is_negotiating = False
        if not is_ours:
            metric = CONNECTION_LOST if has_opened else opening
            self._observer.record(Sample(metric, None, failure, is_answered=False))
        elif not has_opened and lasted_s >= _UNFINISHED_S:
            self._observer.record(Sample(opening, None, "unfinished at stop", is_answered=False))
        if not self._is_stopping:
            # A service that closes at once is not to be asked at once again.
            self._attempt = 1 if lasted_s > _BACK_OFF_LIMIT_S else self._attempt + 1
            wait_s = back_off_s(self._attempt, random.random())  # noqa: S311  # spread, not secrecy
            self._retry = self._engine.at(now_ns + nanoseconds(wait_s), self._open_link)
        self._tell_news()

    def broken(self, error: BaseException) -> None:
        """A mistake in this program ended the link: who waits for it is told."""
        self._error = error
        self._tell_news()
