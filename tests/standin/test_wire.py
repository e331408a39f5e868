"""The check for masks, byte by byte. The rest of `wire` is judged by `test_server.py`."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from wpsload.standin.wire import MaskCheck


class Reader(asyncio.Protocol):
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.data = b""

    def data_received(self, data: bytes) -> None:
        """Take over some bytes."""
        self.data += data


def passed(data: bytes, cuts: list[int]) -> bytes:
    """What gets through if `data` arrives in pieces that end at `cuts`."""
    reader = Reader()
    check = MaskCheck(reader)
    ends = [*sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, end in zip([0, *ends], ends, strict=False):
        check.data_received(data[start:end])
    return reader.data


def frame(size: int, *, mask: bool) -> bytes:
    """A binary frame of `size` bytes."""
    return Frame(Opcode.BINARY, b"x" * size).serialize(mask=mask)


sizes = st.lists(st.sampled_from([0, 1, 125, 126, 127, 65535, 65536]), min_size=1, max_size=4)
cuts = st.lists(st.integers(0, 300), max_size=20)


@given(sizes, cuts)
def test_masked_frames_pass(sizes: list[int], cuts: list[int]) -> None:
    """Masked frames of any size pass unchanged, however they are cut into pieces."""
    data = b"".join(frame(size, mask=True) for size in sizes)
    assert data == passed(data, cuts)


@given(sizes, cuts, st.integers(0, 3))
def test_an_unmasked_frame_becomes_an_invalid_one(
    sizes: list[int], cuts: list[int], unmasked: int
) -> None:
    """The first frame without a mask, and all after it, give way to one invalid frame."""
    unmasked %= len(sizes)
    frames = [frame(size, mask=n != unmasked) for n, size in enumerate(sizes)]
    before = b"".join(frames[:unmasked])
    assert passed(b"".join(frames), cuts) == before + b"\x83\x80\0\0\0\0"


@pytest.mark.parametrize("size", [0, 126, 65536])
def test_one_byte_at_a_time(size: int) -> None:
    """A header that comes in single bytes is put together."""
    data = frame(size, mask=True)
    assert data == passed(data, list(range(20)))
