"""The command that materialises the graph, and its output."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from ticket_assets.cli.console import (
    ERROR_CHARACTERS,
    messages,
    output,
    print_error,
    print_json,
    print_warning,
    progress_bar,
    styled,
)
from ticket_assets.cli.start import AcceptClock, AcceptSettings, CommandError, command_desk
from ticket_assets.cli.status import print_status
from ticket_assets.clock import refuse_clock_before_most, refuse_early_clock
from ticket_assets.plural import counted

if TYPE_CHECKING:
    from rich.progress import Progress

    from ticket_assets.desk import Desk
    from ticket_assets.run_summary import RunSummary

app = typer.Typer()

MADE_FROM_MAIL = {"raw_tickets", "rejected_messages", "clean_tickets"}
"""Assets that need the original mail of their days."""
SHOWN_EVENTS = ("Waits for ", "Converts ", "Encodes ")
"""Beginnings of what a run reports to whoever waits for it."""


@app.command(
    epilog="Examples: `tickets run`; `tickets run --day 2026-11-20 --job classify_mail`; "
    "`tickets run --from 2026-11-01 --only ticket_predictions --only drift_report`"
)
def run(
    *,
    day: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="This day (UTC) alone.")
    ] = None,
    first: Annotated[
        datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="From this day.")
    ] = None,
    last: Annotated[
        datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="To this day.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Only this asset and its checks. Repeatable.")
    ] = None,
    job: Annotated[
        str | None,
        typer.Option(help="Only this job: classify_mail sorts new mail without training."),
    ] = None,
    whole: Annotated[
        bool, typer.Option("--all", help="All days, also where nothing has changed.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what the run did as JSON, its times included.")
    ] = False,
    accept_settings: AcceptSettings = False,
    accept_clock: AcceptClock = False,
) -> None:
    """Bring everything up to date: days whose mail, code or settings have changed, and the model
    when labels have. The runs are visible in the Dagster UI.

    Days, an asset or a job that are named run whether something has changed or not.
    """
    if day is not None and (first is not None or last is not None):
        raise typer.BadParameter("--day goes without --from and --to.")
    if only and job:
        raise typer.BadParameter("--only goes without --job.")

    desk = command_desk(checked=False)
    if not desk.landing.days():
        raise CommandError(
            f"Nothing has landed in {desk.landing.files.location} yet. Import mail with"
            " `tickets import PATH`, or write some to try it out with `tickets sample`."
        )
    refuse_clock_before_most(desk.landing)
    if not accept_clock:
        refuse_early_clock(desk.landing)
    start, end = (day or first), (day or last)
    first_day, last_day = (start.date() if start else None), (end.date() if end else None)
    if not only or MADE_FROM_MAIL & set(only):
        first_day = _first_day_with_mail(desk, first_day, last_day)
    desk.record_settings(accept=accept_settings)
    desk.remove_unfinished()
    from ticket_assets.planning.needed_runs import needed_runs

    needed = None
    if not (whole or day or first or last or only or job):
        needed = needed_runs(desk)
        if needed.is_nothing:
            _end_dead_runs(desk)
            _show_nothing_new(desk, as_json=as_json)
            return
    if needed and needed.lost_tickets:
        print_warning(
            f"The collection has lost {counted(needed.lost_tickets, 'ticket')}: it is filled from"
            " the warehouse."
        )
    # Before Dagster: skops, which reads the model, searches all modules in the order of their
    # import for each of SciPy's functions, and saves a second when SciPy comes first.
    import scipy.special  # noqa: F401

    from ticket_assets.orchestration.runs import materialise, materialise_all, materialise_needed

    with progress_bar() as progress:
        shown = StepProgress(progress)
        if only or job:
            summaries = [
                materialise(first_day, last_day, only or (), shown, shown.start, job_name=job)
            ]
        elif needed is not None:
            summaries = materialise_needed(needed, shown, shown.start)
        else:
            summaries = materialise_all(first_day, last_day, shown, shown.start)
    _show_runs(desk, summaries, as_json=as_json)


def _first_day_with_mail(desk: Desk, first: date | None, last: date | None) -> date | None:
    """`first`, or the day after the purged ones when it is one of them, which a note then says.

    Raises:
        LandingError: `last` was purged, and every day before it.
    """
    if last:
        desk.landing.refuse_purged(last)
    unpurged = first and desk.landing.first_unpurged_day(first)
    if unpurged != first:
        print_warning(
            f"The run begins with {unpurged}: the original mail of earlier days has been purged,"
            " and what the tables hold of them stays."
        )
    return unpurged


def _end_dead_runs(desk: Desk) -> None:
    """Mark runs as failed that were killed after their last rows; usually the next run does it."""
    from ticket_assets.orchestration.instance import desk_instance
    from ticket_assets.orchestration.living_runs import end_dead_runs

    with desk_instance(desk.folder) as instance:
        end_dead_runs(instance)


def _show_runs(desk: Desk, summaries: list[RunSummary], *, as_json: bool) -> None:
    from ticket_assets.status import read_status

    if as_json:
        print_json({"runs": [asdict(summary) for summary in summaries]})
    else:
        for summary in summaries:
            print_run(summary)
    if not all(summary.success for summary in summaries):
        if summaries[-1].success:
            print_warning("No candidate was promoted; the present champion has sorted the mail.")
        raise typer.Exit(1)
    if not as_json:
        print_status(read_status(desk), desk.landing.files.location)


def _show_nothing_new(desk: Desk, *, as_json: bool) -> None:
    """Say that nothing has to be computed, and show the status."""
    from ticket_assets.status import read_status

    if as_json:
        print_json({"runs": []})
        return
    output.print(
        "Nothing new: mail, labels, code and settings are those that everything was made from."
        " `tickets run --all` computes it again.",
        soft_wrap=True,
    )
    print_status(read_status(desk), desk.landing.files.location)


class RunEvent(Protocol):
    """The part of a Dagster event that is shown."""

    @property
    def event_type_value(self) -> str: ...

    @property
    def step_key(self) -> str | None: ...

    @property
    def message(self) -> str | None: ...


class StepProgress:
    """Shows the present asset or check of a run, and the number of those done.

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
        if name == "ENGINE_EVENT" and (event.message or "").startswith(SHOWN_EVENTS):
            messages.print(event.message, soft_wrap=True)
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


def _on_days(days: list[str]) -> str:
    if len(days) < 2:
        return f" on {days[0]}" if days else ""
    return f" on {len(days)} days, {days[0]} to {days[-1]}"


def print_run(summary: RunSummary) -> None:
    """Show a run: checks that did not pass, counts, and the reason of each failure."""
    for failed in sorted(summary.failed_checks, key=lambda check: not check.blocking):
        verdict = ("failed", "bold red") if failed.blocking else ("warns", "yellow")
        place = f"  {failed.asset}: {failed.check}{_on_days(failed.days)}"
        output.print(styled(verdict, place))
    output.print(
        f"{counted(len(summary.materialised), 'asset')} materialised,"
        f" {counted(len(summary.passed_checks), 'check')} passed,"
        f" {len(summary.failed_checks)} did not. Run {summary.run_id}",
        soft_wrap=True,
    )
    for step, reason in summary.failed_steps.items():
        print_error(f"{step}: {reason}")
        if len(reason) > ERROR_CHARACTERS:
            print_warning("The whole of it stands with the run in the Dagster UI.")
    if summary.skipped:
        messages.print(f"Not materialised: {', '.join(sorted(summary.skipped))}", soft_wrap=True)
