"""`python -m benchmarks`: speed, memory and quality beside the usual tools, on this machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.suite import PARTS, QUICK, Setup, Sizes
from benchmarks.table import table
from ticket_assets.cli.console import messages, output, print_error, print_markdown, progress_bar
from ticket_assets.desk import Desk
from ticket_assets.errors import TicketAssetsError
from ticket_assets.settings import load_settings

app = typer.Typer(add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False)


@app.command(
    epilog="Examples: `make bench ARGS=--quick`; `python -m benchmarks --only mail --only job`; "
    "`python -m benchmarks --tickets export.csv --category queue --priority urgency`"
)
def bench(
    *,
    only: Annotated[list[str] | None, typer.Option(help="Only this part. Repeatable.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Small sizes: shows that it works, not what it costs.")
    ] = False,
    labelled: Annotated[
        Path | None,
        typer.Option(
            "--tickets",
            help="Measure the quality on this labelled table instead; the drift with --only drift,"
            " the thresholds with --only thresholds, what is unlike it with --only unfamiliar.",
        ),
    ] = None,
    category: Annotated[
        str | None, typer.Option(help="Column of the category in it, as --priority and so on.")
    ] = None,
    priority: Annotated[str | None, typer.Option()] = None,
    subject: Annotated[str | None, typer.Option()] = None,
    body: Annotated[str | None, typer.Option()] = None,
) -> None:
    """Measure speed, memory and quality beside the usual tools, on this machine.

    Works in temporary folders and takes about an hour. Needs the extra `bench`, as `make bench`
    installs it.
    """
    unknown = sorted(set(only or ()) - PARTS.keys())
    if unknown:
        raise typer.BadParameter(f"There is no part {unknown[0]}. Parts: {', '.join(PARTS)}.")
    desk = Desk(load_settings())
    if labelled is not None:
        columns = {"category": category, "priority": priority, "subject": subject, "body": body}
        mapping = {field: column for field, column in columns.items() if column}
        if only == ["drift"]:
            _measure_drift(labelled, mapping, desk)
        elif only == ["thresholds"]:
            _measure_thresholds(labelled, mapping, desk)
        elif only == ["unfamiliar"]:
            _measure_unfamiliar(labelled, mapping, desk)
        else:
            _measure_quality(labelled, mapping, desk)
        return
    setup = Setup(
        sizes=QUICK if quick else Sizes(),
        encoder=desk.settings.encoder,
        encoders_dir=desk.settings.unpacked_encoders_dir,
    )
    lines = []
    with progress_bar() as progress:
        task = progress.add_task("", total=len(only or PARTS))
        for name, part in PARTS.items():
            if only and name not in only:
                continue
            progress.update(task, description=f"Measuring: {name}")
            for line in part(setup):
                lines.append(line)
                messages.print(f"{line.part}: {line.figure}: {line.value}", soft_wrap=True)
            progress.advance(task)
    output.print(table(lines))
    if any(line.met is False for line in lines):
        raise typer.Exit(1)


def _measure_quality(path: Path, column_mapping: dict[str, str], desk: Desk) -> None:
    from benchmarks.candidates import choices_table, compare_choices, french_tickets
    from benchmarks.quality import compare_with_peers, quality_table
    from ticket_assets.quality import labelled_tickets

    table = labelled_tickets(path, desk.settings, desk.routing, column_mapping)
    with progress_bar() as progress:
        task = progress.add_task("Encoding", total=None)
        quality = compare_with_peers(
            table,
            desk.encoder.encoder.encode,
            on_progress=lambda text: progress.update(task, description=text),
        )
        french, sentences = french_tickets()
        choices = {
            name: compare_choices(
                tickets,
                desk.encoder.encoder.encode(tickets["text"].tolist()),
                wordings,
                on_progress=lambda text: progress.update(task, description=text),
            )
            for name, tickets, wordings in (
                (path.stem, table.tickets, table.groups),
                ("generated French", french, sentences),
            )
        }
    print_markdown(quality_table(quality))
    print_markdown(choices_table(choices))


def _measure_drift(path: Path, column_mapping: dict[str, str], desk: Desk) -> None:
    from benchmarks.drift import Mail, Tries, drift_lines
    from ticket_assets.quality import labelled_tickets

    tickets = labelled_tickets(path, desk.settings, desk.routing, column_mapping).tickets
    encode = desk.encoder.encoder.encode
    mail = Mail(tickets, encode(tickets["text"].tolist()))
    output.print(table(drift_lines(mail, encode, Tries(), path.stem)))


def _measure_thresholds(path: Path, column_mapping: dict[str, str], desk: Desk) -> None:
    from benchmarks.steadiness import automatic_shares, steadiness_lines
    from benchmarks.thresholds import realised, realised_lines
    from ticket_assets.quality import labelled_tickets

    labelled = labelled_tickets(path, desk.settings, desk.routing, column_mapping)
    vectors = desk.encoder.encoder.encode(labelled.tickets["text"].tolist())
    with progress_bar() as progress:
        task = progress.add_task("", total=None)
        given = labelled.tickets, vectors, labelled.groups

        def report(text: str) -> None:
            progress.update(task, description=text)

        found = realised(*given, on_progress=report)
        shares = automatic_shares(*given, on_progress=report)
    lines = [*realised_lines(path.stem, found), *steadiness_lines(path.stem, shares)]
    output.print(table(lines))


def _measure_unfamiliar(path: Path, column_mapping: dict[str, str], desk: Desk) -> None:
    from benchmarks.drift import Mail
    from benchmarks.unfamiliar import (
        never_learnt,
        never_learnt_lines,
        unfamiliar_lines,
        verdicts_on,
    )
    from ticket_assets.quality import labelled_tickets

    labelled = labelled_tickets(path, desk.settings, desk.routing, column_mapping)
    encode = desk.encoder.encoder.encode
    mail = Mail(labelled.tickets, encode(labelled.tickets["text"].tolist()))
    lines = [
        *unfamiliar_lines(*verdicts_on(mail, labelled.groups, encode)),
        *never_learnt_lines(never_learnt(mail, labelled.groups)),
    ]
    output.print(table(lines))


def main() -> None:
    """Run the benchmark; an error meant for people is one line and exit code 1."""
    try:
        app()
    except TicketAssetsError as error:
        print_error(str(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
