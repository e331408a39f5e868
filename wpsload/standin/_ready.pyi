"""Types of the compiled module."""

from collections.abc import Mapping, Sequence
from typing import Any

def read_ready(epoll: Any, pipes: Mapping[int, Any]) -> list[tuple[Any, int, bytes | None]]: ...
def write_all(wires: Sequence[Any]) -> None: ...
