"""What is told of problems: one message when they appear, one when they are gone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

PLACES_SHOWN = 5
OTHER_VERDICT = {"check": "warning", "warning": "check"}


@dataclass(frozen=True, order=True)
class Problem:
    """Something that is wrong at the moment. It never holds words of a ticket or a person."""

    kind: str
    """One of KINDS."""
    name: str = ""
    """What is concerned: an asset, a check, a sensor. Of a file it is a digest, and not shown: a
    file may be named after a person."""
    day: str = ""
    """The day that is concerned; empty where it is none in particular."""
    detail: str = field(default="", compare=False)
    page: str = field(default="", compare=False)
    """Path of its page in Dagster's UI."""

    @property
    def place(self) -> str:
        name = "" if self.kind == "refused" else self.name
        place = ", ".join(part for part in (name, self.day) if part)
        return f"{place} ({self.detail})" if self.detail else place


class Kind(NamedTuple):
    """The words for problems of one kind, and the page in Dagster's UI that shows them all."""

    one: str
    many: str
    one_well: str
    many_well: str
    remedy: str
    page: str | None = None


KINDS = {
    "run": Kind(
        "A run failed",
        "{} runs failed",
        "What a run had failed to make is there",
        "What {} runs had failed to make is there",
        "The page of a run says why; new mail that failed is tried again by itself",
        "/runs",
    ),
    "check": Kind(
        "A check failed",
        "{} checks failed",
        "A check passes again",
        "{} checks pass again",
        "The page of a check shows its figures; what comes after a blocking one waits",
        "/assets",
    ),
    "warning": Kind(
        "A check warns",
        "{} checks warn",
        "A check warns no longer",
        "{} checks warn no longer",
        "The page of a check shows its figures; nothing waits for it",
        "/assets",
    ),
    "late": Kind(
        "An asset is late",
        "{} assets are late",
        "An asset is up to date again",
        "{} assets are up to date again",
        "See whether its runs fail, or whether automation is stopped",
        "/assets",
    ),
    "tick": Kind(
        "A sensor or schedule fails",
        "{} sensors and schedules fail",
        "A sensor or schedule works again",
        "{} sensors and schedules work again",
        "Its latest ticks say why",
        "/automation",
    ),
    "refused": Kind(
        "A file cannot be read",
        "{} files cannot be read",
        "A file that could not be read was mended or removed",
        "{} files that could not be read were mended or removed",
        "`tickets status` names such files and says why",
    ),
    "standing": Kind(
        "The mail of a day could not be sorted and is not tried again",
        "The mail of {} days could not be sorted and is not tried again",
        "The mail of a day that had failed is sorted or changed",
        "The mail of {} days that had failed is sorted or changed",
        "`tickets run --day DAY` tries it now",
    ),
}


def edges(former: Collection[Problem], present: Collection[Problem], ui_url: str) -> list[str]:
    """One sentence for each kind of problem that has appeared since `former`, then one for each
    kind that is gone; none where nothing has changed."""
    appeared = sorted(set(present) - set(former))
    gone = sorted(
        problem
        for problem in set(former) - set(present)
        # A check that warned and fails now is not well.
        if replace(problem, kind=OTHER_VERDICT.get(problem.kind, "")) not in present
    )
    sentences = []
    for name, kind in KINDS.items():
        if problems := [problem for problem in appeared if problem.kind == name]:
            lead = kind.one if len(problems) == 1 else kind.many.format(f"{len(problems):,}")
            pages = {problem.page for problem in problems if problem.page}
            page = kind.page if len(pages) != 1 else pages.pop()
            link = f": {ui_url.rstrip('/')}{page}" if page else ""
            sentences.append(f"{lead}{_places(problems)}. {kind.remedy}{link}")
    for name, kind in KINDS.items():
        if problems := [problem for problem in gone if problem.kind == name]:
            lead = kind.one_well if len(problems) == 1 else kind.many_well
            sentences.append(f"{lead.format(f'{len(problems):,}')}{_places(problems)}.")
    return sentences


def _places(problems: Sequence[Problem]) -> str:
    places = [problem.place for problem in problems if problem.place]
    if not places:
        return ""
    more = len(places) - PLACES_SHOWN
    return ": " + "; ".join(places[:PLACES_SHOWN]) + (f"; and {more:,} more" if more > 0 else "")
