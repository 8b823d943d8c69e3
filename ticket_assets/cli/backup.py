"""The commands that copy a desk and bring it back: backup, restore."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ticket_assets.cli.console import output, print_json, print_warning, progress_bar
from ticket_assets.cli.start import command_desk
from ticket_assets.plural import counted

if TYPE_CHECKING:
    from rich.progress import Progress

    from ticket_assets.backup import Progress as OnProgress
    from ticket_assets.backup import Snapshot

app = typer.Typer()
Target = Annotated[
    str, typer.Argument(help="Folder, or s3://bucket/prefix with the TICKETS_S3_* settings.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command(
    epilog="Examples: `tickets backup /mnt/backups/desk`; `tickets backup s3://backups/desk"
    " --keep 30`"
)
def backup(
    target: Target,
    keep: Annotated[int, typer.Option(min=1, help="Snapshots that are kept at the target.")] = 7,
    as_json: AsJson = False,
) -> None:
    """Copy the desk to another place: mail, tables, models, reports, cursors, Dagster's history.

    Runs may go on meanwhile. Mail that is there already is not copied again. A Dagster database in
    Postgres is not part of it: its server's own backup is.
    """
    from ticket_assets.backup import back_up

    desk = command_desk()
    with progress_bar() as progress:
        snapshot = back_up(desk, target, keep=keep, on_progress=_shown(progress))
    if as_json:
        print_json(_described(snapshot))
        return
    output.print(
        f"Snapshot {snapshot.name} at {target}: {counted(snapshot.messages, 'original message')},"
        f" {counted(sum(snapshot.rows.values()), 'row')} of"
        f" {counted(len(snapshot.rows), 'table')}, {counted(len(snapshot.files), 'file')}.",
        soft_wrap=True,
    )


@app.command(
    epilog="Examples: `tickets restore /mnt/backups/desk --list`; `TICKETS_DATA_DIR=new tickets"
    " restore /mnt/backups/desk`"
)
def restore(
    target: Target,
    snapshot: Annotated[
        str | None, typer.Option(help="The snapshot of this name. Unset: the latest.")
    ] = None,
    show: Annotated[
        bool, typer.Option("--list", help="Only show which snapshots there are.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring a desk back to an empty data folder or empty stores, of the same kind or another.

    What was erased since the snapshot is erased again. An interrupted restore is completed by the
    same command. So a desk also moves from one machine to shared stores.
    """
    from ticket_assets.backup import restore as restore_desk
    from ticket_assets.backup import snapshots

    desk = command_desk(checked=False)
    if show:
        found = [_described(one) for one in snapshots(desk, target)]
        if as_json:
            print_json({"snapshots": found})
            return
        for one in found:
            output.print(
                f"{one['name']}  {counted(one['messages'], 'original message')},"
                f" {counted(one['rows'], 'row')}",
                soft_wrap=True,
            )
        return
    with progress_bar() as progress:
        restored = restore_desk(desk, target, snapshot, on_progress=_shown(progress))
    if as_json:
        print_json(
            {
                **_described(restored.snapshot),
                "erased_again": restored.erased,
                "delivery_stopped": restored.is_delivery_stopped,
            }
        )
        return
    output.print(
        f"Restored {restored.snapshot.name} to {desk.files.location}:"
        f" {counted(restored.messages, 'original message')},"
        f" {counted(sum(restored.snapshot.rows.values()), 'row')}."
        " Next: tickets run, which fills the collection from the tables.",
        soft_wrap=True,
    )
    if restored.erased:
        print_warning(
            f"{counted(restored.erased, 'ticket')} erased after the snapshot was made, now erased"
            " again."
        )
    if restored.is_delivery_stopped:
        print_warning(
            "Delivery is stopped: what was delivered after the snapshot was made would be told"
            " again, by the same keys. If that is well, `tickets delivery start`; `--from DAY`"
            " leaves out what came before that day."
        )


def _described(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "name": snapshot.name,
        "created_at": snapshot.created_at,
        "messages": snapshot.messages,
        "rows": sum(snapshot.rows.values()),
        "files": len(snapshot.files),
    }


def _shown(progress: Progress) -> OnProgress:
    tasks = {}

    def show(what: str, done: int) -> None:
        if what not in tasks:
            tasks[what] = progress.add_task(f"Copying {what}", total=None)
        progress.update(tasks[what], completed=done)

    return show
