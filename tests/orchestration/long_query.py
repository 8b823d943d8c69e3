"""Runs a step that is in a query of DuckDB when the signal of the first argument comes."""

import os
import signal
import sys
import threading

import dagster as dg
import duckdb

from ticket_assets.orchestration.executor import patient_executor
from ticket_assets.orchestration.instance import desk_instance
from ticket_assets.settings import Settings


@dg.op
def count() -> None:
    sent = signal.Signals[sys.argv[1]]
    threading.Timer(0.5, os.kill, (os.getpid(), sent)).start()
    try:
        duckdb.sql("select count(*) from range(10_000_000_000) a, range(1_000_000) b").fetchall()
    except RuntimeError as error:
        if sys.argv[2] == "wrapped":
            raise ValueError("a library between") from error
        raise


@dg.job(executor_def=patient_executor)
def counting() -> None:
    count()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # where tests run in the background
    with desk_instance(Settings().data_dir) as instance:
        dg.execute_job(dg.reconstructable(counting), instance)
