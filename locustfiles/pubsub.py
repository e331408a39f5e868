"""PubSub clients in groups: connect, join, send with ack, receive the group's messages.

    locust -f locustfiles/pubsub.py

Each user joins a group of `--wps-group-size` members and publishes to it every `--wps-interval`.
Measured are `connect`, `joinGroup` and `sendToGroup` (request → ack), and `group` (sender →
member), once for every member that a message reaches.
"""

from wpsload.users import PubSubUser


class GroupMember(PubSubUser):
    """A member of a group that also publishes to it."""

    def on_start(self) -> None:
        super().on_start()
        while not self.join(self.room).is_success:
            self.wait()
        self.publish(self.room)
