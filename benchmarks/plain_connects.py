"""Connects, waits for `connected` and closes, again and again, with plain websocket-client.

    python -m gevent.monkey benchmarks/plain_connects.py CONCURRENCY

`BENCH_URL` is the client URL. SIGTERM ends it: it prints how often it got through as one line of
JSON.
"""

import json
import os
import signal
import sys

import gevent
import websocket
from gevent.event import Event

__all__ = ["main"]


def main() -> None:
    """Run until SIGTERM."""
    url, concurrency = os.environ["BENCH_URL"], int(sys.argv[1])
    over = Event()
    gevent.signal_handler(signal.SIGTERM, over.set)
    opened = 0

    def connect_on_and_on() -> None:
        nonlocal opened
        while not over.is_set():
            client = websocket.create_connection(url, subprotocols=["json.webpubsub.azure.v1"])
            client.recv()  # `connected`
            opened += 1
            client.close()

    gevent.joinall([gevent.spawn(connect_on_and_on) for _ in range(concurrency)])
    sys.stdout.write(json.dumps({"opened": opened}) + "\n")


if __name__ == "__main__":
    main()
