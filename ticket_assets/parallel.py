"""Work on many items on all cores, where Python's threads would share one."""

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
"""Mails from which processes pay. Measured on two cores: to start and end them takes 0.25 s, which
cleaning gains back by 1,500 mails and parsing by 3,000."""
CHUNK_ITEMS = 200
MAX_PROCESSES = 8
"""The caller passes mail on in a quarter of the time that it takes to parse: more would wait."""


class ProcessError(TicketAssetsError):
    """A process that shared the work is gone."""


def map_chunks(
    work: Callable[[list[Item]], Result], items: Iterable[Item], *, cores: int | None = None
) -> Iterator[Result]:
    """The results of `work` on CHUNK_ITEMS items at a time, in order.

    From LEAST_ITEMS on, processes do it, one per core: then `work` is a function that its module's
    name finds, or a partial of one, and items and results are plain values, since a process
    imports all that comes with them. Few chunks are under way at a time, however many there are.

    Args:
        cores: cores to use; by default those that this process may use.

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


def _chunks(items: Iterator[Item]) -> Iterator[list[Item]]:
    while chunk := list(islice(items, CHUNK_ITEMS)):
        yield chunk


def _map_in_processes(
    work: Callable[[list[Item]], Result], chunks: Iterator[list[Item]], processes: int
) -> Iterator[Result]:
    # Started afresh: a fork would copy the locks that threads of Dagster and DuckDB hold.
    pool = ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), initializer=_follow_the_caller
    )
    under_way: deque[Future[Result]] = deque()
    try:
        for chunk in chunks:
            with _interrupts_blocked():
                under_way.append(pool.submit(work, chunk))
            if len(under_way) > 2 * processes:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    except BrokenProcessPool:
        raise ProcessError(
            f"One of {processes} processes that shared the work was ended, as the system does when"
            " memory runs out. Allow more memory or fewer cores, then start again."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Processes started meanwhile never see a Ctrl-C: the caller does, and ends them in order."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _follow_the_caller() -> None:
    """End this process also when its caller is killed and cannot end it."""
    threading.Thread(target=_end_with_the_caller, daemon=True).start()


def _end_with_the_caller() -> None:
    if caller := multiprocessing.parent_process():
        caller.join()
        os._exit(1)
