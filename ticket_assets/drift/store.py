"""Drift reports on disk: one folder per day; figures stay, HTML is removed after some days."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import chain
from pathlib import Path

from ticket_assets.drift.report import DriftReport
from ticket_assets.storage.whole_file import replace_file

FIGURES = "drift.json"
HTML = "drift.html"
_TICKET_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{20}(?![0-9a-f])")


@dataclass(frozen=True)
class ReportStore:
    """`<root>/<YYYY-MM-DD>/drift.json` and, for days that have one, `drift.html` beside it."""

    root: Path

    def figures_path(self, day: date) -> Path:
        """Where the day's figures are, or would be."""
        return self._folder(day) / FIGURES

    def write(self, report: DriftReport) -> Path:
        """Replaces the day's report; returns the path of the figures."""
        folder = self._folder(report.day)
        folder.mkdir(parents=True, exist_ok=True)
        if report.html is None:
            (folder / HTML).unlink(missing_ok=True)
        else:
            replace_file(folder / HTML, report.html)
        replace_file(folder / FIGURES, report.json)
        return folder / FIGURES

    def days(self) -> list[date]:
        """The days that have a report, earliest first."""
        return sorted(
            date.fromisoformat(path.parent.name) for path in self.root.glob(f"*/{FIGURES}")
        )

    def latest(self) -> date | None:
        """The last day that has a report."""
        return max(self.days(), default=None)

    def html_path(self, day: date) -> Path | None:
        """Where the day's HTML is, when there is one."""
        path = self._folder(day) / HTML
        return path if path.exists() else None

    def first_html_day(self, keep_days: int, last: date) -> date:
        """The first day whose HTML is kept once the days up to `last` have their figures."""
        return max([last, *self.days()]) - timedelta(days=keep_days - 1)

    def prune_html(self, keep_days: int) -> list[Path]:
        """Removes the HTML of all but the `keep_days` days up to the latest; returns its paths."""
        latest = self.latest()
        if latest is None:
            return []
        first_kept = self.first_html_day(keep_days, latest)
        older = (self.html_path(day) for day in self.days() if day < first_kept)
        pruned = [path for path in older if path is not None]
        for path in pruned:
            path.unlink()
        return pruned

    def remove_naming(self, ticket_ids: Collection[str], *, dry_run: bool = False) -> list[Path]:
        """Removes the reports that name one of the tickets; returns their paths.

        A report holds distributions, not tickets, so there are rarely any.
        """
        naming: list[Path] = []
        for day in self.days():
            paths = sorted(self._folder(day).glob("drift.*"))
            ids = (_TICKET_ID.findall(path.read_text("utf-8")) for path in paths)
            if not set(ticket_ids).isdisjoint(chain.from_iterable(ids)):
                naming += paths
        for path in () if dry_run else naming:
            path.unlink()
        return naming

    def _folder(self, day: date) -> Path:
        return self.root / day.isoformat()
