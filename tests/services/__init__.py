"""The servers of shared stores, each started on the loopback when a test first asks for it."""

import os
import time
from collections.abc import Callable

import pytest


def skip_without(present: bool, service: str) -> None:
    """Skips the test where a service is not installed; in CI it has to be."""
    if not present and not os.environ.get("CI"):
        pytest.skip(f"{service} is not installed")
    assert present, f"these tests need {service}"


def wait_until(ready: Callable[[], bool], what: str, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < until, f"{what} did not start"
        time.sleep(0.05)
