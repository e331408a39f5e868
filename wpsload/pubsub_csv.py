"""The results of a run in two CSV files with the same columns.

`<prefix>_pubsub_history.csv` has a row per second. It is appended to and flushed while the run
goes on, so a run that is killed leaves what it had measured. `<prefix>_pubsub.csv` has one row for
the whole run, with means per second and percentiles over all its samples; it is replaced
atomically once a minute and at the end.

The columns are those of `COLUMNS`. Latencies are in milliseconds with three decimals, and are of
successes only. Their columns begin with the name of the metric: `negotiate`, `connect`,
`connect.dns` … for connecting, the request's name for acks (`joinGroup`, `leaveGroup`,
`sendToGroup`, `event`), `echo` and `delivery`. Metrics of a scenario's own have no column.

A field is blank where there is no sample. In the row for the run a percentile is blank as well if
fewer than 10 samples lie beyond it (p99 takes 1,000 samples, p99.9 takes 10,000): it would be
chance, and somebody would quote it. Rows of the history show what their second had, as a chart
needs a value for each; with few samples the higher percentiles are simply the slowest of them.
"""

import csv
import io
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any

from wpsload.errors import ConfigError, WpsloadError
from wpsload.histogram import QUANTILES, Histogram
from wpsload.metrics import CONNECTION_LOST, DELIVERY, ECHO, METRICS, Metric
from wpsload.record import Record, Series
from wpsload.recorder import Recorded, Recorder, Second, Totals
from wpsload.timeline import Timeline
from wpsload.units import ms

__all__ = ["COLUMNS", "PubsubCsv", "history_text", "run_row", "second_row"]

_STEMS = {ECHO: "echo", DELIVERY: "delivery"}  # their own names say little without the type
_TIMED: dict[Metric, str] = {
    metric: _STEMS.get(metric, metric.name) for metric in METRICS if metric != CONNECTION_LOST
}

COLUMNS: tuple[str, ...] = (
    "time_utc",
    "users",
    "connections_open",
    "connects_per_s",
    "offered_per_s",
    "achieved_per_s",
    "late_per_s",
    "dropped_per_s",
    "sent_per_s",
    "acked_per_s",
    "delivered_per_s",
    "sent_bytes_per_s",
    "received_bytes_per_s",
    "failures_per_s",
    *(f"{stem}_{figure}_ms" for stem in _TIMED.values() for figure in (*QUANTILES, "max")),
)
"""The header of both files.

`time_utc` is the second, or the first one of the run. `users` are those of Locust;
`connections_open` holds at the end of the second. In the row for the run both are means. What is
offered fell due by the plan of an open loop; it is achieved, late or not, or dropped.
"""

_DELAY_S = 5.0  # workers report every 3 s, and a report takes its time
_SAVE_RUN_EVERY_S = 60  # it sums up all histograms: milliseconds that the load has to wait


def second_row(second: Second, users: int | None) -> list[str]:
    """The fields of one second; `users` is None if unknown."""
    latencies_ns: list[int | None] = []
    for latency in _latencies(second):
        latencies_ns += latency.quantiles(QUANTILES.values())
        latencies_ns.append(latency.max_ns)
    return [
        _time_utc(second.second),
        "" if users is None else str(users),
        str(second.connections_open),
        *(str(count) for count in _counts(second)),
        *(_ms(latency_ns) for latency_ns in latencies_ns),
    ]


def run_row(totals: Totals, users: float | None) -> list[str]:
    """The fields of a whole run; `users` is their mean, None if unknown."""
    latencies_ns: list[int | None] = []
    for latency in _latencies(totals):
        latencies_ns += [latency.supported_quantile(q) for q in QUANTILES.values()]
        latencies_ns.append(latency.max_ns)
    duration_s = totals.duration_s or 1  # without a second there is nothing to divide
    return [
        "" if totals.start_second is None else _time_utc(totals.start_second),
        "" if users is None else f"{users:.3f}",
        f"{totals.connections_mean:.3f}",
        *(f"{count / duration_s:.3f}" for count in _counts(totals)),
        *(_ms(latency_ns) for latency_ns in latencies_ns),
    ]


def history_text(record: Record) -> str:
    """The history of a run as its file has it, header included."""
    series = record.series
    columns: dict[str, Sequence[int | None]] = {
        "users": series.users,
        "connections_open": series.columns.get("connections_open", []),
        **{f"{name}_per_s": column for name, column in series.columns.items()},
        "offered_per_s": series.columns.get("due", []),
    }
    stems = {(metric.type, metric.name): stem for metric, stem in _TIMED.items()}
    for one in series.metrics:
        stem = stems.get((one.type, one.name))
        columns |= {f"{stem}_{name}_ms": column for name, column in one.latency_ns.items()}
    blank = [None] * len(series.second)
    rows = [
        [_time_utc(second), *(_field(name, columns.get(name, blank)[at]) for name in COLUMNS[1:])]
        for at, second in enumerate(series.second)
    ]
    return _text([COLUMNS, *rows])


def _field(name: str, value: int | None) -> str:
    if name.endswith("_ms"):
        return _ms(value)
    return "" if value is None else str(value)


class PubsubCsv:
    """Both files of one process. `prefix` is what their paths begin with."""

    def __init__(self, prefix: str, history: FileIO, *, delay_s: float) -> None:
        self.prefix = prefix
        self._history_path = _history_path(prefix)
        self._run_path = Path(f"{prefix}_pubsub.csv")
        self._history = history
        self._history_bytes = 0
        self._delay_s = delay_s
        self.start()

    @classmethod
    def open(cls, prefix: str, *, delay_s: float = _DELAY_S) -> "PubsubCsv":
        """Start both files anew, with nothing but their header; missing folders are made.

        A second is written once it is `delay_s` old: reports of workers arrive late.

        Raises:
            ConfigError: if one of them cannot be written.
        """
        path = _history_path(prefix)
        try:
            with _naming(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                history = path.open("wb", buffering=0)  # a row is in the file, or it is not
            with ExitStack() as undo:
                undo.callback(history.close)
                files = cls(prefix, history, delay_s=delay_s)
                files._append([COLUMNS])
                files._replace_run([COLUMNS])
                undo.pop_all()
        except WpsloadError as error:
            hint = "choose a place that can be written with --csv"
            raise ConfigError(error.message, hint=hint) from error
        return files

    def start(self) -> None:
        """A run begins. The history goes on, should it not be the first one of the process."""
        self._samples: deque[tuple[int, int]] = deque()
        self._users: int | None = None
        self._users_sum = 0
        self._users_rows = 0
        self._rows_since_save = 0
        self._timeline = Timeline()

    def write_seconds(
        self,
        recorder: Recorder,
        *,
        now_s: float,
        users: int,
        breathe: Callable[[], None] = lambda: None,
    ) -> None:
        """Write the seconds that are old enough and release them; to be called once a second.

        `users` are those of now, kept until the row of this second is written. `breathe` is called
        in between.

        Raises:
            WpsloadError: if a file cannot be written, as on a full disk.
        """
        self._samples.append((int(now_s), users))
        newest = int(now_s - self._delay_s) - 1
        self._write_rows(recorder, recorder.seconds(until=newest), breathe)
        self._users_at(newest)  # so that nothing piles up while there is nothing to write
        if self._rows_since_save >= _SAVE_RUN_EVERY_S:
            self._save_run(recorder)

    def series(self, recorder: Recorder, *, now_s: float) -> Series:
        """The seconds of the run, those that are written and those that are not yet."""
        return self._timeline.series(self._rest(recorder, now_s))

    def series_json(self, recorder: Recorder, *, now_s: float, breathe: Callable[[], None]) -> Any:
        """The same for `record.to_json`, while the run goes on; `breathe` is called in between."""
        return self._timeline.series_json(self._rest(recorder, now_s), breathe=breathe)

    def _rest(self, recorder: Recorder, now_s: float) -> list[tuple[Second, int | None]]:
        users = dict(self._samples)
        rest = recorder.seconds(until=int(now_s)) or recorder.seconds()
        return [(one, users.get(one.second, self._users)) for one in rest]

    def finish(self, recorder: Recorder, *, now_s: float) -> None:
        """The run is over: write the seconds that are left, this one included, and its row.

        Raises:
            WpsloadError: if a file cannot be written, as on a full disk.
        """
        self._write_rows(recorder, recorder.seconds(until=int(now_s)))
        self._write_rows(recorder, recorder.seconds())  # of workers whose clock is ahead
        self._save_run(recorder)

    def close(self, recorder: Recorder, *, now_s: float) -> None:
        """Finish the run, and close the files.

        Raises:
            WpsloadError: if a file cannot be written, as on a full disk.
        """
        self.finish(recorder, now_s=now_s)
        with _naming(self._history_path):
            self._history.close()

    def _write_rows(
        self,
        recorder: Recorder,
        seconds: Sequence[Second],
        breathe: Callable[[], None] = lambda: None,
    ) -> None:
        rows = []
        seen: list[int | None] = []
        for second in seconds:
            breathe()
            users = self._users_at(second.second)
            rows.append(second_row(second, users))
            seen.append(users)
            if users is not None:
                self._users_sum += users
                self._users_rows += 1
        if rows:
            self._append(rows)
            self._rows_since_save += len(rows)
            for second, users in zip(seconds, seen, strict=True):
                breathe()
                self._timeline.append(second, users)
            breathe()
            recorder.forget_before(seconds[-1].second + 1)

    def _users_at(self, second: int) -> int | None:
        """The users that were last seen by the end of `second`; seconds must not go back."""
        while self._samples and self._samples[0][0] <= second:
            _, self._users = self._samples.popleft()
        return self._users

    def _save_run(self, recorder: Recorder) -> None:
        users = self._users_sum / self._users_rows if self._users_rows else None
        self._replace_run([COLUMNS, run_row(recorder.totals(), users)])
        self._rows_since_save = 0

    def _append(self, rows: Sequence[Sequence[str]]) -> None:
        data = memoryview(_text(rows).encode())
        with _naming(self._history_path):
            try:
                while data:
                    data = data[self._history.write(data) :]
            except OSError:
                self._history.truncate(self._history_bytes)  # no part of a row is left behind
                self._history.seek(self._history_bytes)
                raise
        self._history_bytes = self._history.tell()

    def _replace_run(self, rows: Sequence[Sequence[str]]) -> None:
        unfinished = self._run_path.with_name(self._run_path.name + ".new")
        with _naming(self._run_path):
            unfinished.write_text(_text(rows), encoding="utf-8", newline="")
            unfinished.replace(self._run_path)


def _history_path(prefix: str) -> Path:
    return Path(f"{prefix}_pubsub_history.csv")


def _text(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn what the system says into one line that names the file."""
    try:
        yield
    except OSError as error:
        raise WpsloadError(f"cannot write {path}: {error.strerror}") from error


def _counts(recorded: Recorded) -> tuple[int, ...]:
    return (
        recorded.connects,
        recorded.due,
        recorded.achieved,
        recorded.late,
        recorded.dropped,
        recorded.sent,
        recorded.acked,
        recorded.delivered,
        recorded.sent_bytes,
        recorded.received_bytes,
        recorded.failures,
    )


def _latencies(recorded: Recorded) -> Iterator[Histogram]:
    """The latencies of every metric that has columns, empty ones included."""
    for metric in _TIMED:
        measured = recorded.metrics.get(metric)
        yield Histogram() if measured is None else measured.latency


def _time_utc(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _ms(duration_ns: int | None) -> str:
    return "" if duration_ns is None else f"{ms(duration_ns):.3f}"
