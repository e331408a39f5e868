"""Unmasking what clients send, with the compiled routine that aiohttp's wheels bring.

It takes 0.2 µs for a message of 270 bytes where `frames.masked` takes 0.9, on a path of 12. Its
name is private; where it has gone, or is not compiled, `frames.masked` does the same.
"""

from collections.abc import Callable
from importlib import import_module

from wpsload import frames

__all__ = ["is_compiled", "unmasked"]


def _compiled() -> Callable[[bytes, bytearray], None] | None:
    try:
        return getattr(import_module("aiohttp._websocket.mask"), "_websocket_mask_cython", None)
    except ImportError:
        return None


_mask = _compiled()
is_compiled = _mask is not None


def unmasked(payload: bytes, key: bytes) -> bytes:
    """`payload` unmasked with the four bytes of `key`. Source: RFC 6455, 5.3."""
    if _mask is None:
        return frames.masked(payload, key)
    data = bytearray(payload)
    _mask(key, data)
    return bytes(data)
