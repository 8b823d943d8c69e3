"""How the UI shows what other target precisions would do: a table and a plot."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from ticket_assets.markdown import Markdown, markdown_table, picture

if TYPE_CHECKING:
    from ticket_assets.simulation import SimulatedMail, Simulation

BY_TARGET = "by_target"
"""Metadata: the forecasts of all labels together, by target precision."""
FORECASTS = (
    *("share", "share_low", "share_high"),
    *("precision", "precision_low", "precision_high"),
)
TARGET_HEADINGS = (
    *("target", "automatic", "right of those", "saved", "errors"),
    *("to auto", "to review"),
)
SHOWN_TARGETS = 5
"""Every so many of the targets are in the table, and the one in use."""


def simulation_metadata(simulation: Simulation) -> dict[str, Any]:
    """Figures of the target in use, all targets as a table and a plot of them."""
    metadata: dict[str, Any] = {
        "tickets": simulation.tickets,
        "labelled": simulation.labelled,
        "first_day": simulation.first_day.isoformat(),
        "last_day": simulation.last_day.isoformat(),
        "model_version": simulation.model_version,
        "targets": targets_markdown(simulation),
        # For the exporter, which must not wait for the warehouse.
        BY_TARGET: {
            f"{target.target_precision:g}": {
                name: value
                for name in FORECASTS
                if (value := getattr(target.mail, name)) is not None
            }
            for target in simulation.targets
        },
        "run_plot": picture("Automatic share and precision by target", targets_png(simulation)),
    }
    for target in simulation.targets:
        if target.is_present and target.mail.share is not None:
            metadata["share"] = target.mail.share
    return metadata


def targets_markdown(simulation: Simulation) -> Markdown:
    """Each fifth target and the one in use, of all labels together."""
    rows = []
    for number, target in enumerate(simulation.targets):
        if number % SHOWN_TARGETS and not target.is_present:
            continue
        name = f"{target.target_precision * 100:g} %{' (now)' if target.is_present else ''}"
        rows.append((name, *target_cells(target.mail)))
    return markdown_table(TARGET_HEADINGS, rows, figures=True)


def target_cells(mail: SimulatedMail) -> tuple[str, ...]:
    """What a target would do, under `TARGET_HEADINGS` but for the target itself."""
    errors = mail.minutes_of_errors
    return (
        interval_text(mail.share, mail.share_low, mail.share_high),
        interval_text(mail.precision, mail.precision_low, mail.precision_high),
        f"{mail.minutes_saved / 60:,.1f} h",
        "–" if errors is None else f"{errors / 60:,.1f} h",
        f"{mail.to_automatic:,}",
        f"{mail.to_review:,}",
    )


def targets_png(simulation: Simulation) -> bytes:
    """Automatic share and precision against the target, with their intervals; the dotted line is
    the target in use."""
    from ticket_assets.classification.evaluation_plots import ACCENT, INK, PALE, plot_axes

    mails = [(target.target_precision, target.mail) for target in simulation.targets]
    output = io.BytesIO()
    with plot_axes(output, (5.6, 3.8)) as axes:
        shares = [(x, m.share, m.share_low, m.share_high) for x, m in mails if m.share is not None]
        precisions = [
            (x, m.precision, m.precision_low, m.precision_high)
            for x, m in mails
            if m.precision is not None
        ]
        for name, colour, points in (
            ("automatic share", ACCENT, shares),
            ("share of those that is right", INK, precisions),
        ):
            if points:
                x, value, low, high = zip(*points, strict=True)
                axes.plot(x, value, color=colour, label=name)
                axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot((0.8, 1), (0.8, 1), color=PALE, linewidth=1, linestyle="--", label="target")
        for target in simulation.targets:
            if target.is_present:
                axes.axvline(target.target_precision, color=PALE, linewidth=1, linestyle=":")
        axes.set(
            ylim=(0, 1.02), xlabel="target precision", title="The next 30 days, by target precision"
        )
        axes.legend(fontsize=8, frameon=False)
    return output.getvalue()


def interval_text(value: float | None, low: float | None, high: float | None) -> str:
    """A share with its interval, as people read it."""
    return "–" if value is None else f"{value:.1%} ({low:.1%} to {high:.1%})"
