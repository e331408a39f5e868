"""A closed loop with Azure's Python client SDK: azure_client.py CONNECTIONS PAYLOAD_BYTES.

`BENCH_URL` is the client URL. The SDK runs threads of its own for each client. SIGTERM ends it: it
prints how many acks it got as one line of JSON.
"""

import json
import os
import signal
import sys
import threading

from azure.messaging.webpubsubclient import WebPubSubClient
from azure.messaging.webpubsubclient.models import WebPubSubDataType, WebPubSubProtocolType

__all__ = ["main"]


def main() -> None:
    """Run until SIGTERM."""
    url, connections, payload_bytes = os.environ["BENCH_URL"], int(sys.argv[1]), int(sys.argv[2])
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    acks = [0] * connections
    data = "x" * payload_bytes

    def run(number: int) -> None:
        group = f"room-{number}"
        client = WebPubSubClient(url, protocol_type=WebPubSubProtocolType.JSON)
        with client:
            client.join_group(group)
            while not over.is_set():
                client.send_to_group(group, data, WebPubSubDataType.TEXT, no_echo=True)
                acks[number] += 1

    for number in range(connections):
        threading.Thread(target=run, args=(number,), daemon=True).start()
    over.wait()
    sys.stdout.write(json.dumps({"acks": sum(acks), "failures": 0}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
