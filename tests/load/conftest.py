"""Tests in a process that Locust has patched, as load generators are."""

import pytest
from gevent import monkey

if not monkey.is_module_patched("socket"):
    # Too late to patch here: other conftests have imported what needs patching.
    pytest.exit("these tests need a process of their own: pytest -p locust.env tests/load", 2)
