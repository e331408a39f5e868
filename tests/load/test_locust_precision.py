"""Locust's page, CSV and console show times below a millisecond; what we replace is still there."""

from locust import stats as locust_stats
from locust.env import Environment
from locust.stats import RequestStats, StatsCSV, StatsCSVFileWriter, StatsEntry

import csv
import importlib.util
import inspect
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import gevent
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wpsload import locust_precision
from wpsload.locust_precision import bucket_response_time

locust_precision.install()


def _as_it_comes() -> Any:
    """Locust's module once more, with nothing replaced."""
    spec = importlib.util.find_spec("locust.stats")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_locusts_percentile = _as_it_comes().calculate_response_time_percentile

AS_IT_COMES = """
import io, json
import locust
from locust import stats
requests = stats.RequestStats()
requests.log_request("ACK", "sendToGroup", 0.37, 0)
entry = requests.get("sendToGroup", "ACK")
environment = locust.env.Environment()
environment.stats = requests
print(json.dumps({
    "keys": list(entry.response_times),
    "least": entry.to_dict()["min_response_time"],
    "greatest": entry.to_dict()["max_response_time"],
    "percentiles": stats.StatsCSV(environment, [0.5])._percentile_fields(entry),
    "line": entry.to_string(current=False),
    "percentile": entry.percentile(),
}))
"""


def entry_of(*times_ms: float) -> StatsEntry:
    """Locust's statistics of these response times."""
    requests = RequestStats()
    for time_ms in times_ms:
        # Locust annotates int and takes floats: a time in ms is one.
        requests.log_request("ACK", "sendToGroup", time_ms, 0)  # type: ignore[arg-type]  # see above
    return requests.get("sendToGroup", "ACK")


def environment_of(entry: StatsEntry) -> Environment:
    """An environment with the statistics that `entry` belongs to."""
    environment = Environment()
    environment.stats = entry.stats
    return environment


def test_locust_as_it_comes_loses_what_we_keep() -> None:
    """If one of these is no longer true, Locust has changed: our replacement may have to go."""
    seen = subprocess.run(
        [sys.executable, "-c", AS_IT_COMES], check=True, capture_output=True, text=True
    )
    truth = json.loads(seen.stdout)
    assert truth["keys"] == [0]
    assert truth["least"] == truth["greatest"] == 0
    assert truth["percentiles"] == [0]
    line = truth["line"].split("|")
    assert line[1] == f"{0:7} {0:7} {0:7}{0:7} "
    assert truth["percentile"].split() == ["ACK", "sendToGroup", *["0"] * 11, "1"]


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (locust_stats.StatsCSV._percentile_fields, ["self", "stats_entry", "use_current"]),
        (
            locust_stats.calculate_response_time_percentile,
            ["response_times", "num_requests", "percent"],
        ),
        (_locusts_percentile, ["response_times", "num_requests", "percent"]),
        (locust_stats.StatsEntry.to_dict, ["self", "escape_string_values"]),
        (locust_stats.StatsEntry.to_string, ["self", "current"]),
        (locust_stats.StatsEntry.percentile, ["self"]),
        (locust_precision._stats_to_dict, ["self", "escape_string_values"]),
        (locust_precision._stats_to_string, ["self", "current"]),
        (locust_precision._stats_percentile, ["self"]),
    ],
)
def test_signatures_are_those_of_locust(function: Any, parameters: list[str]) -> None:
    """What we put in place is called as what was there."""
    assert list(inspect.signature(function).parameters) == parameters


def test_installing_again_changes_nothing() -> None:
    """Both the plugin and a test may do it."""
    before = (StatsEntry.to_dict, StatsEntry.to_string, StatsEntry.percentile)
    locust_precision.install()
    assert before == (StatsEntry.to_dict, StatsEntry.to_string, StatsEntry.percentile)
    assert entry_of(0.37).to_dict()["min_response_time"] == 0.37


def test_page_shows_the_time() -> None:
    """Every figure in the table of Locust's page and report."""
    shown = entry_of(0.37, 0.37, 0.37).to_dict()
    for name in (
        "min_response_time",
        "max_response_time",
        "median_response_time",
        "avg_response_time",
        "response_time_percentile_0.95",
        "response_time_percentile_0.99",
    ):
        assert shown[name] == pytest.approx(0.37), name


def test_page_shows_microseconds_of_the_extremes() -> None:
    """And no tail of a binary fraction."""
    shown = entry_of(0.1 + 0.2, 12.345678).to_dict()
    assert (shown["min_response_time"], shown["max_response_time"]) == (0.3, 12.346)


def test_page_of_no_requests_is_zero() -> None:
    """As Locust has it."""
    shown = RequestStats().total.to_dict()
    assert (shown["min_response_time"], shown["max_response_time"]) == (0, 0)


def test_downloaded_csv_shows_the_time() -> None:
    """All percentile columns of the row, and of the total."""
    written = io.StringIO()
    environment = environment_of(entry_of(0.37))
    StatsCSV(environment, [0.5, 0.99, 1.0]).requests_csv(csv.writer(written))
    rows = list(csv.DictReader(io.StringIO(written.getvalue())))
    assert [row["Name"] for row in rows] == ["sendToGroup", "Aggregated"]
    for row in rows:
        assert row["50%"] == row["99%"] == row["100%"] == "0.37"
        assert row["Median Response Time"] == row["Min Response Time"] == "0.37"


@pytest.mark.parametrize("full_history", [True, False])
def test_written_csv_shows_the_time(tmp_path: Path, full_history: bool) -> None:
    """The same in the files, whose history has its own path to the percentiles."""
    entry = entry_of(0.37)
    writer = StatsCSVFileWriter(
        environment_of(entry), [0.5], str(tmp_path / "run"), full_history=full_history
    )
    history = io.StringIO()
    writer._stats_history_data_rows(csv.writer(history), now=0)
    writer.close_files()
    assert writer._percentile_fields(entry) == [0.37]
    rows = list(csv.reader(io.StringIO(history.getvalue())))
    assert len(rows) == (2 if full_history else 1)
    # "Now" is the last ten seconds, for which a request of this very moment is too young.
    assert rows[-1][6] == ("0" if full_history else "0.37")


def test_percentile_of_now_shows_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `--csv-full-history` writes: the difference to ten seconds ago."""
    entry = entry_of(5.0)
    entry._cache_response_times(1_000)
    monkeypatch.setattr("locust.stats.time.time", lambda: 1_010.0)
    entry.log(0.37, 0)  # type: ignore[arg-type]  # a float, as above
    assert StatsCSV(Environment(), [0.5])._percentile_fields(entry, use_current=True) == [0.37]


def test_csv_of_no_requests_says_so() -> None:
    """As Locust has it: no data is not 0 ms."""
    assert StatsCSV(Environment(), [0.5])._percentile_fields(RequestStats().total) == ["N/A"]


@given(
    times=st.dictionaries(st.floats(0, 1e6), st.integers(1, 9), max_size=9),
    shares=st.lists(st.floats(0, 1), unique=True),
)
def test_percentiles_at_once_are_those_of_locust(
    times: dict[float, int], shares: list[float]
) -> None:
    """All shares from one look are what Locust finds for each, whatever their order."""
    count = sum(times.values())
    expected = [_locusts_percentile(times, count, share) for share in shares]
    assert locust_stats.calculate_response_time_percentile(times, count, tuple(shares)) == expected  # type: ignore[arg-type, comparison-overlap]  # ours takes both
    for share, time_ms in zip(shares, expected, strict=True):
        assert locust_stats.calculate_response_time_percentile(times, count, share) == time_ms  # type: ignore[arg-type]  # says int


def test_console_line_shows_the_time() -> None:
    """In the columns of Locust's header: average, least, greatest, median."""
    entry = entry_of(0.37, 0.37, 12.34)
    header, _, line, _, total = locust_stats.get_stats_summary(entry.stats, current=False)
    assert header.split("|")[1] == "    Avg     Min     Max    Med "
    assert line.split("|")[1] == "   4.36    0.37    12.3   0.37 "
    assert total.split("|")[1] == "   4.36    0.37    12.3   0.37 "


def test_console_line_of_a_name_with_bars() -> None:
    """The figures are found by the last bars, not the first."""
    requests = RequestStats()
    requests.log_request("ACK", "a|b|c", 0.37, 0)  # type: ignore[arg-type]  # a float, as above
    line = requests.get("a|b|c", "ACK").to_string(current=False)
    assert line.startswith("ACK      a|b|c ")
    assert line.rsplit("|", 2)[1].split() == ["0.37"] * 4


def test_console_percentiles_show_the_time() -> None:
    """In the columns of Locust's header, with the number of requests at the end."""
    entry = entry_of(0.37, 0.37, 1_234.5)
    header = locust_stats.get_percentile_stats_summary(entry.stats)[1]
    line = entry.percentile()
    assert line.split() == ["ACK", "sendToGroup", *["0.37"] * 2, *["1230"] * 9, "3"]
    assert len(line) == len(header)


def test_console_columns_hold_the_shortest_times() -> None:
    """Less than a microsecond of it is no use there, and would push the columns apart."""
    entry = entry_of(0.01234)
    header = locust_stats.get_percentile_stats_summary(entry.stats)[1]
    assert entry.percentile().split()[2:] == [*["0.012"] * 11, "1"]
    assert len(entry.percentile()) == len(header)


def test_console_percentiles_of_the_total() -> None:
    """Its row has no type, and the figures stand in the same columns."""
    entry = entry_of(0.37)
    assert entry.stats.total.percentile().index("0.37") == entry.percentile().index("0.37")


@pytest.mark.parametrize(
    ("time_ms", "key"),
    [
        (0, 0),
        (0.0004, 0.0004),
        (0.000004, 0),
        (0.001, 0.001),
        (0.001234, 0.00123),
        (0.01234, 0.0123),
        (0.09996, 0.1),
        (0.37, 0.37),
        (0.3704, 0.37),
        (0.9996, 1),
        (1.234, 1.23),
        (9.996, 10),
        (12.34, 12.3),
        (99.96, 100),
        (123.4, 123),
        (999.6, 1_000),
        (1_234.5, 1_230),
        (58_760, 58_800),
        (1_234_567.0, 1_230_000),
    ],
)
def test_bucket_has_three_digits(time_ms: float, key: float) -> None:
    """Down to a microsecond."""
    assert bucket_response_time(time_ms) == key


def test_number_of_buckets_is_bounded() -> None:
    """What the docstring says about the dict that workers send."""
    times_ms = [step / 10_000 * 10.0**power for power in range(-2, 7) for step in range(10_000)]
    keys = {bucket_response_time(time_ms) for time_ms in times_ms}
    assert len(keys) <= 8_201  # with 1,000,000 itself


@given(st.floats(0.001, 3_600_000))
def test_bucket_is_near_to_its_times(time_ms: float) -> None:
    """Half of the third digit."""
    assert abs(bucket_response_time(time_ms) - time_ms) <= 0.005 * time_ms + 1e-9


@given(st.floats(0.001, 3_600_000))
def test_bucket_of_a_bucket_is_itself(time_ms: float) -> None:
    """Figures that are rounded once more for the console do not move."""
    assert bucket_response_time(bucket_response_time(time_ms)) == bucket_response_time(time_ms)


def test_workers_and_master_merge() -> None:
    """Statistics of two workers, over Locust's own serialization, keep their times."""
    master = RequestStats().total
    for time_ms in (0.37, 0.42):
        report = entry_of(time_ms).get_stripped_report()
        master.extend(StatsEntry.unserialize(report, master.stats))
    assert dict(master.response_times) == {0.37: 1, 0.42: 1}
    assert master.to_dict()["min_response_time"] == 0.37


def test_files_hold_what_happened_last(tmp_path: Path) -> None:
    """What came after Locust's last write is in the files, and what comes after that is not."""
    entry = entry_of(0.37)
    files = StatsCSVFileWriter(environment_of(entry), [0.5], str(tmp_path / "run"))
    writer = gevent.spawn(files.stats_writer)
    gevent.idle()
    entry.stats.log_error("ACK", "sendToGroup", "Forbidden")
    locust_precision.complete_files()
    assert writer.ready()
    entry.stats.reset_all()  # as --json does
    files.close_files()
    row, total = rows(tmp_path / "run_stats.csv")
    assert (row["Name"], row["Request Count"], row["50%"]) == ("sendToGroup", "1", "0.37")
    assert total["Failure Count"] == "1"
    (failure,) = rows(tmp_path / "run_failures.csv")
    assert (failure["Error"], failure["Occurrences"]) == ("Forbidden", "1")


def test_files_that_begin_meanwhile_are_completed_too(tmp_path: Path) -> None:
    """Ending the first writer lets the event loop turn, where another one is about to start."""
    entry = entry_of(0.37)
    environment = environment_of(entry)
    files = [StatsCSVFileWriter(environment, [0.5], str(tmp_path / name)) for name in "ab"]
    gevent.spawn(files[0].stats_writer)
    gevent.idle()
    late = gevent.spawn(files[1].stats_writer)
    locust_precision.complete_files()
    assert late.ready()
    for one in files:
        one.close_files()
    for name in "ab":
        assert [row["Request Count"] for row in rows(tmp_path / f"{name}_stats.csv")] == ["1", "1"]


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file, by column."""
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
