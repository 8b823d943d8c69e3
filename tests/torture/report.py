"""What was seen: a line for each fault, a table of all, and how each failure is repeated."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from tests.torture.judgement import Verdict


@dataclass(frozen=True)
class Outcome:
    """What came of one fault."""

    seed: int
    command: str
    fault: str
    what: str
    verdict: Verdict
    seconds: float

    def __str__(self) -> str:
        faults = [
            f"{name}: {line}" for name, lines in self.verdict.faults.items() for line in lines
        ]
        told = f"as it should be, {len(self.verdict.told)} losses told" if self.verdict.told else ""
        state = "; ".join(faults) or told or "as it should be"
        fault = ", ".join(filter(None, (self.command, self.fault, self.what)))
        return f"seed {self.seed}: {fault}: {state}, {self.seconds:.0f} s"


def print_report(outcomes: Iterable[Outcome]) -> bool:
    """Prints the table and the failures; returns whether there was none."""
    outcomes = list(outcomes)
    console = Console(width=120)
    commands = sorted({outcome.command for outcome in outcomes})
    table = Table("fault", *commands, box=None, pad_edge=False)
    for fault in sorted({outcome.fault for outcome in outcomes}):
        of_fault = [outcome for outcome in outcomes if outcome.fault == fault]
        cells = [[one for one in of_fault if one.command == command] for command in commands]
        table.add_row(fault, *map(_cell, cells))
    console.print(table)
    failures = [outcome for outcome in outcomes if any(outcome.verdict.faults.values())]
    for outcome in failures:
        console.print(f"{outcome}\n  again: make torture SEED={outcome.seed}", soft_wrap=True)
    totals = _totals(outcomes)
    told = sum(bool(outcome.verdict.told) for outcome in outcomes)
    console.print(
        f"{len(outcomes)} faults: "
        + ", ".join(f"{name} {count}" for name, count in totals.items())
        + f"; after {told} a loss remained and was told."
    )
    return not failures


def _cell(outcomes: list[Outcome]) -> str:
    totals = [f"{count} {name}" for name, count in _totals(outcomes).items() if count]
    return ", ".join([str(len(outcomes)), *totals]) if outcomes else "-"


def _totals(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """By kind of failure, after how many faults there was one."""
    totals = Counter(
        name for outcome in outcomes for name, lines in outcome.verdict.faults.items() if lines
    )
    return {name: totals[name] for name in Verdict().faults}
