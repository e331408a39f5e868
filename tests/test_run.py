"""Real Locust runs whose users only tell the meter: every file has all of it."""

import json
from pathlib import Path

import pytest
from locusting import Finished, run_locust

SCENARIO = """
import json
from locust import User, constant, events, task
from wpsload.metrics import DELIVERY, SEND_TO_GROUP
from wpsload.plugin import run_of

class Fed(User):
    wait_time = constant(0.003)
    told = 0

    @task
    def feed(self):
        meter = run_of(self.environment).books.meter
        for metric, count in ((SEND_TO_GROUP, 3), (DELIVERY, 5)):
            series = meter.series(metric)
            for position in range(count):
                series.latencies_ns.append(1_000_000 * (position + 1))
                series.sizes_bytes.append(100)
        meter.sent += 3
        self.told += 1

    def on_stop(self):
        self.feed()  # after the last batch
        print(f"TOLD {self.told}\\n", end="", flush=True)  # one write: workers share the pipe
"""
LISTENING = """
heard = []

@events.request.add_listener
def hear(name, response_time, response_length, exception, **_):
    heard.append((name, round(response_time), response_length))

@events.quit.add_listener
def report(**_):
    counts = [[*key, heard.count(key)] for key in sorted(set(heard))]
    print("HEARD " + json.dumps(counts), flush=True)
"""
NOWHERE = {"WPS_CONNECTION_STRING": "Endpoint=http://127.0.0.1:9;AccessKey=bm9ib2R5"}


def run(folder: Path, scenario: str, *arguments: str) -> Finished:
    """Four users, for three seconds."""
    path = folder / "fed.py"
    path.write_text(scenario, encoding="utf-8")
    options = ("--users", "4", "--spawn-rate", "4", "--run-time", "3s")
    return run_locust(path, *options, *arguments, folder=folder, environ=NOWHERE)


def after(finished: Finished, word: str) -> list[str]:
    """The rest of each line that begins with `word`."""
    lines = finished.said.splitlines()
    return [line.removeprefix(word) for line in lines if line.startswith(word)]


@pytest.mark.parametrize("arguments", [(), ("--processes", "2")], ids=["local", "workers"])
def test_every_file_has_every_sample(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Locust's own and ours agree with what the users told, to the last one."""
    finished = run(tmp_path, SCENARIO, *arguments)
    assert finished.code == 0, finished.said
    told = sum(map(int, after(finished, "TOLD ")))
    assert told > 400, finished.said
    assert finished.counts("ACK", "sendToGroup") == (3 * told, 0)
    assert finished.counts("DELIVERY", "group") == (5 * told, 0)
    assert finished.counts("", "Aggregated") == (8 * told, 0)
    seconds = finished.rows("pubsub_history")
    for column, count in (("sent", 3), ("acked", 3), ("delivered", 5)):
        assert sum(int(row[f"{column}_per_s"]) for row in seconds) == count * told
    (whole,) = finished.rows("pubsub")
    assert float(whole["delivery_p50_ms"]) == pytest.approx(3, rel=0.01)


def test_a_listener_hears_every_sample(tmp_path: Path) -> None:
    """Of each the time and the size, and Locust's counts stay what they were."""
    finished = run(tmp_path, SCENARIO + LISTENING)
    assert finished.code == 0, finished.said
    told = sum(map(int, after(finished, "TOLD ")))
    (heard,) = after(finished, "HEARD ")
    assert json.loads(heard) == [
        *(["group", time_ms, 100, told] for time_ms in (1, 2, 3, 4, 5)),
        *(["sendToGroup", time_ms, 100, told] for time_ms in (1, 2, 3)),
    ]
    assert finished.counts("ACK", "sendToGroup") == (3 * told, 0)
    seconds = finished.rows("pubsub_history")
    assert sum(int(row["acked_per_s"]) for row in seconds) == 3 * told


def test_json_has_every_sample(tmp_path: Path) -> None:
    """What `--json` prints is read last of all."""
    finished = run(tmp_path, SCENARIO, "--json", "--only-summary")
    assert finished.code == 0, finished.said
    told = sum(map(int, after(finished, "TOLD ")))
    _, _, printed = finished.said.partition("\n[\n")
    entries, _ = json.JSONDecoder().raw_decode(f"[{printed}")
    assert {one["name"]: one["num_requests"] for one in entries} == {
        "sendToGroup": 3 * told,
        "group": 5 * told,
    }
