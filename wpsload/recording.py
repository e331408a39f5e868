"""Keeps the record of the runs of this process, the only one or the master, and writes it.

It is told of what Locust's events say, and looks once a second at what has no event: whether all
connections are open, and which workers there are. The record is written every few seconds, the
waiting for the disk in a thread, so that whatever ends the process leaves one that is recent.
"""

from locust.env import Environment
from locust.runners import STATE_MISSING, MasterRunner

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import gevent

from wpsload import surroundings
from wpsload.clock import unix_s
from wpsload.errors import WpsloadError
from wpsload.housekeeping import Breaths
from wpsload.metrics import CONNECTION_LOST, JOIN_GROUP
from wpsload.options import OPTIONS, Settings
from wpsload.phases import Mark, Phases
from wpsload.pubsub_csv import PubsubCsv
from wpsload.record import Event, Ladder, PhaseName, Record, Series, to_json, with_section
from wpsload.record_file import RecordFile
from wpsload.recorder import Recorder
from wpsload.redaction import redacted, redacted_command
from wpsload.run import LoadRun
from wpsload.thresholds import judge
from wpsload.timeline import spans_of

__all__ = ["Recording", "longest_connect_s", "open_and_joining"]

_WRITE_EVERY_S = 7.0
_MAX_EVENTS = 1000
_PARTS = 5  # of the window, to see by how much a percentile varies within the run
_MARGIN_S = 5.0  # beyond the longest connect: who cannot connect does not hold up the window
_LOCUST_OPTIONS = (
    *("locustfile", "num_users", "spawn_rate", "run_time", "processes", "expect_workers"),
    *("stop_timeout", "headless", "csv_prefix", "tags", "exclude_tags"),
)


class Recording:
    """The record of the present run. Who writes it does so alone: there is one unfinished file.

    Args:
        environment: of Locust.
        run: what is measured.
        csv: what keeps its seconds.
        new_file: gives each run its file, None if no record is to be written.
        target: describes where the load goes, without secrets.
        climbing: gives what has become of the ladder, told whether the run `is_over`; None if it
            climbs none.
        sections: gives what the record holds besides, see `record.SECTIONS`.
    """

    def __init__(
        self,
        environment: Environment,
        run: LoadRun,
        csv: PubsubCsv,
        *,
        new_file: Callable[[], RecordFile | None],
        target: Callable[[], str],
        climbing: Callable[..., Ladder] | None,
        sections: Callable[[LoadRun], Iterable[tuple[str, Mapping[str, Any]]]],
    ) -> None:
        self._environment = environment
        self._run = run
        self._csv = csv
        self._new_file = new_file
        self._target = target
        self._climbing = climbing
        self._sections = sections
        self._machine = surroundings.machine()
        self._versions = surroundings.versions()
        self.file: RecordFile | None = None
        self._phases: Phases | None = None
        self._is_interrupted = False
        self._is_over = True

    @property
    def is_running(self) -> bool:
        """Whether a run has begun that nobody has asked to stop."""
        return self._phases is not None and not self._is_stopping

    def start(self, recorder: Recorder) -> None:
        """A run begins.

        Raises:
            WpsloadError: if there can be no file for it.
        """
        self._started_s = self._written_s = unix_s()
        rung = None if self._climbing is None else 1
        self._phases = Phases(self._started_s, warm_up_s=self._run.settings.warm_up_s, rung=rung)
        self._mark(recorder, [Mark("connect", int(self._started_s), rung)])
        self._is_stopping = self._is_interrupted = self._is_over = False
        self._spawned_s: float | None = None
        self._events: list[Event] = []
        self._workers: set[str] = set()
        self._lost = self._reopened = 0
        self.file = None
        self.file = self._new_file()

    def spawned(self) -> None:
        """Locust has started all users."""
        if self._phases is not None and self._spawned_s is None:
            self._spawned_s = unix_s()

    def look(self, recorder: Recorder, users: int) -> None:
        """Note what has changed; to be called once a second with the users there are."""
        if self._phases is None or self._is_stopping:
            return
        self._look_at_workers()
        self._look_at_connections(recorder)
        if not self._phases.is_connecting or self._spawned_s is None or self._climbing is not None:
            return
        now_s = unix_s()
        opened, joining = open_and_joining(recorder)
        longest_s = longest_connect_s(self._run.settings)
        if not self._has_only_ours() or (opened >= users and joining <= 0):
            self._mark(recorder, self._phases.connected(now_s))
        elif now_s - self._spawned_s > longest_s:
            still = f", and {joining} requests to join a group had no answer" if joining > 0 else ""
            self.note("window", f"{opened} of {users} connections were open when it began{still}")
            self._mark(recorder, self._phases.connected(now_s))

    def begin(self, recorder: Recorder, phase: PhaseName, rung: int) -> None:
        """A phase of a rung begins."""
        if self._phases is not None and not self._is_stopping:
            self._mark(recorder, self._phases.begin(phase, unix_s(), rung))

    def stop(self, recorder: Recorder, *, is_interrupted: bool = False) -> None:
        """The run shall stop; `is_interrupted` if somebody broke it off."""
        if self._phases is None or self._is_stopping:
            return
        self._look_at_workers()
        self._look_at_connections(recorder)
        self._is_stopping = True
        self._is_interrupted = is_interrupted
        self.note("stop", "interrupted by a signal" if is_interrupted else "asked to stop")
        self._mark(recorder, self._phases.stop(unix_s()))

    def end(self) -> None:
        """The drain is over."""
        if self._phases is not None:
            self._is_stopping = self._is_over = True
            self._phases.end(unix_s())

    def note(self, kind: str, text: str) -> None:
        """Something happened now."""
        if self._phases is not None and len(self._events) < _MAX_EVENTS:
            self._events.append(Event(at_s=unix_s(), kind=kind, text=redacted(text)))

    def is_due(self) -> bool:
        """Whether it is time to write, while the run goes on."""
        return (
            self.file is not None
            and not self._is_over
            and unix_s() - self._written_s > _WRITE_EVERY_S
        )

    def write_meanwhile(self, recorder: Recorder, doubts: Sequence[str]) -> None:
        """Write the record of a run that goes on.

        Raises:
            WpsloadError: if it cannot be written.
        """
        if (file := self.file) is None or self._is_over:
            return
        breathe = Breaths()
        record = self.record(recorder, doubts, is_over=False, breathe=breathe)
        if record is None:
            return
        self._written_s = record.written_s
        series = self._csv.series_json(recorder, now_s=record.written_s, breathe=breathe)
        data = to_json(record, series=series)

        def write() -> WpsloadError | None:
            try:
                file.write(data)
            except WpsloadError as error:
                return error  # raised in a thread of the pool, gevent would print it
            return None

        if (error := gevent.get_hub().threadpool.apply(write)) is not None:
            raise error

    def write_last(self, record: Record) -> None:
        """Write the record of a run that is over.

        Raises:
            WpsloadError: if it cannot be written.
        """
        if self.file is not None:
            self.file.write(to_json(record))

    def record(
        self,
        recorder: Recorder,
        doubts: Sequence[str],
        *,
        is_over: bool,
        breathe: Callable[[], None] = lambda: None,
    ) -> Record | None:
        """What is known now; None if no run has begun. Thresholds are judged when it is over.

        `breathe` is called now and then, for a load that goes on.
        """
        if self._phases is None:
            return None
        settings = self._run.settings
        now_s = unix_s()
        record = Record(
            state=("interrupted" if self._is_interrupted else "finished") if is_over else "running",
            scenario=redacted(self._scenario()),
            started_s=self._started_s,
            written_s=now_s,
            target=redacted(self._target()),
            plan=self._plan(settings),
            options=self._options(),
            versions=self._versions,
            machine=self._machine,
            command=redacted_command(sys.argv),
            phases=self._phases.phases(now_s),
            spans=spans_of(recorder, into=_PARTS if is_over else 1, breathe=breathe),
            series=self._csv.series(recorder, now_s=now_s) if is_over else Series(),
            events=list(self._events),
            doubts=[redacted(one) for one in doubts],
            ladder=None if self._climbing is None else self._climbing(is_over=is_over),
        )
        for name, section in self._sections(self._run):
            record = with_section(record, name, section)
            breathe()
        for rung in record.ladder.rungs if record.ladder is not None else ():
            if rung.number == record.shown_rung and rung.verdict is not None:
                record = replace(record, verdict={**(record.verdict or {}), **rung.verdict})
        if is_over:
            record = replace(record, thresholds=judge(settings.thresholds, record))
        return record

    def _mark(self, recorder: Recorder, marks: Sequence[Mark]) -> None:
        for mark in marks:
            recorder.mark(mark.label, mark.second)

    def _has_only_ours(self) -> bool:
        return all(hasattr(one, "subprotocol") for one in self._environment.user_classes)

    def _look_at_workers(self) -> None:
        runner = self._environment.runner
        if not isinstance(runner, MasterRunner):
            return
        alive = {one.id for one in runner.clients.all if one.state != STATE_MISSING}
        for worker in sorted(alive - self._workers):
            self.note("worker joined", worker)
        for worker in sorted(self._workers - alive):
            self.note("worker lost", worker)
        self._workers = alive

    def _look_at_connections(self, recorder: Recorder) -> None:
        lost, reopened = recorder.ended(CONNECTION_LOST), recorder.counted("reopened")
        if more := lost - self._lost:
            self.note("connections lost", f"{more} ended without our asking")
        if more := reopened - self._reopened:
            self.note("reconnected", f"{more} of those that were lost")
        self._lost, self._reopened = lost, reopened

    def _scenario(self) -> str:
        return str(getattr(self._environment.parsed_options, "locustfile", "") or "")

    def _options(self) -> dict[str, bool | int | float | str | None]:
        options = vars(self._environment.parsed_options)
        chosen = {option.flag.removeprefix("--"): option.destination for option in OPTIONS}
        chosen |= {name: name for name in _LOCUST_OPTIONS if name in options}
        return {name: _plain(options.get(where)) for name, where in chosen.items()}

    def _plan(self, settings: Settings) -> str:
        load = settings.load
        if self._climbing is not None:
            load = f"a ladder, {', '.join(map(str, settings.ladder))}: a message every"
            load += f" {settings.interval_s:g} s"
        return (
            f"{load}, for each sender; {settings.payload_bytes} bytes of"
            f" {settings.data_type}, groups of {settings.group_size},"
            " unless the scenario says otherwise"
        )


def open_and_joining(recorder: Recorder) -> tuple[int, int]:
    """Connections that are open, and requests to join a group that have no answer yet."""
    return (
        recorder.counted("opened") - recorder.counted("closed"),
        recorder.counted("joins") - recorder.ended(JOIN_GROUP),
    )


def longest_connect_s(settings: Settings) -> float:
    """How long users are waited for after the last one was started."""
    return settings.limits.connect_timeout_s + _MARGIN_S


def _plain(value: object) -> bool | int | float | str | None:
    if value is None or isinstance(value, bool | int | float):
        return value
    return redacted(str(value))
