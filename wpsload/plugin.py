"""wpsload inside Locust: options, target, measurements, files and the end of a run.

Importing this module (which `wpsload.users` does) is all the wiring there is. In order:

- `init_command_line_parser`: our options are added. Once Locust has parsed them, and before it
  acts on them or forks workers, the target is decided and checked, or the process ends with 2.
- `init`: Locust's page is guarded, and workers learn what the master may tell them.
- `test_start`: a run begins, with the options of that moment.
- while it runs: samples go to Locust's statistics and to the recorder, whose seconds are written to
  `<prefix>_pubsub_history.csv`; workers send theirs along with Locust's own reports.
- `test_stopping`: the window is over; the master has its workers drain, and waits for them.
- `quitting` and `quit`: the files are completed, thresholds are judged, the summary is printed.
"""

from locust import events
from locust import log as locust_log
from locust.env import Environment
from locust.runners import LocalRunner, MasterRunner, WorkerRunner

import logging
import signal
import sys
import weakref
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import gevent
from flask import jsonify, request
from gevent.lock import RLock

from wpsload import interrupt, locust_precision, web_guard
from wpsload.clock import unix_s
from wpsload.clock_exchange import MasterClocks, WorkerClocks
from wpsload.distributed import Master, Worker, longest_drain_s
from wpsload.errors import ConfigError, WpsloadError
from wpsload.exit_code import INTERRUPTED, exit_code
from wpsload.housekeeping import Breaths, keep_what_lives, release
from wpsload.judging import Judging
from wpsload.ledger import Outcomes
from wpsload.locust_stats import LocustStats
from wpsload.metrics import SEND_TO_GROUP
from wpsload.options import Settings, add_options
from wpsload.preparation import Preparation, choose_run_id
from wpsload.pubsub_csv import PubsubCsv
from wpsload.record import Record
from wpsload.recording import Recording
from wpsload.report_files import write_report
from wpsload.run import LoadRun
from wpsload.summary import report_lines
from wpsload.terminal import fail
from wpsload.thresholds import judges_failures
from wpsload.units import parse_duration_s

__all__ = ["check_users", "process", "run_of", "will_speak"]

_log = logging.getLogger(__name__)

locust_precision.install()

_runs: weakref.WeakKeyDictionary[Environment, LoadRun] = weakref.WeakKeyDictionary()


class Process:
    """What this process knows beyond a single run."""

    def __init__(self) -> None:
        self.subprotocols: list[str | None] = []
        self.has_run = False
        self.master: Master | None = None
        self.clocks: MasterClocks | None = None
        self.judging: Judging | None = None
        self.recording: Recording | None = None
        self.doubts: list[str] = []
        self.broken: list[str] = []  # doubts that stay, whichever run it is
        self.writing = RLock()  # held while something is written in pieces, see `_writing`
        self.ending: list[str] = []
        self.is_ending_on_stderr = False


process = Process()
_preparation = Preparation()


def run_of(environment: Environment) -> LoadRun:
    """The run that the users of `environment` belong to."""
    run = _runs.get(environment)
    if run is None:
        run = LoadRun(_preparation.decide_target, LocustStats(environment))
        _runs[environment] = run
    return run


def check_users(users: int) -> None:
    """Refuse more users than the target has tokens for.

    Raises:
        ConfigError: saying which variable, file or line is to blame.
    """
    _preparation.check_users(users, run_time_s=None)


def will_speak(subprotocol: str | None) -> None:
    """Users of that subprotocol, None for simple clients, are defined in this process."""
    process.subprotocols.append(subprotocol)


@events.report_to_master.add_listener
@events.spawning_complete.add_listener
@events.reset_stats.add_listener
def _roll(**_: Any) -> None:
    """Bring in what was measured before Locust's statistics are sent, or cut off.

    Registered when this module is imported, it comes before the runner's own listeners.
    """
    for run in list(_runs.values()):
        run.roll()


@events.init_command_line_parser.add_listener
def _add_options(parser: ArgumentParser, **_: Any) -> None:
    add_options(parser)
    parse_args = parser.parse_args

    def parse_and_prepare(*args: Any, **kwargs: Any) -> Namespace:
        options: Namespace = parse_args(*args, **kwargs)
        try:
            _preparation.prepare(options, process.subprotocols)
        except WpsloadError as error:
            fail(error.message, hint=error.hint, exit_code=error.exit_code)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        return options

    # Locust has no event between parsing and acting, where files are opened and workers forked.
    parser.parse_args = parse_and_prepare  # type: ignore[assignment]  # its overloads, of this instance


@events.init.add_listener
def _begin(environment: Environment, runner: Any, web_ui: Any, **_: Any) -> None:
    # Timers count from when the loop looked at the clock last, which was before a slow import: a
    # run time would be that much shorter.
    gevent.get_hub().loop.update_now()
    run = run_of(environment)
    is_forked_worker = isinstance(runner, WorkerRunner) and _preparation.has_forked
    interrupt.install(
        wait_for_master=(lambda: longest_drain_s(environment, run)) if is_forked_worker else None
    )
    if environment.shape_class is not None and not isinstance(runner, WorkerRunner):
        gevent.signal_handler(signal.SIGTERM, _end_shape, environment)
    if web_ui is not None:
        web_guard.install(web_ui, bind_host=web_ui.host)
        for user_class in _our_users(environment):
            user_class.host = user_class.host or _preparation.shown_target
        web_ui.app.before_request(lambda: _refuse_bad_start(environment))
    if isinstance(runner, WorkerRunner):
        _preparation.csv = None  # a forked worker has a copy, but the files are the master's
        Worker(environment, runner, run, _preparation.decide_target().describe())
        WorkerClocks(runner, run.lead_ns)
    elif isinstance(runner, MasterRunner):
        process.master = Master(environment, runner, run)
        process.clocks = MasterClocks(runner)
    climbing = getattr(environment.shape_class, "climbing", None)
    is_climbing = climbing is not None
    process.judging = Judging(environment, runner, web_ui, run, is_climbing=is_climbing)
    _keep_going(environment, _keep_rolling, run, LocustStats(environment))
    if (csv := _preparation.csv) is not None:
        process.recording = Recording(
            environment,
            run,
            csv,
            new_file=_preparation.new_record_file,
            target=_described_target,
            climbing=climbing,
            sections=_sections,
        )
        _keep_going(environment, _write_seconds, csv, run, environment)
        # Registered now, it precedes the master's own, which stops the run.
        environment.events.quitting.add_listener(_break_off)
    environment.events.quitting.add_listener(interrupt.one_ending())


def _keep_going(environment: Environment, work: Callable[..., None], *arguments: Any) -> None:
    """Do `work` from now on. Should it fail, nobody would notice what is missing from then on."""

    def tell(greenlet: Any) -> None:
        kind = type(greenlet.exception).__name__
        process.broken.append(f"a mistake in wpsload ended its bookkeeping: {kind}, see the log")
        _doubt(environment, process.broken[-1])

    gevent.spawn(work, *arguments).link_exception(tell)


def _our_users(environment: Environment) -> list[Any]:
    """The user classes that are clients of Web PubSub; a locustfile may have others too."""
    return [one for one in environment.user_classes if hasattr(one, "subprotocol")]


def _check_host(environment: Environment, host: str | None) -> None:
    is_all_ours = len(_our_users(environment)) == len(environment.user_classes)
    if is_all_ours and host not in (None, "", _preparation.shown_target):
        raise ConfigError(
            "the field Host does not choose the target",
            hint="set WPS_CONNECTION_STRING or its like before Locust starts",
        )


def _refuse_bad_start(environment: Environment) -> Any:
    """Answer a start from Locust's page whose options are wrong the way Locust does."""
    if request.method != "POST" or not request.path.endswith("/swarm"):
        return None
    users = request.form.get("user_count", "")
    run_time = request.form.get("run_time")
    try:
        _check_host(environment, request.form.get("host"))
        Settings.read({**vars(environment.parsed_options), **request.form})
        if users.isdigit():  # Locust refuses what is no number
            run_time_s = parse_duration_s(run_time) if run_time else None
            _preparation.check_users(int(users), run_time_s=run_time_s)
    except ConfigError as error:
        return jsonify({"success": False, "message": str(error), "host": environment.host})
    return None


def _keep_rolling(run: LoadRun, statistics: LocustStats) -> None:
    """Roll at the edges of seconds and in between: a batch belongs to one second as a whole."""
    while True:
        every_s = statistics.flush_every_s
        gevent.sleep(every_s - unix_s() % every_s)
        _roll_gently(run)


def _roll_gently(run: LoadRun) -> None:
    breathe = Breaths()
    for _ in run.rolling():
        breathe()


def _write_seconds(csv: PubsubCsv, run: LoadRun, environment: Environment) -> None:
    def users() -> int:
        return environment.runner.user_count if environment.runner else 0

    def write_record() -> None:
        if (recording := process.recording) is not None:
            recording.look(run.rolled, users())
            if recording.is_due():
                recording.write_meanwhile(run.rolled, process.doubts)

    while True:
        _roll_gently(run)
        run.complete_fan_out()
        _writing(
            environment,
            lambda: csv.write_seconds(run.rolled, now_s=unix_s(), users=users(), breathe=Breaths()),
        )
        _writing(environment, write_record)
        gevent.sleep(1)


def _writing(environment: Environment, write: Callable[[], None]) -> None:
    """Write, or say why not: a full disk must not end the load, but the run fails for it.

    One after the other: who breathes in between must find the seconds that it has begun with.
    """
    try:
        with process.writing:
            write()
    except WpsloadError as error:
        _doubt(environment, str(error))


def _doubt(environment: Environment, text: str) -> None:
    """The figures are incomplete: say so, and fail the run."""
    if text not in process.doubts:
        process.doubts.append(text)
        _log.error(text)
        if process.recording is not None:
            process.recording.note("doubt", text)
    environment.process_exit_code = environment.process_exit_code or 1


def _take_over_doubts(environment: Environment) -> None:
    """Those of the master, if this is one."""
    for doubt in process.master.doubts if process.master else ():
        _doubt(environment, doubt)


@events.test_start.add_listener
def _start(environment: Environment, **_: Any) -> None:
    process.has_run = True
    process.doubts[:] = process.broken
    run = run_of(environment)
    if process.clocks is not None:
        process.clocks.begin()
    if (options := environment.parsed_options) is not None:
        choose_run_id(options)
    with process.writing:
        run.start(Settings.read(vars(environment.parsed_options)))
        if _preparation.csv is not None:
            _preparation.csv.start()
    if (recording := process.recording) is not None:
        _writing(environment, lambda: recording.start(run.recorder))
        _writing(environment, lambda: recording.write_meanwhile(run.recorder, process.doubts))


@events.spawning_complete.add_listener
def _spawned(**_: Any) -> None:
    keep_what_lives()
    if process.recording is not None:
        process.recording.spawned()


@events.test_stopping.add_listener
def _stopping(environment: Environment, **_: Any) -> None:
    """The window ends here; the master's own listener comes later, and waits for the drain."""
    if process.recording is not None:
        process.recording.stop(run_of(environment).recorder)


def _break_off(environment: Environment, **_: Any) -> None:
    """Locust ends while a run goes on: somebody sent a signal."""
    if (recording := process.recording) is not None and recording.is_running:
        recording.stop(run_of(environment).rolled, is_interrupted=True)  # no time to wait


def _end_shape(environment: Environment) -> None:
    """Somebody sent a signal: headless, Locust listens for it only once a load shape is over."""
    runner = environment.runner
    if runner is not None and runner.shape_greenlet is not None:
        _break_off(environment)
        runner.shape_greenlet.kill(block=False)


def _sections(run: LoadRun) -> Iterator[tuple[str, dict[str, Any]]]:
    """What the record holds besides the samples: the books, and how the generator did."""
    totals = run.recorder.totals()  # as new as the books
    sends = totals.metrics.get(SEND_TO_GROUP)
    if run.settings.has_ledger and (sends or run.books.ledger.counts.received):
        outcomes = (
            Outcomes.of(sends.successes, sends.failures, sends.unanswered) if sends else Outcomes()
        )
        yield "ledger", run.books.ledger.balance(outcomes).to_dict()
    if process.clocks is not None and (clocks := process.clocks.to_dict()) is not None:
        yield "clocks", clocks
    if (judging := process.judging) is not None and judging.is_on:
        yield "generator", judging.measured()
        is_enforced = run.settings.verdict == "fail"
        yield "verdict", judging.verdict(totals).to_dict() | {"is_enforced": is_enforced}


def _described_target() -> str:
    target = _preparation.target
    return _preparation.shown_target if target is None else target.describe()


@events.test_stop.add_listener
def _stop(environment: Environment, **_: Any) -> None:
    release()
    run = run_of(environment)
    recorder = run.recorder  # which brings Locust's statistics up to date as well
    if (csv := _preparation.csv) is not None:
        run.complete_fan_out(is_over=True)
        _take_over_doubts(environment)
        _writing(environment, lambda: csv.finish(recorder, now_s=unix_s()))
    if (recording := process.recording) is not None:
        recording.end()
        if (record := _save_record(environment, recording)) is not None:
            _write_page(environment, recording, record)


def _save_record(environment: Environment, recording: Recording) -> Record | None:
    """The record of the run that is over, written; None if there was none."""
    record = recording.record(run_of(environment).recorder, process.doubts, is_over=True)
    if record is not None:
        _writing(environment, lambda: recording.write_last(record))
    return record


def _write_page(environment: Environment, recording: Recording, record: Record) -> list[Path]:
    """The report beside the record, as HTML: its file, or none if it cannot or shall not be."""
    pages: list[Path] = []
    if (file := recording.file) is not None:
        folder = file.path.parent
        _writing(environment, lambda: pages.append(write_report(record, "html", folder)))
    return pages


@events.quitting.add_listener
def _finish(environment: Environment, **_: Any) -> None:
    """Stop before Locust decides on the exit code, so that what the drain finds counts.

    Registered when this module is imported, it comes after the master's own listener, which waits
    for the last reports of the workers.
    """
    if isinstance(environment.runner, LocalRunner):
        environment.runner.stop()
    run = run_of(environment)
    recorder = run.recorder
    locust_precision.complete_files()
    if (csv := _preparation.csv) is None:
        return
    run.complete_fan_out(is_over=True)
    _writing(environment, lambda: csv.close(recorder, now_s=unix_s()))
    _take_over_doubts(environment)
    if process.has_run and not recorder.totals().metrics:
        _doubt(environment, "nothing was measured")
    recording = process.recording
    if recording is None:
        return
    recording.end()
    if (record := _save_record(environment, recording)) is not None:
        _decide_exit_code(environment, record)
        locust_precision.mark(is_marked=record.is_invalid)
    options = environment.parsed_options
    process.is_ending_on_stderr = bool(options and options.json)  # stdout is JSON then
    process.ending = [
        "",
        *(report_lines(record) if record else ["nothing was measured"]),
        f"files: {csv.prefix}_*.csv",
        *([f"record: {recording.file.path}"] if recording.file else []),
    ]
    if record is not None:
        process.ending += [
            f"report: {page}" for page in _write_page(environment, recording, record)
        ]


def _decide_exit_code(environment: Environment, record: Record) -> None:
    """Locust knows of requests that failed and of users that crashed; the rest is ours."""
    code = exit_code(record)
    if code is not None and code > (environment.process_exit_code or 0):
        environment.process_exit_code = code
    thresholds = run_of(environment).settings.thresholds
    runner = environment.runner
    is_only_requests = (
        runner is not None
        and runner.errors
        and not runner.exceptions
        and not locust_log.unhandled_greenlet_exception
    )
    if (judges_failures(thresholds) or record.ladder is not None) and is_only_requests:
        # They were allowed for, by a threshold or as what a rung missed: without this Locust ends
        # with 1 for a single one of them.
        environment.process_exit_code = environment.process_exit_code or 0


@events.quit.add_listener
def _conclude(**_: Any) -> None:
    """Last of all, below Locust's own tables: what was measured, and where it is written."""
    for line in process.ending:
        click.echo(line, err=process.is_ending_on_stderr)
