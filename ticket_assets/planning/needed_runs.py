"""The runs that a desk needs: days to run, days to sort anew, and whether to learn."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from ticket_assets.delivery.overview import first_due_day
from ticket_assets.mail.landed_days import (
    DayRange,
    day_fingerprints,
    labels_fingerprint,
    overall_fingerprint,
)
from ticket_assets.planning.emptied_days import emptied_days
from ticket_assets.planning.recipe import recipe
from ticket_assets.storage.day_origins import UNPARTITIONED, read_links, read_origins

if TYPE_CHECKING:
    from ticket_assets.desk import Desk

MOST_RANGES = 5
"""More ranges than these are run as one, with the days between them."""


@dataclass(frozen=True)
class NeededRuns:
    """The runs that bring a desk up to date with its mail, labels, code and settings."""

    everything: bool = False
    days: list[DayRange] = field(default_factory=list)
    """Days whose rows were made from other mail, by other code or with other settings, or whose
    links to earlier mail have changed."""
    learning: bool = False
    """The labelled tickets differ from those that the last candidate has learnt from."""
    sorting: list[DayRange] = field(default_factory=list)
    """Days that were not sorted to the end, or were sorted by another model than the champion."""
    lost_tickets: int = 0
    """Tickets that the collection has lost: the next run that collects a day fills all of it."""
    delivering: DayRange | None = None
    """The days with decisions that a receiver is to be told now."""

    @property
    def is_nothing(self) -> bool:
        return not (
            self.everything
            or self.days
            or self.learning
            or self.sorting
            or self.lost_tickets
            or self.delivering
        )


def needed_runs(desk: Desk) -> NeededRuns:
    """The runs that the desk needs now. Reads its stores alone, without Dagster.

    Raises:
        CollectionError: the server of the collection does not answer or refuses.
    """
    landed = day_fingerprints(desk.landing, desk.cursors)
    first, last = desk.landing.first_unpurged_day(desk.first_day), datetime.now(UTC).date()
    content = dict(landed)
    for table in ("raw_tickets", "ticket_collection", "drift_metrics"):
        content |= emptied_days(landed, read_origins(desk.warehouse, table))
    days = [day for day in sorted(content) if (first is None or first <= day) and day <= last]
    champion = desk.champion
    made_by = recipe(desk)
    links = read_links(desk.warehouse)
    present = {day: (content[day], made_by, links.get(day, "")) for day in days}
    collected = _made_from(desk, "ticket_collection")
    changed = [day for day in days if collected.get(day, ())[:3] != present[day]]
    labels = read_origins(desk.warehouse, "ticket_labels").get(UNPARTITIONED)
    label_files = labels_fingerprint(desk.landing)
    # New labels change the neighbours of any day.
    if labels is None or labels.landed.split()[0] != label_files or changed == days:
        return NeededRuns(everything=bool(days))
    with_mail = f"{label_files} {overall_fingerprint(landed)}"
    labels_are_current = labels.landed in {label_files, with_mail}
    # Drift comes last: a run may have ended after the predictions and before it.
    reported = _made_from(desk, "drift_metrics")
    unsorted = [
        day for day in days if day not in changed and reported.get(day) != (*present[day], champion)
    ]
    due = first_due_day(desk)
    return NeededRuns(
        days=spans(changed, days),
        learning=champion is None or not labels_are_current or _training_has_changed(desk),
        sorting=spans(unsorted, days) if champion else [],
        lost_tickets=desk.lost_tickets(),
        delivering=DayRange(due, last) if due else None,
    )


def _made_from(desk: Desk, table: str) -> dict[date, tuple[str | None, ...]]:
    """Of each day of a table what its rows were made from: mail, recipe, links and champion."""
    origins = read_origins(desk.warehouse, table)
    return {
        day: (origin.landed, origin.recipe, origin.links, origin.model_version)
        for day, origin in origins.items()
    }


def last_table(desk: Desk) -> str:
    """The last table that a day reaches: without a champion, mail is only collected."""
    return "ticket_predictions" if desk.champion else "ticket_collection"


def spans(selected: Collection[date], days: Sequence[date]) -> list[DayRange]:
    """The `selected` of the sorted `days` as ranges without any of the others."""
    ranges: list[DayRange] = []
    continues = False
    for day in days:
        if day in selected:
            first = ranges.pop().first if continues else day
            ranges.append(DayRange(first, day))
        continues = day in selected
    return ranges if len(ranges) <= MOST_RANGES else [DayRange(ranges[0].first, ranges[-1].last)]


def _training_has_changed(desk: Desk) -> bool:
    from ticket_assets.classification.labelled_tickets import labelled_tickets
    from ticket_assets.classification.model_store import ModelError
    from ticket_assets.classification.promotion import PromotionRefusedError, read_candidate
    from ticket_assets.classification.training_set import (
        NotEnoughLabels,
        fingerprint,
        training_options,
    )

    try:
        options = training_options(desk.settings, desk.routing.priorities)
        training_set = labelled_tickets(desk.warehouse, options.max_tickets)
        candidate = desk.models.version(read_candidate(desk.models).version)
    except NotEnoughLabels:
        return False
    except (PromotionRefusedError, ModelError):
        return True
    return candidate.fingerprint != fingerprint(training_set, options)
