"""Types of the compiled module."""

from typing import Any

from wpsload.link import Lane, Listener
from wpsload.meter import Meter
from wpsload.poller import Source
from wpsload.receipts import Receipts
from wpsload.session import PubSubSession
from wpsload.turn import Turn

class Template:
    def __init__(self, front: bytes, back: bytes, is_numbered: bool) -> None: ...
    def frame(self, sent_ns: int, number: int, ack_id: int, mask_key: int) -> bytes: ...

class Express:
    def __init__(self, hub: Any, turn: Turn) -> None: ...
    def __len__(self) -> int: ...
    def add(self, fd: int, source: Source, *, is_writing: bool = False) -> None: ...
    def want_write(self, fd: int, is_wanted: bool) -> None: ...
    def remove(self, fd: int) -> None: ...
    def lane(
        self,
        fd: int,
        *,
        source: Source,
        is_bare: bool,
        write: Any,
        outgoing: list[bytes],
        unsent: bytearray,
        lags_ns: list[int] | None,
        reader: Any,
        session: PubSubSession,
        meter: Meter,
        receipts: Receipts,
        observer: Listener,
    ) -> Lane: ...
