"""The benchmark of the exporter: its scrapes are counted; one that does not start is told of."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from benchmarks.exporter import Scrapes, exporting, scraping
from benchmarks.job import BenchError, Desk

pytestmark = pytest.mark.slow


def test_scrapes_are_timed_and_those_that_fail_are_counted(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "all-minilm-l6-v2")
    answered, failed = Scrapes(), Scrapes()

    with exporting(desk), scraping(answered):
        time.sleep(1)
    with scraping(failed):
        time.sleep(0.5)

    assert len(answered.seconds) > 1
    assert answered.errors == 0
    assert failed.seconds == []
    assert failed.errors > 1


def test_an_exporter_that_does_not_start(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "all-minilm-l6-v2")
    desk.environment["TICKETS_POLL_SECONDS"] = "never"

    with pytest.raises(BenchError, match="does not answer"), exporting(desk):
        pass
