"""Many processes: every user has its own number and token, and nothing is lost on the way."""

import csv
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from locusting import free_port, post, read, run_locust, running_locust
from serving import DEADLINE_S, StandIn

SCENARIO = """
import json
from locust import constant, task
from wpsload.users import PubSubUser

class Numbered(PubSubUser):
    wait_time = constant(60)

    def on_start(self):
        super().on_start()
        print("TOLD " + json.dumps(self.number), flush=True)

    @task
    def join_once(self):
        self.join(f"user-{self.number}")
"""


def test_workers_take_disjoint_slices(stand_in: StandIn, tmp_path: Path) -> None:
    """Ten users on three workers have the numbers 0 to 9, so that ten tokens are enough."""
    file = tmp_path / "tokens.jsonl"
    groups = [f"webpubsub.joinLeaveGroup.user-{number}" for number in range(10)]
    urls = [stand_in.client_url(roles=[group]) for group in groups]
    file.write_text("\n".join(json.dumps({"url": url}) for url in urls), encoding="utf-8")
    scenario = tmp_path / "numbered.py"
    scenario.write_text(SCENARIO, encoding="utf-8")
    finished = run_locust(
        scenario,
        *("--processes", "3", "--users", "10", "--spawn-rate", "10", "--run-time", "4s"),
        folder=tmp_path,
        environ={"WPS_TOKENS_FILE": str(file)},
    )
    assert finished.code == 0, finished.said  # each token allows its own user's group only
    told = [line for line in finished.said.splitlines() if line.startswith("TOLD ")]
    assert sorted(json.loads(line.removeprefix("TOLD ")) for line in told) == list(range(10))
    assert finished.counts("ACK", "joinGroup") == (10, 0)
    assert stand_in.stats()["acks"] == {"success": 10}


def test_the_pubsub_files_hold_all_workers(stand_in: StandIn, tmp_path: Path) -> None:
    """The row of the run and the rows of the seconds add up to what the stand-in counted."""
    finished = run_locust(
        "pubsub.py",
        *("--processes", "2", "--users", "8", "--spawn-rate", "8", "--run-time", "5s"),
        *("--wps-interval", "100ms", "--wps-group-size", "4"),
        folder=tmp_path,
        environ={"WPS_CONNECTION_STRING": stand_in.connection_string},
    )
    assert finished.code == 0, finished.said
    stats = stand_in.stats()
    seconds = finished.rows("pubsub_history")
    assert sum(float(row["acked_per_s"]) for row in seconds) == stats["acks_total"]
    assert sum(float(row["delivered_per_s"]) for row in seconds) == stats["deliveries"]
    assert max(int(row["connections_open"]) for row in seconds) == 8
    (run,) = finished.rows("pubsub")
    assert round(float(run["delivered_per_s"]) * len(seconds)) == stats["deliveries"]
    assert float(run["sendToGroup_p50_ms"]) > 0


def test_a_worker_that_comes_late_has_numbers_of_its_own(stand_in: StandIn, tmp_path: Path) -> None:
    """With a lost worker replaced by a new one, no two users of the run have the same number."""
    scenario = tmp_path / "numbered.py"
    scenario.write_text(SCENARIO, encoding="utf-8")
    environ = {"WPS_CONNECTION_STRING": stand_in.connection_string}
    port = str(free_port())
    worker = ("--worker", "--master-port", port)
    with (
        running_locust(scenario, *worker, folder=tmp_path, environ=environ) as first,
        running_locust(scenario, *worker, folder=tmp_path, environ=environ) as second,
        ThreadPoolExecutor(1) as thread,
    ):
        run = thread.submit(
            run_locust,
            scenario,
            *("--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", port),
            *("--expect-workers", "2", "--enable-rebalancing"),
            *("--users", "6", "--spawn-rate", "6", "--run-time", "14s"),
            folder=tmp_path,
            environ=environ,
        )
        while stand_in.stats()["acks_total"] < 6:
            assert first.poll() is None
        second.kill()
        with running_locust(scenario, *worker, folder=tmp_path, environ=environ) as late:
            finished = run.result()
            said = [process.communicate()[0] for process in (first, late)]
    numbers = [
        json.loads(line.removeprefix("TOLD "))
        for text in said
        for line in text.splitlines()
        if line.startswith("TOLD ")
    ]
    assert len(numbers) >= 6, said
    assert max(numbers) <= 6 + 3, "numbers of lost users were not given again"
    assert finished.code == 1
    assert "was lost: its last figures are missing" in finished.said


def test_workers_with_different_targets_are_noticed(
    start_stand_in: Callable[..., StandIn], tmp_path: Path
) -> None:
    """Figures of two services added up mean nothing, and the run says so and fails."""
    one, other = start_stand_in(), start_stand_in()
    port = str(free_port())
    worker = ("--worker", "--master-port", port)
    with ExitStack() as stack:
        for stand_in in (one, other):
            environ = {"WPS_CONNECTION_STRING": stand_in.connection_string}
            run = running_locust("pubsub.py", *worker, folder=tmp_path, environ=environ)
            stack.enter_context(run)
        finished = run_locust(
            "pubsub.py",
            *("--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", port),
            *("--expect-workers", "2", "--users", "4", "--spawn-rate", "4", "--run-time", "4s"),
            folder=tmp_path,
            environ={"WPS_CONNECTION_STRING": one.connection_string},
        )
    assert finished.code == 1
    assert "DOUBT: workers have different targets" in finished.said


def workers(page: str) -> list[dict[str, str]]:
    """What the page knows of the workers."""
    known: list[dict[str, str]] = json.loads(read(f"{page}/stats/requests")).get("workers", [])
    return known


def test_two_runs_from_the_page_are_both_complete(stand_in: StandIn, tmp_path: Path) -> None:
    """Workers drain at the end of each run of a process, not of the first alone."""
    port = free_port()
    page = f"http://127.0.0.1:{port}"
    arguments = ("--web-port", str(port), "--processes", "2", "--wps-interval", "20ms")
    environ = {"WPS_CONNECTION_STRING": stand_in.connection_string}
    seen = 0
    with running_locust("pubsub.py", *arguments, folder=tmp_path, environ=environ) as process:
        for _ in range(2):
            while [one["state"] for one in workers(page)] != ["ready", "ready"]:
                assert process.poll() is None  # after a stop Locust counts them anew
            start = {"user_count": 6, "spawn_rate": 6}
            assert post(f"{page}/swarm", start)["success"]
            while stand_in.stats()["acks_total"] < seen + 300:
                assert process.poll() is None
            assert post(f"{page}/stop", {})["success"]
            rows = csv.DictReader(read(f"{page}/stats/requests/csv").decode().splitlines())
            acks = sum(int(row["Request Count"]) for row in rows if row["Type"] == "ACK")
            assert seen + acks == stand_in.stats()["acks_total"]
            seen += acks
        process.terminate()
        assert process.wait(DEADLINE_S) == 0
