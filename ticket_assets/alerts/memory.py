"""What alerts remember from one look to the next, in a blob.

Dagster would keep a sensor's cursor with each of its ticks, some 20,000 a week.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from ticket_assets.alerts.edges import Problem
from ticket_assets.storage.blobs import BlobNotFoundError, Blobs

FILE = "alerts.json"


@dataclass
class Memory:
    """How far Dagster's events were read, what stood as failed then, and what was told."""

    seen: dict[str, tuple[int, float]] = field(default_factory=dict)
    """Storage id and time of the last event that was read, by type."""
    runs: dict[str, dict[str, str]] = field(default_factory=dict)
    """By day ("": about no day) and asset, the last run that was to make it and failed."""
    checks: dict[str, dict[str, str]] = field(default_factory=dict)
    """By `asset:check` and day, the kind of problem of the last verdict if it was not good."""
    told: dict[str, list[Problem]] = field(default_factory=dict)
    """What is known as wrong, by way of delivery."""

    @classmethod
    def read(cls, cursors: Blobs) -> Memory:
        """What was written; a blob that is damaged costs a second message and nothing else."""
        try:
            written = json.loads(cursors.read(FILE))
            # An earlier release kept no times.
            seen = {
                kind: (int(last[0]), float(last[1]))
                for kind, last in written.pop("seen").items()
                if isinstance(last, list)
            }
            told = {
                channel: [Problem(*problem) for problem in problems]
                for channel, problems in written.pop("told").items()
            }
            return cls(**written, seen=seen, told=told)
        except (BlobNotFoundError, ValueError, TypeError, KeyError, AttributeError):
            return cls()

    def content(self) -> str:
        """The memory as the blob holds it."""
        told = {
            channel: [(problem.kind, problem.name, problem.day) for problem in sorted(problems)]
            for channel, problems in self.told.items()
        }
        return json.dumps({**vars(self), "told": told})

    def write(self, cursors: Blobs) -> None:
        cursors.replace(FILE, self.content().encode())

    def run_ended(
        self, run_id: str, days: Collection[str], made: Iterable[str], missing: Iterable[str] = ()
    ) -> None:
        """Remember a run that ended later than those before.

        Args:
            days: that it was about; empty if about none.
            made: the assets that it made.
            missing: those that it should have made as well, in order; its job where there is none.
        """
        made, missing = tuple(made), tuple(missing)
        for day in days or [""]:
            failed = self.runs.pop(day, {})
            kept = {name: run for name, run in failed.items() if name not in (*made, *missing)}
            if kept := {**kept, **dict.fromkeys(missing, run_id)}:
                self.runs[day] = kept

    def failed_runs(self) -> set[str]:
        """The ids of the runs that stand as failed."""
        return {run_id for failed in self.runs.values() for run_id in failed.values()}

    def forget_runs(self, run_ids: Collection[str]) -> None:
        """Forget runs that a person has deleted."""
        for day, failed in list(self.runs.items()):
            self.runs[day] = {name: run for name, run in failed.items() if run not in run_ids}
            if not self.runs[day]:
                del self.runs[day]

    def judged(self, check: str, day: str, kind: str | None) -> None:
        """Remember the latest verdict of a check; kind None: it passed."""
        failed = self.checks.setdefault(check, {})
        failed.pop(day, None)
        if kind:
            failed[day] = kind
        if not failed:
            del self.checks[check]

    def problems(self) -> set[Problem]:
        """What stands of runs and checks."""
        runs = {
            Problem("run", "", day, _not_made(list(failed)), f"/runs/{[*failed.values()][-1]}")
            for day, failed in self.runs.items()
            if day
        }
        runs |= {
            Problem("run", target, page=f"/runs/{run_id}")
            for target, run_id in self.runs.get("", {}).items()
        }
        return runs | {
            Problem(kind, check, day, page=f"/assets/{check.partition(':')[0]}?view=checks")
            for check, failed in self.checks.items()
            for day, kind in failed.items()
        }


def _not_made(names: list[str]) -> str:
    more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
    return f"not made: {names[0]}{more}"
