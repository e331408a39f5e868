"""Locust users that are clients of Web PubSub: subclass one and write plain `@task`s.

Each user is one connection, opened when the user starts and closed with code 1000 when it stops.
One without tasks stays connected, and does what `on_start` set going.

Verbs wait until the connection is open, so a task needs no code for drops: they are counted, and
the user comes back by itself. A request that fails is counted too, and says so in the `Ack` that
the verb returns; no verb raises for what the service does.
"""

from locust import User

import logging
import random
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import gevent

from wpsload import arrivals, plugin
from wpsload import payload as payloads
from wpsload.clock import CLOCK, clock_ns
from wpsload.connection import Connection
from wpsload.dialing import Address
from wpsload.errors import LocalProtocolError
from wpsload.ledger import Stream
from wpsload.metrics import Sample
from wpsload.options import Settings
from wpsload.parking import park, unpark
from wpsload.publication import Computed, Publication, Stamped
from wpsload.publishing import Publishing
from wpsload.session import Message, PubSubSession, SimpleSession
from wpsload.subprotocol import Ack, DataType
from wpsload.units import NS_PER_S, nanoseconds, seconds

__all__ = ["Ack", "Message", "PubSubUser", "Publishing", "SimpleUser"]

_log = logging.getLogger(__name__)
_complained: set[type] = set()

_SPAWN_BURST_S = 1.0  # Locust spawns a second's worth of users at once


def _stay_connected(user: "_WebPubSubUser") -> NoReturn:
    """The task of a user without tasks."""
    user.park()


class _WebPubSubUser(User):
    """What both kinds of user share: one connection, and the pace of `--wps-interval`."""

    abstract = True
    subprotocol: str | None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # Locust complains of a class without tasks; a subclass that has some inherits this one too.
        cls.tasks = [one for one in cls.tasks if one is not _stay_connected] or [_stay_connected]
        if not cls.abstract:
            plugin.will_speak(cls.subprotocol)

    def __init__(self, environment: Any, session: PubSubSession | SimpleSession) -> None:
        super().__init__(environment)
        self._run = plugin.run_of(environment)
        self._books = self._run.books
        self._due_ns = 0
        self._number: int | None = None
        self._room: str | None = None
        self._has_left = False
        self.is_listening = type(self).on_message is not _WebPubSubUser.on_message
        self._connection = Connection(
            session,
            address=self._address,
            may_wait=self._run.may_address_wait,
            observer=self,
            meter=self._books.meter,
            ledger=self._books.ledger,
            limits=self._run.settings.limits,
            engine=self._run.engine,
        )
        self._is_parked = False

    def _address(self) -> Address:
        return self._run.address(self.number)

    @property
    def number(self) -> int:
        """The number of this user, from 0 on, which no other user of the whole run has.

        Raises:
            LocalProtocolError: before the user has started.
        """
        if self._number is None:
            raise LocalProtocolError(
                "the user has not started", hint="call super().on_start() first in on_start"
            )
        return self._number

    @property
    def settings(self) -> Settings:
        """The `--wps-…` options of this test."""
        return self._run.settings

    @property
    def room(self) -> str:
        """The group of this user: users are put into groups of `--wps-group-size`, in order."""
        if self._room is None:
            self._room = f"room-{self.number // self.settings.group_size}"
        return self._room

    def on_start(self) -> None:
        """Connect, and return once the connection is open, however many attempts that takes.

        Users of one spawn burst connect spread over a second, so that connect latency does not
        measure a herd of our own making.
        """
        # However the user ends, by an exception in on_start too, its connection ends with it.
        self.greenlet.link(self._ended)
        self._number = self._run.numbers.take()
        gevent.sleep(random.uniform(0, _SPAWN_BURST_S))  # noqa: S311  # spread, not secrecy
        self._connection.start()
        self._connection.wait_open()
        self._due_ns = clock_ns()

    def on_stop(self) -> None:
        """Wait for what is still due, `--wps-drain` at most, and close with code 1000."""
        self._leave()

    def park(self) -> NoReturn:
        """End the user's greenlet, while its connection lives on until Locust stops the user."""
        self._is_parked = True
        park(self, ended=self._ended)

    def stop(self, force: bool = False) -> bool:
        """Stop the user; called by Locust, or by the scenario, where nothing may wait as well."""
        if self._connection.is_receiving:
            gevent.spawn(self.stop, force=force)
            return False
        if not self._is_parked:
            return bool(super().stop(force=force))
        unpark(self, force=force)
        return force

    def _ended(self, greenlet: object) -> None:
        if greenlet is self.greenlet:  # it was not parked meanwhile
            gevent.spawn(self._leave)

    def _leave(self) -> None:
        if self._connection.is_receiving:  # the scenario calls `on_stop` where nothing may wait
            gevent.spawn(self._leave)
            return
        if self._has_left:
            return
        self._has_left = True
        self._connection.close()
        if self._number is not None:
            self._run.numbers.release(self._number)

    def wait_time(self) -> float:
        """Seconds until the next task is due: one every `--wps-interval`, counted from the first.

        A user that is late starts at once and keeps its schedule from there.
        """
        now_ns = clock_ns()
        self._due_ns = max(now_ns, self._due_ns + int(self.settings.interval_s * NS_PER_S))
        return seconds(self._due_ns - now_ns)

    def on_message(self, message: Message) -> None:
        """Called for each message that arrives; must not wait for anything."""

    def record(self, sample: Sample) -> None:
        """Count a measured operation; called by the connection."""
        if self._run.books is self._books:  # or it outlived its run
            self._run.record(sample)

    def count(self, name: str, amount: int) -> None:
        """Count something that has no duration; called by the connection."""
        if self._run.books is self._books:
            self._run.count(name, amount)

    def message(self, message: Message) -> None:
        """Hand a message to the scenario, whose mistakes must not take the connection down."""
        try:
            self.on_message(message)
        except Exception as error:
            self.mistake(error)

    def mistake(self, error: Exception) -> None:
        """Report what the scenario's code raised where the event loop called it."""
        if type(self) not in _complained:  # Locust counts them all; one traceback is enough
            _complained.add(type(self))
            _log.error("%s failed", type(self).__name__, exc_info=error)
        # Who listens may wait for something, which nothing may do in the event loop.
        gevent.spawn(
            self.environment.events.user_error.fire,
            user_instance=self,
            exception=error,
            tb=error.__traceback__,
        )


class PubSubUser(_WebPubSubUser):
    """A client that speaks `json.webpubsub.azure.v1`: groups, events and acks.

    Groups that were joined are joined again after a reconnect.
    """

    abstract = True
    subprotocol = PubSubSession.subprotocol

    def __init__(self, environment: Any) -> None:
        run = plugin.run_of(environment)
        self._session = PubSubSession(clock=CLOCK, familiar=run.familiar)
        self._schedules = 0
        self._unnumbered: Stream | None = None
        self._stamped: dict[tuple[str, DataType | None, bool | None], Stamped] = {}
        super().__init__(environment, self._session)

    def join(self, group: str) -> Ack:
        """Join `group` and wait for the ack. Needs role `webpubsub.joinLeaveGroup`."""
        self.count("joins", 1)
        return self._connection.request(lambda sent_ns: self._session.join(group, sent_ns=sent_ns))

    def leave(self, group: str) -> Ack:
        """Leave `group` and wait for the ack. Needs role `webpubsub.joinLeaveGroup`."""
        return self._connection.request(lambda sent_ns: self._session.leave(group, sent_ns=sent_ns))

    def send_to_group(
        self,
        group: str,
        data: Any = None,
        *,
        data_type: DataType | None = None,
        no_echo: bool | None = None,
    ) -> Ack:
        """Publish to `group` and wait for the ack. Needs role `webpubsub.sendToGroup`.

        `data` is a str for `text`, bytes for `binary`, any JSON value for `json`. Without it a
        payload of `--wps-payload-bytes` is sent that carries its send time, which is what delivery
        latency is measured with. `data_type` and `no_echo` default to the options.
        """
        if data is None:
            return self._connection.ask(
                self._stamped.get((group, data_type, no_echo))
                or self._stamp(group, data_type, no_echo)
            )
        return self._connection.ask(self._compute(group, lambda: data, data_type, no_echo))

    def publish(
        self,
        group: str,
        *,
        every: float | None = None,
        plan: str | None = None,
        payload: Any = None,
        data_type: DataType | None = None,
        no_echo: bool | None = None,
    ) -> Publishing:
        """Publish to `group` every so many seconds from now on, without waiting for anything.

        The messages leave on time, whatever this user's tasks do, and their acks are measured. Use
        it for steady load: it costs a fraction of what a task for each message does. It ends with
        the user, or when `stop` is called on what is returned.

        `every` is in seconds; 0 is a closed loop, in which the next message leaves as soon as the
        ack is in. `plan` says it in the words of `--wps-plan`, and begins now. Without either the
        run's own `--wps-plan` or `--wps-interval` holds. `payload` is the data of each message as
        in `send_to_group`, or a function without arguments that gives it and must not wait for
        anything. The rest as in `send_to_group`.

        Raises:
            LocalProtocolError: if the group is no group name, or the interval is negative.
            ConfigError: if the plan is none, or the interval too short.
        """
        due_times_ns = self._due_times_ns(every, plan)
        publication: Publication
        if payload is None:
            publication = self._stamped.get((group, data_type, no_echo)) or self._stamp(
                group, data_type, no_echo
            )
        else:
            data = payload if callable(payload) else lambda: payload
            publication = self._compute(group, data, data_type, no_echo)
        return self._connection.publish(publication, due_times_ns=due_times_ns)

    def _due_times_ns(self, every_s: float | None, plan: str | None) -> Iterator[int] | None:
        """When messages are due; None for a closed loop."""
        if every_s is not None and plan is not None:
            raise LocalProtocolError("a schedule has either an interval or a plan, not both")
        if every_s is not None and every_s < 0:
            raise LocalProtocolError(f"an interval cannot be negative: {every_s} s")
        own = None if plan is None else arrivals.parse_plan(plan)
        if every_s is not None:
            if not (every_ns := nanoseconds(every_s)):
                return None
            own = arrivals.every(every_ns)
        if own is None and self.settings.plan is None:
            return None
        self._schedules += 1
        return self._run.due_times_ns(own, self._number or 0, self._schedules)

    def _defaults(self, data_type: DataType | None, no_echo: bool | None) -> tuple[DataType, bool]:
        settings = self.settings
        return data_type or settings.data_type, settings.is_no_echo if no_echo is None else no_echo

    def _stamp(self, group: str, data_type: DataType | None, no_echo: bool | None) -> Stamped:
        """The stamped messages of `--wps-payload-bytes` to `group`."""
        kind, is_no_echo = self._defaults(data_type, no_echo)
        size_bytes = self.settings.payload_bytes
        stamped = Stamped(
            group,
            kind,
            no_echo=is_no_echo,
            size_bytes=size_bytes,
            clock=CLOCK,
            stream=self._connection.open_stream(
                group if self.settings.has_ledger else None, is_echoed=not is_no_echo
            ),
        )
        self._stamped[group, data_type, no_echo] = stamped
        return stamped

    def _compute(
        self,
        group: str,
        data: Callable[[], Any],
        data_type: DataType | None,
        no_echo: bool | None,
    ) -> Computed:
        """Messages with the scenario's own data, which have no number."""
        kind, is_no_echo = self._defaults(data_type, no_echo)
        if self._unnumbered is None:
            self._unnumbered = self._connection.open_stream(None)
        return Computed(group, data, kind, no_echo=is_no_echo, stream=self._unnumbered)

    def send_event(self, event: str, data: Any = None, *, data_type: DataType | None = None) -> Ack:
        """Send a user event to the application server and wait for the ack; data as above."""
        kind = data_type or self.settings.data_type

        def make(sent_ns: int) -> tuple[int, bytes]:
            body = data
            if body is None:
                stamp = payloads.Stamp(CLOCK, sent_ns)
                size_bytes = self.settings.payload_bytes
                body = payloads.stamp(stamp, size_bytes=size_bytes, data_type=kind)
            return self._session.send_event(event, body, kind, sent_ns=sent_ns)

        return self._connection.request(make)


class SimpleUser(_WebPubSubUser):
    """A plain WebSocket client: each frame is a `message` event for the application server."""

    abstract = True
    subprotocol = SimpleSession.subprotocol

    def __init__(self, environment: Any) -> None:
        self._session = SimpleSession(clock=CLOCK)
        super().__init__(environment, self._session)

    def send(self, data: str | bytes) -> None:
        """Send one frame, text for a str and binary for bytes; what comes back is a message."""
        if not isinstance(data, str | bytes):
            raise LocalProtocolError(f"a frame is str or bytes, not {type(data).__name__}")
        frame = data.encode() if isinstance(data, str) else data
        self._connection.send(frame, is_text=isinstance(data, str))

    def echo(self) -> Ack:
        """Send a frame of `--wps-payload-bytes` and wait until the application echoes it."""
        kind: DataType = "binary" if self.settings.data_type == "binary" else "text"
        return self._connection.request(
            lambda sent_ns: self._session.echo(self.settings.payload_bytes, kind, sent_ns=sent_ns),
            is_text=kind == "text",
        )
