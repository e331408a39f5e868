"""Plain Locust users over websocket-client, as one would write them: the baseline of the table.

    locust -f benchmarks/plain_user.py Sender     (or Receiver)

One connection a user, and one `request` event a message. `BENCH_URL` is the client URL,
`BENCH_PAYLOAD_BYTES` the size of a message's data.
"""

from locust import User, constant, task

import json
import os
import time
from typing import Any

import websocket

__all__ = ["Receiver", "Sender"]

_PAYLOAD = "x" * int(os.environ.get("BENCH_PAYLOAD_BYTES", "200"))
_SENT = slice(26, 42)  # hexadecimal digits of a stamped payload: nanoseconds


class _Client(User):
    """A client in a group of its own."""

    abstract = True
    wait_time = constant(0)
    number = 0

    def on_start(self) -> None:
        _Client.number += 1
        self.room = f"room-{_Client.number}"
        self.ack_id = 0
        self.socket = websocket.create_connection(
            os.environ["BENCH_URL"], subprotocols=["json.webpubsub.azure.v1"]
        )
        self.socket.recv()  # `connected`
        self.ask({"type": "joinGroup", "group": self.room})

    def on_stop(self) -> None:
        self.socket.close()

    def ask(self, request: dict[str, Any]) -> str | bytes:
        """Send a request, and give the text of its answer."""
        self.ack_id += 1
        self.socket.send(json.dumps({**request, "ackId": self.ack_id}))
        text = self.socket.recv()
        answer = json.loads(text)
        if not (answer["ackId"] == self.ack_id and answer["success"]):
            raise ValueError(f"not the ack of {self.ack_id}: {text!r}")
        return text

    def count(self, name: str, latency_ms: float, text: str | bytes) -> None:
        """Tell Locust of a message."""
        self.environment.events.request.fire(
            request_type="WS",
            name=name,
            response_time=latency_ms,
            response_length=len(text),
            exception=None,
        )


class Sender(_Client):
    """Sends to its group, and waits for the ack."""

    @task
    def send(self) -> None:
        started = time.perf_counter()
        answer = self.ask(
            {
                "type": "sendToGroup",
                "group": self.room,
                "noEcho": True,
                "dataType": "text",
                "data": _PAYLOAD,
            }
        )
        self.count("sendToGroup", (time.perf_counter() - started) * 1000, answer)


class Receiver(_Client):
    """Receives what its group gets, and takes the latency from the stamp."""

    @task
    def receive(self) -> None:
        text = self.socket.recv()
        sent_ns = int(json.loads(text)["data"][_SENT], 16)
        self.count("group", (time.perf_counter_ns() - sent_ns) / 1e6, text)
