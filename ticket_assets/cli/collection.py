"""The commands `tickets collection`: make the collection anew."""

from __future__ import annotations

import typer

from ticket_assets.cli.console import output, print_waiting, progress_bar
from ticket_assets.cli.start import CommandError, command_desk
from ticket_assets.plural import counted

app = typer.Typer()
collection = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="The Chroma collection of the tickets' vectors.",
)
app.add_typer(collection, name="collection")


@collection.callback()
def group() -> None:
    """A group with one command is shown as a group."""


@collection.command("rebuild", epilog="Example: `tickets collection rebuild`")
def rebuild_collection() -> None:
    """Clear the collection and fill it from the warehouse; nothing is encoded again.

    For a collection that is damaged. One that has lost tickets is noticed and filled by the next
    `tickets run`, and by the sensor new_mail. Runs at work are waited for.
    """
    from ticket_assets.orchestration.living_runs import wait_for_runs
    from ticket_assets.storage.collected_tickets import rebuild
    from ticket_assets.storage.collection import chroma_server

    desk = command_desk()
    if at_work := wait_for_runs(desk.folder, on_wait=print_waiting):
        raise CommandError(
            f"Nothing was rebuilt: {at_work[0]} is at work. Wait until it has ended."
        )
    with progress_bar() as progress:
        task = progress.add_task("Filling the collection", total=None)
        tickets = rebuild(
            desk.warehouse,
            folder=desk.settings.collection_dir,
            server=chroma_server(desk.settings),
            on_progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    output.print(f"The collection is made anew, of {counted(tickets, 'ticket')}.", soft_wrap=True)
