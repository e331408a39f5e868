"""Climbing a ladder inside Locust: a shape that decides, and users who send as the rung says.

The shape runs where Locust has it: in the only process, or in the master. It tells the pace to all
that have users, once a second, so that whoever comes late hears of it too.
"""

from locust import LoadTestShape, events
from locust.env import Environment
from locust.runners import MasterRunner

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from wpsload import plugin
from wpsload.clock import unix_s
from wpsload.errors import ConfigError
from wpsload.ladder import Climb, Pace, Stage, Timing, View
from wpsload.ledger import Outcomes
from wpsload.metrics import DELIVERY, SEND_TO_GROUP
from wpsload.options import Settings
from wpsload.published import published
from wpsload.publishing import Publishing
from wpsload.record import Ladder as LadderRecord
from wpsload.record import PhaseName, Rung
from wpsload.recording import longest_connect_s, open_and_joining
from wpsload.rungs import Surroundings, ended_by, judged
from wpsload.terminal import fail
from wpsload.users import PubSubUser

__all__ = ["CapacityUser", "Ladder"]

_PACE = "wpsload.pace"
_SPAWN_PER_S = 100.0  # unless --spawn-rate is more than the 1/s that Locust has by itself
_TELL_S = 3.0  # Locust has workers report that often

_PHASES: dict[Stage, PhaseName] = {
    Stage.SETTLE: "warm-up",
    Stage.MEASURE: "window",
    Stage.DRAIN: "drain",
}


class _Crew:
    """The users of this process, who all follow one pace."""

    def __init__(self) -> None:
        self._users: set[CapacityUser] = set()
        self._pace: Pace | None = None

    def enlist(self, user: "CapacityUser") -> None:
        """`user` is in its group."""
        self._users.add(user)
        if self._pace is not None:
            user.follow(self._pace)

    def dismiss(self, user: "CapacityUser") -> None:
        """`user` leaves."""
        self._users.discard(user)

    def hear(self, environment: Environment, msg: Any, **_: Any) -> None:
        """The pace, as the shape tells it."""
        pace = Pace(**msg.data)
        if pace == self._pace:
            return
        self._pace = pace
        if (judging := plugin.process.judging) is not None:
            judging.stand_on(pace.rung if pace.is_measured else None)
        for user in tuple(self._users):
            user.follow(pace)


_crew = _Crew()


class CapacityUser(PubSubUser):
    """A member of a group that sends to it if the rung wants that many senders."""

    abstract = True

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self._every_s: float | None = None
        self._publishing: Publishing | None = None

    def on_start(self) -> None:
        """Connect, join the group, and send or not."""
        super().on_start()
        while not self.join(self.room).is_success:
            self.wait()
        _crew.enlist(self)

    def on_stop(self) -> None:
        """Leave the crew, and close."""
        _crew.dismiss(self)
        super().on_stop()

    def follow(self, pace: Pace) -> None:
        """Send as `pace` says, from now on."""
        every_s = pace.every_s if pace.sends(self.number) else None
        if every_s == self._every_s:
            return
        if self._publishing is not None:
            self._publishing.finish()
        self._every_s = every_s
        self._publishing = None if every_s is None else self.publish(self.room, every=every_s)


@dataclass(frozen=True, slots=True)
class _Counts:
    """What the run had when a rung began."""

    sent: int = 0
    answered: int = 0
    delivered: int = 0
    duplicated: int = 0
    missing: int = 0


class Ladder(LoadTestShape):
    """Climbs the ladder of `--wps-ladder`, until a rung misses `--wps-slo`.

    A subclass in the locustfile is all that it takes.
    """

    abstract: ClassVar[bool] = True
    use_common_options: ClassVar[bool] = True  # --spawn-rate

    def __init__(self) -> None:
        super().__init__()
        self._forget()

    def _forget(self) -> None:
        self._climb: Climb | None = None
        self._chosen: Settings | None = None
        self._rungs: list[Rung] = []
        self._ready = 0
        self._before = _Counts()

    def reset_time(self) -> None:
        """A run begins."""
        super().reset_time()
        self._forget()

    def tick(self) -> tuple[int, float] | None:
        """The users that there are to be, and how fast they come; None when the climb is over."""
        climb = self._climb
        if climb is None:
            climb = self._climb = self._begin()
        self._look(climb)
        if climb.stage is Stage.OVER:
            return None
        return climb.step.connections, self._spawn_per_s

    def climbing(self, *, is_over: bool) -> LadderRecord:
        """What the record of the run says of the ladder."""
        settings, rungs, climb = self._settings, list(self._rungs), self._climb
        held = [one.number for one in rungs if one.outcome == "held"]
        if climb is not None and climb.stage is not Stage.OVER:
            step = climb.step
            unfinished = Rung(
                number=climb.rung,
                connections=step.connections,
                in_per_s=step.in_per_s,
                outcome="unfinished",
            )
            rungs.append(unfinished)
        return LadderRecord(
            objective=[one.expression for one in settings.objective],
            rungs=rungs,
            ended=ended_by(self._rungs, len(settings.ladder)) or ("stopped" if is_over else None),
            held=held[-1] if held else None,
            published=published(
                settings.units,
                connections=settings.ladder[-1].connections,
                group_size=settings.group_size,
                payload_bytes=settings.payload_bytes,
                is_no_echo=settings.is_no_echo,
            ),
        )

    @property
    def _environment(self) -> Environment:
        assert self.runner is not None  # noqa: S101  # Locust sets it
        return self.runner.environment

    @property
    def _settings(self) -> Settings:
        """Those that the climb began with, whatever somebody changes on Locust's page meanwhile."""
        if self._chosen is None:
            self._chosen = Settings.read(vars(self._environment.parsed_options))
        return self._chosen

    @property
    def _spawn_per_s(self) -> float:
        given = float(getattr(self._environment.parsed_options, "spawn_rate", None) or 1)
        return given if given > 1 else _SPAWN_PER_S

    def _begin(self) -> Climb:
        settings = self._settings
        tell_s = _TELL_S if isinstance(self.runner, MasterRunner) else 0.0
        spawn_s = settings.ladder[-1].connections / self._spawn_per_s
        timing = Timing(
            connect_s=spawn_s + longest_connect_s(settings) + tell_s,
            settle_s=settings.settle_s,
            measure_s=settings.measure_s,
            drain_s=settings.limits.drain_s + tell_s,
        )
        return Climb(settings.ladder, timing, now_s=unix_s())

    def _look(self, climb: Climb) -> None:
        view = self._view(climb)
        stage = climb.look(view)
        if stage is Stage.SETTLE:
            self._ready = view.ready
            self._before = self._counts()
        recording = plugin.process.recording
        if stage in _PHASES and recording is not None:
            recording.begin(self._recorder, _PHASES[stage], climb.rung)
        if climb.stage is Stage.JUDGE and climb.is_told(view):
            self._judge(climb)
        self._tell(climb)

    @property
    def _recorder(self) -> Any:
        return plugin.run_of(self._environment).recorder

    def _counts(self) -> _Counts:
        recorder = self._recorder
        balance = plugin.run_of(self._environment).books.ledger.balance(Outcomes())
        return _Counts(
            sent=recorder.counted("sent"),
            answered=recorder.ended(SEND_TO_GROUP),
            delivered=recorder.ended(DELIVERY),
            duplicated=balance.duplicated,
            missing=balance.missing,
        )

    def _members(self) -> int:
        return self._settings.group_size - self._settings.is_no_echo

    def _view(self, climb: Climb) -> View:
        recorder, now_s = self._recorder, unix_s()
        opened, joining = open_and_joining(recorder)
        told_until_s = (
            now_s if plugin.process.master is None else plugin.process.master.told_until_s
        )
        is_idle = False
        if climb.stage is Stage.DRAIN and told_until_s >= climb.since_s:
            before = self._before
            answered = recorder.ended(SEND_TO_GROUP) - before.answered
            delivered = recorder.ended(DELIVERY) - before.delivered
            is_idle = (
                recorder.counted("sent") - before.sent <= answered
                and delivered >= answered * self._members()
            )
        return View(
            now_s=now_s,
            ready=opened - max(0, joining),
            is_idle=is_idle,
            told_until_s=told_until_s,
        )

    def _judge(self, climb: Climb) -> None:
        process, settings = plugin.process, self._settings
        run = plugin.run_of(self._environment)
        record = (
            None
            if process.recording is None
            else process.recording.record(run.recorder, process.doubts, is_over=False)
        )
        if record is None:
            return
        now = self._counts()
        counts = [one.counts for one in record.spans if one.rung == climb.rung]
        dropped, waiting = (
            sum(one.get(name, 0) for one in counts) for name in ("dropped", "dropped_waiting")
        )
        judging = process.judging
        verdict = (
            judging.verdict_on(climb.rung, dropped=dropped - waiting, waiting=waiting)
            if judging is not None and judging.is_on
            else None
        )
        rung = judged(
            record,
            climb.rung,
            climb.step,
            settings.objective,
            Surroundings(
                members=self._members(),
                ready=self._ready,
                duplicated=now.duplicated - self._before.duplicated,
                missing=now.missing - self._before.missing,
                verdict=verdict,
                is_enforced=settings.verdict == "fail",
            ),
        )
        self._rungs.append(rung)
        climb.judged(unix_s(), has_held=rung.outcome == "held")
        if process.recording is not None:
            process.recording.note("rung", f"{rung.number}: {'; '.join([rung.outcome, *rung.why])}")
            if climb.stage is Stage.CONNECT:
                process.recording.begin(run.recorder, "connect", climb.rung)

    def _tell(self, climb: Climb) -> None:
        assert self.runner is not None  # noqa: S101  # Locust sets it
        pace = Pace.of(
            climb.rung,
            climb.step,
            self._settings.interval_s,
            is_sending=climb.stage in (Stage.SETTLE, Stage.MEASURE),
            is_measured=climb.stage is Stage.MEASURE,
        )
        self.runner.send_message(_PACE, asdict(pace))


@events.init.add_listener
def _begin(environment: Environment, runner: Any, **_: Any) -> None:
    if not isinstance(environment.shape_class, Ladder):
        return
    if not isinstance(runner, MasterRunner):
        runner.register_message(_PACE, _crew.hear)
    try:
        _check(Settings.read(vars(environment.parsed_options)))
    except ConfigError as error:
        fail(error.message, hint=error.hint, exit_code=error.exit_code)


def _check(settings: Settings) -> None:
    """Refuse what no rung could be judged by.

    Raises:
        ConfigError: saying which option to change.
    """
    for step in settings.ladder:
        if step.connections % settings.group_size:
            raise ConfigError(
                f"--wps-ladder: {step.connections} connections do not fill groups of"
                f" {settings.group_size}",
                hint="use whole groups, so that it is known who has to get each message",
            )
    if not settings.interval_s:
        raise ConfigError(
            "--wps-interval is 0, but each rung of a ladder has its rate",
            hint="leave it at 1s, or choose how often each sender is to send",
        )
    plugin.check_users(settings.ladder[-1].connections)
