"""The CSV files tell what was recorded, survive a kill, and promise no percentile by chance."""

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from wpsload.errors import ConfigError, WpsloadError
from wpsload.metrics import (
    CONNECT,
    CONNECT_PHASES,
    CONNECTION_LOST,
    DELIVERY,
    ECHO,
    METRICS,
    SEND_TO_GROUP,
    Metric,
    Sample,
)
from wpsload.pubsub_csv import COLUMNS, PubsubCsv, run_row, second_row
from wpsload.recorder import Recorder

START = 1_790_000_000  # 2026-09-21T14:13:20Z


def row_of(fields: list[str]) -> dict[str, str]:
    """Fields by their column."""
    return dict(zip(COLUMNS, fields, strict=True))


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a file, as anybody would read it."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def history(tmp_path: Path) -> list[dict[str, str]]:
    """The rows of the history of prefix `run`."""
    return read(tmp_path / "run_pubsub_history.csv")


def run(tmp_path: Path) -> list[dict[str, str]]:
    """The rows of the run file of prefix `run`."""
    return read(tmp_path / "run_pubsub.csv")


@pytest.fixture
def files(tmp_path: Path) -> Iterator[PubsubCsv]:
    """Files that write seconds which are 5 s old."""
    opened = PubsubCsv.open(str(tmp_path / "run"), delay_s=5.0)
    yield opened
    opened.close(Recorder(), now_s=START)


def test_columns_are_unique_and_cover_every_timed_metric() -> None:
    """A new metric gets its columns; only a lost connection has no latency."""
    assert len(set(COLUMNS)) == len(COLUMNS)
    assert len(COLUMNS) == 14 + 5 * (len(METRICS) - 1)
    assert not any(name.startswith(CONNECTION_LOST.name) for name in COLUMNS)


def test_columns_of_a_metric() -> None:
    """The names that the documents promise."""
    assert COLUMNS[14] == "negotiate_p50_ms"
    assert COLUMNS[19:24] == (
        "connect_p50_ms",
        "connect_p90_ms",
        "connect_p99_ms",
        "connect_p99.9_ms",
        "connect_max_ms",
    )
    assert {"connect.dns_max_ms", "sendToGroup_p99_ms", "echo_p50_ms", "delivery_p50_ms"} <= set(
        COLUMNS
    )


def test_second_tells_what_was_recorded() -> None:
    """Counts per second as they are, latencies in ms with microseconds."""
    recorder = Recorder()
    recorder.count("opened", 3, START)
    recorder.count("sent", 2, START)
    recorder.count("sent_bytes", 400, START)
    recorder.count("received_bytes", 700, START)
    recorder.add(Sample(CONNECT, 12_345_678), START)
    recorder.add(Sample(CONNECT_PHASES["tls"], 0), START)
    recorder.add(Sample(SEND_TO_GROUP, 370_000), START)
    recorder.add(Sample(SEND_TO_GROUP, None, failure="Timeout", is_answered=False), START)
    recorder.add(Sample(DELIVERY, 1_000_000), START)
    [second] = recorder.seconds()
    row = row_of(second_row(second, 4))
    assert {name: value for name, value in row.items() if not name.endswith("_ms")} == {
        "time_utc": "2026-09-21T14:13:20Z",
        "users": "4",
        "connections_open": "3",
        "connects_per_s": "1",
        **dict.fromkeys(("offered_per_s", "achieved_per_s", "late_per_s", "dropped_per_s"), "0"),
        "sent_per_s": "2",
        "acked_per_s": "1",
        "delivered_per_s": "1",
        "sent_bytes_per_s": "400",
        "received_bytes_per_s": "700",
        "failures_per_s": "1",
    }
    assert row["connect_max_ms"] == "12.346"
    assert row["connect.tls_max_ms"] == "0.000"
    assert row["sendToGroup_p50_ms"] == row["sendToGroup_p99.9_ms"] == "0.370"
    assert row["delivery_p90_ms"] == "1.000"


def test_metric_without_samples_is_blank() -> None:
    """No data is not zero, neither in a second nor in the run."""
    recorder = Recorder()
    recorder.count("sent", 1, START)
    [second] = recorder.seconds()
    for fields in (second_row(second, None), run_row(recorder.totals(), None)):
        row = row_of(fields)
        assert {value for name, value in row.items() if name.endswith("_ms")} == {""}
        assert row["users"] == ""


def test_own_metric_of_a_scenario_has_no_column() -> None:
    """It is counted where all metrics are, and the columns stay the same for every run."""
    recorder = Recorder()
    own = Metric("CUSTOM", "own", "a scenario's own")
    recorder.add(Sample(own, 5, failure="odd"), START)
    row = row_of(run_row(recorder.totals(), None))
    assert row["failures_per_s"] == "1.000"


def test_second_shows_percentiles_of_few_samples() -> None:
    """A chart gets a value for each second: with one sample it is that one."""
    recorder = Recorder()
    recorder.add(Sample(ECHO, 2_000_000), START)
    [second] = recorder.seconds()
    assert row_of(second_row(second, 1))["echo_p99.9_ms"] == "2.000"


def test_run_has_no_percentile_by_chance() -> None:
    """With 1,000 samples p99 stands on ten of them and p99.9 on one."""
    recorder = Recorder()
    for latency_us in range(1, 1_001):
        recorder.add(Sample(ECHO, latency_us * 1_000), START)
    row = row_of(run_row(recorder.totals(), 1.0))
    assert float(row["echo_p99_ms"]) == pytest.approx(0.99, rel=0.004)
    assert row["echo_p99.9_ms"] == ""
    assert row["echo_max_ms"] == "1.000"


def test_run_shows_means_per_second() -> None:
    """Over all its seconds, those in which nothing happened included."""
    recorder = Recorder()
    recorder.count("opened", 3, START)
    recorder.count("sent", 1, START + 3)
    row = row_of(run_row(recorder.totals(), 2.5))
    assert row["time_utc"] == "2026-09-21T14:13:20Z"
    assert (row["users"], row["sent_per_s"]) == ("2.500", "0.250")
    assert row["connections_open"] == "3.000"


def test_open_leaves_two_headers(files: PubsubCsv, tmp_path: Path) -> None:
    """What an earlier run with this prefix left is gone before the load begins."""
    header = ",".join(COLUMNS) + "\n"
    assert (tmp_path / "run_pubsub.csv").read_text() == header
    assert (tmp_path / "run_pubsub_history.csv").read_text() == header
    assert files.prefix == str(tmp_path / "run")


def test_open_makes_the_folder(tmp_path: Path) -> None:
    """Runs get a folder of their own."""
    PubsubCsv.open(str(tmp_path / "reports" / "today" / "run")).close(Recorder(), now_s=START)
    assert (tmp_path / "reports" / "today" / "run_pubsub.csv").exists()


@pytest.mark.parametrize("name", ["run_pubsub.csv", "run_pubsub_history.csv"])
def test_open_refuses_what_cannot_be_written(tmp_path: Path, name: str) -> None:
    """Before any load, with the file, the reason and what to do."""
    (tmp_path / name).mkdir()
    with pytest.raises(ConfigError) as caught:
        PubsubCsv.open(str(tmp_path / "run"))
    assert caught.value.message == f"cannot write {tmp_path / name}: Is a directory"
    assert "--csv" in (caught.value.hint or "")


def test_open_refuses_a_folder_that_is_a_file(tmp_path: Path) -> None:
    """The same for the way to it."""
    (tmp_path / "reports").write_text("")
    with pytest.raises(ConfigError, match=r"cannot write .*run_pubsub_history.csv: "):
        PubsubCsv.open(str(tmp_path / "reports" / "run"))


def test_second_is_written_once_it_is_old_enough(files: PubsubCsv, tmp_path: Path) -> None:
    """It waits `delay_s` after its end, for reports that are late, and is on disk at once."""
    recorder = Recorder()
    recorder.count("sent", 7, START)
    files.write_seconds(recorder, now_s=START + 5.9, users=1)
    assert history(tmp_path) == []
    files.write_seconds(recorder, now_s=START + 6.0, users=1)
    assert [row["sent_per_s"] for row in history(tmp_path)] == ["7"]
    assert recorder.seconds() == []


def test_late_report_is_in_its_second(files: PubsubCsv, tmp_path: Path) -> None:
    """A worker that reports within the delay is in the row."""
    recorder, worker = Recorder(), Recorder()
    recorder.count("sent", 7, START)
    worker.count("sent", 3, START)
    files.write_seconds(recorder, now_s=START + 4, users=1)
    recorder.merge(worker.drain())
    files.write_seconds(recorder, now_s=START + 6, users=1)
    assert [row["sent_per_s"] for row in history(tmp_path)] == ["10"]


def test_every_second_is_written_exactly_once(files: PubsubCsv, tmp_path: Path) -> None:
    """In order, whenever the writer was called, quiet ones and the last ones too."""
    recorder = Recorder()
    recorder.count("opened", 2, START)
    for now in (0.5, 1.5, 9.5, 9.7, 20.5):
        recorder.count("sent", 1, int(START + now))
        files.write_seconds(recorder, now_s=START + now, users=2)
    files.finish(recorder, now_s=START + 21.2)
    files.finish(recorder, now_s=START + 21.3)
    rows = history(tmp_path)
    assert [row["time_utc"][-3:-1] for row in rows] == [f"{20 + n}" for n in range(22)]
    assert {row["connections_open"] for row in rows} == {"2"}
    assert sum(int(row["sent_per_s"]) for row in rows) == 5


def test_worker_whose_clock_is_ahead_is_written_at_the_end(
    files: PubsubCsv, tmp_path: Path
) -> None:
    """Its seconds wait for their time, and are not lost when the run ends before."""
    recorder = Recorder()
    recorder.count("sent", 1, START)
    recorder.count("sent", 2, START + 40)
    files.write_seconds(recorder, now_s=START + 30, users=1)
    assert [row["sent_per_s"] for row in history(tmp_path)] == ["1"]
    files.finish(recorder, now_s=START + 31)
    sent = [int(row["sent_per_s"]) for row in history(tmp_path)]
    assert (len(sent), sum(sent), sent[-1]) == (41, 3, 2)


def test_users_are_those_of_the_second(files: PubsubCsv, tmp_path: Path) -> None:
    """Seen during it, although it is written later; the run's are the mean."""
    recorder = Recorder()
    for second, users in ((0, 1), (1, 4), (3, 7)):
        recorder.count("sent", 1, START + second)
        files.write_seconds(recorder, now_s=START + second + 0.5, users=users)
    files.finish(recorder, now_s=START + 4)
    assert [row["users"] for row in history(tmp_path)] == ["1", "4", "4", "7"]
    assert [row["users"] for row in run(tmp_path)] == ["4.000"]


def test_second_run_of_a_process(files: PubsubCsv, tmp_path: Path) -> None:
    """The history goes on; the run file is about the last run."""
    recorder = Recorder()
    for second, users in ((0, 10), (100, 20)):
        recorder.reset()
        files.start()
        recorder.count("sent", users, START + second)
        files.write_seconds(recorder, now_s=START + second, users=users)
        files.finish(recorder, now_s=START + second)
    assert [row["sent_per_s"] for row in history(tmp_path)] == ["10", "20"]
    assert [(row["sent_per_s"], row["users"]) for row in run(tmp_path)] == [("20.000", "20.000")]


def test_run_is_saved_while_it_lasts(files: PubsubCsv, tmp_path: Path) -> None:
    """A killed run leaves its row so far, and nothing half written."""
    recorder = Recorder()
    for second in range(70):
        recorder.count("sent", 8, START + second)
        files.write_seconds(recorder, now_s=START + second, users=1)
    assert [row["sent_per_s"] for row in run(tmp_path)] == ["8.000"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "run_pubsub.csv",
        "run_pubsub_history.csv",
    ]


def test_run_without_data_has_an_empty_row(files: PubsubCsv, tmp_path: Path) -> None:
    """Zero rates, no time and no latency."""
    files.finish(Recorder(), now_s=START)
    assert history(tmp_path) == []
    [row] = run(tmp_path)
    assert (row["time_utc"], row["users"], row["sent_per_s"]) == ("", "", "0.000")


def test_full_disk_names_the_file(files: PubsubCsv, tmp_path: Path) -> None:
    """An error during the load is one clear line too."""
    (tmp_path / "run_pubsub.csv").unlink()
    (tmp_path / "run_pubsub.csv").mkdir()
    with pytest.raises(WpsloadError, match=r"cannot write .*run_pubsub.csv: Is a directory"):
        files.finish(Recorder(), now_s=START)
    (tmp_path / "run_pubsub.csv").rmdir()
