"""The `tickets` command; each module beside this one holds a group of its commands."""

from __future__ import annotations

import atexit
import gc
import signal
import sys
from contextlib import suppress
from io import TextIOWrapper

import typer

from ticket_assets.cli import (
    alerts,
    backup,
    breaker,
    categories,
    checks,
    classify,
    collection,
    correct,
    delivery,
    dev,
    doctor,
    evaluate,
    evidently,
    exporter,
    instance,
    mail,
    models,
    removal,
    review,
    run,
    simulate,
    status,
)
from ticket_assets.cli.console import print_error
from ticket_assets.errors import TicketAssetsError, explained, interruption

app = typer.Typer(
    name="tickets",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="""Sort IT-support mail: category, priority and queue, or an honest "a person should look".

Settings are TICKETS_* variables or lines of `.env`; `.env.example` lists them all.""",
)
for group in (
    *(mail, run, classify, review, correct, breaker, status, dev, evaluate, simulate, checks),
    *(removal, models, categories, collection, backup, instance, delivery, alerts),
    *(evidently, exporter, doctor),
):
    app.add_typer(group.app)

INTERRUPTED, TERMINATED = 130, 143
"""Exit codes after Ctrl-C and after SIGTERM, as shells give them."""
_INTERRUPTION = "Interrupted. What was finished is kept; run the command again to go on."


def main() -> None:
    """Run the command; any error is one line and exit code 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal that is not UTF-8 shows what it can
            stream.reconfigure(errors="replace")
    _collect_garbage_seldom()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        app()
    except Exception as error:
        if stop := interruption(error):
            print_error(_INTERRUPTION)
            sys.exit(TERMINATED if isinstance(stop, SystemExit) else INTERRUPTED)
        if sys.flags.dev_mode and not isinstance(error, TicketAssetsError):
            raise
        with suppress(OSError):  # the error may be that nothing can be written
            print_error(explained(error))
        sys.exit(1)
    except SystemExit as stop:
        if stop.code in {INTERRUPTED, TERMINATED}:
            print_error(_INTERRUPTION)
        raise


def _collect_garbage_seldom() -> None:
    """Saves searching the many objects of the libraries, which live to the end anyway."""
    gc.set_threshold(50_000, 20, 50)
    # At its end the interpreter would search them twice more: 1.5 s after a run.
    atexit.register(gc.freeze)
