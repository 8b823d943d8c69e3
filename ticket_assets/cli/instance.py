"""The commands `tickets dagster`: Dagster's own storage of a desk."""

from __future__ import annotations

import typer

from ticket_assets.cli.console import output
from ticket_assets.cli.start import command_desk

app = typer.Typer()
dagster = typer.Typer(
    no_args_is_help=True, rich_markup_mode="markdown", help="Dagster's own storage of this desk."
)
app.add_typer(dagster, name="dagster")


@dagster.callback()
def group() -> None:
    """A group with one command is shown as a group."""


@dagster.command("migrate", epilog="Example: `tickets dagster migrate`")
def migrate_storage() -> None:
    """Bring Dagster's storage up to the installed version of Dagster, after an upgrade.

    In the data folder and in Postgres alike. Stop `tickets dev` or the daemon before. Where nothing
    is to be done, nothing is changed.
    """
    from ticket_assets.orchestration.instance import migrate

    migrate(command_desk().folder, lambda step: output.print(step, soft_wrap=True))
    output.print("Dagster's storage is up to date.")
