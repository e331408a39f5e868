"""How many files this process may have open: each connection is one."""

import contextlib
import sys

__all__ = ["raise_limit"]


def raise_limit() -> None:
    """Allow as many open files as the system does."""
    if sys.platform == "win32":
        return  # has no such limit
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS names a limit that it does not grant
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
