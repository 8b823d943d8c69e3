"""The events of a run while it goes on, for whoever shows its progress."""

from __future__ import annotations

import logging
from collections.abc import Callable

import dagster as dg

EventListener = Callable[[dg.DagsterEvent], None]


class StepListener(logging.Handler):
    """Hands each Dagster event of this process's run to `listener`, when there is one."""

    listener: EventListener | None = None

    def emit(self, record: logging.LogRecord) -> None:
        event = getattr(record, "dagster_meta", {}).get("dagster_event")
        if event is not None and self.listener is not None:
            self.listener(event)


step_listener = StepListener()


@dg.logger({}, description="Hands a run's events to the command line's progress display.")
def step_events(_: dg.InitLoggerContext) -> logging.Logger:
    logger = logging.getLogger("ticket_assets.step_events")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.handlers = [step_listener]
    return logger
