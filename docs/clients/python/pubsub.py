"""A PubSub client: it joins a group, says hello to it and prints each frame, until Ctrl-C.

pip install websockets
python pubsub.py [URL] [GROUP]      without URL, or with '', it is that of WPS_CLIENT_URL
"""

import contextlib
import json
import os
import sys

from websockets.sync.client import connect
from websockets.typing import Subprotocol


def main() -> None:
    """Send only after the ack: until then nobody knows whether the group may be joined."""
    url, group = [*sys.argv[1:3], "", ""][:2]
    url, group = url or os.environ.get("WPS_CLIENT_URL", ""), group or "room-0"
    if not url:
        sys.exit("usage: python pubsub.py [URL] [GROUP], or the URL in WPS_CLIENT_URL")
    join = {"type": "joinGroup", "group": group, "ackId": 1}
    hello = {"type": "sendToGroup", "group": group, "ackId": 2}
    hello |= {"dataType": "text", "data": "hello from Python"}
    subprotocols = [Subprotocol("json.webpubsub.azure.v1")]
    with connect(url, subprotocols=subprotocols) as socket, contextlib.suppress(KeyboardInterrupt):
        socket.send(json.dumps(join))
        for frame in socket:
            print(frame, flush=True)
            message = json.loads(frame)
            if message["type"] == "ack" and message["ackId"] == 1 and message["success"]:
                socket.send(json.dumps(hello))


if __name__ == "__main__":
    main()
