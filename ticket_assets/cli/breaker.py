"""The commands `tickets breaker`: what audits say of labels, and how a suspended one comes back."""

from __future__ import annotations

from typing import Annotated

import typer

from ticket_assets.cli.console import output, print_json, print_warning
from ticket_assets.cli.start import command_desk
from ticket_assets.plural import counted

app = typer.Typer()
breaker = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="What audits say of the labels; put back one that was taken off automatic.",
)
app.add_typer(breaker, name="breaker")


@breaker.command("show", epilog="Example: `tickets breaker show`; `tickets breaker show --json`")
def show(
    days: Annotated[int, typer.Option(min=1, help="Days up to the latest mail.")] = 90,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what became of each label's automatic tickets, and which labels are suspended.

    Accepted: a person gave the same category afterwards. Overridden: another one. Already right: a
    person's category was there before. Undecided: nobody has looked, which counts for nothing.
    """
    from rich.table import Table

    from ticket_assets.accounting import read_accounts
    from ticket_assets.accounting_view import (
        ACCOUNT_HEADINGS,
        EVIDENCE_HEADINGS,
        account_rows,
        accounts_metadata,
        evidence_cells,
    )
    from ticket_assets.breaker import read_evidence

    desk = command_desk()
    accounts = read_accounts(desk.warehouse, days)
    evidence = read_evidence(desk.warehouse, desk.settings.target_precision, desk.champion)
    if as_json:
        metadata = accounts_metadata(accounts, evidence)
        print_json({name: metadata[name] for name in ("suspended", "by_label")})
        return
    if not accounts and not evidence:
        output.print("No automatic ticket yet.")
        return
    for headings, rows in (
        (ACCOUNT_HEADINGS, account_rows(accounts)),
        (EVIDENCE_HEADINGS, list(map(evidence_cells, evidence))),
    ):
        table = Table(*headings, box=None, pad_edge=False)
        for row in rows:
            table.add_row(*row)
        if rows:
            output.print(table)
    suspended = [one.label for one in evidence if one.suspended_since]
    if suspended:
        print_warning(
            f"{counted(len(suspended), 'label')} off automatic: {', '.join(suspended)}. Look at"
            " their tickets, correct them, then tickets breaker reset LABEL, or train again."
        )


@breaker.command("reset", epilog="Example: `tickets breaker reset network`")
def reset(
    label: Annotated[str, typer.Argument(help="The category.")],
) -> None:
    """Make a suspended label automatic again, from the next mail on.

    What its audits said until now no longer counts against it.
    """
    from datetime import UTC, datetime

    from ticket_assets.breaker import reset_label

    reset_label(command_desk().warehouse, label, datetime.now(UTC).replace(tzinfo=None))
    output.print(f"{label} is automatic again, from the next mail on.", markup=False)
