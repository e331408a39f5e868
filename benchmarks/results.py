"""What was measured, as plain data: kept as JSON between runs, and all that the report needs."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Played", "Results"]


@dataclass(frozen=True, slots=True)
class Played:
    """One side, measured once.

    Attributes:
        problem: why the rest is worth nothing, or None.
        per_s: messages or connections a second, counted by the server.
        cpu_us: CPU time of the generator for each of them.
        generator_core, server_core: shares of their core that both used.
        alien: share that others used of the generator's core, or of the server's if it is more.
        kib: memory that an idle connection adds, where that is measured.
        slip_ms: p99 from when a message was due to when it was written, if the generator says so.
        is_invalid: the generator says that it was too slow itself.
    """

    problem: str | None = None
    per_s: float = 0.0
    cpu_us: float = 0.0
    generator_core: float = 0.0
    server_core: float = 0.0
    alien: float = 0.0
    kib: float = 0.0
    slip_ms: float | None = None
    is_invalid: bool = False


@dataclass(slots=True)
class Results:
    """All that the report is made of.

    Attributes:
        machine: what it ran on, by what it is.
        versions: of each side, by its name.
        missing: why a side could not be had, by its name.
        measured: of each contest, when, and which commit.
        rounds: of each contest, the sides that were played in each of its rounds.
        window_s: how long each side was measured in a round.
    """

    window_s: float
    machine: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    measured: dict[str, str] = field(default_factory=dict)
    rounds: dict[str, list[dict[str, Played]]] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Keep them in a file."""
        path.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Results":
        """What `write` kept."""
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        values["rounds"] = {
            contest: [{side: Played(**played) for side, played in one.items()} for one in rounds]
            for contest, rounds in values["rounds"].items()
        }
        return cls(**values)
