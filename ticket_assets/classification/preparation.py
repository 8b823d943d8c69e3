"""Prepares labelled tickets for the training: labels with enough texts, text groups, hold-out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

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
        """Those of `rows` that have a label of this target."""
        return rows[self.codes[target][rows] >= 0]

    def positions(self, target: str, rows: Integers) -> tuple[Integers, Integers]:
        """Positions in `rows` of those that have a label of this target, and its codes."""
        positions = np.flatnonzero(self.codes[target][rows] >= 0)
        return positions, self.codes[target][rows[positions]]


def prepare(training_set: TrainingSet, options: TrainingOptions) -> LabelledRows:
    """The rows to learn from: the most recent ones whose category has enough different texts.

    Raises:
        NotEnoughLabels: fewer than two categories have enough labelled tickets.
    """
    tickets = in_order_of_time(training_set.tickets.reset_index(drop=True))
    recent = tickets.iloc[-options.max_tickets :]
    groups = text_groups(recent["text"].tolist(), recent["tokens"].tolist())
    recent = recent.assign(text_group=groups)
    categories, rare_categories = _learnable(recent, "category", options.min_class_tickets)
    if len(categories) < 2:
        raise NotEnoughLabels(_lack("category", categories, rare_categories, options))
    usable = recent[recent["category"].isin(categories)]
    labels = {"category": tuple(sorted(categories))}
    excluded = {"category": rare_categories}
    skipped = {}
    priorities, rare_priorities = _learnable(usable, "priority", options.min_class_tickets)
    if len(priorities) >= 2:
        in_order = [priority for priority in options.priorities if priority in priorities]
        labels["priority"] = (*in_order, *sorted(set(priorities) - set(in_order)))
        excluded["priority"] = rare_priorities
    else:
        skipped["priority"] = _lack("priority", priorities, rare_priorities, options)
    has_label = recent[list(TARGETS)].notna().any(axis=1)
    return LabelledRows(
        tickets=usable.reset_index(drop=True),
        vectors=np.asarray(training_set.vectors, dtype=np.float32)[usable.index.to_numpy()],
        counts=count_terms(usable["text"].tolist()),
        groups=pd.factorize(usable["text_group"])[0],
        labels=labels,
        codes={target: label_codes(usable[target], names) for target, names in labels.items()},
        excluded=excluded,
        skipped=skipped,
        unusable_rows=int(has_label.sum()) - len(usable),
        older_rows=training_set.older_rows + len(tickets) - len(recent),
    )


def label_codes(labels: pd.Series, names: Sequence[str]) -> Integers:
    """The position of each label in `names`; -1 for a missing or unknown one."""
    return np.asarray(pd.Categorical(labels, categories=list(names)).codes, dtype=np.int64)


def _learnable(tickets: pd.DataFrame, target: str, least: int) -> tuple[list[str], dict[str, int]]:
    """Labels with at least `least` different texts, and the others with their ticket counts."""
    texts = tickets.groupby(target)["text_group"].nunique()
    counts = tickets[target].value_counts()
    rare = {str(label): int(counts[label]) for label in texts.index[texts < least]}
    return [str(label) for label in texts.index[texts >= least]], rare


def _lack(
    target: str, learnable: Sequence[str], rare: Mapping[str, int], options: TrainingOptions
) -> str:
    labels = ", ".join([*learnable, *(f"{label} ({count})" for label, count in rare.items())])
    return (
        f"Cannot learn the {target}: at least 2 labels need {options.min_class_tickets} tickets "
        f"with different texts each (TICKETS_MIN_CLASS_TICKETS), and {len(learnable)} have them; "
        f"labels seen: {labels or 'none'}. {IMPORT_HINT}"
    )


class Split(NamedTuple):
    """The tickets to learn from, and those put aside for the evaluation, as rows of `labelled`."""

    labelled: LabelledRows
    earlier: Integers
    holdout: Integers
    copies: int
    """Recent tickets in neither part, because an earlier one has the same text."""


def split(labelled: LabelledRows, options: TrainingOptions) -> Split:
    """The most recent share as the hold-out; a priority that cannot be learnt is skipped.

    Raises:
        NotEnoughLabels: the hold-out is empty, or the earlier part has a single category.
    """
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
    if "priority" in labelled.codes and not _priority_is_learnable(labelled, earlier, holdout):
        labelled = _without_priority(labelled)
    return Split(labelled, earlier, holdout, int(copies.sum()))


def _priority_is_learnable(labelled: LabelledRows, earlier: Integers, holdout: Integers) -> bool:
    rows = labelled.rows("priority", earlier)
    groups = pd.Series(labelled.groups[rows])
    text_counts = groups.groupby(labelled.codes["priority"][rows]).nunique()
    return (text_counts >= 2).sum() >= 2 and len(labelled.rows("priority", holdout)) > 0


def _without_priority(labelled: LabelledRows) -> LabelledRows:
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
