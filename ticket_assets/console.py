"""What the `tickets` command shows people: errors, progress, a sorted ticket, the status."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from rich.progress import Progress

    from ticket_assets.classification.model_listing import ListedModel
    from ticket_assets.erasure import Erasure
    from ticket_assets.run_summary import RunSummary
    from ticket_assets.triage import SortedTicket

PIPE_WIDTH = 160
"""Characters a line of a table may have in a file or a pipe, which have no width of their own."""

output = Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
messages = Console(stderr=True, highlight=False)


def print_error(message: str) -> None:
    """Show an error as one line."""
    messages.print(f"[bold red]Error:[/] {escape(' '.join(message.split()))}", soft_wrap=True)


def print_warning(message: str) -> None:
    """Show, as one line, what a person should know of a command that succeeded."""
    messages.print(f"[yellow]Note:[/] {escape(message)}", soft_wrap=True)


def print_measured(line: str) -> None:
    """Show a figure of a benchmark that is still going on."""
    messages.print(escape(line), soft_wrap=True)


def progress_bar() -> Progress:
    """A bar on standard error while someone watches; nothing in a log or a pipe."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=messages,
        transient=True,
        disable=not messages.is_terminal,
    )


class RunEvent(Protocol):
    """What is shown of a Dagster event."""

    @property
    def event_type_value(self) -> str: ...

    @property
    def step_key(self) -> str | None: ...


class StepProgress:
    """Shows which asset or check a run is at, and how many of them are done.

    A terminal gets a bar. A log gets a line for each step that took a second or more.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("Starting", total=None)
        self._started = 0.0

    def start(self, steps: int) -> None:
        """A run of so many assets and checks begins."""
        self._progress.reset(self._task, total=steps)

    def __call__(self, event: RunEvent) -> None:
        name, step = event.event_type_value, event.step_key
        if step is None:
            return
        if name == "STEP_START":
            self._started = time.monotonic()
            self._progress.update(self._task, description=step.ljust(40)[:40])
        elif name in {"STEP_SUCCESS", "STEP_FAILURE", "STEP_SKIPPED"}:
            self._progress.advance(self._task)
            seconds = time.monotonic() - self._started
            if not messages.is_terminal and seconds >= 1 and name != "STEP_SKIPPED":
                messages.print(f"{step}: {seconds:.0f} s", soft_wrap=True)


def print_run(summary: RunSummary) -> None:
    """Show what a run did: checks that did not pass, counts, and the reason of each failure."""
    for failed in summary.failed_checks:
        verdict = "[bold red]failed[/]" if failed.blocking else "[yellow]warns[/]"
        output.print(f"{verdict}  {failed.asset}: {failed.check}")
    output.print(
        f"{len(summary.materialised)} assets materialised, {summary.passed_checks} checks passed,"
        f" {len(summary.failed_checks)} did not. Run {summary.run_id}",
        soft_wrap=True,
    )
    for step, reason in summary.failed_steps.items():
        print_error(f"{step}: {reason}")
    if summary.skipped:
        messages.print(f"Not materialised: {', '.join(sorted(summary.skipped))}", soft_wrap=True)


def print_ticket(ticket: SortedTicket) -> None:
    """Show labels, queue, decision, the words behind it and the nearest labelled tickets."""
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row(
        "category", f"[bold]{escape(ticket.category)}[/]", _percent(ticket.category_confidence)
    )
    if ticket.priority is not None:
        table.add_row(
            "priority", f"[bold]{escape(ticket.priority)}[/]", _percent(ticket.priority_confidence)
        )
    table.add_row("queue", escape(ticket.queue), "")
    decision = (
        "[green]auto[/]" if ticket.decision == "auto" else "[yellow]review: a person should look[/]"
    )
    table.add_row("decision", decision, "")
    if ticket.terms:
        table.add_row("because of", escape(", ".join(term for term, _ in ticket.terms)), "")
    output.print(table)
    if not ticket.nearest:
        return
    nearest = Table(
        "similar", "category", "priority", "day", "text", title="Nearest labelled tickets"
    )
    for neighbour in ticket.nearest:
        nearest.add_row(
            f"{neighbour['similarity']:.2f}",
            neighbour["category"],
            neighbour["priority"] or "",
            neighbour["day"],
            escape(" ".join(neighbour["text"].split())[:80]),
        )
    output.print(nearest)


def print_status(found: dict[str, Any], landing_dir: Path) -> None:
    """Show the figures of `read_status`."""
    from rich.table import Table

    landing = found["landing"]
    output.print(
        f"Landing zone  {landing['messages']:,} messages on {landing['days']:,} days"
        + (f", {landing['first']} to {landing['last']}" if landing["days"] else "")
        + f"  ({landing_dir.absolute()})",
        soft_wrap=True,
    )
    if not landing["messages"]:
        output.print(
            "Nothing has landed yet: tickets import PATH, or tickets sample to try it out."
        )
        return
    if found["tables"]:
        tables = Table("table", "rows", "newest (UTC)", box=None, pad_edge=False)
        for name, about in found["tables"].items():
            tables.add_row(name, f"{about['rows']:,}", str(about["newest"] or ""))
        output.print(tables)
    else:
        output.print("No table yet: tickets run")
    _print_champion(found["champion"])
    decisions = Counter(found["decisions"])
    total = decisions.total()
    if total:
        output.print(
            f"Predictions   {decisions['auto'] / total:.0%} auto,"
            f" {decisions['review'] / total:.0%} for a person to look at"
        )
    if found["drift"]:
        drift = found["drift"]
        verdict = "[yellow]drifts[/]" if drift["drifted"] else "[green]quiet[/]"
        reasons = f" ({', '.join(drift['metrics'])})" if drift["metrics"] else ""
        output.print(f"Drift         {drift['day']}: {verdict}{reasons}", soft_wrap=True)


def print_models(models: Sequence[ListedModel]) -> None:
    """Show the saved models and which one is in use."""
    from rich.table import Table

    if not models:
        output.print("No model yet: label tickets, then tickets run")
        return
    table = Table("version", "", "trained (UTC)", "tickets", "macro-F1", box=None, pad_edge=False)
    for model in models:
        champion = model.standing == "champion"
        scores = ", ".join(f"{name} {score:.3f}" for name, score in (model.macro_f1 or {}).items())
        table.add_row(
            model.version,
            f"[bold green]{model.standing}[/]" if champion else model.standing,
            model.created_at[:16].replace("T", " "),
            f"{model.training_tickets:,}",
            scores,
        )
    output.print(table)


def print_markdown(text: str) -> None:
    """Show markdown: laid out on a terminal, as it is in a file or a pipe."""
    if not output.is_terminal:
        output.print(text, markup=False, soft_wrap=True)
        return
    from rich.markdown import Markdown

    output.print(Markdown(text))


def print_erasure(erasure: Erasure, *, dry_run: bool = False) -> None:
    """Show what was removed where, or would be."""
    from rich.table import Table

    table = Table("place", "to be removed" if dry_run else "removed", box=None, pad_edge=False)
    counts = {
        "original messages": erasure.messages,
        "lines of their manifests": erasure.manifest_lines,
        "labels landed": erasure.label_lines,
        **{f"rows of {name}": rows for name, rows in erasure.rows.items()},
        "rows of others that name them": erasure.references,
        "vectors in the collection": erasure.vectors,
        "drift reports that name them": len(erasure.reports),
        "rows and words kept beside models": sum(erasure.models.values()),
    }
    for place, count in counts.items():
        table.add_row(place, f"{count:,}")
    output.print(table)


def _print_champion(champion: dict[str, Any] | None) -> None:
    if champion is None:
        output.print("No champion model yet: label tickets, then tickets run")
        return
    output.print(f"Champion      {champion['version']}, on {champion['encoder']}", soft_wrap=True)
    for target, scores in champion["targets"].items():
        right = "" if scores["precision"] is None else f", {scores['precision']:.0%} of those right"
        output.print(
            f"  {target:<11} macro-F1 {scores['macro_f1']:.3f} (majority"
            f" {scores['majority_macro_f1']:.3f}) on the most recent {scores['rows']:,} labelled;"
            f" {scores['coverage']:.0%} sure{right}",
            soft_wrap=True,
        )


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"
