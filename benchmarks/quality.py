"""How well a labelled table is sorted, beside plain pipelines and each of our own candidates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from ticket_assets.classification.calibration import fit_temperature
from ticket_assets.classification.candidates import (
    CANDIDATES,
    candidates_for,
    combined_scores,
    experts_for,
    fit_expert,
)
from ticket_assets.classification.features import FeatureSpace, Floats, count_terms
from ticket_assets.classification.training_set import TrainingOptions
from ticket_assets.quality import (
    TFIDF,
    LabelledTable,
    Labels,
    Quality,
    Split,
    TargetQuality,
    measure,
)

REGRESSION = "embeddings + logistic regression"
PEERS = (TFIDF, REGRESSION)


def compare_with_peers(
    table: LabelledTable,
    encode: Callable[[Sequence[str]], Floats],
    options: TrainingOptions | None = None,
    *,
    splits: int = 5,
    on_progress: Callable[[str], None] | None = None,
) -> Quality:
    """The quality with the macro-F1 of the peers and of each candidate on the same splits.

    Raises:
        NotEnoughLabels: fewer than two categories have enough tickets to learn from.
    """
    options = options or TrainingOptions()
    vectors = encode(table.tickets["text"].tolist())
    peers = partial(peers_and_candidates, seed=options.seed)
    return measure(table, vectors, options, splits=splits, peers=peers, on_progress=on_progress)


def best_peer(target: TargetQuality) -> str:
    """The peer with the highest mean macro-F1."""
    return max(PEERS, key=target.mean)


def quality_table(quality: Quality) -> str:
    """Markdown: per target the macro-F1 of each, and what is decided without a person."""
    lines = [
        "| target | classifier | macro-F1 | against the best peer (splits from, to) |",
        "|---|---|--:|---|",
    ]
    for name, target in quality.targets.items():
        for classifier in target.macro_f1:
            lead, least, largest = target.lead(classifier, best_peer(target))
            lines.append(
                f"| {name} | {classifier} | {target.mean(classifier):.4f} "
                f"| {lead:+.4f} ({least:+.4f}, {largest:+.4f}) |"
            )
    lines += [
        "",
        "| target | automatic | right of those | splits that keep the target |",
        "|---|--:|--:|--:|",
    ]
    for name, target in quality.targets.items():
        right = "–" if target.precision is None else f"{target.precision:.1%}"
        lines.append(
            f"| {name} | {target.coverage:.1%} | {right} "
            f"| {target.splits_that_keep_the_target} of {len(target.tested)} |"
        )
    return "\n".join(lines)


def peers_and_candidates(split: Split, seed: int) -> dict[str, Labels]:
    """The labels that logistic regression on the vectors, and each candidate, would give."""
    codes, names = pd.factorize(split.learnt[split.target], sort=True)
    labels = names.to_numpy(dtype=object)
    regression = LogisticRegression(max_iter=1000).fit(split.learnt_vectors, codes)
    counts = count_terms(split.learnt["text"].tolist())
    space = FeatureSpace.fit(counts, split.learnt_vectors)
    features = space.features(counts, split.learnt_vectors)
    asked = space.features(count_terms(split.asked["text"].tolist()), split.asked_vectors)
    # Temperatures weigh the experts of an average; a fifth put aside is enough to find them.
    order = np.random.default_rng(seed).permutation(len(codes))
    aside, rest = order[: len(codes) // 5], order[len(codes) // 5 :]
    scores, temperatures = {}, {}
    for expert in experts_for(split.target):
        scores[expert] = fit_expert(expert, features, codes, seed).scores(asked, len(labels))
        draft = fit_expert(expert, features.rows(rest), codes[rest], seed)
        temperatures[expert] = fit_temperature(
            draft.scores(features.rows(aside), len(labels)), codes[aside]
        )
    candidates = {
        name: combined_scores({e: scores[e] for e in CANDIDATES[name]}, temperatures).argmax(axis=1)
        for name in candidates_for(split.target)
    }
    return {
        REGRESSION: labels[regression.predict(split.asked_vectors)],
        **{name: labels[answer] for name, answer in candidates.items()},
    }
