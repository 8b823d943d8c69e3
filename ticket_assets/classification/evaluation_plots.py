"""Pictures of an evaluation, as small PNGs for the UI."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ticket_assets.classification.evaluation import Evaluation
from ticket_assets.text.characters import visible

INK, ACCENT, PALE = "#22303c", "#1f6fb2", "#9aa7b2"


def confusion_matrix_png(evaluation: Evaluation, target: str) -> bytes:
    """Counts, coloured by their share of the true label."""
    scores = evaluation.targets[target]
    counts = np.array(scores.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = max(3.6, 1.6 + 0.5 * len(scores.labels))
    output = io.BytesIO()
    with plot_axes(output, (size + 0.6, size)) as axes:
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        ticks = range(len(scores.labels))
        axes.set_xticks(ticks, [_short(name) for name in scores.labels], rotation=40, ha="right")
        axes.set_yticks(ticks, [_short(name) for name in scores.labels])
        for (row, column), count in np.ndenumerate(counts):
            if count:
                colour = "white" if shares[row, column] > 0.55 else INK
                axes.text(column, row, str(count), ha="center", va="center", color=colour, size=8)
        axes.set(xlabel="predicted", ylabel="true", title=f"{target.capitalize()}, recent tickets")
        axes.spines[:].set_visible(False)
    return output.getvalue()


def reliability_png(evaluation: Evaluation, target: str) -> bytes:
    """Accuracy against confidence; the dots' areas are their shares of the tickets."""
    scores = evaluation.targets[target]
    mean, share, rows = np.array(scores.reliability).T
    output = io.BytesIO()
    with plot_axes(output, (4.4, 4.2)) as axes:
        axes.plot([0, 1], [0, 1], color=PALE, linewidth=1, linestyle="--")
        axes.plot(mean, share, color=ACCENT, linewidth=1)
        axes.scatter(mean, share, s=20 + 380 * rows / rows.sum(), color=ACCENT, alpha=0.8)
        axes.set(
            xlim=(0, 1.02),
            ylim=(0, 1.02),
            xlabel="confidence",
            ylabel="share that is right",
            title=f"{target.capitalize()}: calibration error {scores.ece:.3f}",
        )
    return output.getvalue()


def precision_coverage_png(evaluation: Evaluation, target: str) -> bytes:
    """Precision when only the most confident share is decided; the dot is what was measured."""
    scores = evaluation.targets[target]
    coverage, precision = np.array(scores.precision_by_coverage).T
    output = io.BytesIO()
    with plot_axes(output, (5.0, 3.8)) as axes:
        axes.plot(coverage, precision, color=ACCENT)
        axes.axhline(evaluation.target_precision, color=PALE, linewidth=1, linestyle="--")
        if scores.auto_precision is not None:
            axes.scatter([scores.coverage], [scores.auto_precision], color=INK, zorder=3)
        lowest = min(float(precision.min()), evaluation.target_precision)
        axes.set(
            xlim=(0, 1.02),
            ylim=(max(0.0, lowest - 0.05), 1.01),
            xlabel="share decided automatically",
            ylabel="share of those that is right",
            title=f"{target.capitalize()}: target {evaluation.target_precision:.0%} (dashed)",
        )
    return output.getvalue()


@contextmanager
def plot_axes(output: io.BytesIO, size: tuple[float, float]) -> Iterator[Any]:
    # The object interface, not pyplot: no global state, safe in a server's threads.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.tick_params(labelsize=8, colors=INK)
    axes.spines[["top", "right"]].set_visible(False)
    yield axes
    axes.title.set_fontsize(10)
    figure.savefig(output, format="png", dpi=80, metadata={"Software": None})


def _short(name: str) -> str:
    short = visible(name if len(name) <= 22 else name[:21] + "…")
    return short.replace("$", r"\$")  # between two of them Matplotlib reads mathematics
