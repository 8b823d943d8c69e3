"""Shares work on many items among processes, since Python's threads would share one core."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import chain, islice
from typing import TypeVar

from ticket_assets.cores import available_cores
from ticket_assets.errors import TicketAssetsError

Item = TypeVar("Item")
Result = TypeVar("Result")

LEAST_ITEMS = 3_000
"""Mails from which processes save time. On two cores it takes 0.25 s to start and end them: as much
as they save in cleaning 1,500 mails, or in parsing 3,000."""
CHUNK_ITEMS = 200
MAX_PROCESSES = 8
"""The caller needs a quarter of a mail's parsing time to pass it on, so more would wait for it."""


class ProcessError(TicketAssetsError):
    """A process that shared the work has died."""


def map_chunks(
    work: Callable[[list[Item]], Result], items: Iterable[Item], *, cores: int | None = None
) -> Iterator[Result]:
    """The results of `work` on CHUNK_ITEMS items at a time, in order.

    From LEAST_ITEMS on, processes do it, one per core. `work` must then be a function of a module,
    or a partial of one; items and results should be plain values, since a process imports the
    modules of their types. Only a few chunks are in memory at a time.

    Args:
        cores: number of processes; by default the cores that this process may use.

    Raises:
        ProcessError: a process died. What `work` raises passes through.
    """
    remaining = iter(items)
    first = list(islice(remaining, LEAST_ITEMS))
    chunks = _chunks(chain(first, remaining))
    processes = min(cores or available_cores(), MAX_PROCESSES)
    if processes == 1 or len(first) < LEAST_ITEMS:
        return map(work, chunks)
    return _map_in_processes(work, chunks, processes)


def run_alone(work: Callable[..., Result], *arguments: object) -> Result:
    """The result of `work`, a function of a module, in a process of its own: what it imports and
    holds in memory ends with it.

    Raises:
        ProcessError: the process died. What `work` raises passes through.
    """
    with ProcessPoolExecutor(
        1, multiprocessing.get_context("spawn"), initializer=_end_with_the_caller
    ) as pool:
        try:
            return pool.submit(work, *arguments).result()
        except BrokenProcessPool:
            raise ProcessError(
                "A process was ended, as the system does when memory runs out. Allow it more."
            ) from None


def _chunks(items: Iterator[Item]) -> Iterator[list[Item]]:
    while chunk := list(islice(items, CHUNK_ITEMS)):
        yield chunk


def _map_in_processes(
    work: Callable[[list[Item]], Result], chunks: Iterator[list[Item]], processes: int
) -> Iterator[Result]:
    # Spawned: a fork would copy the locks that threads of Dagster and DuckDB hold.
    pool = ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), initializer=_end_with_the_caller
    )
    futures: deque[Future[Result]] = deque()
    try:
        for chunk in chunks:
            with _interrupts_blocked():
                futures.append(pool.submit(work, chunk))
            if len(futures) > 2 * processes:
                yield futures.popleft().result()
        while futures:
            yield futures.popleft().result()
    except BrokenProcessPool:
        raise ProcessError(
            f"One of {processes} processes that shared the work was ended, as the system does when"
            " memory runs out. Allow more memory or fewer cores, then start again."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Processes started here ignore Ctrl-C: the caller gets it, and ends them in order."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _end_with_the_caller() -> None:
    """Makes this process end when its caller is killed and cannot end it."""

    def wait() -> None:
        if caller := multiprocessing.parent_process():
            caller.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
