"""Labelled tickets made ready to learn from: labels with enough tickets, text groups, hold-out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ticket_assets.classification.features import Floats, Integers, TermCounts, count_terms
from ticket_assets.classification.prediction import TARGETS
from ticket_assets.classification.training_set import (
    IMPORT_HINT,
    NotEnoughLabels,
    TrainingOptions,
    TrainingSet,
    in_order_of_time,
    text_groups,
)


@dataclass(frozen=True)
class LabelledRows:
    """The usable rows in order of time, counted and coded; code -1 is a missing label."""

    tickets: pd.DataFrame
    vectors: Floats
    counts: TermCounts
    groups: Integers
    labels: Mapping[str, tuple[str, ...]]
    codes: Mapping[str, Integers]
    excluded: Mapping[str, Mapping[str, int]]
    skipped: Mapping[str, str]
    unusable_rows: int
    older_rows: int

    def rows(self, target: str, rows: Integers) -> Integers:
        """Those of `rows` whose label of this target is known."""
        return rows[self.codes[target][rows] >= 0]


def prepare(training_set: TrainingSet, options: TrainingOptions) -> LabelledRows:
    """The rows to learn from: the most recent ones, of labels with enough different texts.

    Raises:
        NotEnoughLabels: fewer than two categories have enough labelled tickets.
    """
    every = in_order_of_time(training_set.tickets.reset_index(drop=True))
    ordered = every.iloc[-options.max_tickets :]
    groups = text_groups(ordered["text"].tolist(), ordered["tokens"].tolist())
    ordered = ordered.assign(text_group=groups)
    learnable, few = _learnable(ordered, "category", options.min_class_tickets)
    if len(learnable) < 2:
        raise NotEnoughLabels(_lack("category", learnable, few, options))
    usable = ordered[ordered["category"].isin(learnable)]
    labels = {"category": tuple(sorted(learnable))}
    excluded = {"category": few}
    skipped = {}
    priorities, few_priorities = _learnable(usable, "priority", options.min_class_tickets)
    if len(priorities) >= 2:
        known = [priority for priority in options.priorities if priority in priorities]
        labels["priority"] = (*known, *sorted(set(priorities) - set(known)))
        excluded["priority"] = few_priorities
    else:
        skipped["priority"] = _lack("priority", priorities, few_priorities, options)
    labels_given = ordered[list(TARGETS)].notna().any(axis=1)
    return LabelledRows(
        tickets=usable.reset_index(drop=True),
        vectors=np.asarray(training_set.vectors, dtype=np.float32)[usable.index.to_numpy()],
        counts=count_terms(usable["text"].tolist()),
        groups=pd.factorize(usable["text_group"])[0],
        labels=labels,
        codes={
            target: np.asarray(
                pd.Categorical(usable[target], categories=list(names)).codes, np.int64
            )
            for target, names in labels.items()
        },
        excluded=excluded,
        skipped=skipped,
        unusable_rows=int(labels_given.sum()) - len(usable),
        older_rows=len(every) - len(ordered),
    )


def _learnable(tickets: pd.DataFrame, target: str, least: int) -> tuple[list[str], dict[str, int]]:
    """Labels with at least `least` different texts, and the others with their ticket counts."""
    texts = tickets.groupby(target)["text_group"].nunique()
    counts = tickets[target].value_counts()
    few = {str(label): int(counts[label]) for label in texts.index[texts < least]}
    return [str(label) for label in texts.index[texts >= least]], few


def _lack(
    target: str, learnable: Sequence[str], few: Mapping[str, int], options: TrainingOptions
) -> str:
    found = ", ".join([*learnable, *(f"{label} ({count})" for label, count in few.items())])
    return (
        f"Cannot learn the {target}: at least 2 labels need {options.min_class_tickets} tickets "
        f"with different texts each (TICKETS_MIN_CLASS_TICKETS), and {len(learnable)} have them; "
        f"labels seen: {found or 'none'}. {IMPORT_HINT}"
    )


def split(labelled: LabelledRows, options: TrainingOptions) -> tuple[Integers, Integers, int]:
    """Rows of the earlier part, rows of the hold-out, and how many copies the latter lost."""
    rows = len(labelled.tickets)
    cut = rows - max(1, round(rows * options.holdout_share))
    earlier, recent = np.arange(cut), np.arange(cut, rows)
    copies = np.isin(labelled.groups[recent], labelled.groups[earlier])
    holdout = recent[~copies]
    if len(holdout) == 0:
        raise NotEnoughLabels(
            f"Nothing to evaluate on: each of the {len(recent)} most recent labelled tickets is a "
            f"copy of an earlier one. {IMPORT_HINT}"
        )
    codes = labelled.codes["category"][earlier]
    if len(np.unique(codes)) < 2:
        raise NotEnoughLabels(
            f"The {cut} earlier labelled tickets have one category only, so nothing can be learnt "
            f"that the {len(recent)} most recent ones could test. {IMPORT_HINT}"
        )
    return earlier, holdout, int(copies.sum())


def drop_unlearnable_priority(
    labelled: LabelledRows, earlier: Integers, holdout: Integers
) -> LabelledRows:
    if "priority" not in labelled.codes:
        return labelled
    known = labelled.rows("priority", earlier)
    different = (
        pd.Series(labelled.groups[known]).groupby(labelled.codes["priority"][known]).nunique()
    )
    if (different >= 2).sum() >= 2 and len(labelled.rows("priority", holdout)):
        return labelled
    reason = (
        "Cannot learn the priority: before the hold-out begins, or in it, too few tickets have "
        f"one. {IMPORT_HINT}"
    )
    return replace(
        labelled,
        codes={"category": labelled.codes["category"]},
        labels={"category": labelled.labels["category"]},
        skipped={**labelled.skipped, "priority": reason},
    )
