"""A simple client: it sends one text and prints what comes back, until Ctrl-C.

pip install websockets
python simple.py [URL]      without it the URL is that of WPS_CLIENT_URL
"""

import contextlib
import os
import sys

from websockets.sync.client import connect


def main() -> None:
    """Connect without a subprotocol: frames are messages, and there are no others."""
    url = "".join(sys.argv[1:2]) or os.environ.get("WPS_CLIENT_URL")
    if not url:
        sys.exit("usage: python simple.py [URL], or the URL in WPS_CLIENT_URL")
    with connect(url) as socket, contextlib.suppress(KeyboardInterrupt):
        socket.send("hello from Python")
        for frame in socket:
            print(frame, flush=True)


if __name__ == "__main__":
    main()
