"""Kept drift reports: one folder per day; figures stay, HTML is removed after some days."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from ticket_assets.storage.blobs import BlobNotFoundError, Blobs

if TYPE_CHECKING:
    from ticket_assets.drift.report import DriftReport

FIGURES = "drift.json"
HTML = "drift.html"
REVIEW_QUEUE = "review_queue.csv"
"""Beside the days: what waits for a person, as a table to fill in."""
REVIEW_QUEUE_DAYS = 30
"""With mail; what has waited for longer is in ticket_predictions."""
_NAME = re.compile(rf"(\d{{4}}-\d\d-\d\d)/({FIGURES}|{HTML})")
Row = dict[str, Any]
_TICKET_ID = re.compile(rb"(?<![0-9a-f])[0-9a-f]{20}(?![0-9a-f])")


@dataclass(frozen=True)
class ReportStore:
    """`<YYYY-MM-DD>/drift.json` and, for days that have one, `drift.html` beside it."""

    blobs: Blobs

    def write(self, report: DriftReport) -> str:
        """Replaces the day's report; returns the name of the figures."""
        html, figures = f"{report.day}/{HTML}", f"{report.day}/{FIGURES}"
        if report.html is None:
            self.blobs.delete([html])
        else:
            self.blobs.replace(html, report.html.encode())
        self.blobs.replace(figures, report.json.encode())
        return figures

    def read(self, name: str) -> bytes | None:
        """The bytes of a day's `drift.json` or `drift.html`; None for whatever else."""
        try:
            return self.blobs.read(name) if _NAME.fullmatch(name) else None
        except BlobNotFoundError:
            return None

    def versions(self) -> dict[date, str]:
        """The version of each day's figures: other figures, other version."""
        return {
            date.fromisoformat(blob.name.partition("/")[0]): blob.version
            for blob in self.blobs.list()
            if _NAME.fullmatch(blob.name) and blob.name.endswith(FIGURES)
        }

    def figures(self, days: Iterable[date]) -> Iterator[tuple[date, bytes]]:
        """The content of these days' `drift.json`; a bucket is asked for several at once."""
        names = {f"{day}/{FIGURES}": day for day in days}
        for name, content in self.blobs.read_many(names):
            yield names[name], content

    def days(self) -> list[date]:
        """The days that have a report, earliest first."""
        return _days(self._names(), FIGURES)

    def html_days(self) -> list[date]:
        """The days whose report is there as HTML too, earliest first."""
        return _days(self._names(), HTML)

    def first_html_day(self, keep_days: int, last: date) -> date:
        """The first day whose HTML is kept once the days up to `last` have their figures."""
        return max([last, *self.days()]) - timedelta(days=keep_days - 1)

    def prune_html(self, keep_days: int) -> list[str]:
        """Removes the HTML of all but the `keep_days` days up to the latest; returns its names."""
        names = self._names()
        if not (days := _days(names, FIGURES)):
            return []
        first_kept = days[-1] - timedelta(days=keep_days - 1)
        pruned = [f"{day}/{HTML}" for day in _days(names, HTML) if day < first_kept]
        self.blobs.delete(pruned)
        return pruned

    def remove_naming(self, ticket_ids: Collection[str], *, dry_run: bool = False) -> list[str]:
        """Removes the reports that name one of the tickets; returns the names of their files.

        A report holds distributions, not tickets, so there are rarely any.
        """
        sought = {ticket_id.encode() for ticket_id in ticket_ids}
        names = self._names()
        days = {
            name.partition("/")[0]
            for name, content in self.blobs.read_many(names)
            if not sought.isdisjoint(_TICKET_ID.findall(content))
        }
        naming = [name for name in names if name.partition("/")[0] in days]
        for name, content in self.blobs.read_many([REVIEW_QUEUE]):
            if not sought.isdisjoint(_TICKET_ID.findall(content)):
                naming.append(name)
        if not dry_run:
            self.blobs.delete(naming)
        return naming

    def change_category(
        self, change: Callable[[str | None], str | None], *, dry_run: bool = False
    ) -> int:
        """Gives categories another name in the figures; returns in how many days'. A page, which is
        of the moment when it was written, keeps the former one.

        Args:
            change: the present name of a category.
        """
        changed = []
        for name, content in self.blobs.read_many(f"{day}/{FIGURES}" for day in self.days()):
            document = json.loads(content)
            _change_category(document, change)
            if document != json.loads(content):
                changed.append((name, json.dumps(document).encode()))
        if not dry_run:
            self.blobs.write(changed)
        return len(changed)

    def _names(self) -> list[str]:
        return [blob.name for blob in self.blobs.list() if _NAME.fullmatch(blob.name)]


def _change_category(document: dict[str, Any], change: Callable[[str | None], str | None]) -> None:
    """Of categories that become one, the shares add up, and the lower precision stands for both."""
    from ticket_assets.drift.report import BY_CATEGORY

    def grouped(figures: Mapping[str, float]) -> dict[str, list[float]]:
        groups: defaultdict[str, list[float]] = defaultdict(list)
        for name, figure in figures.items():
            groups[change(name) or name].append(figure)
        return groups

    if distribution := document.get("distributions", {}).get("category"):
        for side in ("reference", "current"):
            shares = grouped(distribution[side])
            distribution[side] = {name: round(sum(parts), 4) for name, parts in shares.items()}
    for row in document["metrics"]:
        if BY_CATEGORY in row:
            precision = grouped(row[BY_CATEGORY])
            row[BY_CATEGORY] = {name: min(parts) for name, parts in precision.items()}


def rows_by_window(document: Mapping[str, Any]) -> tuple[list[Row], list[Row]]:
    """The rows of a `drift.json`: those of the day's own window, and those of its week.

    Raises:
        AttributeError, KeyError, TypeError: it is no drift report.
    """
    # Version 0.1.0 judged one window, whose length stands beside the rows.
    window_days = {"window_days": document.get("window_days", 1)}
    rows = [window_days | row for row in document["metrics"]]
    own = min((row["window_days"] for row in rows), default=1)
    day = [row for row in rows if row["window_days"] == own]
    return day, [row for row in rows if row["window_days"] != own]


def drift_ratios(rows: Iterable[Row]) -> dict[str, float]:
    """Distance / threshold by metric: from 1 on it has drifted."""
    return {row["metric"]: row["distance"] / row["threshold"] for row in rows if row["threshold"]}


def _days(names: Iterable[str], kind: str) -> list[date]:
    parts = (name.split("/") for name in names)
    return [date.fromisoformat(day) for day, file in parts if file == kind]
