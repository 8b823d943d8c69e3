"""The commands that remove data: erase, purge, prune."""

from __future__ import annotations

import sys
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
    from collections.abc import Callable, Sequence

    from ticket_assets.desk import Desk
    from ticket_assets.erasure import Erasure

app = typer.Typer()


@app.command(
    epilog="Examples: `tickets erase --sender anne@example.org --dry-run`; "
    "`tickets erase --ticket 0123456789abcdef0123 --yes`"
)
def erase(
    sender: Annotated[
        list[str] | None, typer.Option(help="All mail from this address. Repeatable.")
    ] = None,
    ticket: Annotated[
        list[str] | None, typer.Option(help="The ticket with this id. Repeatable.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be removed.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Remove a person's or a ticket's data everywhere, for good; it does not land again.

    Mail of others that quotes it stays, and so do the mailboxes and exports it came from. An
    erasure that was interrupted is completed by the same command. Runs, imports and fetches that
    are at work end before.
    """
    if not sender and not ticket:
        raise typer.BadParameter("Name an address with --sender, or a ticket with --ticket.")
    from ticket_assets.erasure import erase as erase_tickets

    desk = command_desk()
    senders = sender or []
    if dry_run or not yes:
        tickets = _find_tickets(desk, senders, ticket or [], on_unknown=_say_unknown)
        history = _erase_from_history(desk, tickets, senders, dry_run=True)
        planned = erase_tickets(desk, tickets, dry_run=True)
        if dry_run:
            _show_erasure(planned, as_json, history, dry_run=True)
            return
        if tickets and (as_json or not sys.stdin.isatty()):
            raise CommandError("Nothing was erased: nobody can be asked here, so add --yes.")
        if tickets:
            print_erasure(planned, history, dry_run=True)
            typer.confirm(f"Erase {counted(planned.tickets, 'ticket')} for good?", abort=True)
    from ticket_assets.mail.removal import no_arrivals
    from ticket_assets.orchestration.living_runs import RUN_PATIENCE_SECONDS, wait_for_runs
    from ticket_assets.storage.inventory import not_searched

    if at_work := wait_for_runs(desk.folder, on_wait=print_waiting):
        raise CommandError(
            f"Nothing was erased: {at_work[0]} is at work and may write the tickets again."
            " Wait until it has ended, or terminate it in the Dagster UI."
        )
    with no_arrivals(desk.leases, RUN_PATIENCE_SECONDS, print_waiting):
        on_unknown = _say_unknown if yes else None
        tickets = _find_tickets(desk, senders, ticket or [], on_unknown=on_unknown)
        erasure = erase_tickets(desk, tickets)
    at_work = wait_for_runs(desk.folder, on_wait=print_waiting)
    # A run that began during the erasure may have written rows that it had read before.
    erasure += erase_tickets(desk, tickets)
    history = _erase_from_history(desk, tickets, senders)
    _show_erasure(erasure, as_json, history)
    _tell_backups(desk)
    if left := not_searched(desk.settings):
        print_warning(
            f"Not searched, since the desk does not use it: {', '.join(map(str, left))}. Remove"
            " what may hold the person's data."
        )
    if at_work:
        raise CommandError(
            f"{at_work[0].capitalize()} began during the erasure and is still at work: give the"
            " same command again when it has ended."
        )


@app.command(epilog="Example: `TICKETS_RAW_MAIL_DAYS=365 tickets purge`")
def purge(
    large: Annotated[
        bool, typer.Option("--large", help="Also when most of what there is would be removed.")
    ] = False,
) -> None:
    """Remove original mail older than TICKETS_RAW_MAIL_DAYS; what was learnt from it stays.

    The schedule nightly_purge does the same. A day whose mail has not been processed is kept.
    """
    from ticket_assets.orchestration.living_runs import wait_for_runs
    from ticket_assets.retention import purge as purge_mail

    desk = command_desk()
    if at_work := wait_for_runs(desk.folder, on_wait=print_waiting):
        raise CommandError(f"Nothing was purged: {at_work[0]} is at work. Wait until it has ended.")
    purged = purge_mail(desk, large=large)
    output.print(
        f"{counted(purged.messages, 'original message')} removed,"
        f" {counted(purged.rows, 'row')} of raw_tickets cleared; purged until"
        f" {purged.until or 'no day yet'}.",
        soft_wrap=True,
    )
    if purged.waits_for:
        print_warning(
            f"{purged.waits_for} is old enough and has not been processed, so it and what comes"
            " after it stay: tickets run"
        )
    if purged.never_processed:
        print_warning(
            f"{purged.never_processed:,} of the messages had come too late to be processed."
        )


@app.command(epilog="Example: `TICKETS_KEEP_RUNS_DAYS=7 tickets prune --dry-run`")
def prune(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be removed.")
    ] = False,
) -> None:
    """Remove runs older than TICKETS_KEEP_RUNS_DAYS, and models beyond TICKETS_KEEP_MODELS.

    The job housekeeping does the same every night. The latest state of every asset stays, and every
    model that is in use or that `tickets model rollback` goes back to.
    """
    from datetime import UTC, datetime, timedelta

    from ticket_assets.orchestration.instance import desk_instance
    from ticket_assets.orchestration.pruning import prune_runs

    desk = command_desk()
    before = datetime.now(UTC) - timedelta(days=desk.settings.keep_runs_days)
    with desk_instance(desk.folder) as instance:
        runs = prune_runs(instance, before, dry_run=dry_run)
    models: list[str] = []
    if desk.has_models:
        from ticket_assets.classification.promotion import superfluous_models

        models = superfluous_models(desk.models, desk.settings.keep_models)
        if not dry_run:
            desk.models.remove(models)
    if dry_run:
        output.print("Nothing is removed yet. It would be:", soft_wrap=True)
    output.print(f"{runs}.", soft_wrap=True)
    output.print(f"{counted(len(models), 'model')} removed.", soft_wrap=True)


def _find_tickets(
    desk: Desk,
    senders: Sequence[str],
    tickets: Sequence[str],
    on_unknown: Callable[[str], None] | None,
) -> set[str]:
    from ticket_assets.erasure import find_tickets

    with progress_bar() as progress:
        task = progress.add_task("Reading senders", total=None)
        return find_tickets(
            desk,
            senders,
            tickets,
            lambda read, total: progress.update(task, completed=read, total=total),
            on_unknown,
        )


def _say_unknown(sender: str) -> None:
    print_warning(
        f"No message from {sender} is kept. Mail whose original was purged no longer says who sent"
        " it: name such a ticket by its id, with --ticket."
    )


def _tell_backups(desk: Desk) -> None:
    """Also of erasures that were interrupted before they had told them."""
    from ticket_assets.backup import tell_backups

    erased = desk.landing.erased()
    for location, failure in tell_backups(desk, erased).items() if erased else ():
        print_warning(
            f"The backup at {location} could not be told: {failure} The next `tickets backup"
            f" {location}` does; until then a restore would bring the tickets back."
            if failure
            else f"Snapshots at {location} still hold the tickets' texts, and a restore erases them"
            f" again. To have them gone there too: tickets backup {location} --keep 1"
        )


def _erase_from_history(
    desk: Desk, tickets: set[str], senders: Sequence[str], *, dry_run: bool = False
) -> int:
    from ticket_assets.orchestration.history_erasure import erase_from_history
    from ticket_assets.orchestration.instance import desk_instance

    with desk_instance(desk.folder) as instance:
        erased = desk.landing.erased() | tickets
        return erase_from_history(instance, erased, senders, dry_run=dry_run)


def _show_erasure(erasure: Erasure, as_json: bool, history: int, *, dry_run: bool = False) -> None:
    if as_json:
        print_json({"dry_run": dry_run, **asdict(erasure), "history": history})
        return
    print_erasure(erasure, history, dry_run=dry_run)
    if erasure.champion in erasure.models:
        print_warning(
            f"The champion {erasure.champion} has learnt from"
            f" {erasure.models[erasure.champion]:,} of the tickets; `tickets run` trains one"
            " without them."
        )


def print_erasure(erasure: Erasure, history: int, *, dry_run: bool = False) -> None:
    """Show the numbers of removed things by place; of a dry run, those that would be removed."""
    from rich.table import Table

    table = Table("place", "to be removed" if dry_run else "removed", box=None, pad_edge=False)
    counts = {
        "original messages": erasure.messages,
        "lines of their manifests": erasure.manifest_lines,
        "labels landed": erasure.label_lines,
        **{f"rows of {name}": rows for name, rows in erasure.rows.items()},
        "rows of others that name them": erasure.references,
        "vectors in the collection": erasure.vectors,
        "reports that name them": len(erasure.reports),
        "rows and words kept beside models": sum(erasure.models.values()),
        "entries of Dagster's history that name them": history,
        "damaged files set aside, which nobody can search": erasure.set_aside,
        "files of decisions not handed over yet": erasure.unpublished,
    }
    for place, count in counts.items():
        table.add_row(place, f"{count:,}")
    output.print(table)
    if erasure.delivered:
        told = ", ".join(f"{count:,} to {name}" for name, count in erasure.delivered.items())
        print_warning(
            f"Their decisions were, or may have been, delivered: {told}. What a receiver holds of"
            " them stays until it is removed there; so do files in the delivery folder."
        )
