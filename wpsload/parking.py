"""Users without a task hold no greenlet: most of the memory of an idle client is its stack.

Locust keeps a greenlet for each user, counts users by them, and waits for their end to stop. A
parked user is kept as a greenlet that is not started, which has no stack. Its connection lives on
in the engine. When Locust stops the user, that greenlet is started, and all it does is `on_stop`.

Locust has no word for this, so two of its private names are used here, and nowhere else: a test
holds them against the Locust that is installed.
"""

from locust import User

from collections.abc import Callable
from typing import Any, NoReturn

import gevent

__all__ = ["park", "unpark"]

# For debugging, gevent keeps with each greenlet the stack that made it: twice the greenlet itself.
gevent.config.track_greenlet_tree = False


def park(user: User, *, ended: Callable[[object], None]) -> NoReturn:
    """Put a greenlet without a stack into the place of the present one, which is `user`'s.

    `ended` is called with that greenlet once it is over.

    Raises:
        GreenletExit: always, to end the present greenlet.
    """
    place = gevent.Greenlet(_finish, user)  # Locust finds the user by the arguments
    place.link(ended)
    if user.group is not None:
        user.group.add(place)
        user.group.discard(gevent.getcurrent())  # or the user would count twice until it has ended
    user._greenlet = place
    user._taskset_instance = None
    user.on_stop = _nothing  # type: ignore[method-assign]  # called as this greenlet ends
    raise gevent.GreenletExit


def unpark(user: User, *, force: bool) -> None:
    """Stop a parked user; with `force`, wait until it has stopped.

    Doing it again with `force` ends it at once.
    """
    place: Any = user.greenlet
    if not place.started:
        place.start()
    elif force:
        place.kill()
    if force:
        place.join()


def _finish(user: User) -> None:
    """What the end of the user's own greenlet would have done."""
    del user.on_stop
    user.on_stop()  # type: ignore[no-untyped-call]  # it has no types


def _nothing() -> None:
    pass
