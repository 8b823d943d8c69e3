"""The command that measures speed, memory and quality."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ticket_assets.cli.console import output, print_markdown, print_measured, progress_bar
from ticket_assets.cli.start import command_desk

app = typer.Typer()


@app.command(
    epilog="Examples: `tickets bench --quick`; `tickets bench --only mail --only job`; "
    "`tickets bench --tickets export.csv --category queue --priority urgency`"
)
def bench(
    *,
    only: Annotated[list[str] | None, typer.Option(help="Only this part. Repeatable.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Small sizes: shows that it works, not what it costs.")
    ] = False,
    labelled: Annotated[
        Path | None,
        typer.Option("--tickets", help="Measure the quality on this labelled CSV instead."),
    ] = None,
    category: Annotated[str, typer.Option(help="Column of the category in it.")] = "category",
    priority: Annotated[
        str | None, typer.Option(help="Column of the priority in it, where it has one.")
    ] = None,
    subject: Annotated[str, typer.Option(help="Column of the subject in it.")] = "subject",
    body: Annotated[str, typer.Option(help="Column of the text in it.")] = "body",
) -> None:
    """Measure speed, memory and quality beside the usual tools, on this machine.

    Works in temporary folders and takes about an hour. Needs the extra `bench`, as `make bench`
    installs it.
    """
    desk = command_desk()
    if labelled is not None:
        from ticket_assets.bench.quality import quality

        with progress_bar() as progress:
            task = progress.add_task("Encoding", total=None)
            found = quality(
                labelled,
                desk.encoder.encoder.encode,
                category=category,
                priority=priority,
                subject=subject,
                body=body,
                on_progress=lambda done: progress.update(task, description=done),
            )
        print_markdown(found.table())
        return
    from ticket_assets.bench.suite import PARTS, QUICK, Setup, Sizes
    from ticket_assets.bench.table import table
    from ticket_assets.orchestration.instance import dagster_home

    unknown = sorted(set(only or ()) - PARTS.keys())
    if unknown:
        raise typer.BadParameter(f"There is no part {unknown[0]}. Parts: {', '.join(PARTS)}.")
    setup = Setup(
        sizes=QUICK if quick else Sizes(),
        encoder=desk.settings.encoder,
        encoders_dir=desk.settings.unpacked_encoders_dir,
        dagster_home=dagster_home(),
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
                print_measured(f"{line.part}: {line.figure}: {line.value}")
            progress.advance(task)
    output.print(table(lines))
    if any(line.met is False for line in lines):
        raise typer.Exit(1)
