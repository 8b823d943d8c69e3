"""The command that looks for what is damaged, and repairs what can be."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ticket_assets.cli.console import output, print_json, print_warning, progress_bar, styled
from ticket_assets.cli.start import command_desk
from ticket_assets.plural import counted

if TYPE_CHECKING:
    from ticket_assets.doctor.findings import Finding

app = typer.Typer()
NOT_JUDGED = (
    "rows, cursors and marks that can be read and say something else than they did",
    "all vectors but a hundred of the collection, and collections of former encoders",
    "mail that never landed",
    "backups: `tickets restore` compares each file",
)
"""What no look at the desk can tell."""


@app.command(
    epilog="Examples: `tickets doctor`; `tickets doctor --repair`; `tickets doctor --json`"
)
def doctor(
    repair: Annotated[
        bool, typer.Option("--repair", help="Also repair what can be repaired.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Look for what is damaged in the desk: each file, table and run, and what repairs it.

    Exit code 0: all is well, or is again. 1: something is not, and was not repaired. Nothing is
    changed without --repair; nothing is deleted that cannot be made anew: it is moved to the folder
    `set_aside`, originals to `landing/damaged`. It reads every original and every table once.
    """
    from ticket_assets.doctor.collection import examine_collection
    from ticket_assets.doctor.cursors import examine_cursors
    from ticket_assets.doctor.findings import examine
    from ticket_assets.doctor.landing import (
        examine_lists,
        examine_manifests,
        examine_originals,
    )
    from ticket_assets.doctor.models import examine_encoder, examine_models
    from ticket_assets.doctor.places import examine_places, examine_record, examine_remains
    from ticket_assets.doctor.sources import examine_sources
    from ticket_assets.doctor.tables import examine_tables
    from ticket_assets.errors import explained
    from ticket_assets.orchestration.examination import examine_instance, runs_at_work

    desk = command_desk(checked=False)
    parts = {
        # Places first: the others look into them. The tables before what is made from them.
        "places": examine_places,
        "runs": examine_instance,
        "unfinished files": examine_remains,
        "record": examine_record,
        "sources": examine_sources,
        "tables": examine_tables,
        "lists of the landing zone": examine_lists,
        "originals": examine_originals,
        "manifests": examine_manifests,
        "cursors": examine_cursors,
        "models": examine_models,
        "encoder": examine_encoder,
        "collection": examine_collection,
    }
    findings: list[Finding] = []
    with progress_bar() as progress:
        task = progress.add_task("", total=len(parts))
        for part, examination in parts.items():
            progress.update(task, description=f"Looking at the {part}")
            findings += examine(desk, part, examination, repair=repair)
            progress.advance(task)
            if repair and part == "runs":
                try:
                    at_work = [f"{run} is at work." for run in runs_at_work(desk)]
                except Exception as error:
                    at_work = [f"it cannot be known whether a run is at work. {explained(error)}"]
                if at_work:
                    repair = False
                    print_warning(f"Nothing else is repaired now: {at_work[0]}")
    standing = [finding for finding in findings if not finding.is_repaired]
    if as_json:
        print_json(
            {
                "is_well": not standing,
                "findings": [asdict(finding) for finding in findings],
                "not_judged": NOT_JUDGED,
            }
        )
    else:
        _print_findings(findings)
    if standing:
        raise typer.Exit(1)


def _print_findings(findings: list[Finding]) -> None:
    for finding in findings:
        state, style = ("repaired", "green") if finding.is_repaired else ("found", "bold red")
        output.print(styled((state, style), f"  {finding.what}"), soft_wrap=True)
        output.print(f"  where: {finding.where}", soft_wrap=True)
        output.print(
            f"  {'done' if finding.is_repaired else 'repair'}: {finding.repair}", soft_wrap=True
        )
    repaired = sum(finding.is_repaired for finding in findings)
    if not findings:
        output.print("All is well.")
    else:
        output.print(
            f"{counted(len(findings), 'finding')}, {repaired:,} repaired.",
            soft_wrap=True,
        )
    output.print(f"Not judged: {'; '.join(NOT_JUDGED)}.", soft_wrap=True)
