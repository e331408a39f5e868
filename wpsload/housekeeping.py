"""Work beside the load, done so that the load hardly waits for it.

One event loop drives the load and everything else of the process. A message that is due while
something else goes on for 10 ms is 10 ms late, however little is to do in the mean. So who has much
to do does it in pieces and breathes in between, and the garbage collector is kept from what lives
for the whole run, which it would look through again and again, for tens of milliseconds.
"""

import gc

import gevent

from wpsload.clock import clock_ns
from wpsload.units import NS_PER_S

__all__ = ["Breaths", "breathe", "keep_what_lives", "release"]

_BREATH_S = 0.005
"""Long enough for the load to catch up. With 0 gevent would not even look at sockets."""


def breathe() -> None:
    """Let the event loop handle what has come meanwhile."""
    gevent.sleep(_BREATH_S)


class Breaths:
    """Breathes when called, for a second since it was made, and from then on not any more.

    For work that others wait for. Where the load is more than the process can do, each breath takes
    as long as all that is due, and what should take half a second would take a minute.
    """

    _LONGEST_NS = NS_PER_S

    def __init__(self) -> None:
        self._until_ns = clock_ns() + self._LONGEST_NS

    def __call__(self) -> None:
        if clock_ns() < self._until_ns:
            breathe()


def keep_what_lives() -> None:
    """From now on the garbage collector looks only at what is made later."""
    gc.freeze()


def release() -> None:
    """It looks at everything again."""
    gc.unfreeze()
