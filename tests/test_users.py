"""The users' verbs, in scenarios that real Locust processes run against the real stand-in."""

import json
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from azure.messaging.webpubsubclient.models import WebPubSubDataType
from locusting import Finished, run_locust
from serving import DEADLINE_S, StandIn
from test_interop import official_client

PREAMBLE = """
    import json
    from locust import constant, task
    from wpsload.users import Message, PubSubUser, SimpleUser

    def tell(**said):
        print("TOLD " + json.dumps(said), flush=True)
"""


def perform(
    stand_in: StandIn, folder: Path, scenario: str, *arguments: str, run_time: str = "2s"
) -> Finished:
    """Run the users of `scenario`, one unless `arguments` say otherwise."""
    path = folder / "scenario.py"
    path.write_text(textwrap.dedent(PREAMBLE) + textwrap.dedent(scenario), encoding="utf-8")
    return run_locust(
        path,
        *("--run-time", run_time, "--users", "1", *arguments),
        folder=folder,
        environ={"WPS_CONNECTION_STRING": stand_in.connection_string},
    )


def told(finished: Finished) -> list[dict[str, Any]]:
    """What the scenario told, in order."""
    lines = [line for line in finished.said.splitlines() if line.startswith("TOLD ")]
    return [json.loads(line.removeprefix("TOLD ")) for line in lines]


def test_verbs_return_their_acks(stand_in: StandIn, tmp_path: Path) -> None:
    """Each verb waits for its own ack; text, JSON and binary come back as they were sent."""
    scenario = """
        class Everything(PubSubUser):
            wait_time = constant(60)

            @task
            def once(self):
                tell(join=self.join("g").is_success)
                self.send_to_group("g", "text", data_type="text")
                self.send_to_group("g", {"a": [1, None]}, data_type="json")
                self.send_to_group("g", b"\\x00\\xff", data_type="binary")
                self.send_to_group("g", "kept from me", data_type="text", no_echo=True)
                tell(event=self.send_event("echo", "hello", data_type="text").is_success)
                tell(leave=self.leave("g").is_success)
                self.send_to_group("g", "after leaving", data_type="text")
                tell(done=True)

            def on_message(self, message: Message):
                tell(group=message.group, kind=message.data_type, data=repr(message.data))
        """
    finished = perform(stand_in, tmp_path, scenario)
    assert finished.code == 0, finished.said
    assert told(finished) == [
        {"join": True},
        {"group": "g", "kind": "text", "data": "'text'"},
        {"group": "g", "kind": "json", "data": "{'a': [1, None]}"},
        {"group": "g", "kind": "binary", "data": "b'\\x00\\xff'"},
        {"group": None, "kind": "text", "data": "'hello'"},
        {"event": True},
        {"leave": True},
        {"done": True},
    ]
    assert finished.counts("ACK", "event") == (1, 0)
    assert finished.counts("ACK", "leaveGroup") == (1, 0)


def test_a_refusal_is_returned_and_counted(stand_in: StandIn, tmp_path: Path) -> None:
    """Without the role the ack says `Forbidden`, the failures table too, and nothing is raised."""
    file = tmp_path / "tokens.jsonl"
    file.write_text(json.dumps({"url": stand_in.client_url(roles=())}), encoding="utf-8")
    path = tmp_path / "scenario.py"
    path.write_text(
        textwrap.dedent(PREAMBLE)
        + textwrap.dedent(
            """
            class Rightless(PubSubUser):
                wait_time = constant(60)

                @task
                def once(self):
                    ack = self.join("g")
                    tell(success=ack.is_success, error=ack.error)
            """
        ),
        encoding="utf-8",
    )
    environ = {"WPS_TOKENS_FILE": str(file)}
    finished = run_locust(path, "--run-time", "2s", folder=tmp_path, environ=environ)
    assert told(finished) == [{"success": False, "error": "Forbidden"}]
    assert finished.failures() == {("joinGroup", "Forbidden"): 1}
    assert finished.code == 1


def test_official_clients_sit_in_the_same_group(stand_in: StandIn, tmp_path: Path) -> None:
    """An official client receives what our user sends, and our user what the client sends."""
    scenario = """
        class Member(PubSubUser):
            wait_time = constant(60)

            @task
            def once(self):
                self.join("lobby")
                self.send_to_group("lobby", "from the user", data_type="text", no_echo=True)

            def on_message(self, message: Message):
                tell(sender=message.from_user_id, data=message.data)
        """
    roles = ["webpubsub.joinLeaveGroup", "webpubsub.sendToGroup"]
    url = stand_in.client_url(user_id="official", roles=roles)
    with official_client(url) as (client, inbox), ThreadPoolExecutor(1) as thread:
        client.join_group("lobby")
        run = thread.submit(perform, stand_in, tmp_path, scenario, run_time="3s")
        received = inbox.from_group.get(timeout=3 * DEADLINE_S)
        assert (received.group, received.data) == ("lobby", "from the user")
        client.send_to_group("lobby", "from the client", WebPubSubDataType.TEXT)
        finished = run.result()
    assert told(finished) == [{"sender": "official", "data": "from the client"}]


def test_simple_users_send_and_receive(stand_in: StandIn, tmp_path: Path) -> None:
    """Frames go out as text or binary, and whatever comes back is a message."""
    scenario = """
        class Plain(SimpleUser):
            wait_time = constant(60)

            @task
            def once(self):
                self.send("words")
                self.send(b"\\x00\\x01")

            def on_message(self, message: Message):
                tell(kind=message.data_type, data=repr(message.data))
        """
    finished = perform(stand_in, tmp_path, scenario)
    assert finished.code == 0, finished.said
    assert told(finished) == [
        {"kind": "text", "data": "'words'"},
        {"kind": "binary", "data": "b'\\x00\\x01'"},
    ]


def test_groups_are_joined_again_after_a_drop(
    start_stand_in: Callable[..., StandIn], tmp_path: Path
) -> None:
    """A user whose connection broke off is back in its group, and says what it lost."""
    stand_in = start_stand_in("--fault", "cut:every=4")
    scenario = """
        class Member(PubSubUser):
            wait_time = constant(60)

            @task
            def once(self):
                self.join("g")
                for number in range(3):
                    ack = self.send_to_group("g", str(number), data_type="text")
                    tell(number=number, error=ack.error)
                tell(again=self.send_to_group("g", "again", data_type="text").is_success)

            def on_message(self, message: Message):
                tell(data=message.data)
        """
    finished = perform(stand_in, tmp_path, scenario, run_time="4s")
    assert told(finished) == [
        {"data": "0"},
        {"number": 0, "error": None},
        {"data": "1"},
        {"number": 1, "error": None},
        {"number": 2, "error": "closed 1006"},
        {"data": "again"},
        {"again": True},
    ]
    assert finished.failures() == {
        ("sendToGroup", "closed 1006"): 1,
        ("connection.lost", "closed 1006"): 1,
    }


def test_waiting_within_on_message_is_refused(stand_in: StandIn, tmp_path: Path) -> None:
    """What would wait for itself for ever is an error that says so; the connection goes on."""
    scenario = """
        class Eager(PubSubUser):
            wait_time = constant(0.1)

            @task
            def talk(self):
                self.join("g")
                self.send_to_group("g", "x", data_type="text")

            def on_message(self, message: Message):
                self.join("h")
        """
    finished = perform(stand_in, tmp_path, scenario)
    assert "on_message or a payload waits for an answer" in finished.said
    assert finished.counts("ACK", "sendToGroup")[0] > 3
    assert finished.code == 1


def test_users_that_cannot_connect_stay_and_retry(
    start_stand_in: Callable[..., StandIn], tmp_path: Path
) -> None:
    """A service that refuses everybody is counted, again and again, and never waited out."""
    stand_in = start_stand_in("--fault", "refuse-connect:every=1,status=503")
    finished = run_locust(
        "pubsub.py",
        *("--users", "3", "--spawn-rate", "3", "--run-time", "4s"),
        folder=tmp_path,
        environ={"WPS_CONNECTION_STRING": stand_in.connection_string},
    )
    assert finished.code == 1
    refused = stand_in.stats()["refused"]["503"]
    assert "the users will retry" in finished.said
    # One more than the users met: the probe before the run, which is not part of it. An attempt
    # that has hardly begun when the run stops is nobody's failure; each user may have one.
    (counted,) = finished.failures().values()
    assert finished.failures().keys() == {("connect", "HTTP 503")}
    assert refused - 1 - 3 <= counted <= refused - 1
    assert refused - 1 >= 6


def test_a_user_that_fails_to_start_leaves_no_connection(stand_in: StandIn, tmp_path: Path) -> None:
    """An exception in `on_start` ends the user, as Locust has it, and its connection with it."""
    scenario = """
        class Clumsy(PubSubUser):
            def on_start(self):
                super().on_start()
                raise RuntimeError("a mistake in the scenario")

            @task
            def never(self):
                pass
        """
    finished = perform(stand_in, tmp_path, scenario, "--users", "3", "--spawn-rate", "3")
    assert finished.code == 1
    stats = stand_in.stats()
    assert stats["connections_open"] == 0
    assert stats["closed"] == {"1000": stats["connections_total"]}


def test_all_sockets_that_the_system_allows(stand_in: StandIn, tmp_path: Path) -> None:
    """The soft limit of open files is raised to the hard one: a connection is a file."""
    scenario = """
        import resource

        class Look(PubSubUser):
            wait_time = constant(60)

            @task
            def look(self):
                soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
                tell(is_raised=soft == hard)
        """
    assert told(perform(stand_in, tmp_path, scenario)) == [{"is_raised": True}]


def test_connects_are_spread(stand_in: StandIn, tmp_path: Path) -> None:
    """Users that Locust spawns in one instant do not connect in one instant."""
    scenario = """
        from wpsload.clock import clock_ns

        class Spread(PubSubUser):
            wait_time = constant(60)

            def on_start(self):
                super().on_start()
                tell(at=clock_ns())

            @task
            def nothing(self):
                pass
        """
    arguments = ("--users", "20", "--spawn-rate", "20")
    finished = perform(stand_in, tmp_path, scenario, *arguments, run_time="4s")
    at = sorted(said["at"] for said in told(finished))
    assert len(at) == 20
    assert at[-1] - at[0] > 300_000_000


@pytest.mark.parametrize("engine", ["fast", "websocket-client"])
@pytest.mark.parametrize("stop_timeout", ["0", "10"])
def test_an_idle_user_stops_once(
    stand_in: StandIn, tmp_path: Path, stop_timeout: str, engine: str
) -> None:
    """Without tasks its own `on_stop` runs as well, may still use verbs, and closes with 1000."""
    scenario = """
        class Idle(PubSubUser):
            def on_start(self):
                super().on_start()
                self.publish("g", every=0.05)

            def on_stop(self):
                tell(left=self.leave("g").is_success)
                super().on_stop()
                tell(stopped=True)
        """
    finished = perform(
        *(stand_in, tmp_path, scenario),
        *(
            "--stop-timeout",
            stop_timeout,
            "--users",
            "3",
            "--spawn-rate",
            "3",
            "--wps-engine",
            engine,
        ),
    )
    assert sorted(map(list, told(finished))) == [["left"]] * 3 + [["stopped"]] * 3
    assert finished.code == 0, finished.said
    assert stand_in.stats()["closed"] == {"1000": 4}  # the preflight as well


@pytest.mark.parametrize("engine", ["fast", "websocket-client"])
@pytest.mark.parametrize("has_task", [True, False])
def test_a_message_may_stop_the_user(
    stand_in: StandIn, tmp_path: Path, has_task: bool, engine: str
) -> None:
    """`self.stop()` in `on_message` ends the user in good order, once, and nothing fails."""
    scenario = f"""
        class Stopping(PubSubUser):
            wait_time = constant(60)
            if {has_task}:
                @task
                def rest(self):
                    pass

            def on_start(self):
                super().on_start()
                self.join("g")
                self.publish("g", every=0.2)

            def on_message(self, message):
                self.stop()

            def on_stop(self):
                super().on_stop()
                tell(stopped=self.environment.runner.user_count)
        """
    finished = perform(stand_in, tmp_path, scenario, "--wps-engine", engine)
    assert told(finished) == [{"stopped": 1}]
    assert finished.code == 0, finished.said
    assert "Traceback" not in finished.said
    assert stand_in.stats()["closed"] == {"1000": 2}  # the preflight as well


def test_a_user_without_tasks_stays(stand_in: StandIn, tmp_path: Path) -> None:
    """It stops in good order, nothing warns of it, and who inherits from it has its own tasks."""
    scenario = """
        class Idle(PubSubUser):
            def on_stop(self):
                super().on_stop()
                tell(idle=True)

        class Busy(Idle):
            wait_time = constant(0.1)

            @task
            def work(self):
                tell(busy=True)
        """
    users = ("--users", "2", "--spawn-rate", "2")
    # Without a verdict, which warns where other tests have the cores.
    finished = perform(stand_in, tmp_path, scenario, *users, "--wps-verdict", "off")
    assert finished.code == 0, finished.said
    assert told(finished).count({"idle": True}) == 2
    assert told(finished).count({"busy": True}) > 5
    assert "WARNING" not in finished.said
