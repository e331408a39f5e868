"""Frames that wait outside the queue: written in time, at once, or not at all, and only once."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from serving import DEADLINE_S

from wpsload.standin.late import LateFrames


class Written:
    """What was written, each with what counts it; `act` is called after each."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.act: Callable[[], None] = lambda: None

    def write(self, data: bytes, enter: Callable[[], None]) -> None:
        """Keep it."""
        self.frames.append(data)
        enter()
        self.act()


def check(act: Callable[[LateFrames, Written], Coroutine[Any, Any, None]]) -> None:
    """Run `act` in an event loop."""

    async def run() -> None:
        written = Written()
        async with asyncio.timeout(DEADLINE_S):
            await act(LateFrames(written.write), written)

    asyncio.run(run())


def test_each_is_written_when_its_time_has_come() -> None:
    """The shorter wait ends first, whatever came first, and each is counted."""

    async def act(late: LateFrames, written: Written) -> None:
        over = asyncio.Event()
        counted: list[str] = []

        def note_long() -> None:
            counted.append("long")
            over.set()

        late.add("long", b"long", note_long, delay_s=0.1)
        late.add("short", b"short", lambda: counted.append("short"), delay_s=0.001)
        assert "long" in late
        await over.wait()
        assert written.frames == [b"short", b"long"]
        assert counted == ["short", "long"]
        assert "long" not in late

    check(act)


def test_all_at_once_in_the_order_of_their_times() -> None:
    """Nothing is left to be written later."""

    async def act(late: LateFrames, written: Written) -> None:
        for delay_s in (30, 10, 20):
            late.add(delay_s, str(delay_s).encode(), lambda: None, delay_s=delay_s)
        late.write_all()
        late.write_all()
        assert written.frames == [b"10", b"20", b"30"]

    check(act)


def test_writing_may_end_the_connection() -> None:
    """A write can be what closes a slow client; the rest is dropped then."""

    async def act(late: LateFrames, written: Written) -> None:
        written.act = late.drop_all
        for delay_s in (30, 10, 20):
            late.add(delay_s, str(delay_s).encode(), lambda: None, delay_s=delay_s)
        late.write_all()
        assert written.frames == [b"10"]

    check(act)


def test_what_was_taken_or_dropped_is_not_written() -> None:
    """The caller has it, or nobody."""

    async def act(late: LateFrames, written: Written) -> None:
        over = asyncio.Event()
        late.add("taken", b"taken", lambda: None, delay_s=0.001)
        assert late.take("taken").data == b"taken"
        late.add("dropped", b"dropped", lambda: None, delay_s=0.001)
        late.drop_all()
        late.add("last", b"last", over.set, delay_s=0.01)
        await over.wait()
        assert written.frames == [b"last"]

    check(act)
