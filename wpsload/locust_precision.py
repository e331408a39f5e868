"""The one place that reaches into Locust's statistics: exact times, and complete files.

As it comes, Locust rounds response times to whole milliseconds up to 100, and cuts what is left of
their decimals off when it prints them: 0.37 ms is 0. After `install` the following have about
three significant digits, down to a microsecond:

- the response times that percentiles are computed from, by `bucket_response_time`, which Locust
  documents as replaceable;
- the percentiles in `<prefix>_stats.csv` and `_stats_history.csv`, and in their downloads, between
  the rows of which the load goes on;
- least and greatest time on Locust's page and in its report, which were whole milliseconds;
- both tables on the console, whose times are marked as not to be believed while `mark` says so.

And `complete_files` writes `<prefix>_stats.csv`, `_failures.csv` and `_exceptions.csv` once more at
the end.

A test holds every name used here against the Locust that is installed. Workers and master need the
same: import `wpsload.users` in the locustfile, and all have it.
"""

from locust import stats

import csv
import logging
from typing import Any

import gevent

from wpsload.housekeeping import breathe
from wpsload.verdict import MARK

__all__ = ["bucket_response_time", "complete_files", "install", "mark"]

_log = logging.getLogger(__name__)

_stats_to_dict = stats.StatsEntry.to_dict
_stats_to_string = stats.StatsEntry.to_string
_stats_percentile = stats.StatsEntry.percentile
_stats_writer = stats.StatsCSVFileWriter.stats_writer


class _Console:
    mark = ""


_writing: dict[stats.StatsCSVFileWriter, Any] = {}  # files, and the greenlet that writes them


def install() -> None:
    """Replace what rounds too much, in this process. Doing it again changes nothing."""
    stats.bucket_response_time = bucket_response_time  # type: ignore[assignment]  # says int
    stats.calculate_response_time_percentile = _calculate_percentile  # type: ignore[assignment]  # says int
    stats.StatsCSV._percentile_fields = _percentile_fields  # type: ignore[method-assign]  # on purpose
    stats.StatsEntry.to_dict = _to_dict  # type: ignore[method-assign]  # on purpose
    stats.StatsEntry.to_string = _to_string  # type: ignore[method-assign]  # on purpose
    stats.StatsEntry.percentile = _percentile  # type: ignore[method-assign]  # on purpose
    stats.StatsCSVFileWriter.stats_writer = _write_files  # type: ignore[method-assign]  # on purpose


def bucket_response_time(response_time: float) -> float:
    """A response time in ms with three significant digits, and no more than five decimals.

    From a microsecond up that is within 0.5 %. It makes 900 different values for each power of ten,
    8,200 up to a quarter of an hour: they are keys of a dict that workers send to the master.
    """
    for limit, digits in ((0.01, 5), (0.1, 4), (1, 3), (10, 2), (100, 1)):
        if response_time < limit:
            return round(response_time, digits)
    return int(round(response_time, 3 - len(str(int(response_time)))))


def _percentile_fields(
    self: stats.StatsCSV, stats_entry: stats.StatsEntry, use_current: bool = False
) -> list[Any]:
    if not stats_entry.num_requests:
        return self.percentiles_na
    percentiles: Any = stats_entry.get_response_time_percentile
    if use_current and stats_entry.use_response_times_cache:
        percentiles = stats_entry.get_current_response_time_percentile
    shares = tuple(self.percentiles_to_report)
    breathe()  # there is a row for each name, and each takes as long as dozens of messages
    return [time_ms or 0 for time_ms in percentiles(shares) or (0,) * len(shares)]


def _calculate_percentile(
    response_times: dict[float, int], num_requests: int, percent: float | tuple[float, ...]
) -> Any:
    """As Locust's, and for a tuple all of its shares, in its order, from one look at the times.

    Locust looks once for each, which for eleven of a long list holds up the load for milliseconds.
    """
    shares = percent if isinstance(percent, tuple) else (percent,)
    found: dict[float, float] = dict.fromkeys(shares, 0)
    wanted = sorted(found)  # the greatest is found first
    passed = 0
    for time_ms in sorted(response_times, reverse=True):
        passed += response_times[time_ms]
        while wanted and num_requests - passed <= int(num_requests * wanted[-1]):
            found[wanted.pop()] = time_ms
        if not wanted:
            break
    return [found[share] for share in shares] if isinstance(percent, tuple) else found[percent]


def _to_dict(self: stats.StatsEntry, escape_string_values: bool = False) -> dict[str, Any]:
    return {
        **_stats_to_dict(self, escape_string_values),
        "min_response_time": round(self.min_response_time or 0, 3),
        "max_response_time": round(self.max_response_time, 3),
    }


def _to_string(self: stats.StatsEntry, current: bool = True) -> str:
    # Between the last two bars; a name may have bars of its own.
    head, _, tail = _stats_to_string(self, current=current).rsplit("|", 2)
    average, least, greatest, median = (
        f"{_shown(time_ms):>7}"
        for time_ms in (
            self.avg_response_time,
            self.min_response_time or 0,
            self.max_response_time,
            self.median_response_time,
        )
    )
    return f"{head}|{average} {least} {greatest}{median} |{tail}"


def _percentile(self: stats.StatsEntry) -> str:
    # Type and name, then a number for each percentile and the number of requests.
    shares = stats.PERCENTILES_TO_REPORT
    head = _stats_percentile(self).rsplit(maxsplit=len(shares) + 1)[0]
    first, *others = (_shown(self.get_response_time_percentile(share)) for share in shares)
    width = stats.STATS_TYPE_WIDTH + 1 + stats.STATS_NAME_WIDTH
    cells = " ".join(f"{cell:>6}" for cell in (*others, self.num_requests))
    return f"{head:<{width}} {first:>8} {cells}"


def complete_files() -> None:
    """Write Locust's CSV files for the last time, while its statistics still hold everything.

    Locust writes them every second, leaves out what happened after the last time, and goes on
    writing after it has closed them. `--json` resets the statistics before that.
    """
    while _writing:  # another greenlet may come here while we wait for the writer
        files, writer = _writing.popitem()
        writer.kill()
        for file, rows in (
            (files.requests_csv_filehandle, files.requests_csv),
            (files.failures_csv_filehandle, files.failures_csv),
            (files.exceptions_csv_filehandle, files.exceptions_csv),
        ):
            try:
                file.seek(0)
                rows(csv.writer(file))
                file.truncate()
            except OSError as error:
                _log.error("cannot write %s: %s", file.name, error.strerror)


def _write_files(self: stats.StatsCSVFileWriter) -> None:
    _writing[self] = gevent.getcurrent()
    try:
        _stats_writer(self)
    except OSError as error:
        _log.error("cannot write %s_*.csv: %s", self.base_filepath, error.strerror)


def mark(*, is_marked: bool) -> None:
    """From now on, times on the console are marked, or no longer."""
    _Console.mark = MARK if is_marked else ""


def _shown(time_ms: float) -> str:
    shown_ms = round(bucket_response_time(time_ms), 3)  # the columns are narrow
    return f"{_Console.mark}{shown_ms:.10g}"
