"""The command that sorts one text."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ticket_assets.cli.console import output, print_json, styled
from ticket_assets.cli.start import command_desk

if TYPE_CHECKING:
    from rich.text import Text

    from ticket_assets.triage import SortedTicket

app = typer.Typer()


@app.command(
    epilog='Examples: `tickets classify "Impossible d\'ouvrir le VPN depuis ce matin"`; '
    "`tickets classify - --json < mail.txt`"
)
def classify(
    text: Annotated[str, typer.Argument(help="The text of a ticket, or `-` for standard input.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say category, priority, queue and confidence of a text, and the nearest past tickets."""
    from ticket_assets.mail.charsets import decode_unlabelled
    from ticket_assets.triage import triage

    desk = command_desk()
    ticket = triage(decode_unlabelled(sys.stdin.buffer.read()) if text == "-" else text, desk)
    if as_json:
        print_json(ticket.as_dict())
    else:
        print_ticket(ticket, in_shadow=desk.settings.shadow_mode)


def print_ticket(ticket: SortedTicket, *, in_shadow: bool) -> None:
    """Show labels, queue, decision, the decisive words and the nearest labelled tickets."""
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    for target, label, confidence in (
        ("category", ticket.category, ticket.category_confidence),
        ("priority", ticket.priority, ticket.priority_confidence),
    ):
        if label is not None:
            reason = ticket.review_reasons.get(target)
            table.add_row(target, styled((label, "bold")), f"{confidence:.1%}", _verdict(reason))
    table.add_row("queue", ticket.queue, "", "shadow mode" if in_shadow else "")
    is_sure = ticket.decision == "auto"
    table.add_row("decision", _verdict(None if is_sure else "a person should look"))
    if ticket.likely:
        table.add_row("likely", ", ".join(ticket.likely), "", "one of them in 95 % of the cases")
    output.print(table)
    if ticket.terms:
        output.print(f"because of {', '.join(term for term, _ in ticket.terms)}")
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
            " ".join(neighbour["text"].split())[:80],
        )
    output.print(nearest)


def _verdict(reason: str | None) -> Text:
    """That it is automatic, or why a person has to review it."""
    return styled(("review", "yellow"), f": {reason}") if reason else styled(("auto", "green"))
