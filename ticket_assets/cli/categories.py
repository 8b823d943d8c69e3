"""The commands `tickets categories`: list, rename and merge the categories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ticket_assets.cli.console import (
    output,
    print_json,
    print_waiting,
    print_warning,
    progress_bar,
)
from ticket_assets.cli.start import CommandError, command_desk
from ticket_assets.plural import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from ticket_assets.categories import Affected, Category
    from ticket_assets.desk import Desk
    from ticket_assets.mail.category_changes import CategoryChange

app = typer.Typer()
categories = typer.Typer(
    no_args_is_help=True, rich_markup_mode="markdown", help="List, rename and merge the categories."
)
app.add_typer(categories, name="categories")

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be changed.")]
STEPS = 5


@categories.command("list", epilog="Example: `tickets categories list --json`")
def list_all(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the categories with their queues, labels and predictions, and their former names."""
    from ticket_assets.categories import list_categories

    listed = list_categories(command_desk())
    if as_json:
        print_json({"categories": [asdict(category) for category in listed]})
    else:
        _print_categories(listed)


@categories.command(
    epilog="Examples: `tickets categories rename email mail --dry-run`; "
    "`tickets categories rename email mail`"
)
def rename(
    category: Annotated[str, typer.Argument(help="The name that the category has.")],
    name: Annotated[str, typer.Argument(help="The name that it gets.")],
    dry_run: DryRun = False,
) -> None:
    """Give a category another name everywhere: labels, predictions, models, routing file.

    Nothing is learnt anew, and no ticket changes but by the name. Labels and exports that say the
    former name still count. A renaming that was interrupted is completed by the same command. Runs
    that are at work end before.
    """
    from ticket_assets.categories import renaming

    desk = command_desk(checked=False)
    change = _make(desk, lambda: renaming(desk, category, name), dry_run=dry_run)
    if not dry_run:
        output.print(f"Renamed: {change.former[0]} is {change.name} now.", soft_wrap=True)


@categories.command(
    epilog="Examples: `tickets categories merge laptops screens hardware --dry-run`; "
    "`tickets categories merge laptops screens hardware`"
)
def merge(
    names: Annotated[
        list[str],
        typer.Argument(metavar="CATEGORY... INTO", help="The categories, then what they become."),
    ],
    dry_run: DryRun = False,
) -> None:
    """Make all tickets of some categories tickets of another one, everywhere as for a rename.

    Until the next training, which `tickets run` begins, the model decides as before and says the
    one name for all. A merge cannot be taken back. One that was interrupted is completed by the
    same command.
    """
    if len(names) < 2:
        raise typer.BadParameter("Name at least one category, and the one that it becomes.")
    from ticket_assets.categories import merging

    *former, name = names
    desk = command_desk(checked=False)
    change = _make(desk, lambda: merging(desk, former, name), dry_run=dry_run)
    if not dry_run:
        output.print(f"Merged: {change}.", soft_wrap=True)
        output.print(
            "Next: tickets run, which trains a model that knows them as one. Until then it decides"
            " as before, and says one name for all.",
            soft_wrap=True,
        )


def _make(desk: Desk, plan: Callable[[], CategoryChange], *, dry_run: bool) -> CategoryChange:
    """Make the change that `plan` gives, or show what it would change; returns it."""
    from ticket_assets.categories import affected, apply, begin
    from ticket_assets.mail.removal import removing
    from ticket_assets.orchestration.living_runs import wait_for_runs

    change = plan()
    if dry_run:
        _print_affected(affected(desk, change))
        return change
    if at_work := wait_for_runs(desk.folder, on_wait=print_waiting):
        raise CommandError(
            f"Nothing was changed: {at_work[0]} is at work. Wait until it has ended, or terminate"
            " it in the Dagster UI."
        )
    with removing(desk.landing, desk.leases):
        change = plan()
        begin(desk, change)
        # One that began before no other could.
        if at_work := wait_for_runs(desk.folder, on_wait=print_waiting):
            raise CommandError(
                f"{at_work[0].capitalize()} is at work. Give the same command again when it has"
                " ended; until then nothing else begins."
            )
        with progress_bar() as progress:
            task = progress.add_task("", total=STEPS)
            damaged = apply(
                desk,
                change,
                lambda step: progress.update(task, advance=1, description=f"Changing the {step}"),
            )
        # What had looked at the desk before, and began to write afterwards.
        late: list[str] = []
        wait_for_runs(desk.folder, on_wait=late.append)
        if late:
            damaged = apply(desk, change)
        desk.landing.category_changes.end()
    if damaged:
        print_warning(
            f"Damaged models stay as they are and cannot be used: {', '.join(damaged)}. `tickets"
            " doctor` says more."
        )
    return change


def _print_affected(affected: Affected) -> None:
    from rich.table import Table

    table = Table("what", "to be changed", box=None, pad_edge=False)
    for what, count in {
        "labelled tickets": affected.labels,
        "predictions": affected.predictions,
        "predictions with one of them among the nearest tickets": affected.neighbours,
        "models": affected.models,
        "drift reports": affected.reports,
    }.items():
        table.add_row(what, f"{count:,}")
    output.print(table)
    output.print("Nothing is changed yet.")


def _print_categories(listed: Sequence[Category]) -> None:
    from rich.table import Table

    table = Table("category", "queue", "labels", "predictions", "automatic", box=None)
    table.pad_edge = False
    for category in listed:
        former = f" (was {', '.join(category.former)})" if category.former else ""
        table.add_row(
            f"{category.name}{former}",
            category.queue or "in no routing file",
            f"{category.labels:,}",
            f"{category.predictions:,}",
            f"{category.automatic:,}",
        )
    output.print(table)
    output.print(f"{counted(len(listed), 'category', 'categories')}.")
