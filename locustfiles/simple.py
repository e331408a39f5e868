"""Plain WebSocket clients: connect, and time the echo of the application server.

    locust -f locustfiles/simple.py

Each user sends a frame every `--wps-interval` and waits until the application server sends it
back. Measured are `connect` and `message` (frame written → echo received). The stand-in echoes by
itself; your own hub needs an event handler that answers `message` events with their body.
"""

from locust import task

from wpsload.users import SimpleUser


class EchoClient(SimpleUser):
    """A client without a subprotocol, waiting for the echo of each frame."""

    @task
    def round_trip(self) -> None:
        self.echo()
