"""The command that shows the status of a desk."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

import typer

from ticket_assets.cli.console import output, print_json, print_warning, styled
from ticket_assets.cli.delivery import print_delivery
from ticket_assets.cli.start import command_desk
from ticket_assets.plural import counted

app = typer.Typer()


@app.command(epilog="Example: `tickets status --json`")
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what has landed, what the tables hold and how good the champion is."""
    from ticket_assets.status import read_status

    desk = command_desk()
    figures = read_status(desk)
    if as_json:
        print_json(figures)
    else:
        print_status(figures, desk.landing.files.location)


def print_status(figures: dict[str, Any], location: str) -> None:
    """Show the figures of `read_status`."""
    from rich.table import Table

    from ticket_assets.classification.evidence import evidence_text

    landing = figures["landing"]
    output.print(
        f"Landing zone  {counted(landing['messages'], 'message')}"
        f" on {counted(landing['days'], 'day')}"
        + (f", {landing['first']} to {landing['last']}" if landing["days"] else "")
        + f"  ({location})",
        soft_wrap=True,
    )
    for refusal in figures["refused_files"]:
        print_warning(f"Refused: {refusal}")
    for failed in figures["failed_days"]:
        outlook = f"tried again at {failed['next_try']}" if failed["next_try"] else "it stands"
        print_warning(
            f"{failed['day']} has failed {counted(failed['tries'], 'time')}: {outlook}."
            f" `tickets run --day {failed['day']}` tries it now."
        )
    if figures["shadow_mode"]:
        output.print(
            "Shadow mode   tickets are decided and none is handed on (TICKETS_SHADOW_MODE)",
            soft_wrap=True,
        )
    print_delivery(figures["delivery"])
    if not landing["messages"]:
        output.print(
            "Nothing has landed yet: tickets import PATH, or tickets sample to try it out."
        )
        return
    if figures["tables"]:
        tables = Table("table", "rows", "newest (UTC)", box=None, pad_edge=False)
        for name, table in figures["tables"].items():
            tables.add_row(name, f"{table['rows']:,}", str(table["newest"] or ""))
        output.print(tables)
    else:
        output.print("No table yet: tickets run")
    if figures["tables"]:
        evidence = figures["evidence"]
        text = evidence_text(evidence["labelled"], evidence["labels_needed"])
        output.print(f"Labels        {text}", soft_wrap=True)
    _print_champion(figures["champion"])
    decisions = Counter(figures["decisions"])
    labelled = decisions.pop("labelled", 0)
    if total := decisions.total():
        output.print(
            f"Predictions   {decisions['auto'] / total:.0%} auto,"
            f" {decisions['review'] / total:.0%} for a person to look at, of"
            f" {counted(total, 'ticket')} without a person's label",
            soft_wrap=True,
        )
    if labelled:
        output.print(f"Labelled      {counted(labelled, 'ticket')}, by people", soft_wrap=True)
    _print_accounts(figures)
    if figures["drift"]:
        drift = figures["drift"]
        verdict = ("drifts", "yellow") if drift["drifted"] else ("quiet", "green")
        reasons = f" ({', '.join(drift['metrics'])})" if drift["metrics"] else ""
        output.print(styled(f"Drift         {drift['day']}: ", verdict, reasons), soft_wrap=True)


def _print_accounts(figures: dict[str, Any]) -> None:
    if accounts := figures["accounts"]:
        accepted, overridden, undecided, audits, errors = (
            sum(account[name] for account in accounts)
            for name in (
                *("accepted", "overridden", "undecided"),
                *("audits_answered", "audit_errors"),
            )
        )
        output.print(
            f"Automatic     {accepted:,} accepted, {overridden:,} overridden, {undecided:,}"
            f" undecided; {counted(audits, 'audit')} answered, {errors:,} of them wrong:"
            " tickets breaker show",
            soft_wrap=True,
        )
    for label in figures["suspended_labels"]:
        print_warning(f"Audits have taken {label} off automatic: tickets breaker show.")


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
