"""wpsload inside Locust: options, target, measurements, files and the end of a run.

Importing this module (which `wpsload.users` does) is all the wiring there is. In order:

- `init_command_line_parser`: our options are added. Once Locust has parsed them, and before it
  acts on them or forks workers, the target is decided and checked, or the process ends with 2.
- `init`: Locust's page is guarded, and workers learn what the master may tell them.
- `test_start`: a run begins, with the options of that moment.
- while it runs: samples go to Locust as `request` events and to the recorder, whose seconds are
  written to `<prefix>_pubsub_history.csv`; workers send theirs along with Locust's own reports.
- `test_stopping`: the master has its workers drain, and waits for them.
- `quitting` and `quit`: the files are completed and the summary is printed.
"""

from locust import events
from locust.env import Environment
from locust.runners import LocalRunner, MasterRunner, WorkerRunner

import atexit
import contextlib
import itertools
import logging
import os
import sys
import weakref
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import click
import gevent
from flask import jsonify, request

from wpsload import embedded, interrupt, locust_precision, preflight, target, web_guard
from wpsload.clock import unix_s
from wpsload.distributed import Master, Worker, longest_drain_s
from wpsload.errors import ConfigError, WpsloadError
from wpsload.metrics import Sample
from wpsload.options import OPTIONS, Settings, add_options
from wpsload.pubsub_csv import PubsubCsv
from wpsload.run import LoadRun
from wpsload.summary import summary_lines
from wpsload.units import ms, parse_duration_s

__all__ = ["run_of", "will_speak"]

_log = logging.getLogger(__name__)

_LOOPBACK = "127.0.0.1"
_INTERRUPTED = 130
_LOCUST_FILES = ("stats", "stats_history", "failures", "exceptions")

locust_precision.install()

_runs: weakref.WeakKeyDictionary[Environment, LoadRun] = weakref.WeakKeyDictionary()


class _Failure(Exception):
    """A failed sample, as Locust's table of failures shows it: by its text alone."""

    def __repr__(self) -> str:
        return str(self)


class _Process:
    """What was decided for this process, and its forked workers, before Locust began."""

    def __init__(self) -> None:
        self.target: target.Target | None = None
        self.csv: PubsubCsv | None = None
        self.has_run = False
        self.doubts: list[str] = []
        self.ending: list[str] = []
        self.is_ending_on_stderr = False
        self.master: Master | None = None
        self.subprotocols: list[str | None] = []
        self.is_prepared = False
        self.has_forked = False

    def decide_target(self) -> target.Target:
        """The target of the environment; the first call starts a stand-in if there is none."""
        if self.target is None:
            decided = target.from_environment(os.environ)
            if isinstance(decided, target.EmbeddedTarget):
                standin = embedded.start()
                atexit.register(standin.stop)
                self.target = decided.started(standin.connection_string)
            else:
                self.target = decided
        return self.target


_process = _Process()


def run_of(environment: Environment) -> LoadRun:
    """The run that the users of `environment` belong to."""
    run = _runs.get(environment)
    if run is None:
        run = LoadRun(_process.decide_target, fire=_firing(environment))
        _runs[environment] = run
    return run


def will_speak(subprotocol: str | None) -> None:
    """Users of that subprotocol, None for simple clients, are defined in this process."""
    _process.subprotocols.append(subprotocol)


def _firing(environment: Environment) -> Callable[[Sample], None]:
    fire = environment.events.request.fire

    def fire_request(sample: Sample) -> None:
        # A failure has no time: it must not improve a percentile by failing fast.
        is_timed = sample.failure is None and sample.latency_ns is not None
        fire(
            request_type=sample.metric.type,
            name=sample.metric.name,
            response_time=ms(sample.latency_ns or 0) if is_timed else None,
            response_length=sample.size_bytes,
            exception=None if sample.failure is None else _Failure(sample.failure),
            context={},
        )

    return fire_request


def _fail(error: WpsloadError) -> NoReturn:
    """End the process as any command line does for a user's mistake."""
    click.echo(f"error: {error.message}", err=True)
    if error.hint:
        click.echo(f"hint: {error.hint}", err=True)
    sys.exit(error.exit_code)


@events.init_command_line_parser.add_listener
def _add_options(parser: ArgumentParser, **_: Any) -> None:
    add_options(parser)
    parse_args = parser.parse_args

    def parse_and_prepare(*args: Any, **kwargs: Any) -> Namespace:
        options: Namespace = parse_args(*args, **kwargs)
        try:
            _prepare(options)
        except WpsloadError as error:
            _fail(error)
        except KeyboardInterrupt:
            sys.exit(_INTERRUPTED)
        return options

    # Locust has no event between parsing and acting, where files are opened and workers forked.
    parser.parse_args = parse_and_prepare  # type: ignore[assignment]  # its overloads, of this instance


def _prepare(options: Namespace) -> None:
    """Everything that can be wrong with the options is found here, before any load."""
    if not hasattr(options, "web_host"):
        return  # a parser for something else
    options.web_host = options.web_host or _LOOPBACK
    is_only_listing = (
        options.list_commands or options.show_task_ratio or options.show_task_ratio_json
    )
    if _process.is_prepared or is_only_listing:
        return
    _process.is_prepared = True
    _process.has_forked = bool(options.processes)
    _raise_file_limit()
    settings = Settings.read(vars(options))
    _check_numbers(options)
    if not options.worker:
        _prepare_files(options)
    if options.master or options.worker:
        _prepare_distributed(options)
        if _process.target is None:
            return
    chosen = _process.decide_target()
    if not options.worker:
        _announce(chosen)
        _check(chosen, users=options.num_users or 1, run_time_s=options.run_time)
        if _process.subprotocols:
            preflight.probe(chosen, settings, subprotocol=_process.subprotocols[0])


def _check_numbers(options: Namespace) -> None:
    """What Locust itself would only trip over later."""
    if options.num_users is not None and options.num_users < 0:
        raise ConfigError(f"--users: {options.num_users} is less than 0")
    if options.spawn_rate is not None and options.spawn_rate <= 0:
        raise ConfigError(f"--spawn-rate: {options.spawn_rate} is not more than 0")


def _prepare_distributed(options: Namespace) -> None:
    """A process of a run on many machines needs a target that the others can have too."""
    decided = target.from_environment(os.environ)
    if not isinstance(decided, target.EmbeddedTarget):
        _process.target = decided
    elif options.worker:
        raise ConfigError(
            "a worker has no target: the embedded stand-in belongs to one machine",
            hint="set WPS_CONNECTION_STRING for every worker, or use --processes",
        )
    else:
        click.echo("target: decided by each worker's own environment", err=True)


def _announce(chosen: target.Target) -> None:
    click.echo(f"target: {chosen.describe()}", err=True)
    known = [option.variable for option in OPTIONS]
    unknown = target.unknown_variables(os.environ, known)
    for note in (*chosen.notes, *(f"nothing reads {name}" for name in unknown)):
        click.echo(f"note: {note}", err=True)


def _check(chosen: target.Target, *, users: int, run_time_s: float | None) -> None:
    now_s = unix_s()
    needed_until_s = None if run_time_s is None else now_s + run_time_s
    chosen.check(users, now_s=now_s, needed_until_s=needed_until_s)


def _prepare_files(options: Namespace) -> None:
    """Decide where the CSV files go, and that they can be written.

    Without `--csv` each run gets a folder of its own under `reports/`.
    """
    if options.csv_prefix is None:
        started = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        scenario = Path(str(options.locustfile).split(",")[0]).stem
        options.csv_prefix = str(_new_folder(Path("reports", f"{started}-{scenario}")) / "locust")
    _process.csv = PubsubCsv.open(options.csv_prefix)
    for name in _LOCUST_FILES:
        path = Path(f"{options.csv_prefix}_{name}.csv")
        try:
            path.open("a").close()
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror}") from error


def _new_folder(path: Path) -> Path:
    """A folder that nobody else has: `path`, or `path` with a number behind it."""
    for number in itertools.count(1):
        folder = path if number == 1 else path.with_name(f"{path.name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise ConfigError(
                f"cannot make {folder}: {error.strerror}",
                hint="choose a place that can be written with --csv",
            ) from error
        return folder
    raise AssertionError("unreachable")


def _raise_file_limit() -> None:
    """Let this process have as many sockets as the system allows; Locust asks for 10,000."""
    if sys.platform == "win32":
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS names a limit that it does not grant
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@events.init.add_listener
def _begin(environment: Environment, runner: Any, web_ui: Any, **_: Any) -> None:
    run = run_of(environment)
    is_forked_worker = isinstance(runner, WorkerRunner) and _process.has_forked
    interrupt.install(
        wait_for_master=(lambda: longest_drain_s(environment, run)) if is_forked_worker else None
    )
    if web_ui is not None:
        web_guard.install(web_ui, bind_host=web_ui.host)
        for user_class in environment.user_classes:
            user_class.host = user_class.host or _shown_target()
        web_ui.app.before_request(lambda: _refuse_bad_start(environment))
    if isinstance(runner, WorkerRunner):
        _process.csv = None  # a forked worker has a copy, but the files are the master's
        Worker(environment, runner, run, _process.decide_target().describe())
    elif isinstance(runner, MasterRunner):
        _process.master = Master(environment, runner, run)
    if _process.csv is not None:
        gevent.spawn(_write_seconds, _process.csv, run, environment)


def _shown_target() -> str:
    """The target as Locust's page shows it, in the place of a host."""
    if _process.target is None:
        return "decided by each worker"
    return _process.target.describe().partition(" (")[0]


def _check_host(host: str | None) -> None:
    if host not in (None, "", _shown_target()):
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
        _check_host(request.form.get("host"))
        Settings.read({**vars(environment.parsed_options), **request.form})
        if _process.target is not None and users.isdigit():  # Locust refuses what is no number
            run_time_s = parse_duration_s(run_time) if run_time else None
            _check(_process.target, users=int(users), run_time_s=run_time_s)
    except ConfigError as error:
        return jsonify({"success": False, "message": str(error), "host": environment.host})
    return None


def _write_seconds(csv: PubsubCsv, run: LoadRun, environment: Environment) -> None:
    def users() -> int:
        return environment.runner.user_count if environment.runner else 0

    while True:
        _writing(
            environment, lambda: csv.write_seconds(run.recorder, now_s=unix_s(), users=users())
        )
        gevent.sleep(1)


def _writing(environment: Environment, write: Callable[[], None]) -> None:
    """Write, or say why not: a full disk must not end the load, but the run fails for it."""
    try:
        write()
    except WpsloadError as error:
        _doubt(environment, str(error))


def _doubt(environment: Environment, text: str) -> None:
    """The figures are incomplete: say so, and fail the run."""
    if text not in _process.doubts:
        _process.doubts.append(text)
        _log.error(text)
    environment.process_exit_code = environment.process_exit_code or 1


@events.test_start.add_listener
def _start(environment: Environment, **_: Any) -> None:
    _process.has_run = True
    run_of(environment).start(Settings.read(vars(environment.parsed_options)))
    if _process.csv is not None:
        _process.csv.start()


@events.test_stop.add_listener
def _stop(environment: Environment, **_: Any) -> None:
    if (csv := _process.csv) is not None:
        recorder = run_of(environment).recorder
        _writing(environment, lambda: csv.finish(recorder, now_s=unix_s()))


@events.quitting.add_listener
def _finish(environment: Environment, **_: Any) -> None:
    """Stop before Locust decides on the exit code, so that what the drain finds counts.

    Registered when this module is imported, it comes after the master's own listener, which waits
    for the last reports of the workers.
    """
    if isinstance(environment.runner, LocalRunner):
        environment.runner.stop()
    locust_precision.complete_files()
    if (csv := _process.csv) is None:
        return
    recorder = run_of(environment).recorder
    _writing(environment, lambda: csv.close(recorder, now_s=unix_s()))
    totals = recorder.totals()
    for doubt in _process.master.doubts if _process.master else ():
        _doubt(environment, doubt)
    if _process.has_run and not totals.metrics:
        _doubt(environment, "nothing was measured")
    options = environment.parsed_options
    _process.is_ending_on_stderr = bool(options and options.json)  # stdout is JSON then
    _process.ending = [
        "",
        *summary_lines(totals),
        "",
        *(f"DOUBT: {doubt}" for doubt in _process.doubts),
        *([f"target: {_process.target.describe()}"] if _process.target else []),
        f"files: {csv.prefix}_*.csv",
    ]


@events.quit.add_listener
def _conclude(**_: Any) -> None:
    """Last of all, below Locust's own tables: what was measured, and where it is written."""
    for line in _process.ending:
        click.echo(line, err=_process.is_ending_on_stderr)
