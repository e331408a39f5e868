"""Before the load: options, files and target are decided and checked, or the process ends.

Locust has parsed its options by then, but has not acted on them: no file is open, and no worker
is forked. What is decided here is therefore what forked workers start from.
"""

import atexit
import itertools
import os
import secrets
from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path

import click

from wpsload import embedded, open_files, preflight, target
from wpsload.clock import unix_s
from wpsload.errors import ConfigError
from wpsload.options import OPTIONS, Settings
from wpsload.payload import MOST_RUN
from wpsload.pubsub_csv import PubsubCsv
from wpsload.record_file import RecordFile

__all__ = ["Preparation", "choose_run_id"]

_LOOPBACK = "127.0.0.1"
_LOCUST_FILES = ("stats", "stats_history", "failures", "exceptions")


def choose_run_id(options: Namespace) -> None:
    """Give the run a number, unless somebody has; a form of Locust's page may have left it out.

    It stays a text: of what a form sends, Locust makes the type that was there before.
    """
    given = options.wps_run_id
    if given is None or given == "":
        given = secrets.randbelow(MOST_RUN) + 1
    options.wps_run_id = str(given)


class Preparation:
    """What was decided for this process and its forked workers.

    `target` is None for a master that leaves it to its workers, and before anything is decided.
    `csv` is None in a worker.
    """

    def __init__(self) -> None:
        self.target: target.Target | None = None
        self.csv: PubsubCsv | None = None
        self.has_forked = False
        self._reports: Path | None = None
        self._scenario = ""
        self._prepared_file: RecordFile | None = None
        self._is_done = False

    @property
    def shown_target(self) -> str:
        """The target as Locust's page shows it, in the place of a host."""
        if self.target is None:
            return "decided by each worker"
        return self.target.describe().partition(" (")[0]

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

    def prepare(self, options: Namespace, subprotocols: list[str | None]) -> None:
        """Find everything that can be wrong with `options`; only the first call does anything.

        `subprotocols` are those of the users that are defined, None for simple clients.

        Raises:
            WpsloadError: saying what is wrong, and what to do about it.
        """
        if not hasattr(options, "web_host"):
            return  # of a parser for something else
        options.web_host = options.web_host or _LOOPBACK
        is_only_listing = (
            options.list_commands or options.show_task_ratio or options.show_task_ratio_json
        )
        if self._is_done or is_only_listing:
            return
        self._is_done = True
        self.has_forked = bool(options.processes)
        open_files.raise_limit()
        choose_run_id(options)
        settings = Settings.read(vars(options))
        _check_numbers(options)
        if not options.worker:
            self._open_files(options)
        if options.master or options.worker:
            self._decide_distributed_target(options)
            if self.target is None:
                return
        chosen = self.decide_target()
        if not options.worker:
            _announce(chosen)
            if subprotocols and not any(subprotocols) and str(options.wps_plan).strip():
                raise ConfigError(
                    "--wps-plan: nobody in this scenario publishes",
                    hint="use a PubSubUser, or --wps-interval for tasks",
                )
            self.check_users(options.num_users or 1, run_time_s=options.run_time)
            if subprotocols:
                preflight.probe(chosen, settings, subprotocol=subprotocols[0])

    def new_record_file(self) -> RecordFile | None:
        """Where the record of a new run of this process goes; None if there shall be none.

        Raises:
            ConfigError: if there can be no folder for it.
        """
        if (file := self._prepared_file) is not None:
            self._prepared_file = None
            return file
        return None if self._reports is None else RecordFile(self._new_folder())

    def check_users(self, users: int, *, run_time_s: float | None) -> None:
        """Refuse more users, or a longer run, than the target has tokens for.

        Raises:
            ConfigError: saying which variable, file or line is to blame.
        """
        if self.target is not None:
            now_s = unix_s()
            needed_until_s = None if run_time_s is None else now_s + run_time_s
            self.target.check(users, now_s=now_s, needed_until_s=needed_until_s)

    def _open_files(self, options: Namespace) -> None:
        """Decide where the files go, and that they can be written.

        Each run gets a folder of its own below `--wps-reports`. Without `--csv` the CSV files go
        there too.
        """
        self._scenario = Path(str(options.locustfile).split(",")[0]).stem
        folder_of_reports = Path(options.wps_reports)
        if not options.wps_no_record:
            self._reports = folder_of_reports
        if options.csv_prefix is not None:
            self.csv = _open_csv(options.csv_prefix)
        if self._reports is None and options.csv_prefix is not None:
            return
        folder = self._new_folder(folder_of_reports)
        if self._reports is not None:
            self._prepared_file = RecordFile(folder)
            self._prepared_file.check()
        if options.csv_prefix is None:
            options.csv_prefix = str(folder / "locust")
            self.csv = _open_csv(options.csv_prefix)

    def _new_folder(self, reports: Path | None = None) -> Path:
        started = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        parent = reports or self._reports or Path()
        return _new_folder(parent / f"{started}-{self._scenario}")

    def _decide_distributed_target(self, options: Namespace) -> None:
        """A process of a run on many machines needs a target that the others can have too."""
        decided = target.from_environment(os.environ)
        if not isinstance(decided, target.EmbeddedTarget):
            self.target = decided
        elif options.worker:
            raise ConfigError(
                "a worker has no target: the embedded stand-in belongs to one machine",
                hint="set WPS_CONNECTION_STRING for every worker, or use --processes",
            )
        else:
            click.echo("target: decided by each worker's own environment", err=True)


def _check_numbers(options: Namespace) -> None:
    """What Locust itself would only trip over later."""
    if options.num_users is not None and options.num_users < 0:
        raise ConfigError(f"--users: {options.num_users} is less than 0")
    if options.spawn_rate is not None and options.spawn_rate <= 0:
        raise ConfigError(f"--spawn-rate: {options.spawn_rate} is not more than 0")


def _announce(chosen: target.Target) -> None:
    click.echo(f"target: {chosen.describe()}", err=True)
    known = [option.variable for option in OPTIONS]
    unknown = target.unknown_variables(os.environ, known)
    for note in (*chosen.notes, *(f"nothing reads {name}" for name in unknown)):
        click.echo(f"note: {note}", err=True)


def _open_csv(prefix: str) -> PubsubCsv:
    csv = PubsubCsv.open(prefix)
    for name in _LOCUST_FILES:
        path = Path(f"{prefix}_{name}.csv")
        try:
            path.open("a").close()
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror}") from error
    return csv


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
                hint="choose a place that can be written with --wps-reports",
            ) from error
        return folder
    raise AssertionError("unreachable")
