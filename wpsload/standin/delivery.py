"""Group messages that reach one member twice, late or after the next one, because faults say so.

A message that a fault delays or holds back is written at the latest before the close frame. It is
lost only if the connection is, and then it is not counted.
"""

from collections.abc import Callable
from functools import partial

from wpsload.standin.faults import Faults
from wpsload.standin.ledger import Kind, Ledger, bump
from wpsload.standin.wire import Wire

__all__ = ["Deliveries"]


class Deliveries:
    """Writes group messages one by one, and counts them and what was done to them."""

    def __init__(self, faults: Faults, ledger: Ledger) -> None:
        self._faults = faults
        self._ledger = ledger

    def write(self, wire: Wire, data: bytes, *, payload_bytes: int, sender: str) -> None:
        """Take over `data`, the frame of one message to one member; see `DELIVERY_FAULTS`."""
        if not wire.can_write:
            return
        enter = partial(self._ledger.wrote, Kind.DELIVERY, payload_bytes)
        if fault := self._faults.due("delay-delivery"):
            wire.put_late(data, enter, fault=fault.name, delay_s=fault.delay_s)
            return
        is_overtaking = sender in wire.late
        if not is_overtaking and (fault := self._faults.due("reorder-delivery")):
            # The injection comes about when another one overtakes it, not if its time runs out.
            wire.late.add(sender, data, enter, delay_s=fault.hold_s)
            return
        wire.put(data, enter)
        if fault := self._faults.due("duplicate-delivery"):
            wire.put(data, self._counting(fault.name, enter))
        if is_overtaking and sender in wire.late:
            held = wire.late.take(sender)
            wire.put(held.data, self._counting("reorder-delivery", held.enter))

    def _counting(self, fault: str, enter: Callable[[], None]) -> Callable[[], None]:
        def count() -> None:
            enter()
            bump(self._ledger.faults, fault)

        return count
