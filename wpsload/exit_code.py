"""Which exit code a run ends with, if several would do."""

from collections.abc import Sequence

from wpsload.record import Record, ThresholdResult

__all__ = ["FAILED", "INTERRUPTED", "INVALID", "MISSED", "exit_code"]

FAILED = 1
MISSED = 3
INVALID = 4
INTERRUPTED = 130


def exit_code(record: Record) -> int | None:
    """The code that the record asks for: interrupted, invalid, threshold, doubt, in this order.

    None leaves it to whether requests failed. The run is invalid if the verdict's `level` is
    `INVALID` and its `is_enforced` is not False; a climb also if the generator is what ended it. A
    ladder of which no rung held is missed like a threshold.
    """
    if record.state == "interrupted":
        return INTERRUPTED
    ladder = record.ladder
    is_limit = ladder is not None and ladder.ended == "generator limit"
    if (record.is_invalid or is_limit) and (record.verdict or {}).get("is_enforced", True):
        return INVALID
    if _missed(record.thresholds) or (ladder is not None and ladder.held is None):
        return MISSED
    return FAILED if record.doubts else None


def _missed(results: Sequence[ThresholdResult]) -> bool:
    return any(not one.passed for one in results)
