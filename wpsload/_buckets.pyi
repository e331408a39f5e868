"""Types of the compiled module."""

def count_all(
    values_ns: list[int], buckets: dict[int, int], times: int, limit_ns: int, exact_below: int
) -> tuple[int, int, int] | None: ...
