"""Users without a task hold no greenlet: most of the memory of an idle client is its stack.

Locust keeps a greenlet for each user, counts users by them, and kills them to stop. A parked user
is kept as a greenlet that was never started, which has no stack. Its connection lives on in the
engine, until Locust stops the user.

Locust has no word for this, so two of its private names are used here, and nowhere else: a test
holds them against the Locust that is installed.
"""

from locust import User

from collections.abc import Callable
from typing import NoReturn

import gevent

__all__ = ["park", "unpark"]

# For debugging, gevent keeps with each greenlet the stack that made it: twice the greenlet itself.
gevent.config.track_greenlet_tree = False


def park(user: User, *, ended: Callable[[object], None]) -> NoReturn:
    """Put a greenlet without a stack into the place of the present one, which is `user`'s.

    `ended` is called with that greenlet once it is killed.

    Raises:
        GreenletExit: always, to end the present greenlet.
    """
    place = gevent.Greenlet(_never, user)  # Locust finds the user by the arguments
    place.link(ended)
    if user.group is not None:
        user.group.add(place)
    user._greenlet = place
    user._taskset_instance = None
    user.on_stop = _nothing  # type: ignore[method-assign]  # called as this greenlet ends
    raise gevent.GreenletExit


def unpark(user: User) -> None:
    """Stop a parked user, as the end of its greenlet would have."""
    del user.on_stop
    user.on_stop()  # type: ignore[no-untyped-call]  # it has no types
    user.greenlet.kill()


def _never(user: User) -> NoReturn:
    raise AssertionError(f"{user} is parked: its greenlet is not to be started")


def _nothing() -> None:
    pass
