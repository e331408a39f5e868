"""Many processes: every user has its own number and token, and nothing is lost on the way."""

import json
from pathlib import Path

from locusting import run_locust
from serving import StandIn

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
