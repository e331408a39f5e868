"""Users of wpsload for the table, against its public API alone.

locust -f benchmarks/our_user.py Paced     (or Loop, Task, Member)
"""

from locust import constant, task

from wpsload.users import PubSubUser

__all__ = ["Loop", "Member", "Paced", "Task"]


class Member(PubSubUser):
    """Joins its group and stays; what arrives is counted and timed without its help."""

    def on_start(self) -> None:
        super().on_start()
        self.join(self.room)


class Paced(Member):
    """Sends every `--wps-interval`, driven by the engine; 0 is the closed loop."""

    def on_start(self) -> None:
        super().on_start()
        self.publish(self.room, every=self.settings.interval_s)


class Loop(Member):
    """Sends from a loop inside of one task: the next message when the ack is in."""

    @task
    def send_on_and_on(self) -> None:
        while True:
            self.send_to_group(self.room)


class Task(Member):
    """Sends one message for each call of the task."""

    wait_time = constant(0)

    @task
    def send(self) -> None:
        self.send_to_group(self.room)
