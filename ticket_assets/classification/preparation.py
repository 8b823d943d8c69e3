"""Prepares labelled tickets for the training: labels with enough texts, wordings, hold-out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from ticket_assets.classification.features import (
    Booleans,
    Floats,
    Integers,
    TermCounts,
    count_terms,
)
from ticket_assets.classification.prediction import TARGETS
from ticket_assets.classification.training_set import (
    IMPORT_HINT,
    NotEnoughLabels,
    TrainingOptions,
    TrainingSet,
    in_order_of_time,
    text_groups,
)
from ticket_assets.text.wordings import wordings

LARGEST_SHARE = 0.5
"""Share of the tickets above which a wording is taken apart: too little would be left to learn."""


@dataclass(frozen=True)
class LabelledRows:
    """The usable rows in order of time, counted and coded; code -1 is a missing label."""

    tickets: pd.DataFrame
    vectors: Floats
    counts: TermCounts
    groups: Integers
    """Number of the wording of each ticket."""
    templates: Integers
    """Number of its template; a wording has one or more."""
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

    def split_groups(self, rows: Integers) -> Integers:
        """For each of `rows` the number of the group that is on one side of every split of them."""
        labels = [codes[rows] for codes in self.codes.values()]
        return split_groups(self.groups[rows], self.templates[rows], labels)

    def wording_count(self, target: str, code: int) -> int:
        return len(np.unique(self.groups[self.codes[target] == code]))


def split_groups(groups: Integers, templates: Integers, labels: Sequence[Integers]) -> Integers:
    """The wordings, but for those that leave nothing to split: their templates.

    These are a wording that is all there is of a label, so that its part of a split would teach
    nothing of it, and one of more than `LARGEST_SHARE` of the tickets.

    Args:
        labels: per target the code of each ticket's label, -1 for none.
    """
    sizes = np.bincount(groups)
    taken_apart = sizes > LARGEST_SHARE * len(groups)
    for codes in labels:
        pairs = np.unique(np.column_stack([codes, groups])[codes >= 0], axis=0)
        _, first, counts = np.unique(pairs[:, 0], return_index=True, return_counts=True)
        taken_apart[pairs[first[counts == 1], 1]] = True
    return np.unique(
        np.where(taken_apart[groups], len(sizes) + templates, groups), return_inverse=True
    )[1]


def prepare(training_set: TrainingSet, options: TrainingOptions) -> LabelledRows:
    """The rows to learn from: the most recent ones whose category has enough different texts.

    Raises:
        NotEnoughLabels: fewer than two categories have enough labelled tickets.
    """
    tickets = in_order_of_time(training_set.tickets.reset_index(drop=True))
    recent = tickets.iloc[-options.max_tickets :]
    recent = recent.assign(
        text_group=text_groups(recent["text"].tolist(), recent["tokens"].tolist())
    )
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
    templates = pd.factorize(usable["text_group"])[0]
    return LabelledRows(
        tickets=usable.reset_index(drop=True),
        vectors=np.asarray(training_set.vectors, dtype=np.float32)[usable.index.to_numpy()],
        counts=count_terms(usable["text"].tolist()),
        groups=wordings(templates, usable["tokens"].tolist(), usable["category"].tolist()),
        templates=templates,
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
    """Tickets of the most recent share that are learnt from, since an earlier one has their
    wording."""


def split(labelled: LabelledRows, options: TrainingOptions) -> Split:
    """The newest wordings as the hold-out, whole; a priority that cannot be learnt is skipped.

    They are those that began last, as many as give the share of the tickets: where none came back,
    the most recent tickets. What came back says how known wordings are sorted, not how new ones.

    Raises:
        NotEnoughLabels: the hold-out is empty, or the other part has a single category.
    """
    rows = np.arange(len(labelled.tickets))
    most = max(1, round(len(rows) * options.holdout_share))
    is_held_out = _newest(labelled.split_groups(rows), most)
    if not is_held_out.any():
        is_held_out = _newest(labelled.templates, most)
    earlier, holdout = rows[~is_held_out], rows[is_held_out]
    if len(holdout) == 0:
        raise NotEnoughLabels(
            f"Nothing to evaluate on: the {len(rows)} labelled tickets are copies of a few texts. "
            f"{IMPORT_HINT}"
        )
    copies = int((~is_held_out[len(rows) - most :]).sum())
    codes = labelled.codes["category"][earlier]
    if len(np.unique(codes)) < 2:
        raise NotEnoughLabels(
            f"The {len(earlier)} earlier labelled tickets have one category only, so nothing can "
            f"be learnt that the {len(holdout)} most recent ones could test. {IMPORT_HINT}"
        )
    if "priority" in labelled.codes and not _priority_is_learnable(labelled, earlier, holdout):
        labelled = _without_priority(labelled)
    return Split(labelled, earlier, holdout, copies)


def _newest(groups: Integers, most: int) -> Booleans:
    """Which rows, in order of time, are of the groups that began last and have `most` in all.

    None where each group has more.
    """
    _, first, sizes = np.unique(groups, return_index=True, return_counts=True)
    newest = np.argsort(-first)
    newest = newest[sizes[newest] <= most]
    return np.isin(groups, newest[np.cumsum(sizes[newest]) <= most])


def _priority_is_learnable(labelled: LabelledRows, earlier: Integers, holdout: Integers) -> bool:
    rows = labelled.rows("priority", earlier)
    groups = pd.Series(labelled.templates[rows])
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
