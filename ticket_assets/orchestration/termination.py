"""A run whose process is told to end does so in time, whatever it is doing.

Python handles a signal between two of its own instructions, and native code that encodes or trains
may take minutes from one to the next. A pod is killed half a minute after SIGTERM: its run would
stay at work until somebody found it dead.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from ticket_assets.orchestration.living_runs import report_death

PATIENCE_SECONDS = 15.0
"""From the signal until the process ends in the middle of its work; Kubernetes gives it 30."""


@contextmanager
def ending_in_time(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Iterator[None]:
    """Ends the run and this process `PATIENCE_SECONDS` after SIGTERM or SIGINT, if the block has
    not ended by then: as canceled if somebody wanted that, else as failed, to be tried again."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    # The system writes the number of each signal there, whatever the main thread is doing.
    former = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    has_ended = threading.Event()
    watch = threading.Thread(
        target=_watch, args=(receiver, has_ended, instance, run), name="termination", daemon=True
    )
    watch.start()
    try:
        yield
    finally:
        has_ended.set()
        signal.set_wakeup_fd(former)
        sender.close()
        watch.join()
        receiver.close()


def _watch(
    receiver: socket.socket,
    has_ended: threading.Event,
    instance: dg.DagsterInstance,
    run: dg.DagsterRun,
) -> None:
    while number := receiver.recv(1):
        if number[0] not in {signal.SIGTERM, signal.SIGINT}:
            continue
        if not has_ended.wait(PATIENCE_SECONDS):
            try:
                _report_end(instance, run.run_id)
            finally:
                os._exit(128 + number[0])


def _report_end(instance: dg.DagsterInstance, run_id: str) -> None:
    run = instance.get_run_by_id(run_id)
    if run is None or run.is_finished:
        return
    cause = "The process of this run was told to end and has stopped in the middle of a step."
    report_death(instance, run, cause)
    instance.event_log_storage.free_concurrency_slots_for_run(run_id)
