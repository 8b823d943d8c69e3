"""The command that measures how well a labelled table would be sorted."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ticket_assets.cli.columns import Columns, column_mapping
from ticket_assets.cli.console import output, print_json, print_warning, progress_bar, styled
from ticket_assets.cli.start import command_desk
from ticket_assets.plural import counted

if TYPE_CHECKING:
    from rich.table import Table

    from ticket_assets.quality import Quality, TargetQuality

app = typer.Typer()


@app.command(
    epilog="Examples: `tickets evaluate export.csv`; "
    "`tickets evaluate tickets.parquet --column body=Description --column category=Team --json`"
)
def evaluate(
    table: Annotated[
        Path,
        typer.Argument(help="Past tickets with the labels people gave: CSV, TSV, JSONL, Parquet."),
    ],
    column: Columns = None,
    splits: Annotated[
        int, typer.Option(min=1, max=50, help="How many times to learn and test, each at random.")
    ] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure how well a labelled table would be sorted; nothing is imported or changed.

    Each split learns from three quarters of the tickets and is tested on the rest, in wordings that
    it has not learnt: near-copies of a text are kept together. Takes some minutes for 10,000
    tickets. Columns are found as by `tickets import`.
    """
    desk = command_desk(checked=False)
    from ticket_assets.classification.training_set import training_options
    from ticket_assets.quality import labelled_tickets, measure

    mapping = {**desk.settings.column_mapping, **column_mapping(column)}
    with progress_bar() as progress:
        task = progress.add_task("Reading the table", total=None)
        labelled = labelled_tickets(table, desk.settings, desk.routing, mapping)
        texts = labelled.tickets["text"].tolist()
        progress.update(task, description="Encoding", total=len(texts))
        vectors = desk.encoder.encoder.encode(
            texts, lambda done, _: progress.update(task, completed=done)
        )
        progress.reset(task, total=splits + 1)
        quality = measure(
            labelled,
            vectors,
            training_options(desk.settings, desk.routing.priorities),
            splits=splits,
            seed=desk.settings.seed,
            on_progress=lambda text: progress.update(task, description=text, advance=1),
        )
    if as_json:
        print_json(quality.to_dict())
    else:
        print_quality(quality, splits)


def print_quality(quality: Quality, splits: int) -> None:
    """Show macro-F1 beside the baselines, and per label the automatic decisions."""
    from ticket_assets.quality import MAJORITY, PRODUCT, TFIDF

    output.print(
        f"{counted(quality.tickets, 'ticket')} ({counted(quality.text_groups, 'text')} that differ"
        f" in more than numbers, {counted(quality.wordings, 'independent wording')})."
        f" {counted(splits, 'split')}: three quarters to learn from, the rest, in other wordings,"
        " to test.",
        soft_wrap=True,
    )
    if quality.unusable_rows:
        print_warning(
            f"{counted(quality.unusable_rows, 'row')} left out: without a category or a text,"
            " broken, or with the text of another."
        )
    for name, target in quality.targets.items():
        lead, least, largest = target.lead(PRODUCT, TFIDF)
        right = "none to judge" if target.precision is None else f"{target.precision:.1%} right"
        candidates = ", ".join(f"{c} in {n}" for c, n in Counter(target.chosen).most_common())
        output.print()
        output.print(
            styled((name, "bold"), f": macro-F1 {target.mean(PRODUCT):.3f} (chosen: {candidates})"),
            soft_wrap=True,
        )
        for line in (
            f"  {TFIDF}: {target.mean(TFIDF):.3f}, {lead:+.3f} for the product"
            f" ({least:+.3f} to {largest:+.3f})",
            f"  {MAJORITY}: {target.mean(MAJORITY):.3f}",
            f"  decided without a person: {target.coverage:.1%}, {right} (target"
            f" {target.target_precision:.0%} of each label; kept in"
            f" {target.splits_that_keep_the_target} of {splits} splits)",
        ):
            output.print(line, soft_wrap=True)
        output.print(_labels_table(target))
    for name, reason in quality.skipped_targets.items():
        print_warning(f"{name} is not measured. {reason}")


def _labels_table(target: TargetQuality) -> Table:
    from rich.table import Table

    table = Table("label", "tested", "F1", "automatic", "right of those", box=None, pad_edge=False)
    for label in target.labels:
        right = f"{label.right / label.automatic:.1%}" if label.automatic else "–"
        table.add_row(
            label.label, f"{label.tickets:,}", f"{label.f1:.3f}",
            f"{label.automatic:,}", right,
        )  # fmt: skip
    return table
