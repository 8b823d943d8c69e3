"""The commands `tickets model`: list, show and roll back the models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ticket_assets.cli.console import output, print_json, print_markdown, styled
from ticket_assets.cli.start import command_desk

if TYPE_CHECKING:
    from ticket_assets.classification.model_listing import ListedModel

app = typer.Typer()
model = typer.Typer(
    no_args_is_help=True, rich_markup_mode="markdown", help="List, show and roll back the models."
)
app.add_typer(model, name="model")


@model.command("list", epilog="Example: `tickets model list --json`")
def list_models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the trained models, the oldest first, and say which one is in use."""
    from ticket_assets.classification.model_listing import list_models as listed

    models = listed(command_desk().models)
    if as_json:
        print_json({"models": [asdict(model) for model in models]})
    else:
        print_models(models)


@model.command("show", epilog="Example: `tickets model show 0123456789ab`")
def show_model(
    version: Annotated[
        str | None, typer.Argument(help="Version to show; by default the champion.")
    ] = None,
) -> None:
    """Show a model's card: what it is, what it is worth, and its limits."""
    store = command_desk().models
    print_markdown(store.card(version or store.require_champion().version))


@model.command("rollback", epilog="Example: `tickets model rollback`")
def roll_back_model() -> None:
    """Make the former champion the model in use again.

    The one taken back is not promoted again as it is: only another model, trained on other labels
    or with other settings, can follow.
    """
    desk = command_desk()
    with desk.changing_models():
        former = desk.models.champion_name()
        champion = desk.models.rollback()
    output.print(
        f"{champion.version} is the champion again, and {former} is taken back. Mail that comes in"
        " is sorted with it; what is sorted already is not.",
        soft_wrap=True,
    )
    output.print("Next: tickets run --only ticket_predictions", soft_wrap=True)


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
            styled((model.standing, "bold green")) if champion else model.standing,
            model.created_at[:16].replace("T", " "),
            f"{model.training_tickets:,}",
            scores,
        )
    output.print(table)
