"""What the exporter costs a run that works beside it, and what a scrape takes."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.job import BenchError, Desk

PORT = 19479
SCRAPES_PER_SECOND = 20
START_SECONDS = 60.0
WITHOUT, WITH = "without", "with"


@dataclass
class Scrapes:
    """The scrapes of one exporter: how long each took (seconds), and those that failed."""

    seconds: list[float] = field(default_factory=list)
    errors: int = 0


@dataclass(frozen=True)
class ExporterCost:
    """Seconds of the same backfill, alternately without and with an exporter beside it."""

    without: list[float]
    beside: list[float]
    scrapes: Scrapes


def exporter_cost(encoder: str, messages: int, pairs: int) -> ExporterCost:
    """Backfill all days of a sample mailbox, in pairs.

    Args:
        messages: in the mailbox.
        pairs: of backfills without and with an exporter that is scraped 20 times a second.
    """
    seconds: dict[str, list[float]] = {WITHOUT: [], WITH: []}
    scrapes = Scrapes()
    with TemporaryDirectory() as folder:
        desk = Desk(Path(folder), encoder)
        desk.sort_sample(messages)
        for number in range(pairs):
            # The log grows: neither is always the second.
            for kind in (WITHOUT, WITH) if number % 2 else (WITH, WITHOUT):
                if kind == WITH:
                    with exporting(desk), scraping(scrapes):
                        seconds[kind].append(_backfill(desk))
                else:
                    seconds[kind].append(_backfill(desk))
    return ExporterCost(seconds[WITHOUT], seconds[WITH], scrapes)


def _backfill(desk: Desk) -> float:
    return desk.tickets("run", "--all", "--job", "classify_mail").seconds


@contextmanager
def exporting(desk: Desk) -> Iterator[None]:
    """An exporter of the desk that answers.

    Raises:
        BenchError: it does not.
    """
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "ticket_assets", "exporter", "--port", str(PORT)],
        env=desk.environment,
        cwd=desk.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + START_SECONDS
        while not _scrape():
            if process.poll() is not None or time.monotonic() > until:
                raise BenchError(f"The exporter does not answer on port {PORT}.")
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait()


@contextmanager
def scraping(scrapes: Scrapes) -> Iterator[None]:
    """Scrapes 20 times a second until the block ends."""
    ended = threading.Event()

    def scrape() -> None:
        while not ended.wait(1 / SCRAPES_PER_SECOND):
            begun = time.perf_counter()
            if _scrape():
                scrapes.seconds.append(time.perf_counter() - begun)
            else:
                scrapes.errors += 1

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _scrape() -> bool:
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}/metrics", headers={"accept-encoding": "gzip"}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            answer.read()
    except OSError:
        return False
    return True
